"""Verify: what the registry says of the new password and of the old one, within the budget of wrong logins."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.errors import Fenced
from rekey.model.moment import parse
from rekey.model.request import Reason
from rekey.model.rotation import Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rekey.model.state import State
    from tests.unit.bare_stack import BareStack

LONG = timedelta(minutes=10)
BUDGET = 3


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    """Make one whose password is promoted and proven, a moment ago."""
    with Place(opened, Reason.REQUESTED) as place:
        delivered(place)
        yield place


def delivered(place: Place, **changes: object) -> None:
    """Bring the rotation to its verification, where these things are so."""
    assert place.reset().next is Next.DELIVER
    if changes:
        place.write(**changes)
    place.shown.clear()
    place.opened.aws.requests.clear()


def waits(state: State, least: timedelta) -> bool:
    """Whether it asks again, and not before so long."""
    now, until = runtime.now(), parse(str(state.until))
    return state.next is Next.WAIT and now + least - timedelta(seconds=5) < until <= now + least


class TestOldPassword:
    def test_two_refusals_prove_that_it_is_dead(self, place: Place) -> None:
        assert place.verify().next is Next.WAIT
        assert place.rotation.old_verdict is None
        assert place.verify().next is Next.CONSUMERS
        assert place.rotation.old_verdict is LoginVerdict.REFUSED
        assert place.rotation.wrong_logins == place.refused == 2
        assert place.opened.told(place.name) == ["Old Password Refused"]

    def test_the_second_one_comes_as_soon_as_it_counts(self, opened: BareStack) -> None:
        """However long a registry may be away: the leak is open until then."""
        pause = timedelta(seconds=3)
        with Place(opened, Reason.REQUESTED, {"prove_within": LONG, "refusal_pause": pause}) as place:
            delivered(place)
            assert waits(place.verify(), pause)

    def test_one_that_is_still_accepted_is_asked_again_for_a_while(self, opened: BareStack) -> None:
        """A registry may cache logins. Once it is over, it is refused like any other."""
        with Place(opened, Reason.REQUESTED, {"prove_within": LONG}) as place:
            delivered(place)
            place.also = [place.first]
            assert waits(place.verify(), LONG / 10)
            assert waits(place.verify(), LONG / 10)
            assert (place.rotation.old_verdict, place.rotation.wrong_logins) == (LoginVerdict.ACCEPTED, 0)
            place.also = []
            place.verify()
            assert place.verify().next is Next.CONSUMERS
            assert place.rotation.old_verdict is LoginVerdict.REFUSED

    def test_and_when_that_is_over_it_is_said_and_nothing_is_held_back(self, opened: BareStack) -> None:
        with Place(opened, Reason.REQUESTED, {"prove_within": LONG}) as place:
            delivered(place, promoted_at=runtime.now() - LONG)
            place.also = [place.first]
            assert place.verify().next is Next.CONSUMERS
            assert place.rotation.old_verdict is LoginVerdict.ACCEPTED

    def test_a_registry_that_cannot_be_asked_is_not_waited_for(self, opened: BareStack) -> None:
        """Consumers are to be verified; the next execution asks again."""
        with Place(opened, Reason.REQUESTED, {"prove_within": LONG}) as place:
            delivered(place)
            place.registry.inject(faults.answer(Response.json({}, 503)), times=None)
            assert place.verify().next is Next.CONSUMERS
            assert (place.rotation.heard, place.rotation.old_verdict) == (False, None)

    def test_and_the_old_one_is_not_waited_for_either_where_only_it_cannot_be_asked(self, opened: BareStack) -> None:
        with Place(opened, Reason.REQUESTED, {"prove_within": LONG}) as place:
            delivered(place, heard_by=place.owner)
            place.registry.inject(faults.answer(Response.json({}, 503)), times=None)
            assert place.verify().next is Next.CONSUMERS
            assert place.rotation.old_verdict is LoginVerdict.UNREACHABLE


class TestBudget:
    def test_that_it_is_used_up_before_the_old_one_is_proven_is_written(self, place: Place) -> None:
        place.write(wrong_logins=BUDGET, heard_by=place.owner)
        assert place.verify().next is Next.CONSUMERS
        assert place.rotation.logins_spent
        assert (place.refused, place.rotation.old_verdict) == (0, None)

    def test_where_the_new_one_cannot_be_asked_any_more_a_person_is(self, place: Place) -> None:
        """Else the rotation would stay open in silence, with a password that nobody has tried."""
        place.write(new_verdict=LoginVerdict.UNPROVEN, wrong_logins=BUDGET)
        assert place.verify().outcome is Outcome.NEEDS_ATTENTION
        assert "used up" in place.asked_for()[0]
        assert place.rotation.problems == tuple(place.asked_for())
        assert place.rotation.paged_at is not None
        assert place.shown == []

    def test_with_one_left_it_is_asked(self, place: Place) -> None:
        place.write(new_verdict=LoginVerdict.UNPROVEN, wrong_logins=BUDGET - 1)
        place.verify()
        assert not place.rotation.logins_spent
        assert place.rotation.new_verdict is LoginVerdict.ACCEPTED

    def test_none_is_spent_on_the_old_one_before_the_new_one_is_proven(self, place: Place) -> None:
        """They may be what its proof needs."""
        place.write(new_verdict=LoginVerdict.UNPROVEN)
        away = faults.answer(Response.json({}, 503))
        place.registry.inject(away)
        assert place.verify().next is Next.CONSUMERS
        assert place.rotation.new_verdict is LoginVerdict.UNPROVEN
        assert (place.shown, place.rotation.old_verdict) == ([], None)


class TestNewPassword:
    """Somebody may have reset the registry since the reset heard the new password accepted."""

    def test_it_is_asked_once_in_each_execution(self, place: Place) -> None:
        place.write(contents_unchanged=True)  # reading them is no question
        assert place.verify().next is Next.WAIT  # for the old one's second refusal
        assert [right for _, right in place.shown] == [True, False]
        assert place.rotation.heard
        place.verify()
        assert [right for _, right in place.shown] == [True, False, False]
        place.hand_back()
        place.begin()
        assert not place.rotation.heard
        place.verify()
        assert [right for _, right in place.shown] == [True, False, False, True]
        assert place.rotation.heard

    def test_one_refusal_is_none_and_what_is_accepted_then_counts_from_nought(self, place: Place) -> None:
        right = place.passwords.known[place.name]
        place.passwords.known[place.name] = secrets.token_urlsafe(12)
        assert place.verify().next is Next.WAIT
        assert (place.rotation.new_refusals, place.rotation.wrong_logins, place.refused) == (1, 1, 1)
        place.passwords.known[place.name] = right
        place.verify()
        assert place.rotation.heard
        assert (place.rotation.new_refusals, place.rotation.new_verdict) == (0, LoginVerdict.ACCEPTED)

    @pytest.mark.parametrize("verdict", [LoginVerdict.ACCEPTED, LoginVerdict.UNPROVEN])
    def test_a_second_refusal_waits_for_a_registry_that_is_well(self, place: Place, verdict: LoginVerdict) -> None:
        place.write(new_verdict=verdict)
        place.passwords.known[place.name] = secrets.token_urlsafe(12)
        assert place.verify().next is Next.WAIT
        place.api.inject(faults.answer(Response.json({}, 503)), times=None)
        assert place.verify().next is Next.CONSUMERS
        assert (place.refused, place.rotation.new_refusals, place.rotation.old_refusals) == (1, 1, 0)
        assert place.asked_for() == []
        place.api.clear_faults()
        assert place.verify().outcome is Outcome.NEEDS_ATTENTION
        assert place.refused == 2

    def test_where_one_refusal_used_the_budget_up_a_person_is_asked(self, place: Place) -> None:
        place.write(wrong_logins=BUDGET - 1)
        place.passwords.known[place.name] = secrets.token_urlsafe(12)
        assert place.verify().next is Next.WAIT
        assert place.verify().outcome is Outcome.NEEDS_ATTENTION
        assert "used up" in place.asked_for()[0]
        assert place.refused == 1

    def test_none_is_risked_where_the_budget_is_used_up_already(self, place: Place) -> None:
        place.write(wrong_logins=BUDGET)
        assert place.verify().next is Next.CONSUMERS
        assert place.shown == []
        assert (place.rotation.heard, place.rotation.logins_spent) == (False, True)


class TestResetElsewhere:
    @pytest.mark.parametrize("verdict", [LoginVerdict.ACCEPTED, LoginVerdict.UNPROVEN])
    def test_a_person_is_told_before_it_is_written(self, place: Place, verdict: LoginVerdict) -> None:
        """Cut off in between it is told twice, rather than never."""
        place.write(new_verdict=verdict)
        place.passwords.known[place.name] = secrets.token_urlsafe(12)
        assert place.verify().next is Next.WAIT  # one refusal is none
        told = place.when_told()
        assert place.verify().outcome is Outcome.NEEDS_ATTENTION
        assert [rotation.phase for rotation in told] == [Phase.VERIFYING]
        assert "reset it elsewhere" in place.asked_for()[0]
        assert ("`password_at` is wrong" in place.asked_for()[0]) is (verdict is LoginVerdict.UNPROVEN)
        assert place.rotation.problems == tuple(place.asked_for())
        assert (place.rotation.phase, place.rotation.new_verdict) == (Phase.NEEDS_ATTENTION, LoginVerdict.REFUSED)
        assert place.rotation.paged_at is not None


class TestRepeated:
    """A task that is called again is noted on the lease: a first call of it may still run."""

    @pytest.mark.parametrize("function", [Place.prepare, Place.reset, Place.verify])
    def test_every_step_notes_it(self, place: Place, function: Callable[..., object]) -> None:
        function(place)
        assert not place.lease.repeated
        function(place, repeated=True)
        assert place.lease.repeated

    @pytest.mark.parametrize("function", [Place.prepare, Place.reset, Place.verify])
    def test_and_stops_where_another_owns_the_registry(self, place: Place, function: Callable[..., object]) -> None:
        place.opened.own(place.name)
        with pytest.raises(Fenced):
            function(place, repeated=True)
        assert not place.lease.repeated
