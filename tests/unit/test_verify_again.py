"""A password that is delivered again is tried before: what was accepted long ago says nothing of today."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.contracts import Contents
from rekey.errors import NotFound
from rekey.model.request import Reason
from rekey.model.rotation import Phase
from rekey.model.state import Next, Operation, Outcome
from rekey.model.verdict import ConsumerOutcome, LoginVerdict
from rekey.records.folder import EntryState, ShardFile
from rekey.steps import report
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.bare_stack import BareStack

UNWELL = faults.answer(Response.json({}, 503))
LONG = timedelta(days=90)
NEW = "another-" * 3


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    """Make one whose password was promoted long ago, and is to be delivered again."""
    with Place(opened, Reason.REQUESTED, {"prove_within": timedelta(minutes=5)}) as place:
        assert place.reset().next is Next.DELIVER
        to_be_delivered_again(place)
        yield place


def to_be_delivered_again(place: Place) -> None:
    then, now = runtime.now() - LONG, runtime.now()
    verdicts = {"new_verdict": LoginVerdict.ACCEPTED, "old_verdict": LoginVerdict.REFUSED}
    again = {"delivered_again_at": now, "reopened": True, "heard_by": "an earlier one"}
    place.write(phase=Phase.DELIVERING, promoted_at=then, **again, **verdicts)
    place.state = place.state.model_copy(update={"operation": Operation.DELIVER})
    place.shown.clear()


def test_accepted_it_is_delivered_and_asked_for_once_more_after_that(place: Place) -> None:
    assert place.try_before_delivery().next is Next.DELIVER
    assert place.try_before_delivery(repeated=True).next is Next.DELIVER, "its answer was lost"
    assert place.rotation.phase is Phase.DELIVERING
    assert not place.rotation.heard
    assert place.verify().next is Next.CONSUMERS
    assert place.rotation.heard
    assert [let_in for _, let_in in place.shown] == [True, True, True]


def test_refused_twice_nobody_is_told_it_and_it_is_over_again(place: Place) -> None:
    """It was over before: left open, it would keep everybody waiting who asks for a new one."""
    place.passwords.known[place.name] = NEW
    assert place.try_before_delivery().next is Next.WAIT
    assert place.try_before_delivery().next is Next.REPORT
    assert place.rotation.phase is Phase.NEEDS_ATTENTION
    assert place.asked_for() == []
    assert report.run(place.bench, place.call).outcome is Outcome.NEEDS_ATTENTION
    assert not place.rotation.phase.open
    (why,) = place.asked_for()
    assert f"`rekey rotate {place.name} --reason lost`" in why
    place.leak()
    place.begin()
    assert place.state.generation == 2


def test_one_that_was_never_over_waits_for_the_person(place: Place) -> None:
    place.write(reopened=False)
    place.passwords.known[place.name] = NEW
    place.try_before_delivery()
    assert place.try_before_delivery().next is Next.REPORT
    assert len(place.asked_for()) == 1
    assert report.run(place.bench, place.call).outcome is Outcome.NEEDS_ATTENTION
    assert place.rotation.phase is Phase.NEEDS_ATTENTION


def test_refused_once_it_waits_for_the_registry_to_be_well(place: Place) -> None:
    """However long: what the registry said last is that it is dead."""
    place.passwords.known[place.name] = NEW
    assert place.try_before_delivery().next is Next.WAIT
    place.api.inject(UNWELL, times=None)
    place.write(held_back_since=runtime.now() - LONG)
    assert place.try_before_delivery().next is Next.WAIT
    assert place.rotation.new_refusals == 1


@pytest.mark.parametrize(("ago", "led"), [(None, Next.WAIT), (timedelta(minutes=6), Next.DELIVER)])
def test_where_the_registry_cannot_be_asked_it_is_held_back_for_a_while(
    place: Place, ago: timedelta | None, led: Next
) -> None:
    """In each execution: what was so in an earlier one, or while consumers were prepared, does not count."""
    place.registry.__exit__(None, None, None)
    place.write(delivered_again_at=runtime.now() - LONG, held_back_since=runtime.now() - ago if ago else None)
    assert place.try_before_delivery().next is led
    assert place.rotation.held_back_since is not None
    place.registry.__enter__()


def test_pasted_in_between_nobody_is_told_the_one_that_was_in_force(place: Place) -> None:
    place.paste(NEW)
    assert place.try_before_delivery().next is Next.REPORT


def test_contents_that_moved_since_are_no_loss(place: Place) -> None:
    """They could not be read after the reset, months ago."""
    place.bench.folder(place.name, 1).save_snapshot(Contents({"shop/web": {"latest": f"sha256:{'a' * 64}"}}))
    place.write(snapshot_at=runtime.now() - LONG)
    assert place.verify().next is Next.CONSUMERS
    assert place.rotation.contents_unchanged is None
    place.write(reopened=False)
    assert place.verify().next is Next.CONSUMERS
    assert place.rotation.contents_unchanged is False, "of one that was not over they are compared"


def test_an_old_password_that_the_store_has_dropped_holds_nothing_up(place: Place) -> None:
    place.write(old_version="0" * 32, old_verdict=None)
    place.tell()
    place.write(contents_unchanged=True)
    assert place.verify().next is Next.CONSUMERS
    assert place.rotation.old_verdict is None
    assert report.run(place.bench, place.call).outcome is Outcome.FINISHED


def test_that_it_is_still_accepted_is_not_forgotten_with_it(place: Place) -> None:
    """Else a registry that takes both would end well."""
    place.write(old_version="0" * 32, old_verdict=LoginVerdict.ACCEPTED)
    place.tell()
    assert place.verify().next is Next.CONSUMERS
    assert place.rotation.old_version is not None
    assert report.run(place.bench, place.call).outcome is Outcome.NEEDS_ATTENTION


def test_of_a_rotation_that_was_never_over_the_old_password_has_to_be_there(place: Place) -> None:
    """That it is dead is what the rotation is for."""
    place.write(old_version="0" * 32, old_verdict=None, reopened=False)
    with pytest.raises(NotFound):
        place.verify()


def test_opened_once_more_where_the_next_rotation_stopped_it_is_tried_too(place: Place) -> None:
    place.tell(ConsumerOutcome.PENDING)
    place.hand_back()
    place.leak()
    place.begin()
    assert place.state.generation == 2
    unready = ShardFile(0, (EntryState("deploy-bot", problem="is away"),), prepared=True)
    place.bench.folder(place.name, 2).save_shard(unready)
    led = place.reset()
    assert (led.next, led.operation, led.generation) == (Next.VERIFY, Operation.DELIVER, 1)


def test_each_execution_tries_it_before_it_goes_on(place: Place) -> None:
    """The one before was stopped when it had been tried: that was then."""
    place.write(phase=Phase.VERIFYING, held_back_since=runtime.now() - LONG)
    place.hand_back()
    place.begin()
    assert (place.state.next, place.state.operation) == (Next.PREPARE, Operation.DELIVER)
    assert place.rotation.held_back_since is None
