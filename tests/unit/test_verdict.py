"""Honest words for logins and consumers, and receipts that come back from the ledger as they went."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict, Receipt


def test_the_words_for_a_login() -> None:
    """A timeout is never "refused": each is a word of its own."""
    assert {str(verdict) for verdict in LoginVerdict} == {
        "accepted",
        "refused",
        "locked",
        "unreachable",
        "inconclusive",
        "unproven",
    }


@pytest.mark.parametrize(
    ("outcome", "done", "left"),
    [
        (ConsumerOutcome.UPDATED, True, False),
        (ConsumerOutcome.UNCHANGED, True, False),
        (ConsumerOutcome.SUPERSEDED, True, False),
        (ConsumerOutcome.PENDING, False, True),
        (ConsumerOutcome.UNREACHABLE, False, True),
        (ConsumerOutcome.FAILED, False, False),
    ],
)
def test_what_is_done_and_what_the_next_pass_tries_again(outcome: ConsumerOutcome, *, done: bool, left: bool) -> None:
    """A failed one needs a person: it is neither."""
    assert (outcome.done, outcome.left) == (done, left)


def test_the_table_above_is_complete() -> None:
    assert len(ConsumerOutcome) == 6


@pytest.mark.parametrize("answered_at", [None, datetime(2026, 1, 31, 2, 0, 0, 125_000, tzinfo=UTC)])
def test_a_receipt_comes_back_as_it_went(answered_at: datetime | None) -> None:
    receipt = Receipt(
        "all/acme/web",
        "github-secret",
        ConsumerOutcome.UPDATED,
        ConsumerVerdict.WRITTEN,
        reason="because",
        answered_at=answered_at,
        facts={"written_at": "then"},
    )
    assert Receipt.from_record(json.loads(json.dumps(receipt.to_record()))) == receipt


def test_verifying_keeps_the_outcome_and_the_reason() -> None:
    receipt = Receipt("a", "webhook", ConsumerOutcome.UNCHANGED, reason="had it")
    assert receipt.with_verdict(ConsumerVerdict.MATCHES) == Receipt(
        "a", "webhook", ConsumerOutcome.UNCHANGED, ConsumerVerdict.MATCHES, reason="had it"
    )
    assert receipt.with_verdict(ConsumerVerdict.DIFFERS, "another").reason == "another"
