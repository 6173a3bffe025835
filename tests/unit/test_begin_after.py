"""Begin after an earlier rotation: a leak that its reset does not meet, and the wrong logins that were spent."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime
from rekey.errors import Denied
from rekey.model.password import Password
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, Phase
from rekey.model.state import Next
from rekey.records import pasting
from rekey.records.ledger import following
from rekey.records.plans import plan_key, to_stored
from tests.sandbox import aws_faults
from tests.sandbox.wire import Response
from tests.unit.bare_stack import ASKED, BareStack, plan_of
from tests.unit.scripted_registry import API, BASIC, Scripted, asks_for_basic
from tests.unit.test_begin import free, latest, pin, run, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rekey.model.rotation import Rotation
    from tests.sandbox.aws_faults import AwsRequest

WRITE = "dynamodb:TransactWriteItems"
MINUTE = timedelta(minutes=1)
BEFORE, AFTER = ASKED - MINUTE, ASKED + MINUTE
"""A reset that was called then does not meet what was asked, or meets it."""
BUDGET = 3


@pytest.fixture
def registry(opened: BareStack) -> str:
    """Push a registry's plan."""
    name = opened.new_registry()
    opened.push(name)
    return name


def completed(opened: BareStack, registry: str, called_at: datetime | None, **fields: object) -> None:
    """Write a rotation whose password is in force, and which still has consumers to tell."""
    pin(opened, registry)
    given = {"phase": Phase.DELIVERING, "shards": 1, "called_at": called_at, "promoted_at": AFTER, **fields}
    version = store(opened, registry, generation=1)
    free(opened, registry, store_version=version, **given)


class TestALaterLeak:
    def test_it_waits_for_no_slow_consumer(self, opened: BareStack, registry: str) -> None:
        """The next rotation tells the consumers that this one has not reached; it is closed, and says why."""
        completed(opened, registry, BEFORE)
        opened.ask(registry)
        state = run(opened, registry)
        assert (state.next, state.generation) == (Next.PREPARE, 2)
        old = opened.ledger.rotation(registry, 1)
        assert old is not None
        assert (old.phase, old.finished_at is not None, old.cut_short) == (Phase.FINISHED, True, True)
        assert "a later leak" in old.problems[0]
        assert latest(opened, registry).reason is Reason.COMPROMISED

    def test_where_the_next_ones_store_cannot_be_read_it_goes_on(self, opened: BareStack, registry: str) -> None:
        """Closed for a rotation that cannot begin, its consumers would never hear of the password in force."""
        completed(opened, registry, BEFORE)
        opened.ask(registry)
        moved = plan_of(registry, store={"type": "secrets-manager", "name": f"registries/{registry}-moved"})
        opened.bucket.write(plan_key(registry), to_stored(moved), "application/json")
        assert stays_open(opened, registry)

    def test_it_is_closed_in_the_transaction_that_opens_the_next(self, opened: BareStack, registry: str) -> None:
        """Cut off in between, nobody would know that something is left."""
        completed(opened, registry, BEFORE)
        opened.ask(registry)
        opened.aws.faults.add(WRITE, aws_faults.refuse("AccessDeniedException"), where=_opens(registry))
        with pytest.raises(Denied):
            run(opened, registry)
        assert latest(opened, registry).phase is Phase.DELIVERING

    def test_also_while_it_is_being_verified(self, opened: BareStack, registry: str) -> None:
        completed(opened, registry, BEFORE, phase=Phase.VERIFYING)
        opened.ask(registry)
        assert run(opened, registry).generation == 2

    def test_a_reset_that_says_not_when_it_was_called_meets_none(self, opened: BareStack, registry: str) -> None:
        """A paste whose person did not say when they clicked."""
        completed(opened, registry, None)
        opened.ask(registry)
        assert run(opened, registry).generation == 2

    @pytest.mark.parametrize("met_by_another", [False, True])
    def test_one_that_the_reset_meets_does_not_end_it(
        self, opened: BareStack, registry: str, *, met_by_another: bool
    ) -> None:
        completed(opened, registry, AFTER)
        opened.ask(registry)
        if met_by_another:
            opened.ask(registry, "second")
        assert stays_open(opened, registry)

    @pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.COMPROMISED])
    def test_what_is_no_leak_waits(self, opened: BareStack, registry: str, reason: Reason) -> None:
        completed(opened, registry, BEFORE)
        opened.ask(registry, reason=reason)
        assert stays_open(opened, registry)

    def test_before_the_reset_is_completed_the_rotation_is_the_leaks_own(
        self, opened: BareStack, registry: str
    ) -> None:
        completed(opened, registry, BEFORE, phase=Phase.RESETTING, promoted_at=None)
        opened.ask(registry)
        assert stays_open(opened, registry, Next.RESET)

    def test_where_a_person_is_needed_the_leak_waits_for_them(self, opened: BareStack, registry: str) -> None:
        """Nothing more is reset until they have looked."""
        completed(opened, registry, BEFORE, phase=Phase.NEEDS_ATTENTION)
        opened.ask(registry)
        assert stays_open(opened, registry, Next.RESET)


class TestAnAnswerThatTheLedgerHasForgotten:
    """The backup that it was restored from is older than the next rotation, whose answer may be the password."""

    def test_is_tried_by_the_next_one_which_tells_everybody(self, opened: BareStack, registry: str) -> None:
        """Under this one's number it would not reach a consumer that has this one's password already."""
        completed(opened, registry, AFTER)
        self.keep(opened, registry, 2)
        state = run(opened, registry)
        assert (state.next, state.generation) == (Next.PREPARE, 2)
        old = opened.ledger.rotation(registry, 1)
        assert old is not None
        assert (old.phase, old.cut_short) == (Phase.FINISHED, True)

    def test_also_where_a_person_is_needed(self, opened: BareStack, registry: str) -> None:
        completed(opened, registry, AFTER, phase=Phase.NEEDS_ATTENTION)
        self.keep(opened, registry, 2)
        assert run(opened, registry).generation == 2

    def test_its_own_is_none(self, opened: BareStack, registry: str) -> None:
        completed(opened, registry, AFTER)
        opened.ledger.table.write(following(*[self.keep(opened, registry, 1)] * 2))
        assert stays_open(opened, registry)

    def test_nor_is_one_of_the_rotation_before(self, opened: BareStack, registry: str) -> None:
        """A paste overtook that one before its answers were decided; they go when this one's password is proven."""
        pin(opened, registry, 2)
        version = store(opened, registry, generation=2)
        promoted = {"generation": 2, "called_at": AFTER, "promoted_at": AFTER, "store_version": version}
        free(opened, registry, phase=Phase.DELIVERING, shards=1, **promoted)
        opened.ledger.table.write(following(*[self.keep(opened, registry, 1)] * 2))
        state = run(opened, registry)
        assert (state.next, state.generation) == (Next.DELIVER, 2)

    def test_before_the_reset_is_completed_it_is_adopted(self, opened: BareStack, registry: str) -> None:
        completed(opened, registry, None, phase=Phase.RESETTING, promoted_at=None)
        self.keep(opened, registry, 2)
        assert stays_open(opened, registry, Next.RESET)

    def keep(self, opened: BareStack, registry: str, generation: int) -> Attempt:
        """Put an answer into the escrow, of an attempt that nobody has written down."""
        now = runtime.now()
        attempt = Attempt(
            registry=registry,
            generation=generation,
            number=1,
            kind=AttemptKind.RESET,
            nonce=secrets.token_hex(16),
            deadline=now,
        )
        opened.escrow.put(attempt, opened.escrow.envelope(attempt), b"{}")
        return attempt


def stays_open(opened: BareStack, registry: str, enters: Next = Next.DELIVER) -> bool:
    """Whether the rotation that is there is gone on with."""
    state = run(opened, registry)
    return (state.next, state.generation, latest(opened, registry).phase.open) == (enters, 1, True)


class TestAnAnswerThatNoneWaitsFor:
    """Nobody asks, and it may be the only copy of the password in force."""

    def pasted(self, opened: BareStack, registry: str) -> None:
        now = runtime.now()
        password = Password(secrets.token_urlsafe(12))
        pasting.paste(opened.ledger, opened.escrow, registry, password, now=now, clicked_at=None)

    @pytest.mark.parametrize("known", [0, 1])
    def test_beside_a_store_that_is_further_a_rotation_is_opened_for_it(
        self, opened: BareStack, registry: str, known: int
    ) -> None:
        """The ledger was lost, or restored, before the paste."""
        store(opened, registry, generation=3)
        if known:
            free(opened, registry, generation=known, phase=Phase.FINISHED)
        self.pasted(opened, registry)
        state = run(opened, registry)
        assert (state.next, state.generation) == (Next.PREPARE, 4)
        assert latest(opened, registry).reason is Reason.REQUESTED
        overtaken = opened.ledger.rotation(registry, known + 1)
        assert overtaken is not None
        assert overtaken.phase is Phase.FINISHED
        assert opened.ledger.open_registries()[registry] is True

    def test_without_one_nothing_is_opened(self, opened: BareStack, registry: str) -> None:
        store(opened, registry, generation=3)
        self.pasted(opened, registry)
        for token in opened.escrow.tokens(registry):
            opened.escrow.discard(registry, token)
        assert run(opened, registry).next is Next.STOP
        assert latest(opened, registry).generation == 1
        assert registry not in opened.ledger.open_registries()


def _opens(registry: str) -> Callable[[AwsRequest], bool]:
    """Return what picks the write that opens a registry's second rotation."""
    return lambda request: b"rotation#00000002" in request.body and registry.encode() in request.body


class TestWrongLogins:
    def stopped(self, opened: BareStack, registry: str, finished_at: datetime | None, **fields: object) -> Rotation:
        given = {"generation": 3, "phase": Phase.STOPPED, "wrong_logins": 2, "finished_at": finished_at, **fields}
        return free(opened, registry, **given)

    def test_those_of_a_rotation_that_stopped_count_on(self, opened: BareStack, registry: str) -> None:
        """The account is the same, and the tick tries again every half hour: it would be locked by and by."""
        self.stopped(opened, registry, AFTER)
        opened.ask(registry)
        assert run(opened, registry).generation == 3
        assert latest(opened, registry).wrong_logins == 2

    def test_unless_somebody_has_asked_anew(self, opened: BareStack, registry: str) -> None:
        """Who asks again after a stop has looked."""
        self.stopped(opened, registry, BEFORE)
        opened.ask(registry)
        run(opened, registry)
        assert latest(opened, registry).wrong_logins == 0

    def test_those_of_another_generation_are_over(self, opened: BareStack, registry: str) -> None:
        self.stopped(opened, registry, AFTER, phase=Phase.FINISHED)
        opened.ask(registry)
        assert run(opened, registry).generation == 4
        assert latest(opened, registry).wrong_logins == 0


class TestSnapshot:
    @pytest.fixture
    def refusing(self) -> Iterator[Scripted]:
        with Scripted(asks_for_basic(Response.json({}, 401, {**API, **BASIC}))) as refusing:
            yield refusing

    def begin(self, opened: BareStack, refusing: Scripted, spent: int) -> Rotation:
        """Begin after a rotation that stopped with so many wrong logins; return the new one."""
        name = opened.new_registry()
        at: dict[str, Any] = {"endpoint": refusing.url, "where": "console"}
        opened.push(name, registry={"name": name, "type": "manual", "username": name, **at})
        store(opened, name)
        free(opened, name, phase=Phase.STOPPED, wrong_logins=spent, finished_at=AFTER)
        opened.ask(name)
        assert run(opened, name).next is Next.PREPARE
        return latest(opened, name)

    def test_a_refusal_is_a_wrong_login(self, opened: BareStack, refusing: Scripted) -> None:
        begun = self.begin(opened, refusing, BUDGET - 2)
        assert begun.wrong_logins == BUDGET - 1
        assert "refuses the password" in begun.contents_note
        assert begun.snapshot_at is None

    @pytest.mark.parametrize("spent", [BUDGET - 1, BUDGET])
    def test_the_last_one_is_the_new_passwords(self, opened: BareStack, refusing: Scripted, spent: int) -> None:
        begun = self.begin(opened, refusing, spent)
        assert not refusing.got_credentials()
        assert begun.wrong_logins == spent
        assert "could lock the account" in begun.contents_note

    def test_a_registry_that_is_away_costs_none(self, opened: BareStack, refusing: Scripted) -> None:
        refusing.answer = asks_for_basic(Response.json({}, 503))
        assert self.begin(opened, refusing, 1).wrong_logins == 1


class TestRepeated:
    @pytest.mark.parametrize("repeated", [False, True])
    def test_a_begin_that_is_called_again_is_noted_on_the_lease(
        self, opened: BareStack, registry: str, *, repeated: bool
    ) -> None:
        opened.ask(registry)
        run(opened, registry)
        run(opened, registry, repeated=repeated)
        lease = opened.leases().current(registry)
        assert lease is not None
        assert lease.repeated is repeated

    def test_also_while_it_waits_for_the_last_owners_functions(self, opened: BareStack, registry: str) -> None:
        opened.ask(registry)
        opened.own(registry)
        assert run(opened, registry, repeated=True).next is Next.WAIT
        lease = opened.leases().current(registry)
        assert lease is not None
        assert lease.repeated
