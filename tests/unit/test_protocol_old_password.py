"""The old password before the call: whether it is still the one in force decides what an unknown outcome can say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rekey.acts import Act, Seen, Way
from rekey.model.request import Reason
from rekey.model.verdict import LoginVerdict
from rekey.protocol import OLD_REFUSED, WRONG_LOGINS_SPENT
from tests.unit.reset_states import (
    CALL,
    CANNOT_SAY,
    DEADLINE,
    LIMITS,
    MINE,
    NOT_URGENT,
    NOW,
    PAUSE,
    PROVE_WITHIN,
    SECOND,
    URGENT,
    attempt,
    next_of,
    rotation,
)

TRIED = replace(MINE, tried=True)
"""The registry was asked in this invocation, and since the last pause."""
LAST_PAUSE = NOW + PROVE_WITHIN - PAUSE
"""The last moment at which there is time to ask once more."""
NOT_ACCEPTED = [LoginVerdict.REFUSED, *CANNOT_SAY]


def test_it_is_tried_after_everything_is_ready() -> None:
    """So that little time passes between its verdict and the call."""
    assert next_of(attempt(old_version="v1"), Seen(mine=True)).act is Act.GET_READY
    assert next_of(attempt(old_version="v1"), MINE).act is Act.TRY_OLD


@pytest.mark.parametrize("seen", [MINE, TRIED])
def test_accepted_it_calls_and_does_not_ask_again(seen: Seen) -> None:
    assert next_of(attempt(old_version="v1", old_before=LoginVerdict.ACCEPTED), seen).act is Act.CALL


def test_a_first_adoption_has_none_to_ask_and_calls() -> None:
    assert next_of(attempt(old_version=None), MINE).act is Act.CALL


@pytest.mark.parametrize("reason", [Reason.COMPROMISED, *NOT_URGENT])
@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
def test_whatever_else_it_says_is_asked_again_after_a_pause(reason: Reason, verdict: LoginVerdict) -> None:
    """One refusal is none, and a registry that is away may come back: within the invocation, the claim is its own."""
    once, on = attempt(old_version="v1", old_before=verdict), rotation(reason=reason, wrong_logins=1)
    step = next_of(once, TRIED, on=on)
    assert (step.act, step.until) == (Act.PAUSE, NOW + PAUSE)
    assert next_of(once, MINE, on=on, now=NOW + PAUSE).act is Act.TRY_OLD


@pytest.mark.parametrize("verdict", NOT_ACCEPTED)
class TestForProveWithin:
    """One that cannot be asked, or was refused once, is asked for so long; then the reason decides."""

    @pytest.mark.parametrize("reason", [Reason.COMPROMISED, *NOT_URGENT])
    def test_it_is_asked_as_long_as_there_is_time_for_another_try(self, reason: Reason, verdict: LoginVerdict) -> None:
        step = next_of(attempt(old_version="v1", old_before=verdict), TRIED, on=rotation(reason=reason), now=LAST_PAUSE)
        assert step.act is Act.PAUSE

    @pytest.mark.parametrize("reason", NOT_URGENT)
    def test_what_can_wait_stops_then(self, reason: Reason, verdict: LoginVerdict) -> None:
        """Nothing was reset, and the tick tries again."""
        asked = attempt(old_version="v1", old_before=verdict, said="no connection")
        step = next_of(asked, TRIED, on=rotation(reason=reason), now=LAST_PAUSE + SECOND)
        assert step.act is Act.STOP
        assert f"({verdict}: no connection)" in step.why

    def test_a_leak_goes_on_then(self, verdict: LoginVerdict) -> None:
        asked, on = attempt(old_version="v1", old_before=verdict), rotation(reason=Reason.COMPROMISED)
        assert next_of(asked, TRIED, on=on, now=LAST_PAUSE + SECOND).act is Act.CALL

    def test_a_lost_password_is_asked_once_and_goes_on(self, verdict: LoginVerdict) -> None:
        """Nobody expects it to be good."""
        on = rotation(reason=Reason.LOST)
        assert next_of(attempt(old_version="v1"), MINE, on=on).act is Act.TRY_OLD
        assert next_of(attempt(old_version="v1", old_before=verdict), TRIED, on=on).act is Act.CALL

    def test_where_the_time_for_the_call_ends_first_that_counts(self, verdict: LoginVerdict) -> None:
        """Else the claim would be given back, and made and given back again."""
        late = replace(TRIED, ready_at=NOW + PROVE_WITHIN)
        asked, on = attempt(old_version="v1", old_before=verdict), rotation(reason=Reason.COMPROMISED)
        last = DEADLINE - CALL - PAUSE
        assert next_of(asked, late, on=on, now=last).act is Act.PAUSE
        assert next_of(asked, late, on=on, now=last + SECOND).act is Act.CALL
        assert next_of(asked, late, on=on.having(reason=Reason.SCHEDULED), now=last + SECOND).act is Act.STOP


@pytest.mark.parametrize("seen", [MINE, TRIED])
class TestRefusedTwice:
    """A fact that stands is not asked again, also not by the next attempt."""

    @pytest.mark.parametrize("reason", NOT_URGENT)
    def test_what_can_wait_stops_and_says_that_somebody_reset_it(self, reason: Reason, seen: Seen) -> None:
        refused = attempt(old_version="v1", old_before=LoginVerdict.REFUSED)
        step = next_of(refused, seen, on=rotation(reason=reason, old_refusals=2))
        assert (step.act, step.why) == (Act.STOP, OLD_REFUSED)

    @pytest.mark.parametrize("reason", URGENT)
    @pytest.mark.parametrize("before", [None, LoginVerdict.REFUSED])
    def test_a_leak_or_a_lost_password_goes_on(self, before: LoginVerdict | None, reason: Reason, seen: Seen) -> None:
        refused = attempt(old_version="v1", old_before=before)
        assert next_of(refused, seen, on=rotation(reason=reason, old_refusals=2)).act is Act.CALL

    def test_one_of_them_may_be_a_lie_and_is_none(self, seen: Seen) -> None:
        refused = attempt(old_version="v1", old_before=LoginVerdict.REFUSED)
        expected = Act.PAUSE if seen.tried else Act.TRY_OLD
        assert next_of(refused, seen, on=rotation(old_refusals=1)).act is expected


@pytest.mark.parametrize("seen", [MINE, TRIED])
@pytest.mark.parametrize("before", [None, *NOT_ACCEPTED])
class TestBudgetSpent:
    """Another wrong login could lock the account: it is not asked, and not waited for."""

    @pytest.mark.parametrize("reason", NOT_URGENT)
    def test_what_can_wait_stops(self, reason: Reason, before: LoginVerdict | None, seen: Seen) -> None:
        on = rotation(reason=reason, wrong_logins=LIMITS.wrong_logins)
        step = next_of(attempt(old_version="v1", old_before=before), seen, on=on)
        assert (step.act, step.why) == (Act.STOP, WRONG_LOGINS_SPENT)

    @pytest.mark.parametrize("reason", URGENT)
    def test_a_leak_or_a_lost_password_goes_on(self, reason: Reason, before: LoginVerdict | None, seen: Seen) -> None:
        on = rotation(reason=reason, wrong_logins=LIMITS.wrong_logins)
        assert next_of(attempt(old_version="v1", old_before=before), seen, on=on).act is Act.CALL


@pytest.mark.parametrize("reason", Reason)
class TestAfterAnEarlierResetOfThisRotation:
    """Its answer was lost: nobody holds a working password, and to stop would leave it so."""

    def test_it_is_asked_once(self, reason: Reason) -> None:
        """The lost reset may have had no effect, and then an unknown outcome of this one can be told."""
        assert next_of(attempt(old_version="v1"), MINE, on=rotation(reason=reason, resets=1)).act is Act.TRY_OLD

    @pytest.mark.parametrize("verdict", NOT_ACCEPTED)
    def test_and_whatever_it_says_the_call_follows_at_once(self, reason: Reason, verdict: LoginVerdict) -> None:
        asked = attempt(old_version="v1", old_before=verdict)
        assert next_of(asked, TRIED, on=rotation(reason=reason, resets=1)).act is Act.CALL

    def test_a_refusal_that_stands_is_not_asked_again(self, reason: Reason) -> None:
        on = rotation(reason=reason, resets=1, old_refusals=2)
        assert next_of(attempt(old_version="v1"), MINE, on=on).act is Act.CALL

    def test_neither_is_it_with_the_budget_spent(self, reason: Reason) -> None:
        on = rotation(reason=reason, resets=1, wrong_logins=LIMITS.wrong_logins)
        assert next_of(attempt(old_version="v1"), MINE, on=on).act is Act.CALL


def test_it_is_the_same_where_the_registry_takes_our_password() -> None:
    asked = attempt(old_version="v1", old_before=LoginVerdict.REFUSED)
    assert next_of(asked, TRIED, way=Way.TAKES).act is Act.PAUSE
    assert next_of(asked, TRIED, way=Way.TAKES, on=rotation(old_refusals=2)).act is Act.STOP
