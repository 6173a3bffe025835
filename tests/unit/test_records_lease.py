"""One execution acts on a registry at a time, and an old one that still twitches is waited out."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Fenced
from rekey.records.dynamo import ConditionFailed, Table
from rekey.records.lease import Leases, owning
from tests.sandbox import aws_faults
from tests.unit.bare_stack import LONGEST, MARGIN, BareStack

if TYPE_CHECKING:
    from rekey.model.rotation import Lease

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
RACERS, SHARDS = 50, 40
HOUR = timedelta(hours=1)


def taken(leases: Leases, registry: str, owner: str, now: datetime = NOW, redrive: int = 0) -> Lease:
    lease = leases.take(registry, owner, redrive, now)
    assert lease is not None
    return lease


def hand_back(opened: BareStack, lease: Lease, registry: str, now: datetime = NOW, *, may_linger: bool = False) -> None:
    _, write = opened.leases().hand_back_write(lease.fence(registry), now, may_linger=may_linger)
    opened.table.write(write)


def current(opened: BareStack, registry: str) -> Lease:
    lease = opened.leases().current(registry)
    assert lease is not None
    return lease


def test_a_free_registry_is_taken_and_nothing_is_waited_for(opened: BareStack, registry: str) -> None:
    lease = taken(opened.leases(), registry, "a")
    assert (lease.owner, lease.epoch, lease.drain_until) == ("a", 1, NOW)
    assert current(opened, registry) == lease


def test_a_living_owner_keeps_it(opened: BareStack, registry: str) -> None:
    lease = taken(opened.leases(), registry, "a")
    assert opened.leases("a").take(registry, "b", 0, NOW) is None
    assert current(opened, registry) == lease


def test_the_owner_finds_it_its_own(opened: BareStack, registry: str) -> None:
    """Begin may be called twice, and again after a drain."""
    lease = taken(opened.leases(), registry, "a")
    assert taken(opened.leases("a"), registry, "a", NOW + HOUR) == lease


def test_a_redriven_execution_is_not_the_owner(opened: BareStack, registry: str) -> None:
    taken(opened.leases(), registry, "a", redrive=0)
    assert opened.leases("a").take(registry, "a", 1, NOW) is None


def test_the_epoch_grows_at_every_acquisition_and_no_tag_comes_twice(opened: BareStack, registry: str) -> None:
    """Of a free lease too: a late write of an earlier owner is told by it."""
    tags: set[str] = set()
    for number in range(1, 4):
        lease = taken(opened.leases(), registry, f"execution-{number}")
        assert lease.epoch == number
        tags.add(lease.tag)
        hand_back(opened, lease, registry)
    assert taken(opened.leases(), registry, "other").epoch == 4
    assert len(tags) == 3


def test_a_takeover_waits_for_the_dead_owners_functions(opened: BareStack, registry: str) -> None:
    """Two steps: "dead" only allows it to begin; until the drain is over the new owner does nothing."""
    old = taken(opened.leases(), registry, "a")
    new = taken(opened.leases(), registry, "b", NOW + HOUR)
    assert new.epoch == old.epoch + 1
    assert new.drain_until == NOW + HOUR + LONGEST + MARGIN


def test_the_wait_is_for_the_timeout_that_the_old_owner_wrote_down(opened: BareStack, registry: str) -> None:
    """A release with shorter timeouts takes over from one with longer ones."""
    longer = Leases(opened.table, lambda _: False, 3 * LONGEST, MARGIN)
    taken(longer, registry, "a")
    assert taken(opened.leases(), registry, "b").drain_until == NOW + 3 * LONGEST + MARGIN


def test_a_drain_is_never_shortened(opened: BareStack, registry: str) -> None:
    """Neither by the next takeover, nor by handing back, nor by taking the free lease."""
    first = Leases(opened.table, lambda _: False, 9 * LONGEST, MARGIN)
    taken(first, registry, "a")
    second = taken(opened.leases(), registry, "b")
    until = NOW + 9 * LONGEST + MARGIN
    assert second.drain_until == until
    third = taken(opened.leases(), registry, "c")
    assert third.drain_until == until
    hand_back(opened, third, registry)
    assert current(opened, registry).drain_until == until
    assert taken(opened.leases(), registry, "d").drain_until == until


def test_handed_back_cleanly_the_next_owner_need_not_wait(opened: BareStack, registry: str) -> None:
    lease = taken(opened.leases(), registry, "a")
    hand_back(opened, lease, registry, NOW + HOUR)
    free = current(opened, registry)
    assert (free.owner, free.epoch, free.drain_until) == (None, lease.epoch, NOW + HOUR)
    assert taken(opened.leases(), registry, "b", NOW + HOUR).drain_until <= NOW + HOUR


def test_handed_back_after_a_retry_the_next_owner_waits(opened: BareStack, registry: str) -> None:
    """A first deliver wrote generation 1 over generation 2 after a clean end."""
    lease = taken(opened.leases(), registry, "a")
    hand_back(opened, lease, registry, NOW + HOUR, may_linger=True)
    next_one = taken(opened.leases(), registry, "b", NOW + HOUR)
    assert next_one.drain_until == NOW + HOUR + LONGEST + MARGIN


def test_nobody_hands_back_what_is_not_his(opened: BareStack, registry: str) -> None:
    old = taken(opened.leases(), registry, "a")
    new = taken(opened.leases(), registry, "b")
    with pytest.raises(Fenced):
        hand_back(opened, old, registry)
    assert current(opened, registry) == new


def test_a_hand_back_that_was_prepared_before_a_takeover_fails(opened: BareStack, registry: str) -> None:
    old = taken(opened.leases(), registry, "a")
    _, write = opened.leases().hand_back_write(old.fence(registry), NOW, may_linger=False)
    new = taken(opened.leases(), registry, "b")
    with pytest.raises(ConditionFailed):
        opened.table.write(write)
    assert current(opened, registry) == new


@pytest.mark.parametrize("field", ["owner", "redrive", "epoch", "tag"])
def test_a_step_writes_only_under_the_acquisition_it_began_with(opened: BareStack, registry: str, field: str) -> None:
    """A ledger restored from a backup may reach the same epoch again, never the same tag."""
    fence = taken(opened.leases(), registry, "a").fence(registry)
    opened.table.write(owning(fence))
    other = {"owner": "b", "redrive": 1, "epoch": fence.epoch + 1, "tag": "other"}[field]
    with pytest.raises(ConditionFailed):
        opened.table.write(owning(fence.model_copy(update={field: other})))


def test_a_lost_answer_leaves_the_lease_with_who_took_it(opened: BareStack, registry: str) -> None:
    opened.aws.faults.add("dynamodb:TransactWriteItems", aws_faults.drop_after())
    lease = taken(opened.leases(), registry, "a")
    assert current(opened, registry) == lease


class TestRepeated:
    """A task that was called again: its first call may still run when the execution has ended."""

    def test_after_one_the_next_owner_waits(self, opened: BareStack, registry: str) -> None:
        lease = taken(opened.leases(), registry, "a")
        opened.leases().check(lease.fence(registry), repeated=True)
        hand_back(opened, lease, registry, NOW + HOUR)
        assert current(opened, registry).drain_until == NOW + HOUR + LONGEST + MARGIN

    def test_without_one_nobody_waits(self, opened: BareStack, registry: str) -> None:
        lease = taken(opened.leases(), registry, "a")
        opened.leases().check(lease.fence(registry), repeated=False)
        assert current(opened, registry) == lease
        hand_back(opened, lease, registry, NOW + HOUR)
        assert current(opened, registry).drain_until == NOW + HOUR

    def test_it_stays_noted_whatever_comes_after(self, opened: BareStack, registry: str) -> None:
        fence = taken(opened.leases(), registry, "a").fence(registry)
        opened.leases().check(fence, repeated=True)
        noted = current(opened, registry)
        for repeated in (False, True):
            opened.leases().check(fence, repeated=repeated)
        assert current(opened, registry) == noted
        assert taken(opened.leases(), registry, "a") == noted  # Begin finds it its own

    def test_the_next_acquisition_starts_without(self, opened: BareStack, registry: str) -> None:
        lease = taken(opened.leases(), registry, "a")
        opened.leases().check(lease.fence(registry), repeated=True)
        hand_back(opened, lease, registry)
        later = NOW + HOUR
        following = taken(opened.leases(), registry, "b", later)
        assert not following.repeated
        hand_back(opened, following, registry, later)
        assert current(opened, registry).drain_until == later

    def test_nor_does_a_takeover_inherit_it(self, opened: BareStack, registry: str) -> None:
        lease = taken(opened.leases(), registry, "a")
        opened.leases().check(lease.fence(registry), repeated=True)
        assert not taken(opened.leases(), registry, "b").repeated

    @pytest.mark.parametrize("repeated", [False, True])
    @pytest.mark.parametrize("field", ["owner", "redrive", "epoch", "tag"])
    def test_whoever_does_not_own_the_registry_is_stopped(
        self, opened: BareStack, registry: str, field: str, *, repeated: bool
    ) -> None:
        lease = taken(opened.leases(), registry, "a")
        other = {"owner": "b", "redrive": 1, "epoch": lease.epoch + 1, "tag": "other"}[field]
        with pytest.raises(Fenced):
            opened.leases().check(lease.fence(registry).model_copy(update={field: other}), repeated=repeated)
        assert current(opened, registry) == lease

    def test_so_is_one_that_loses_it_while_it_is_noted(self, opened: BareStack, registry: str) -> None:
        lease = taken(opened.leases(), registry, "a")

        def take_over(_request: object) -> None:
            taken(opened.leases(), registry, "b")

        opened.aws.faults.add("dynamodb:TransactWriteItems", aws_faults.call_before(take_over))
        with pytest.raises(Fenced):
            opened.leases().check(lease.fence(registry), repeated=True)
        assert (current(opened, registry).owner, current(opened, registry).repeated) == ("b", False)

    def test_of_many_shards_that_note_it_at_once_none_is_stopped(self, opened: BareStack, registry: str) -> None:
        """A throttled AWS makes the state machine repeat a whole Map."""
        fence = taken(opened.leases(), registry, "a").fence(registry)
        together, switched = threading.Barrier(SHARDS), sys.getswitchinterval()
        tables = [Table(opened.table.name) for _ in range(SHARDS)]

        def run(number: int) -> None:
            together.wait()
            Leases(tables[number], lambda _: True, LONGEST, MARGIN).check(fence, repeated=True)

        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(SHARDS) as pool:
                list(pool.map(run, range(SHARDS)))
        finally:
            sys.setswitchinterval(switched)
        assert current(opened, registry).repeated


@pytest.mark.parametrize("held", [False, True])
def test_of_fifty_that_want_it_one_gets_it(opened: BareStack, registry: str, *, held: bool) -> None:
    """A free one, and one whose owner died."""
    if held:
        taken(opened.leases(), registry, "dead")
    together, switched = threading.Barrier(RACERS), sys.getswitchinterval()
    tables = [Table(opened.table.name) for _ in range(RACERS)]

    def run(number: int) -> Lease | None:
        leases = Leases(tables[number], lambda owner: owner != "dead", LONGEST, MARGIN)
        together.wait()
        return leases.take(registry, f"racer-{number}", 0, NOW)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(RACERS) as pool:
            winners = [lease for lease in pool.map(run, range(RACERS)) if lease is not None]
    finally:
        sys.setswitchinterval(switched)
    assert [current(opened, registry)] == winners
    assert winners[0].epoch == 1 + held
