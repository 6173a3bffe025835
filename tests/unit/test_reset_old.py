"""Before the call: the old password is tried, and two refusals are one. After it nobody can be asked any more."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model.request import Reason
from rekey.model.rotation import AttemptOutcome, Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API, BASIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.rotation import Attempt
    from tests.sandbox.wire import Request
    from tests.unit.bare_stack import BareStack

PAUSE = timedelta(seconds=0.3)
PATIENT = {"prove_within": timedelta(seconds=20), "refusal_pause": PAUSE}
REFUSAL = faults.answer(Response.json({}, 401, {**API, **BASIC}))


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    """Make one whose rotation is no leak's, so that it stops at what it does not understand."""
    with Place(opened, Reason.REQUESTED, PATIENT) as place:
        yield place


def reset_elsewhere(place: Place) -> None:
    """Let somebody have reset the password in the console."""
    place.passwords.known[place.name] = secrets.token_urlsafe(12)


def shows_a_password(request: Request) -> bool:
    return "authorization" in request.headers


def attempt(place: Place) -> Attempt:
    return place.bench.ledger.attempts(place.name, 1)[-1]


def test_two_refusals_some_time_apart_stop_it_before_anything_happened(place: Place) -> None:
    reset_elsewhere(place)
    assert place.reset().outcome is Outcome.STOPPED
    assert "somebody reset it elsewhere" in place.rotation.problems[0]
    assert place.api.made == []
    first, second = [at for at, let_in in place.shown if not let_in]
    assert second - first >= PAUSE
    assert place.rotation.wrong_logins == place.refused == 2
    assert (place.rotation.old_verdict, place.rotation.old_refusals) == (LoginVerdict.REFUSED, 2)
    assert (attempt(place).outcome, attempt(place).old_before) == (AttemptOutcome.NOT_CALLED, LoginVerdict.REFUSED)
    assert "Old Password Refused" in place.opened.told(place.name)


def test_one_refusal_is_none(place: Place) -> None:
    """A registry whose user database is down answers 401 to the right password."""
    place.registry.inject(REFUSAL, when=shows_a_password)
    assert place.reset().next is Next.DELIVER
    assert (place.rotation.wrong_logins, place.rotation.old_verdict) == (1, None)
    assert place.rotation.old_before is LoginVerdict.ACCEPTED
    assert "Old Password Refused" not in place.opened.told(place.name)


def test_a_second_one_counts_only_where_the_registry_is_well_in_between(opened: BareStack) -> None:
    short = {"prove_within": 3 * PAUSE, "refusal_pause": PAUSE}
    with Place(opened, Reason.REQUESTED, short) as place:
        reset_elsewhere(place)
        unwell = faults.answer(Response.json({}, 503))
        place.api.inject(unwell, when=lambda _: place.refused > 0, times=None)
        assert place.reset().outcome is Outcome.STOPPED
        assert "could not be asked" in place.rotation.problems[0]
        assert place.rotation.wrong_logins == place.refused == 1
        assert (place.rotation.old_verdict, place.api.made) == (None, [])


def test_each_is_counted_before_the_next_is_spent(place: Place) -> None:
    """A crash in between must not spend the budget twice."""
    reset_elsewhere(place)
    counted: list[int] = []
    count = faults.call(lambda _: counted.append(place.rotation.wrong_logins))
    place.registry.inject(count, when=shows_a_password, times=None)
    place.reset()
    assert counted == [0, 1]


def test_a_leak_goes_on_whatever_the_old_one_does(opened: BareStack) -> None:
    with Place(opened, Reason.COMPROMISED, PATIENT) as place:
        reset_elsewhere(place)
        assert place.reset().next is Next.DELIVER
        assert place.stored == place.api.made[0]
        assert (place.rotation.wrong_logins, place.rotation.phase) == (2, Phase.DELIVERING)
        assert attempt(place).old_before is LoginVerdict.REFUSED


def test_one_that_nobody_knows_is_not_waited_for(opened: BareStack) -> None:
    """Reason `lost`: it is tried, and whatever it does, a second try would be of no use."""
    with Place(opened, Reason.LOST, PATIENT) as place:
        reset_elsewhere(place)
        assert place.reset().next is Next.DELIVER
        assert place.rotation.wrong_logins == place.refused == 1


def test_where_no_wrong_login_is_left_it_is_not_asked(opened: BareStack) -> None:
    with Place(opened, Reason.REQUESTED, PATIENT) as place:
        place.write(wrong_logins=3)
        place.shown.clear()
        assert place.reset().outcome is Outcome.STOPPED
        assert "used up" in place.rotation.problems[0]
        assert (place.shown, place.api.made) == ([], [])
