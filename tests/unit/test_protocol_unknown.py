"""When the outcome is unknown: what is looked at, in which order, and when a look can say anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rekey.acts import Act, Seen, Way
from rekey.model.request import Reason
from rekey.model.rotation import AttemptOutcome, CallEnd
from rekey.model.verdict import LoginVerdict
from tests.unit.reset_states import (
    ASK_AGAIN,
    ASKED,
    DEADLINE,
    LIMITS,
    NOTHING_FOUND,
    NOW,
    READABLE,
    SECOND,
    SETTLE,
    SETTLED,
    UNREADABLE,
    attempt,
    called,
    next_of,
    pasted,
    provable,
    rotation,
)

if TYPE_CHECKING:
    from datetime import datetime

    from rekey.model.rotation import Attempt

ENDS = [None, CallEnd.UNKNOWN, CallEnd.ANSWERED]
"""How a call may have ended whose answer is not in hand."""
OLD_IS_GOOD = LoginVerdict.ACCEPTED
NONE_TO_ASK = [
    called(old_version=None),
    called(old_version=None, old_before=OLD_IS_GOOD),
    *(called(old_version="v1", old_before=before) for before in (None, *LoginVerdict) if before is not OLD_IS_GOOD),
]
"""Attempts before which no old password was known to be good."""


def _old_of(of: Attempt) -> str:
    return f"{of.old_version} {of.old_before}"


class TestLooking:
    @pytest.mark.parametrize("way", [Way.GENERATES, Way.TAKES])
    @pytest.mark.parametrize("end", ENDS)
    def test_escrow_and_store_are_looked_at_first(self, end: CallEnd | None, way: Way) -> None:
        assert next_of(provable(end=end), way=way).act is Act.LOOK

    def test_what_the_escrow_has_is_read(self) -> None:
        found = Seen(looked=True, in_hand=True, kept=True)
        assert next_of(provable(end=CallEnd.UNKNOWN), found).act is Act.READ

    def test_what_the_store_has_is_tried_at_once(self) -> None:
        """It is the registry's own answer, that the escrow refused: nothing is to settle."""
        staged = Seen(looked=True, in_hand=True, kept=True, readable=True)
        assert next_of(provable(end=None), staged).act is Act.LOG_IN

    @pytest.mark.parametrize("ended", [NOW, None])
    def test_else_it_is_waited_until_the_call_can_have_no_more_effect(self, ended: datetime | None) -> None:
        """From its end; where nobody saw that, from the claim's deadline: until then it may have left.

        A call that left late acted after a second one had been delivered.
        """
        lost = provable(end=CallEnd.UNKNOWN, call_ended_at=ended, change_mark="mark")
        settled = (NOW if ended else DEADLINE) + SETTLE
        step = next_of(lost, NOTHING_FOUND)
        assert (step.act, step.until) == (Act.WAIT, settled + SECOND)
        assert next_of(lost, NOTHING_FOUND, now=settled - SECOND).act is Act.WAIT
        assert next_of(lost, NOTHING_FOUND, now=settled).act is Act.READ_MARK


class TestChangeMark:
    def test_it_is_asked_before_the_old_password(self) -> None:
        """It costs no login."""
        assert next_of(provable(change_mark="mark"), NOTHING_FOUND, now=SETTLED).act is Act.READ_MARK

    def test_unmoved_the_reset_did_not_happen_and_no_login_is_spent(self) -> None:
        unmoved = provable(change_mark="mark", mark_moved=False)
        step = next_of(unmoved, NOTHING_FOUND, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NO_EFFECT)

    def test_moved_the_old_password_is_asked(self) -> None:
        moved = provable(change_mark="mark", mark_moved=True)
        assert next_of(moved, NOTHING_FOUND, now=SETTLED).act is Act.ASK_OLD

    def test_a_registry_that_does_not_show_it_is_asked_again_later(self) -> None:
        asked = replace(NOTHING_FOUND, mark_asked=True)
        step = next_of(provable(change_mark="mark"), asked, now=SETTLED)
        assert (step.act, step.until) == (Act.WAIT, SETTLED + ASK_AGAIN)

    def test_a_registry_without_one_is_asked_about_the_old_password(self) -> None:
        assert next_of(provable(change_mark=None), NOTHING_FOUND, now=SETTLED).act is Act.ASK_OLD


class TestOldPassword:
    def test_accepted_the_reset_did_not_happen(self) -> None:
        good = replace(NOTHING_FOUND, old=LoginVerdict.ACCEPTED)
        step = next_of(provable(), good, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NO_EFFECT)

    def test_refused_twice_the_new_one_is_lost(self) -> None:
        step = next_of(provable(old_refusals=2), NOTHING_FOUND, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.LOST)

    @pytest.mark.parametrize("lost", NONE_TO_ASK, ids=_old_of)
    def test_with_none_to_ask_another_reset_harms_no_one(self, lost: Attempt) -> None:
        """Nobody holds a working password; but only once the first call can have no more effect."""
        assert next_of(lost, NOTHING_FOUND).act is Act.WAIT
        step = next_of(lost, NOTHING_FOUND, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.LOST)

    def test_what_it_said_before_the_call_does_not_say_that_nothing_happened(self) -> None:
        """An old "accepted" carried over closed a reset that had acted."""
        assert next_of(provable(old_before=LoginVerdict.ACCEPTED), NOTHING_FOUND, now=SETTLED).act is Act.ASK_OLD


class TestTaking:
    """The candidate is in the store: log in with it."""

    def test_not_before_the_call_can_have_no_more_effect(self) -> None:
        """A refusal would say nothing."""
        set_ = provable(end=CallEnd.UNKNOWN, call_ended_at=NOW, staged="v2")
        step = next_of(set_, READABLE, way=Way.TAKES)
        assert (step.act, step.until) == (Act.WAIT, SETTLED + SECOND)
        assert next_of(set_, READABLE, way=Way.TAKES, now=SETTLED).act is Act.LOG_IN

    def test_after_the_change_mark(self) -> None:
        set_ = provable(staged="v2", change_mark="mark")
        assert next_of(set_, READABLE, way=Way.TAKES, now=SETTLED).act is Act.READ_MARK
        unmoved = set_.having(mark_moved=False)
        step = next_of(unmoved, READABLE, way=Way.TAKES, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NO_EFFECT)
        assert next_of(set_.having(mark_moved=True), READABLE, way=Way.TAKES, now=SETTLED).act is Act.LOG_IN

    def test_accepted_it_is_promoted(self) -> None:
        accepted = provable(staged="v2", login=LoginVerdict.ACCEPTED)
        assert next_of(accepted, ASKED, way=Way.TAKES, now=SETTLED).act is Act.PROMOTE

    def test_refused_twice_the_old_password_says_whether_the_set_was_made(self) -> None:
        refused = provable(staged="v2", login=LoginVerdict.REFUSED, refusals=2)
        assert next_of(refused, ASKED, way=Way.TAKES, now=SETTLED).act is Act.ASK_OLD
        step = next_of(refused, replace(ASKED, old=LoginVerdict.ACCEPTED), way=Way.TAKES, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NO_EFFECT)
        step = next_of(refused.having(old_refusals=2), ASKED, way=Way.TAKES, now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.LOST)

    def test_it_is_never_promoted_unproven(self) -> None:
        """Nobody knows whether it was set: wait."""
        for end in (None, CallEnd.UNKNOWN):
            unasked = provable(staged="v2", end=end, login=LoginVerdict.UNREACHABLE)
            step = next_of(unasked, ASKED, way=Way.TAKES, now=SETTLED + LIMITS.prove_within)
            assert (step.act, step.until) == (Act.WAIT, SETTLED + LIMITS.prove_within + ASK_AGAIN)

    def test_its_positive_answer_needs_no_settling(self) -> None:
        assert next_of(provable(staged="v2", end=CallEnd.ANSWERED), READABLE, way=Way.TAKES).act is Act.LOG_IN

    def test_a_paste_needs_none_either(self) -> None:
        """A person's word is no unknown outcome, whatever the registry's way."""
        assert next_of(pasted(staged="v2"), READABLE, way=Way.TAKES).act is Act.LOG_IN


class TestUnreadable:
    """Invariant 5: an answer that cannot be understood is kept, never thrown away for another reset."""

    @pytest.mark.parametrize("before", [LoginVerdict.ACCEPTED, None])
    def test_nothing_is_asked_and_nobody_called_before_the_call_has_settled(self, before: LoginVerdict | None) -> None:
        """A person would reset while it may still act."""
        step = next_of(provable(call_ended_at=NOW, old_before=before), UNREADABLE)
        assert (step.act, step.until) == (Act.WAIT, SETTLED + SECOND)

    def test_then_the_old_password_is_asked(self) -> None:
        assert next_of(provable(end=CallEnd.ANSWERED), UNREADABLE, now=SETTLED).act is Act.ASK_OLD

    def test_accepted_the_reset_did_not_happen_and_the_attempt_is_closed_first(self) -> None:
        """The answer is deleted after that: a crash in between must not leave a call without either."""
        step = next_of(provable(), replace(UNREADABLE, old=LoginVerdict.ACCEPTED), now=SETTLED)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NO_EFFECT)

    def test_refused_twice_a_person_is_told_what_is_wrong_with_it(self) -> None:
        step = next_of(provable(old_refusals=2), UNREADABLE, now=SETTLED)
        assert (step.act, step.why) == (Act.ATTENTION, "no password at /data")

    @pytest.mark.parametrize("unclear", NONE_TO_ASK, ids=_old_of)
    def test_with_no_old_password_to_ask_too(self, unclear: Attempt) -> None:
        step = next_of(unclear, UNREADABLE, now=SETTLED, on=rotation(reason=Reason.LOST))
        assert (step.act, step.why) == (Act.ATTENTION, "no password at /data")

    def test_a_refusal_of_the_old_one_in_an_earlier_attempt_is_not_taken_for_this_ones(self) -> None:
        """It was accepted before this call, so what was refused earlier was refused by a registry that lied."""
        on = rotation(old_version="v1", old_refusals=2)
        assert next_of(provable(old_version="v1"), UNREADABLE, now=SETTLED, on=on).act is Act.ASK_OLD


class TestNext:
    @pytest.mark.parametrize("outcome", [AttemptOutcome.LOST, AttemptOutcome.NO_EFFECT])
    def test_another_attempt_is_claimed(self, outcome: AttemptOutcome) -> None:
        assert next_of(called(outcome=outcome)).act is Act.CLAIM

    def test_a_lost_answer_leads_to_another_reset_only_so_often(self) -> None:
        last = called(outcome=AttemptOutcome.LOST)
        assert next_of(last, on=rotation(resets=LIMITS.max_resets - 1)).act is Act.CLAIM
        step = next_of(last, on=rotation(resets=LIMITS.max_resets))
        assert step.act is Act.ATTENTION
        assert "rekey paste" in step.why

    def test_calls_end_too(self) -> None:
        last = called(outcome=AttemptOutcome.NO_EFFECT)
        assert next_of(last, on=rotation(calls=LIMITS.max_attempts - 1)).act is Act.CLAIM
        step = next_of(last, on=rotation(calls=LIMITS.max_attempts))
        assert step.act is Act.ATTENTION
        assert "10 calls" in step.why
        assert "`rekey resume`" in step.why

    def test_attempts_that_called_nobody_do_not_count(self) -> None:
        last = attempt(outcome=AttemptOutcome.NOT_CALLED)
        assert next_of(last, on=rotation(attempts=LIMITS.max_attempts + 1)).act is Act.CLAIM

    def test_after_a_call_that_could_not_be_sent_the_next_one_waits(self) -> None:
        """An earlier one's answer was lost: the old password is dead, and the API is away."""
        last = called(end=CallEnd.NOT_SENT, call_ended_at=NOW, outcome=AttemptOutcome.NOT_CALLED)
        again = NOW + LIMITS.ask_again
        step = next_of(last, on=rotation(resets=1), now=again - SECOND)
        assert (step.act, step.until) == (Act.WAIT, again)
        assert next_of(last, on=rotation(resets=1), now=again).act is Act.CLAIM

    def test_nothing_is_claimed_while_an_attempt_is_open(self) -> None:
        for one in (attempt(), called(), provable(), pasted()):
            assert next_of(one, now=SETTLED).act is not Act.CLAIM
