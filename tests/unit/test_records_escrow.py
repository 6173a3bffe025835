"""The escrow: what the registry answered, sealed, until its password is proven."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Conflict, Denied, RekeyError, Unintelligible, Unreachable
from rekey.model.password import ESCROW_LIMIT
from rekey.model.rotation import Attempt, AttemptKind
from rekey.records.dynamo import Table, Write
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from tests.unit.bare_stack import BareStack

TABLE = "stack-escrow"
WRITE = "dynamodb:TransactWriteItems"


@pytest.fixture
def attempt(opened: BareStack) -> Attempt:
    return new_attempt(opened.new_registry())


def new_attempt(registry: str, number: int = 1, generation: int = 1) -> Attempt:
    return Attempt(
        registry=registry,
        generation=generation,
        number=number,
        kind=AttemptKind.RESET,
        nonce=secrets.token_hex(16),
        deadline=datetime(2026, 1, 31, 2, 0, tzinfo=UTC),
    )


def kept(opened: BareStack, attempt: Attempt, raw: bytes = b"answer") -> None:
    opened.escrow.put(attempt, opened.escrow.envelope(attempt), raw)


def test_what_was_kept_comes_back(opened: BareStack, attempt: Attempt) -> None:
    raw = secrets.token_bytes(ESCROW_LIMIT)
    assert opened.escrow.read(attempt) is None
    kept(opened, attempt, raw)
    assert opened.escrow.holds(attempt)
    assert opened.escrow.read(attempt) == raw


def test_the_table_holds_nothing_readable(opened: BareStack, attempt: Attempt) -> None:
    """Invariant 1: in the escrow a password exists as ciphertext."""
    password = secrets.token_urlsafe(16).encode()
    envelope = opened.escrow.envelope(attempt)
    opened.escrow.put(attempt, envelope, b'{"data": {"password": "' + password + b'"}}')
    (item,) = Table(TABLE).query(attempt.registry)
    shown = repr(item).encode() + bytes(item["sealed"])
    assert password not in shown
    assert envelope.key not in shown
    assert repr(envelope.key) not in repr(envelope)


def test_the_write_that_keeps_it_needs_no_call_to_kms(opened: BareStack, attempt: Attempt) -> None:
    """The key is made and wrapped before the reset call: afterwards nothing stands in the way."""
    envelope = opened.escrow.envelope(attempt)
    opened.aws.requests.clear()
    opened.escrow.put(attempt, envelope, b"answer")
    assert [request.operation for request in opened.aws.requests] == [WRITE]


def test_the_wrapped_key_is_bound_to_registry_generation_and_attempt(opened: BareStack, attempt: Attempt) -> None:
    kept(opened, attempt)
    (sent,) = [json.loads(one.body) for one in opened.aws.requests if one.operation == "kms:Encrypt"]
    assert sent["EncryptionContext"] == {"registry": attempt.registry, "generation": "1", "attempt": "1"}


@pytest.mark.parametrize("to", ["registry", "generation", "attempt"])
def test_an_item_that_was_moved_does_not_open(opened: BareStack, attempt: Attempt, to: str) -> None:
    """One registry's answer must not become another's."""
    other = {
        "registry": new_attempt(opened.new_registry()),
        "generation": new_attempt(attempt.registry, generation=2),
        "attempt": new_attempt(attempt.registry, number=2),
    }[to]
    kept(opened, attempt)
    table = Table(TABLE)
    item = table.get(attempt.registry, attempt.escrow_token)
    table.write(Write(key={"pk": other.registry, "sk": other.escrow_token}, item={**(item or {}), **_key(other)}))
    with pytest.raises(Unintelligible):
        opened.escrow.read(other)


def _key(attempt: Attempt) -> dict[str, str]:
    return {"pk": attempt.registry, "sk": attempt.escrow_token}


@pytest.mark.parametrize("place", [0, 12, -1])
def test_an_item_that_was_changed_does_not_open(opened: BareStack, attempt: Attempt, place: int) -> None:
    """In its nonce, its ciphertext or its tag."""
    kept(opened, attempt, b"a longer answer")
    table = Table(TABLE)
    item = table.get(attempt.registry, attempt.escrow_token) or {}
    sealed = bytearray(item["sealed"])
    sealed[place] ^= 1
    table.write(Write(key=_key(attempt), item={**item, "sealed": bytes(sealed)}, condition=""))
    with pytest.raises(Unintelligible, match="changed"):
        opened.escrow.read(attempt)


def test_the_same_put_again_is_success(opened: BareStack, attempt: Attempt) -> None:
    """A retry after a lost answer."""
    envelope = opened.escrow.envelope(attempt)
    opened.escrow.put(attempt, envelope, b"answer")
    opened.escrow.put(attempt, envelope, b"answer")
    assert opened.escrow.read(attempt) == b"answer"


def test_another_answer_is_not_put_over_it(opened: BareStack, attempt: Attempt) -> None:
    kept(opened, attempt, b"first")
    with pytest.raises(Conflict):
        kept(opened, attempt, b"second")
    assert opened.escrow.read(attempt) == b"first"


def test_a_put_that_comes_after_the_deletion_is_refused(opened: BareStack, attempt: Attempt) -> None:
    """Deleting leaves a tombstone: a late put recreated the item."""
    envelope = opened.escrow.envelope(attempt)
    opened.escrow.put(attempt, envelope, b"answer")
    opened.escrow.delete(attempt)
    with pytest.raises(Conflict):
        opened.escrow.put(attempt, envelope, b"answer")
    assert opened.escrow.read(attempt) is None
    assert not opened.escrow.holds(attempt)


def test_a_tombstone_holds_nothing_of_the_answer(opened: BareStack, attempt: Attempt) -> None:
    kept(opened, attempt)
    opened.escrow.delete(attempt)
    opened.escrow.delete(attempt)
    assert Table(TABLE).query(attempt.registry) == [{**_key(attempt), "format": 1, "deleted": True}]


def test_what_is_there_is_listed_without_any_value(opened: BareStack, attempt: Attempt) -> None:
    other = new_attempt(attempt.registry, 2)
    kept(opened, attempt)
    kept(opened, other)
    opened.escrow.delete(attempt)
    opened.aws.requests.clear()
    assert opened.escrow.tokens(attempt.registry) == [other.escrow_token]
    (request,) = opened.aws.requests
    assert "ProjectionExpression" in json.loads(request.body)


def test_another_nonce_is_another_place(opened: BareStack, attempt: Attempt) -> None:
    """A restored ledger counts the same attempt again, and must not meet the old answer."""
    kept(opened, attempt)
    assert not opened.escrow.holds(new_attempt(attempt.registry))


class TestCheck:
    def test_it_proves_that_an_answer_could_be_kept_read_and_deleted(self, opened: BareStack, attempt: Attempt) -> None:
        probe = new_attempt(attempt.registry, number=0)
        opened.escrow.check(probe)
        assert opened.escrow.tokens(attempt.registry) == []

    @pytest.mark.parametrize("operation", ["kms:Encrypt", "kms:Decrypt", WRITE, "dynamodb:GetItem"])
    def test_a_right_that_is_missing_is_found_before_anything_is_at_stake(
        self, opened: BareStack, attempt: Attempt, operation: str
    ) -> None:
        opened.aws.faults.add(operation, aws_faults.refuse(), times=None)
        with pytest.raises(Denied):
            opened.escrow.check(new_attempt(attempt.registry, number=0))

    @pytest.mark.parametrize("operation", ["kms:Encrypt", WRITE])
    def test_what_does_not_answer_is_said_so(self, opened: BareStack, attempt: Attempt, operation: str) -> None:
        opened.aws.faults.add(operation, aws_faults.drop_before(), times=None)
        with pytest.raises(Unreachable):
            opened.escrow.check(new_attempt(attempt.registry, number=0))


def test_no_error_says_what_was_to_be_kept(opened: BareStack, attempt: Attempt) -> None:
    password = secrets.token_urlsafe(16)
    envelope = opened.escrow.envelope(attempt)
    opened.aws.faults.add(WRITE, aws_faults.refuse("ValidationException"), times=None)
    with pytest.raises(RekeyError) as caught:
        opened.escrow.put(attempt, envelope, password.encode())
    assert password not in repr(caught.value)
    assert caught.value.__cause__ is None
