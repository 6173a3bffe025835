"""A paste is an attempt of its own, and needs no lease: all that belongs to it is written in one transaction."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Conflict, Unreachable
from rekey.model.password import Password
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from rekey.records import pasting
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from rekey.model.rotation import Fence
    from tests.unit.bare_stack import BareStack

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WRITE = "dynamodb:TransactWriteItems"


@pytest.fixture
def fence(opened: BareStack, registry: str) -> Fence:
    return opened.fence(registry)


def paste(opened: BareStack, registry: str, text: str = "", clicked_at: datetime | None = None) -> Attempt:
    password = Password(text or secrets.token_urlsafe(12))
    return pasting.paste(opened.ledger, opened.escrow, registry, password, now=NOW, clicked_at=clicked_at)


def latest(opened: BareStack, registry: str) -> Rotation:
    rotation = opened.ledger.latest(registry)
    assert rotation is not None
    return rotation


def test_the_password_waits_in_the_escrow_for_reset(opened: BareStack, registry: str) -> None:
    attempt = paste(opened, registry, "pä ss")
    assert opened.escrow.read(attempt) == "pä ss".encode()
    assert (attempt.kind, attempt.outcome, attempt.call_ended_at) == (AttemptKind.PASTED, None, NOW)
    assert opened.ledger.attempts(registry, attempt.generation) == [attempt]


def test_the_ledger_never_sees_it(opened: BareStack, registry: str) -> None:
    text = secrets.token_urlsafe(12)
    paste(opened, registry, text)
    shown = repr([opened.table.query(f"registry#{registry}"), opened.table.query("open")])
    assert text not in shown


class TestWhereNoneIsOpen:
    def test_it_opens_the_first_rotation(self, opened: BareStack, registry: str) -> None:
        attempt = paste(opened, registry)
        rotation = latest(opened, registry)
        assert (rotation.generation, rotation.phase, rotation.attempts) == (1, Phase.RESETTING, 1)
        assert attempt.number == 1
        assert opened.ledger.open_registries()[registry] is True

    def test_it_opens_the_next_after_a_finished_one(self, opened: BareStack, fence: Fence) -> None:
        opened.rotation(fence, generation=4, phase=Phase.FINISHED, attempts=2)
        assert paste(opened, fence.registry).generation == 5
        rotation = latest(opened, fence.registry)
        assert (rotation.generation, rotation.phase, rotation.attempts) == (5, Phase.RESETTING, 1)

    def test_it_takes_over_the_number_of_one_that_stopped_and_none_of_its_attempts(
        self, opened: BareStack, fence: Fence
    ) -> None:
        """No generation is used up, and no token comes twice."""
        opened.rotation(fence, generation=4, phase=Phase.STOPPED, attempts=2)
        attempt = paste(opened, fence.registry)
        assert (attempt.generation, attempt.number) == (4, 3)
        assert opened.ledger.attempts_of(latest(opened, fence.registry)) == [attempt]

    def test_it_overtakes_one_whose_password_is_promoted(self, opened: BareStack, fence: Fence) -> None:
        """The registry was reset elsewhere since: what is still to be delivered is dead."""
        opened.rotation(fence, generation=4, phase=Phase.NEEDS_ATTENTION, promoted_at=NOW)
        assert paste(opened, fence.registry).generation == 5
        old = opened.ledger.rotation(fence.registry, 4)
        assert old is not None
        assert (old.phase, old.finished_at, old.problems) == (Phase.FINISHED, NOW, ("overtaken by a paste",))
        marks = [item["sk"] for item in opened.table.query("open") if f"#{old.registry}#" in str(item["sk"])]
        assert marks == [f"rotation#{old.registry}#{old.generation + 1:08d}"], "else the tick comes back for ever"
        assert opened.ledger.open_registries()[fence.registry] is True


class TestIntoAnOpenRotation:
    def test_a_rotation_that_waits_for_it_stays_ready(self, opened: BareStack, fence: Fence) -> None:
        opened.rotation(fence, phase=Phase.READY)
        assert paste(opened, fence.registry).generation == 1
        rotation = latest(opened, fence.registry)
        assert (rotation.phase, rotation.attempts) == (Phase.READY, 1)

    def test_it_is_the_way_out_of_needs_attention(self, opened: BareStack, fence: Fence) -> None:
        opened.rotation(fence, phase=Phase.NEEDS_ATTENTION, problems=("its answer was lost",), wrong_logins=3, calls=9)
        paste(opened, fence.registry)
        rotation = latest(opened, fence.registry)
        assert (rotation.phase, rotation.problems) == (Phase.RESETTING, ())
        assert (rotation.wrong_logins, rotation.calls) == (0, 0)  # a person has looked: the right one can be proven

    def test_it_replaces_an_attempt_that_is_open(self, opened: BareStack, fence: Fence) -> None:
        claim = Attempt(
            registry=fence.registry, generation=1, number=1, kind=AttemptKind.RESET, nonce="n", deadline=NOW
        )
        opened.ledger.save(fence, opened.rotation(fence).having(attempts=1), claim)
        attempt = paste(opened, fence.registry)
        assert attempt.number == 2
        outcomes = [one.outcome for one in opened.ledger.attempts(fence.registry, 1)]
        assert outcomes == [AttemptOutcome.REPLACED, None]

    def test_a_second_paste_replaces_the_first(self, opened: BareStack, registry: str) -> None:
        first, second = paste(opened, registry, "one"), paste(opened, registry, "two")
        assert (first.number, second.number, second.generation) == (1, 2, 1)
        assert opened.escrow.read(second) == b"two"

    def test_the_owner_of_the_lease_sees_that_it_came(self, opened: BareStack, fence: Fence) -> None:
        """Whatever it was about to write follows from what is not so any more: a claim, or "called at"."""
        claim = Attempt(
            registry=fence.registry, generation=1, number=1, kind=AttemptKind.RESET, nonce="n", deadline=NOW
        )
        rotation, attempt = opened.ledger.save(fence, opened.rotation(fence).having(attempts=1), claim)
        paste(opened, fence.registry)
        with pytest.raises(Conflict):
            opened.ledger.save(fence, rotation.having(resets=1), attempt.having(called_at=NOW))


class TestWhenItWasReset:
    def test_what_the_person_says_counts(self, opened: BareStack, registry: str) -> None:
        assert paste(opened, registry, clicked_at=NOW - MINUTE).called_at == NOW - MINUTE

    def test_without_it_ready_counts_if_the_old_password_was_good_then(self, opened: BareStack, fence: Fence) -> None:
        """So it surely was reset after that."""
        told = {"phase": Phase.READY, "ready_at": NOW - MINUTE}
        opened.rotation(fence, old_before=LoginVerdict.ACCEPTED, **told)
        assert paste(opened, fence.registry).called_at == NOW - MINUTE

    @pytest.mark.parametrize("before", [None, LoginVerdict.REFUSED, LoginVerdict.UNREACHABLE])
    def test_else_nobody_knows_and_it_closes_no_request(
        self, opened: BareStack, fence: Fence, before: LoginVerdict | None
    ) -> None:
        opened.rotation(fence, phase=Phase.READY, ready_at=NOW - MINUTE, old_before=before)
        assert paste(opened, fence.registry).called_at is None


class TestAtTheSameMoment:
    def test_a_write_that_comes_between_fails_all_of_it(self, opened: BareStack, fence: Fence) -> None:
        """The person pastes once more; nothing of the first is left, neither in the ledger nor in the escrow."""
        rotation = opened.rotation(fence, phase=Phase.READY)

        def write_first(_request: object) -> None:
            opened.ledger.save_one(fence, rotation.having(wrong_logins=1))

        opened.aws.faults.add(WRITE, aws_faults.call_before(write_first))
        with pytest.raises(Conflict, match="paste once more"):
            paste(opened, fence.registry)
        assert opened.ledger.attempts(fence.registry, 1) == []
        assert opened.escrow.tokens(fence.registry) == []
        assert latest(opened, fence.registry).wrong_logins == 1

    def test_a_lost_answer_is_no_second_attempt(self, opened: BareStack, registry: str) -> None:
        opened.aws.faults.add(WRITE, aws_faults.drop_after())
        attempt = paste(opened, registry, "text")
        assert opened.ledger.attempts(registry, 1) == [attempt]
        assert opened.escrow.read(attempt) == b"text"

    def test_without_kms_nothing_is_written(self, opened: BareStack, registry: str) -> None:
        opened.aws.faults.add("kms:Encrypt", aws_faults.drop_before(), times=None)
        with pytest.raises(Unreachable):
            paste(opened, registry)
        assert opened.ledger.latest(registry) is None
