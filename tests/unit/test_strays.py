"""Answers in the escrow that nobody waits for: deleted where they are decided, adopted where they are not."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Conflict, Fenced
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, Phase, Rotation
from rekey.records.escrow import OF_CHECK
from rekey.steps.reset import strays
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from rekey.model.rotation import Fence
    from tests.unit.bare_stack import BareStack

CALLED_AT = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
WRITE = "dynamodb:TransactWriteItems"
DECIDED = [
    AttemptOutcome.NO_EFFECT,
    AttemptOutcome.NOT_CALLED,
    AttemptOutcome.PROMOTED,
    AttemptOutcome.REFUSED,
    AttemptOutcome.STALE,
    AttemptOutcome.WRONG_PASTE,
]


@pytest.fixture
def fence(opened: BareStack) -> Fence:
    return opened.fence(opened.new_registry())


@pytest.fixture
def rotation(opened: BareStack, fence: Fence) -> Rotation:
    """Write a rotation that was restored: it knows no attempt."""
    return opened.rotation(fence, generation=2, phase=Phase.PREPARING)


def attempt_of(rotation: Rotation, number: int = 1, **fields: object) -> Attempt:
    return Attempt.model_validate(
        {
            "registry": rotation.registry,
            "generation": rotation.generation,
            "number": number,
            "kind": AttemptKind.RESET,
            "nonce": secrets.token_hex(16),
            "deadline": CALLED_AT,
            "called_at": CALLED_AT,
            **fields,
        }
    )


def keep(opened: BareStack, attempt: Attempt, raw: bytes = b"answer") -> Attempt:
    opened.escrow.put(attempt, opened.escrow.envelope(attempt), raw)
    return attempt


def save(opened: BareStack, fence: Fence, rotation: Rotation, **fields: object) -> tuple[Rotation, Attempt]:
    """Write an attempt that the ledger knows."""
    number = rotation.attempts + 1
    return opened.ledger.save(fence, rotation.having(attempts=number), attempt_of(rotation, number, **fields))


def settle(opened: BareStack, fence: Fence) -> tuple[Rotation, Attempt | None]:
    """Do what an invocation of reset does first."""
    rotation = opened.ledger.latest(fence.registry)
    assert rotation is not None
    return strays.settle(opened.bench, fence, rotation, opened.ledger.attempts_of(rotation))


def adopt(opened: BareStack, fence: Fence) -> tuple[Rotation, Attempt]:
    """Settle, where that adopts one."""
    rotation, attempt = settle(opened, fence)
    assert attempt is not None
    assert attempt.kind is AttemptKind.ADOPTED
    return rotation, attempt


def test_without_any_nothing_is_written(opened: BareStack, fence: Fence, rotation: Rotation) -> None:
    assert settle(opened, fence) == (rotation, None)
    assert opened.ledger.latest(fence.registry) == rotation


class TestDecided:
    @pytest.mark.parametrize("outcome", DECIDED)
    def test_its_answer_is_deleted_and_the_attempt_stays_as_it_is(
        self, opened: BareStack, fence: Fence, rotation: Rotation, outcome: AttemptOutcome
    ) -> None:
        """A crash between the two had left it."""
        saved, attempt = save(opened, fence, rotation, outcome=outcome)
        keep(opened, attempt)
        assert settle(opened, fence) == (saved, attempt)
        assert opened.escrow.tokens(fence.registry) == []

    def test_also_while_another_attempt_is_open(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        saved, done = save(opened, fence, rotation, outcome=AttemptOutcome.NO_EFFECT)
        _, claim = save(opened, fence, saved)
        keep(opened, done)
        keep(opened, claim)
        assert settle(opened, fence)[1] == claim
        assert opened.escrow.tokens(fence.registry) == [claim.escrow_token]


class TestOpen:
    def test_an_open_attempts_own_answer_stays(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        saved, attempt = save(opened, fence, rotation)
        keep(opened, attempt)
        assert settle(opened, fence) == (saved, attempt)
        assert opened.escrow.read(attempt) == b"answer"

    def test_nothing_is_adopted_beside_it(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        """One attempt at a time: the stray waits until the open one is closed."""
        stray = keep(opened, attempt_of(rotation, 7))
        saved, attempt = save(opened, fence, rotation)
        assert settle(opened, fence) == (saved, attempt)
        assert opened.escrow.tokens(fence.registry) == [stray.escrow_token]
        opened.ledger.save(fence, saved, attempt.having(outcome=AttemptOutcome.NOT_CALLED))
        assert adopt(opened, fence)[1].number == 2


class TestCompleted:
    def test_one_whose_password_is_promoted_adopts_none(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        """Begin has the next one try it: this one's consumers have its password already."""
        stray = keep(opened, attempt_of(rotation, 7))
        completed = opened.ledger.save_one(fence, rotation.having(phase=Phase.NEEDS_ATTENTION, promoted_at=CALLED_AT))
        assert settle(opened, fence) == (completed, None)
        assert opened.escrow.tokens(fence.registry) == [stray.escrow_token]
        assert not strays.waiting(opened.bench, completed)


class TestAdoption:
    def test_it_gets_an_attempt_of_its_own_that_a_login_decides(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        keep(opened, attempt_of(rotation, 7))
        changed, attempt = adopt(opened, fence)
        assert (attempt.number, attempt.generation, attempt.outcome) == (1, rotation.generation, None)
        assert (attempt.called_at, attempt.end) == (CALLED_AT, None)
        assert attempt.call_ended_at is not None  # its call may have left until now, for all that is known
        assert (changed.attempts, changed.phase) == (1, Phase.RESETTING)
        assert opened.ledger.latest(fence.registry) == changed
        assert opened.ledger.attempts_of(changed) == [attempt]

    def test_its_answer_moves_under_the_new_attempts_token(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        """Where it lay a tombstone stays: a late put recreated the item."""
        raw, stray = secrets.token_bytes(64), attempt_of(rotation, 7)
        keep(opened, stray, raw)
        _, attempt = adopt(opened, fence)
        assert attempt.escrow_token != stray.escrow_token
        assert opened.escrow.tokens(fence.registry) == [attempt.escrow_token]
        assert opened.escrow.read(attempt) == raw
        with pytest.raises(Conflict):
            keep(opened, stray, raw)

    def test_one_of_another_generation_is_found_too(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        """The ledger was restored to a time before that rotation."""
        keep(opened, attempt_of(rotation, generation=rotation.generation + 1))
        changed, attempt = adopt(opened, fence)
        assert attempt.generation == changed.generation == rotation.generation
        assert opened.escrow.read(attempt) == b"answer"

    @pytest.mark.parametrize("called_at", [CALLED_AT, None])
    def test_a_paste_is_adopted_as_one(
        self, opened: BareStack, fence: Fence, rotation: Rotation, called_at: datetime | None
    ) -> None:
        """What is in the escrow is the password itself; it closes no request that the paste did not."""
        keep(opened, attempt_of(rotation, 7, kind=AttemptKind.PASTED, called_at=called_at))
        _, attempt = adopt(opened, fence)
        assert (attempt.adopted, attempt.is_paste, attempt.called_at) == (AttemptKind.PASTED, True, called_at)

    def test_an_answer_is_not_adopted_as_a_paste(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        keep(opened, attempt_of(rotation, 7))
        assert adopt(opened, fence)[1].is_paste is False

    @pytest.mark.parametrize("outcome", [AttemptOutcome.LOST, AttemptOutcome.REPLACED])
    def test_so_is_that_of_an_attempt_that_ended_without_it(
        self, opened: BareStack, fence: Fence, rotation: Rotation, outcome: AttemptOutcome
    ) -> None:
        """It was kept late, or a paste that turned out wrong took its place: it may hold the password in force."""
        _, ended = save(opened, fence, rotation, outcome=outcome)
        keep(opened, ended)
        _, attempt = adopt(opened, fence)
        assert attempt.number == 2
        assert opened.escrow.tokens(fence.registry) == [attempt.escrow_token]

    def test_it_is_adopted_once(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        keep(opened, attempt_of(rotation, 7))
        adoption = adopt(opened, fence)
        assert settle(opened, fence) == adoption

    def test_two_are_adopted_one_after_the_other(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        raws = {b"one", b"two"}
        for number, raw in enumerate(raws, 7):
            keep(opened, attempt_of(rotation, number), raw)
        changed, first = adopt(opened, fence)
        read = opened.escrow.read(first)
        assert settle(opened, fence) == (changed, first)
        opened.ledger.save(fence, changed, first.having(outcome=AttemptOutcome.STALE))
        opened.escrow.delete(first)
        _, second = adopt(opened, fence)
        assert {read, opened.escrow.read(second)} == raws
        assert second.number == 2
        assert first.nonce != second.nonce  # a ledger restored once more must not meet this adoption's tombstone


class TestAllOrNothing:
    def test_an_owner_that_lost_the_lease_adopts_nothing(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        stray = keep(opened, attempt_of(rotation, 7))

        def take_over(_request: object) -> None:
            opened.own(fence.registry, "arn:another")

        opened.aws.faults.add(WRITE, aws_faults.call_before(take_over))
        with pytest.raises(Fenced):
            settle(opened, fence)
        assert opened.ledger.attempts_of(rotation) == []
        assert opened.escrow.tokens(fence.registry) == [stray.escrow_token]

    def test_neither_does_one_whose_rotation_moved_on(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        stray = keep(opened, attempt_of(rotation, 7))

        def write_first(_request: object) -> None:
            opened.ledger.save_one(fence, rotation.having(wrong_logins=1))

        opened.aws.faults.add(WRITE, aws_faults.call_before(write_first))
        with pytest.raises(Conflict):
            settle(opened, fence)
        assert opened.ledger.attempts_of(rotation) == []
        assert opened.escrow.tokens(fence.registry) == [stray.escrow_token]

    @pytest.mark.parametrize("operation", ["dynamodb:GetItem", WRITE])
    def test_an_answer_that_goes_meanwhile_is_not_adopted(
        self, opened: BareStack, fence: Fence, rotation: Rotation, operation: str
    ) -> None:
        """A duplicate of this function was faster: before it was read, or before it was moved."""
        stray = keep(opened, attempt_of(rotation, 7))

        def delete_first(_request: object) -> None:
            opened.escrow.delete(stray)

        opened.aws.faults.add(operation, aws_faults.call_before(delete_first))
        with pytest.raises(Conflict):
            settle(opened, fence)
        assert opened.ledger.latest(fence.registry) == rotation
        assert opened.ledger.attempts_of(rotation) == []
        assert opened.escrow.tokens(fence.registry) == []

    def test_a_lost_answer_to_the_write_is_no_second_adoption(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        keep(opened, attempt_of(rotation, 7))
        opened.aws.faults.add(WRITE, aws_faults.drop_after())
        changed, attempt = adopt(opened, fence)
        assert opened.ledger.attempts_of(changed) == [attempt]
        assert opened.escrow.tokens(fence.registry) == [attempt.escrow_token]


class TestCheck:
    """The gate proves that an answer could be kept; cut off, it leaves one that is nobody's."""

    def test_what_it_left_is_discarded_and_never_adopted(
        self, opened: BareStack, fence: Fence, rotation: Rotation
    ) -> None:
        keep(opened, attempt_of(rotation, OF_CHECK))
        assert settle(opened, fence) == (rotation, None)
        assert opened.escrow.tokens(fence.registry) == []

    def test_it_hides_no_answer_beside_it(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        for _ in range(3):
            keep(opened, attempt_of(rotation, OF_CHECK))
        keep(opened, attempt_of(rotation, 7), b"theirs")
        _, attempt = adopt(opened, fence)
        assert opened.escrow.read(attempt) == b"theirs"


class TestWaiting:
    """Before a person is called each answer is tried: whether another look would take one up."""

    def waits(self, opened: BareStack, fence: Fence) -> bool:
        rotation = opened.ledger.latest(fence.registry)
        assert rotation is not None
        return strays.waiting(opened.bench, rotation)

    def test_without_any_answer_none_does(self, opened: BareStack, fence: Fence, rotation: Rotation) -> None:
        save(opened, fence, rotation, outcome=AttemptOutcome.LOST)
        assert not self.waits(opened, fence)

    @pytest.mark.parametrize("outcome", [None, AttemptOutcome.NOT_CALLED])
    def test_one_that_nobody_knows_does(
        self, opened: BareStack, fence: Fence, rotation: Rotation, outcome: AttemptOutcome | None
    ) -> None:
        """Also beside an open attempt, which needs a person as it is."""
        save(opened, fence, rotation, outcome=outcome)
        keep(opened, attempt_of(rotation, 7))
        assert self.waits(opened, fence)

    @pytest.mark.parametrize("outcome", [AttemptOutcome.LOST, AttemptOutcome.REPLACED])
    def test_one_that_ended_without_its_answer_does_once_nothing_is_open(
        self, opened: BareStack, fence: Fence, rotation: Rotation, outcome: AttemptOutcome
    ) -> None:
        saved, ended = save(opened, fence, rotation, outcome=outcome)
        keep(opened, ended)
        assert self.waits(opened, fence)
        save(opened, fence, saved)
        assert not self.waits(opened, fence)

    @pytest.mark.parametrize("outcome", [None, *DECIDED])
    def test_the_open_attempts_own_and_decided_ones_do_not(
        self, opened: BareStack, fence: Fence, rotation: Rotation, outcome: AttemptOutcome | None
    ) -> None:
        keep(opened, save(opened, fence, rotation, outcome=outcome)[1])
        assert not self.waits(opened, fence)
