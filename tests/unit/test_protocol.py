"""The reset protocol: what the ledger says and what was seen, in; the next act, out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model.request import Reason
from rekey.model.rotation import AttemptOutcome, CallEnd, Phase
from rekey.model.verdict import LoginVerdict
from rekey.protocol import Act, Seen
from tests.unit.reset_states import (
    ASK_AGAIN,
    CALL,
    DEADLINE,
    NOW,
    PAUSE,
    PROVE_WITHIN,
    SECOND,
    SETTLE,
    attempt,
    called,
    next_of,
    pasted,
    rotation,
)

if TYPE_CHECKING:
    from datetime import datetime

    from rekey.model.rotation import Rotation

IN_HAND = Seen(mine=True, ready=True, end=CallEnd.ANSWERED, in_hand=True)
"""The answer came, and only memory has it."""
READABLE = Seen(in_hand=True, kept=True, readable=True)
"""The password is in hand, and the escrow has the answer."""
ASKED = Seen(in_hand=True, kept=True, readable=True, asked=True)
CANNOT_SAY = [LoginVerdict.LOCKED, LoginVerdict.UNREACHABLE, LoginVerdict.INCONCLUSIVE]
URGENT = [Reason.COMPROMISED, Reason.LOST]
NOT_URGENT = [Reason.SCHEDULED, Reason.REQUESTED, Reason.PERSONNEL_CHANGE]


def ready(until: datetime = NOW, **fields: object) -> Rotation:
    """Return a rotation for which a person was told to click while the old password was good."""
    told = {"phase": Phase.READY, "ready_until": until, "old_before": LoginVerdict.ACCEPTED}
    return rotation(**{**told, **fields})


class TestStraightPath:
    def test_it_begins_with_a_claim(self) -> None:
        """From the claim on no other invocation may call."""
        assert next_of().act is Act.CLAIM

    def test_everything_the_call_needs_is_got_ready_before_it(self) -> None:
        """No call to KMS or to the store stands between the answer and the escrow."""
        assert next_of(attempt(), Seen(mine=True)).act is Act.GET_READY

    def test_ready_and_in_time_it_calls(self) -> None:
        assert next_of(attempt(), Seen(mine=True, ready=True, old=LoginVerdict.ACCEPTED)).act is Act.CALL

    def test_a_first_adoption_has_no_old_password_to_ask_and_calls(self) -> None:
        assert next_of(attempt(), Seen(mine=True, ready=True, old=None)).act is Act.CALL

    def test_the_answer_is_kept_before_anything_reads_it(self) -> None:
        """Invariant 6: the registry's answer is on disk before anything parses it."""
        assert next_of(attempt(called_at=NOW), IN_HAND).act is Act.KEEP

    def test_what_is_kept_is_read(self) -> None:
        kept = Seen(mine=True, ready=True, end=CallEnd.ANSWERED, in_hand=True, kept=True)
        assert next_of(called(end=CallEnd.ANSWERED), kept).act is Act.READ

    def test_the_new_password_is_tried_before_it_is_staged(self) -> None:
        assert next_of(called(), READABLE).act is Act.LOG_IN

    def test_an_accepted_password_is_staged_then_promoted(self) -> None:
        assert next_of(called(login=LoginVerdict.ACCEPTED), ASKED).act is Act.STAGE
        assert next_of(called(login=LoginVerdict.ACCEPTED, staged="v2"), ASKED).act is Act.PROMOTE

    def test_the_answer_is_deleted_only_after_a_promoted_and_accepted_password(self) -> None:
        promoted = called(login=LoginVerdict.ACCEPTED, staged="v2", promoted_at=NOW)
        assert next_of(promoted, ASKED, on=rotation(phase=Phase.DELIVERING, promoted_at=NOW)).act is Act.DELETE
        deleted = Seen(in_hand=True, kept=True, readable=True, asked=True, deleted=True)
        step = next_of(promoted, deleted, on=rotation(phase=Phase.DELIVERING, promoted_at=NOW))
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.PROMOTED)

    def test_then_the_consumers_are_next(self) -> None:
        closed = called(login=LoginVerdict.ACCEPTED, promoted_at=NOW, outcome=AttemptOutcome.PROMOTED)
        assert next_of(closed, on=rotation(phase=Phase.DELIVERING, promoted_at=NOW)).act is Act.DELIVER


class TestBeforeTheCall:
    def test_somebody_elses_claim_is_waited_for_until_its_deadline(self) -> None:
        step = next_of(attempt())
        assert (step.act, step.until) == (Act.WAIT, DEADLINE + SECOND)
        assert next_of(attempt(), now=DEADLINE).act is Act.WAIT

    def test_a_claim_past_its_deadline_that_never_called_is_closed_uncounted(self) -> None:
        step = next_of(attempt(), now=DEADLINE + SECOND)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)

    def test_the_next_attempt_follows_one_that_was_not_called(self) -> None:
        assert next_of(attempt(outcome=AttemptOutcome.NOT_CALLED)).act is Act.CLAIM

    @pytest.mark.parametrize("seen", [Seen(mine=True), Seen(mine=True, ready=True, old=LoginVerdict.ACCEPTED)])
    def test_a_claim_without_enough_time_is_given_back(self, seen: Seen) -> None:
        """What is left of the function must hold the call, the escrow write and a margin."""
        late = DEADLINE - CALL + SECOND
        step = next_of(attempt(), seen, now=late)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)
        assert next_of(attempt(), seen, now=late - SECOND).act is not Act.CLOSE

    def test_what_was_given_back_for_want_of_time_is_not_claimed_again_by_the_same_invocation(self) -> None:
        """Else it would claim and give back, thousands of times, until its end."""
        late = DEADLINE - CALL + SECOND
        step = next_of(attempt(outcome=AttemptOutcome.NOT_CALLED), now=late)
        assert (step.act, step.until) == (Act.WAIT, late + SECOND)

    @pytest.mark.parametrize("verdict", [LoginVerdict.REFUSED, *CANNOT_SAY])
    @pytest.mark.parametrize("reason", NOT_URGENT)
    def test_what_can_wait_stops_where_the_old_password_does_not_log_in(
        self, reason: Reason, verdict: LoginVerdict
    ) -> None:
        step = next_of(attempt(), Seen(mine=True, ready=True, old=verdict), on=rotation(reason=reason))
        assert step.act is Act.STOP
        assert step.why

    @pytest.mark.parametrize("verdict", [LoginVerdict.REFUSED, *CANNOT_SAY])
    @pytest.mark.parametrize("reason", URGENT)
    def test_a_leak_or_a_lost_password_goes_on_whatever_the_old_one_does(
        self, reason: Reason, verdict: LoginVerdict
    ) -> None:
        assert next_of(attempt(), Seen(mine=True, ready=True, old=verdict), on=rotation(reason=reason)).act is Act.CALL


class TestEndOfTheCall:
    @pytest.mark.parametrize("crashed", [False, True])
    def test_a_definite_refusal_closes_the_attempt_uncounted(self, *, crashed: bool) -> None:
        """Also where the invocation that heard it died before it closed the attempt."""
        seen = Seen() if crashed else Seen(mine=True, ready=True, end=CallEnd.REFUSED)
        step = next_of(called(end=CallEnd.REFUSED, said="HTTP 409"), seen)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.REFUSED)

    def test_and_stops_the_rotation_with_the_registrys_reason(self) -> None:
        step = next_of(called(end=CallEnd.REFUSED, said="HTTP 409", outcome=AttemptOutcome.REFUSED))
        assert (step.act, step.why) == (Act.STOP, "the registry refused to reset: HTTP 409")

    def test_a_call_that_never_left_closes_the_attempt_and_stops(self) -> None:
        not_sent = called(end=CallEnd.NOT_SENT, said="no connection")
        step = next_of(not_sent)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)
        step = next_of(not_sent.having(outcome=AttemptOutcome.NOT_CALLED))
        assert (step.act, step.why) == (Act.STOP, "the reset call could not be sent: no connection")

    @pytest.mark.parametrize("end", [None, CallEnd.UNKNOWN, CallEnd.ANSWERED])
    def test_without_the_answer_escrow_and_store_are_looked_at_first(self, end: CallEnd | None) -> None:
        assert next_of(called(end=end)).act is Act.LOOK

    def test_an_unknown_outcome_is_waited_for_from_the_end_of_the_call(self) -> None:
        """A call that left may still take effect for `settle`."""
        looked = Seen(looked=True, kept=True)
        lost = called(end=CallEnd.UNKNOWN, call_ended_at=NOW)
        step = next_of(lost, looked)
        assert (step.act, step.until) == (Act.WAIT, NOW + SETTLE + SECOND)
        assert next_of(lost, looked, now=NOW + SETTLE).act is Act.ATTENTION

    def test_where_the_end_was_not_seen_it_counts_from_the_claims_deadline(self) -> None:
        """A call that left late acted after a second one had been delivered."""
        looked = Seen(looked=True, kept=True)
        lost = called(call_ended_at=None)
        step = next_of(lost, looked)
        assert (step.act, step.until) == (Act.WAIT, DEADLINE + SETTLE + SECOND)
        assert next_of(lost, looked, now=DEADLINE + SETTLE - SECOND).act is Act.WAIT

    def test_then_a_person_is_needed_and_told_what_to_do(self) -> None:
        step = next_of(called(end=CallEnd.UNKNOWN), Seen(looked=True, kept=True), now=NOW + SETTLE)
        assert step.act is Act.ATTENTION
        assert "rekey paste" in step.why

    def test_an_answer_that_cannot_be_read_needs_a_person_and_nothing_is_reset_again(self) -> None:
        """Invariant 5: it is kept, never thrown away for another reset."""
        seen = Seen(in_hand=True, kept=True, readable=False, unreadable="no password at /data")
        step = next_of(called(end=CallEnd.ANSWERED), seen)
        assert (step.act, step.why) == (Act.ATTENTION, "no password at /data")


class TestProof:
    def test_one_refusal_is_none_and_is_asked_again_after_a_pause(self) -> None:
        """A registry whose user database is down answers 401 to the right password."""
        once = called(login=LoginVerdict.REFUSED, refusals=1)
        step = next_of(once, ASKED)
        assert (step.act, step.until) == (Act.WAIT, NOW + PAUSE)
        assert next_of(once, READABLE, now=NOW + PAUSE).act is Act.LOG_IN

    def test_one_refusal_and_then_accepted_goes_on(self) -> None:
        assert next_of(called(login=LoginVerdict.ACCEPTED, refusals=1), ASKED).act is Act.STAGE

    def test_refused_twice_needs_a_person_and_is_not_asked_again(self) -> None:
        twice = called(login=LoginVerdict.REFUSED, refusals=2)
        for seen in (READABLE, ASKED):
            step = next_of(twice, seen, now=NOW + PROVE_WITHIN)
            assert step.act is Act.ATTENTION
            assert "password_at" in step.why

    @pytest.mark.parametrize("verdict", CANNOT_SAY)
    def test_a_registry_that_cannot_be_asked_holds_back_for_prove_within_only(self, verdict: LoginVerdict) -> None:
        """Invariant 2: with a positive answer in hand consumers cannot wait longer."""
        unasked = called(login=verdict, call_ended_at=NOW)
        step = next_of(unasked, ASKED)
        assert (step.act, step.until) == (Act.WAIT, NOW + ASK_AGAIN)
        assert next_of(unasked, ASKED, now=NOW + PROVE_WITHIN - SECOND).act is Act.WAIT
        assert next_of(unasked, ASKED, now=NOW + PROVE_WITHIN).act is Act.STAGE
        assert next_of(unasked.having(staged="v2"), ASKED, now=NOW + PROVE_WITHIN).act is Act.PROMOTE

    def test_also_where_the_end_of_the_call_was_not_written_down(self) -> None:
        """A crash between the escrow's write and the ledger's must not hold back delivery for ever."""
        unasked = called(login=LoginVerdict.UNREACHABLE, call_ended_at=None)
        assert next_of(unasked, ASKED, now=DEADLINE + PROVE_WITHIN - SECOND).act is Act.WAIT
        assert next_of(unasked, ASKED, now=DEADLINE + PROVE_WITHIN).act is Act.STAGE

    def test_it_asks_once_more_before_it_goes_on_unproven(self) -> None:
        unasked = called(login=LoginVerdict.UNREACHABLE)
        assert next_of(unasked, READABLE, now=NOW + PROVE_WITHIN).act is Act.LOG_IN

    def test_an_unproven_password_is_delivered_and_its_answer_stays(self) -> None:
        """The escrow is deleted after an accepted login only."""
        unproven = called(login=LoginVerdict.UNREACHABLE, staged="v2", promoted_at=NOW)
        assert next_of(unproven, on=rotation(phase=Phase.DELIVERING, promoted_at=NOW)).act is Act.DELIVER

    def test_once_it_is_accepted_the_answer_goes(self) -> None:
        proven = called(login=LoginVerdict.ACCEPTED, staged="v2", promoted_at=NOW)
        assert next_of(proven, on=rotation(phase=Phase.VERIFYING, promoted_at=NOW)).act is Act.DELETE

    def test_a_promoted_password_that_was_refused_since_needs_a_person(self) -> None:
        refused = called(login=LoginVerdict.UNREACHABLE, staged="v2", promoted_at=NOW)
        on = rotation(phase=Phase.NEEDS_ATTENTION, promoted_at=NOW, problems=("reset elsewhere",))
        step = next_of(refused, on=on)
        assert (step.act, step.why) == (Act.ATTENTION, "reset elsewhere")


class TestPaste:
    def test_a_paste_is_looked_up_read_and_tried_like_any_answer(self) -> None:
        assert next_of(pasted(), manual=True).act is Act.LOOK
        assert next_of(pasted(), Seen(looked=True, in_hand=True, kept=True)).act is Act.READ
        assert next_of(pasted(), READABLE).act is Act.LOG_IN

    @pytest.mark.parametrize("verdict", CANNOT_SAY)
    def test_a_paste_is_never_promoted_unproven(self, verdict: LoginVerdict) -> None:
        step = next_of(pasted(login=verdict), ASKED, now=NOW + timedelta(days=1))
        assert step.act is Act.WAIT

    @pytest.mark.parametrize("wrong", ["refused twice", "the one in the store"])
    def test_a_wrong_paste_is_deleted_and_closed(self, wrong: str) -> None:
        same = wrong == "the one in the store"
        refused = pasted() if same else pasted(login=LoginVerdict.REFUSED, refusals=2)
        seen = Seen(in_hand=True, kept=True, readable=True, same_as_current=same)
        assert next_of(refused, seen).act is Act.DELETE
        deleted = Seen(in_hand=True, kept=True, readable=True, same_as_current=same, deleted=True)
        step = next_of(refused, deleted)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.WRONG_PASTE)

    def test_a_crash_after_its_deletion_closes_it_too(self) -> None:
        step = next_of(pasted(login=LoginVerdict.REFUSED, refusals=2), Seen(looked=True, kept=True))
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.WRONG_PASTE)

    def test_one_refusal_of_a_paste_is_none(self) -> None:
        assert next_of(pasted(login=LoginVerdict.REFUSED, refusals=1), ASKED).act is Act.WAIT

    @pytest.mark.parametrize("phase", [Phase.RESETTING, Phase.NEEDS_ATTENTION])
    def test_after_a_wrong_paste_a_person_is_told_what_was_wrong(self, phase: Phase) -> None:
        """And nothing is reset by Rekey: the registry is one that generates, and a person had stepped in."""
        wrong = pasted(outcome=AttemptOutcome.WRONG_PASTE, said="the pasted password is refused by the registry")
        step = next_of(wrong, on=rotation(phase=phase))
        assert step.act is Act.ATTENTION
        assert step.why.startswith("the pasted password is refused by the registry: ")

    def test_a_paste_that_a_later_one_replaced_leads_nowhere(self) -> None:
        replaced = pasted(outcome=AttemptOutcome.REPLACED)
        assert next_of(replaced, on=rotation(phase=Phase.NEEDS_ATTENTION, problems=("paste",))).act is Act.ATTENTION


class TestManual:
    def test_behind_the_gate_a_person_is_told_to_click(self) -> None:
        assert next_of(manual=True).act is Act.BE_READY

    def test_until_the_time_is_over_nothing_is_done(self) -> None:
        assert next_of(manual=True, on=ready(NOW + SECOND)).act is Act.STAY_READY

    def test_a_wrong_paste_is_asked_for_again(self) -> None:
        wrong = pasted(outcome=AttemptOutcome.WRONG_PASTE)
        assert next_of(wrong, manual=True, on=ready(NOW + SECOND)).act is Act.STAY_READY

    def test_when_it_is_over_the_old_password_is_asked(self) -> None:
        assert next_of(manual=True, on=ready()).act is Act.ASK_OLD

    def test_accepted_means_nobody_clicked(self) -> None:
        assert next_of(None, Seen(old=LoginVerdict.ACCEPTED), manual=True, on=ready()).act is Act.STOP

    def test_refused_twice_means_somebody_clicked_and_did_not_paste(self) -> None:
        once = next_of(None, Seen(old=LoginVerdict.REFUSED), manual=True, on=ready(old_refusals=1))
        assert (once.act, once.until) == (Act.WAIT, NOW + PAUSE)
        step = next_of(manual=True, on=ready(old_refusals=2))
        assert step.act is Act.ATTENTION
        assert "rekey paste" in step.why

    @pytest.mark.parametrize("verdict", CANNOT_SAY)
    def test_a_registry_that_cannot_be_asked_is_asked_again(self, verdict: LoginVerdict) -> None:
        assert next_of(None, Seen(old=verdict), manual=True, on=ready()).act is Act.WAIT

    @pytest.mark.parametrize("before", [None, LoginVerdict.REFUSED, *CANNOT_SAY])
    def test_where_the_old_one_did_not_log_in_before_it_proves_nothing_now(self, before: LoginVerdict | None) -> None:
        assert next_of(manual=True, on=ready(old_before=before)).act is Act.ATTENTION


class TestStaying:
    def test_needs_attention_stays_and_says_why(self) -> None:
        on = rotation(phase=Phase.NEEDS_ATTENTION, problems=("a", "b"))
        step = next_of(called(outcome=AttemptOutcome.NOT_CALLED), on=on)
        assert (step.act, step.why) == (Act.ATTENTION, "a\nb")

    def test_needs_attention_stays_also_with_a_promoted_password(self) -> None:
        closed = called(outcome=AttemptOutcome.PROMOTED, promoted_at=NOW)
        on = rotation(phase=Phase.NEEDS_ATTENTION, promoted_at=NOW, problems=("contents differ",))
        step = next_of(closed, on=on)
        assert step.act is Act.ATTENTION

    def test_a_higher_generation_in_the_store_is_never_overwritten(self) -> None:
        """Invariant 4: generation N never overwrites N+1."""
        step = next_of(called(outcome=AttemptOutcome.SUPERSEDED))
        assert step.act is Act.ATTENTION
        assert "higher generation" in step.why
