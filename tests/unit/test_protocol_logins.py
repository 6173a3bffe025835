"""Wrong logins lock accounts. At every place where one can come, the same holds: two count, and the budget ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from rekey.acts import Act, Seen, Way
from rekey.model.rotation import CallEnd, Phase
from rekey.model.verdict import LoginVerdict
from rekey.protocol import WRONG_LOGINS_SPENT
from tests.unit.reset_states import (
    ASK_AGAIN,
    CANNOT_SAY,
    LIMITS,
    NOTHING_FOUND,
    PAUSE,
    READABLE,
    SECOND,
    SETTLED,
    UNREADABLE,
    adopted,
    called,
    next_of,
    pasted,
    provable,
    rotation,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from rekey.acts import Step
    from rekey.model.rotation import Attempt, Rotation

NOW = SETTLED + SECOND


@dataclass(frozen=True)
class Place:
    """One place where the registry is asked about a password, and the ledger has counted nothing yet."""

    name: str
    attempt: Attempt | None
    seen: Seen
    way: Way = Way.GENERATES
    old: bool = False
    """The old password is asked, not the new one."""
    on: Rotation | None = None
    until_again: timedelta = ASK_AGAIN
    """How long is waited where the registry could not be asked."""

    @property
    def act(self) -> Act:
        return Act.ASK_OLD if self.old else Act.LOG_IN

    def next(self, verdict: LoginVerdict | None = None, refusals: int = 0, spent: int = 0) -> Step:
        """Return what follows: the verdict heard in this invocation, the refusals and wrong logins in the ledger."""
        on = (self.on or rotation()).having(wrong_logins=spent)
        one, seen = self.attempt, self.seen
        if self.old and one is None:
            on = on.having(old_refusals=refusals)
        elif self.old and one is not None:
            one = one.having(old_refusals=refusals)
        elif one is not None:
            one = one.having(login=verdict, refusals=refusals)
        if verdict is not None:
            seen = replace(seen, old=verdict) if self.old else replace(seen, asked=True)
        return next_of(one, seen, way=self.way, now=NOW, on=on)


READY = rotation(phase=Phase.READY, ready_until=SETTLED, old_before=LoginVerdict.ACCEPTED, old_version="v1")
TAKEN = called(staged="v2", end=CallEnd.ANSWERED, call_ended_at=NOW)
UNCERTAIN = called(staged="v2", end=CallEnd.UNKNOWN)
PLACES = [
    Place("the new one", called(end=CallEnd.ANSWERED, call_ended_at=NOW), READABLE),
    Place("the one it took", TAKEN, READABLE, Way.TAKES),
    Place("the one it may have taken", UNCERTAIN, READABLE, Way.TAKES),
    Place("a pasted one", pasted(), READABLE),
    Place("an adopted one", adopted(), READABLE),
    Place("the old one, after a lost answer", provable(), NOTHING_FOUND, old=True, until_again=PAUSE),
    Place("the old one, after an unreadable answer", provable(), UNREADABLE, old=True, until_again=PAUSE),
    Place("the old one, for an adopted answer", adopted(old_version="v1"), UNREADABLE, old=True, until_again=PAUSE),
    Place(
        "the old one, after a set that was not made",
        provable(staged="v2", login=LoginVerdict.REFUSED, refusals=2),
        READABLE,
        Way.TAKES,
        old=True,
        until_again=PAUSE,
    ),
    Place("the old one, where nobody pasted", None, Seen(), Way.MANUAL, old=True, on=READY, until_again=PAUSE),
]
everywhere = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)


@everywhere
def test_it_is_asked(place: Place) -> None:
    assert place.next().act is place.act


@everywhere
def test_one_refusal_is_none_and_it_is_asked_again_after_a_pause(place: Place) -> None:
    """A registry whose user database is down answers 401 to the right password."""
    step = place.next(LoginVerdict.REFUSED, refusals=1, spent=1)
    assert (step.act, step.until) == (Act.WAIT, NOW + PAUSE)
    assert place.next(refusals=1, spent=1).act is place.act


@everywhere
def test_one_refusal_and_then_accepted_is_accepted(place: Place) -> None:
    step = place.next(LoginVerdict.ACCEPTED, refusals=1, spent=1)
    assert step.act in (Act.STAGE, Act.PROMOTE, Act.CLOSE, Act.DELETE, Act.STOP)


@everywhere
def test_two_refusals_count_and_it_is_not_asked_again(place: Place) -> None:
    for verdict in (None, LoginVerdict.REFUSED):
        assert place.next(verdict, refusals=2, spent=2).act not in (Act.WAIT, place.act)


@everywhere
@pytest.mark.parametrize("verdict", CANNOT_SAY)
def test_where_it_cannot_be_asked_nothing_is_guessed_and_it_is_asked_again(place: Place, verdict: LoginVerdict) -> None:
    for refusals in (0, 1):
        step = place.next(verdict, refusals=refusals)
        assert (step.act, step.until) == (Act.WAIT, NOW + place.until_again)


@everywhere
def test_with_the_budget_spent_a_person_is_needed_before_another_one(place: Place) -> None:
    for refusals in (0, 1):
        assert place.next(refusals=refusals, spent=LIMITS.wrong_logins - 1).act is place.act
        for spent in (LIMITS.wrong_logins, LIMITS.wrong_logins + 1):
            step = place.next(refusals=refusals, spent=spent)
            assert (step.act, step.why) == (Act.ATTENTION, WRONG_LOGINS_SPENT)


@everywhere
def test_what_is_known_by_then_needs_no_login(place: Place) -> None:
    """The budget's last login may have been the one that decides."""
    step = place.next(refusals=2, spent=LIMITS.wrong_logins)
    assert step.why != WRONG_LOGINS_SPENT


def test_the_old_one_is_asked_again_after_the_longer_of_both_pauses() -> None:
    """What was heard may be a refusal or not, and only the ledger says which."""
    seen = replace(NOTHING_FOUND, old=LoginVerdict.INCONCLUSIVE)
    for pause, ask_again in ((1, 5), (5, 1)):
        limits = replace(LIMITS, refusal_pause=pause * SECOND, ask_again=ask_again * SECOND)
        assert next_of(provable(), seen, now=NOW, limits=limits).until == NOW + 5 * SECOND


def test_the_numbers_are_those_of_the_protocol() -> None:
    """Where the plan and the adapter say nothing else."""
    assert (LIMITS.wrong_logins, LIMITS.max_attempts, LIMITS.max_resets) == (3, 10, 3)
