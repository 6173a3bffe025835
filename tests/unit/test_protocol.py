"""The reset protocol, in order: what the ledger says and what was seen, in; the next act, out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rekey.acts import Act, Seen, Way
from rekey.model.rotation import AttemptOutcome, CallEnd, Phase
from rekey.model.verdict import LoginVerdict
from tests.unit.reset_states import (
    ASK_AGAIN,
    ASKED,
    CALL,
    CANNOT_SAY,
    DEADLINE,
    IN_HAND,
    MINE,
    NOW,
    PAUSE,
    PROVE_WITHIN,
    READABLE,
    SECOND,
    SETTLED,
    attempt,
    called,
    next_of,
    provable,
    rotation,
)

LATE = DEADLINE - CALL + SECOND
"""What is left does not hold the call, the escrow's write and a margin any more."""
ANSWERED = called(end=CallEnd.ANSWERED, call_ended_at=NOW)


class TestGenerating:
    def test_it_begins_with_a_claim(self) -> None:
        """From the claim on no other invocation may call."""
        assert next_of().act is Act.CLAIM

    def test_everything_the_call_needs_is_got_ready_before_it(self) -> None:
        """No call to KMS or to the store stands between the answer and the escrow."""
        assert next_of(attempt(), Seen(mine=True)).act is Act.GET_READY

    def test_then_the_old_password_is_tried_and_then_it_calls(self) -> None:
        assert next_of(attempt(old_version="v1"), MINE).act is Act.TRY_OLD
        assert next_of(attempt(old_version="v1", old_before=LoginVerdict.ACCEPTED), MINE).act is Act.CALL

    def test_the_answer_is_kept_before_anything_reads_it(self) -> None:
        """Invariant 6: the registry's answer is on disk before anything parses it."""
        assert next_of(attempt(called_at=NOW), IN_HAND).act is Act.KEEP

    def test_what_is_kept_is_read(self) -> None:
        assert next_of(ANSWERED, Seen(end=CallEnd.ANSWERED, in_hand=True, kept=True)).act is Act.READ

    def test_the_new_password_is_tried_before_it_is_staged(self) -> None:
        assert next_of(ANSWERED, READABLE).act is Act.LOG_IN

    def test_an_accepted_password_is_staged_then_promoted(self) -> None:
        accepted = ANSWERED.having(login=LoginVerdict.ACCEPTED)
        assert next_of(accepted, ASKED).act is Act.STAGE
        assert next_of(accepted.having(staged="v2"), ASKED).act is Act.PROMOTE

    def test_the_answer_is_deleted_only_after_a_promoted_and_accepted_password(self) -> None:
        on = rotation(phase=Phase.DELIVERING, promoted_at=NOW)
        promoted = ANSWERED.having(login=LoginVerdict.ACCEPTED, staged="v2", promoted_at=NOW)
        assert next_of(promoted, ASKED, on=on).act is Act.DELETE
        step = next_of(promoted, Seen(deleted=True), on=on)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.PROMOTED)

    def test_then_the_consumers_are_next(self) -> None:
        closed = ANSWERED.having(login=LoginVerdict.ACCEPTED, promoted_at=NOW, outcome=AttemptOutcome.PROMOTED)
        assert next_of(closed, on=rotation(phase=Phase.DELIVERING, promoted_at=NOW)).act is Act.DELIVER


class TestTaking:
    def test_our_password_is_in_the_store_before_the_registry_hears_of_it(self) -> None:
        """Invariant 7: no answer can lose it then."""
        assert next_of(attempt(), MINE, way=Way.TAKES).act is Act.STAGE
        assert next_of(attempt(staged="v2"), MINE, way=Way.TAKES).act is Act.CALL

    def test_it_is_staged_only_where_the_call_will_be_made(self) -> None:
        """The old password may still stop the rotation, and a claim may still be given back."""
        assert next_of(attempt(old_version="v1"), MINE, way=Way.TAKES).act is Act.TRY_OLD
        assert next_of(attempt(), MINE, way=Way.TAKES, now=LATE).act is Act.CLOSE

    def test_what_the_registry_said_it_took_is_tried_and_promoted(self) -> None:
        taken = ANSWERED.having(staged="v2")
        assert next_of(taken, READABLE, way=Way.TAKES).act is Act.LOG_IN
        accepted = taken.having(login=LoginVerdict.ACCEPTED)
        assert next_of(accepted, ASKED, way=Way.TAKES).act is Act.PROMOTE

    def test_with_its_positive_answer_it_goes_on_unproven(self) -> None:
        taken = ANSWERED.having(staged="v2", login=LoginVerdict.UNREACHABLE)
        assert next_of(taken, ASKED, way=Way.TAKES).act is Act.WAIT
        assert next_of(taken, ASKED, way=Way.TAKES, now=NOW + PROVE_WITHIN).act is Act.PROMOTE

    def test_what_it_took_and_refuses_needs_a_person(self) -> None:
        taken = ANSWERED.having(staged="v2", login=LoginVerdict.REFUSED, refusals=2)
        step = next_of(taken, READABLE, way=Way.TAKES, now=SETTLED)
        assert step.act is Act.ATTENTION
        assert "said it took the password" in step.why


class TestClaim:
    def test_somebody_elses_is_waited_for_until_its_deadline(self) -> None:
        step = next_of(attempt())
        assert (step.act, step.until) == (Act.WAIT, DEADLINE + SECOND)
        assert next_of(attempt(), now=DEADLINE).act is Act.WAIT

    def test_past_its_deadline_the_escrow_is_looked_at_first(self) -> None:
        """A ledger restored from a backup does not know that the call was made."""
        assert next_of(attempt(), now=DEADLINE + SECOND).act is Act.LOOK
        found = Seen(looked=True, in_hand=True, kept=True)
        assert next_of(attempt(), found, now=DEADLINE + SECOND).act is Act.READ

    def test_without_an_answer_it_is_closed_uncounted(self) -> None:
        step = next_of(attempt(), Seen(looked=True, kept=True), now=DEADLINE + SECOND)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)

    def test_where_the_registry_takes_ours_there_is_no_answer_to_look_for(self) -> None:
        step = next_of(attempt(staged="v2"), way=Way.TAKES, now=DEADLINE + SECOND)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)

    def test_the_next_attempt_follows_one_that_was_not_called(self) -> None:
        assert next_of(attempt(outcome=AttemptOutcome.NOT_CALLED)).act is Act.CLAIM

    @pytest.mark.parametrize("seen", [Seen(mine=True), MINE])
    def test_without_enough_time_it_is_given_back(self, seen: Seen) -> None:
        """What is left of the function must hold the call, the escrow write and a margin."""
        step = next_of(attempt(), seen, now=LATE)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)
        assert next_of(attempt(), seen, now=LATE - SECOND).act is not Act.CLOSE

    def test_what_was_given_back_is_not_claimed_again_by_the_same_invocation(self) -> None:
        """Else it would claim and give back, thousands of times, until its end."""
        given_back = attempt(outcome=AttemptOutcome.NOT_CALLED)
        step = next_of(given_back, now=LATE)
        assert (step.act, step.until) == (Act.WAIT, LATE + SECOND)
        assert next_of(given_back, now=LATE - SECOND).act is Act.CLAIM

    def test_the_gate_is_asked_whatever_time_is_left(self) -> None:
        """It stands before the first claim, and says that the call cannot fit: to wait would not make it fit."""
        assert next_of(now=LATE, on=rotation(gate_at=None)).act is Act.CLAIM

    @pytest.mark.parametrize("way", [Way.GENERATES, Way.TAKES])
    def test_once_a_call_may_have_been_made_no_claim_leads_back(self, way: Way) -> None:
        """The claim's own invocation or another: "called at" is what counts."""
        for seen in (Seen(), MINE):
            assert next_of(called(call_ended_at=None), seen, way=way).act is Act.LOOK


class TestEndOfTheCall:
    @pytest.mark.parametrize("crashed", [False, True])
    def test_a_definite_refusal_closes_the_attempt_uncounted(self, *, crashed: bool) -> None:
        """Also where the invocation that heard it died before it closed the attempt."""
        heard = called() if not crashed else called(end=CallEnd.REFUSED, said="HTTP 409")
        seen = Seen() if crashed else Seen(mine=True, ready_at=NOW, end=CallEnd.REFUSED)
        step = next_of(heard, seen)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.REFUSED)

    def test_and_stops_the_rotation_with_the_registrys_reason(self) -> None:
        step = next_of(called(end=CallEnd.REFUSED, said="HTTP 409", outcome=AttemptOutcome.REFUSED))
        assert (step.act, step.why) == (Act.STOP, "the registry refused to reset: HTTP 409")

    def test_after_an_earlier_reset_was_lost_it_needs_a_person(self) -> None:
        """The old password is dead: a stopped rotation would forget that, and stop for ever."""
        refused = called(end=CallEnd.REFUSED, said="HTTP 409", outcome=AttemptOutcome.REFUSED)
        step = next_of(refused, on=rotation(resets=1))
        assert step.act is Act.ATTENTION
        assert "HTTP 409" in step.why
        assert "rekey paste" in step.why

    def test_a_call_that_never_left_closes_the_attempt_and_stops(self) -> None:
        not_sent = called(end=CallEnd.NOT_SENT, said="no connection")
        step = next_of(not_sent)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.NOT_CALLED)
        step = next_of(not_sent.having(outcome=AttemptOutcome.NOT_CALLED))
        assert (step.act, step.why) == (Act.STOP, "the reset call could not be sent: no connection")

    def test_after_an_earlier_reset_was_lost_it_is_tried_again(self) -> None:
        """Nobody holds a working password: to stop would leave it so."""
        ended = NOW - PROVE_WITHIN
        not_sent = called(end=CallEnd.NOT_SENT, call_ended_at=ended, outcome=AttemptOutcome.NOT_CALLED)
        assert next_of(not_sent, on=rotation(resets=1)).act is Act.CLAIM


class TestProof:
    @pytest.mark.parametrize("verdict", CANNOT_SAY)
    def test_a_registry_that_cannot_be_asked_holds_back_for_prove_within_only(self, verdict: LoginVerdict) -> None:
        """Invariant 2: with a positive answer in hand consumers cannot wait longer."""
        unasked = ANSWERED.having(login=verdict)
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
        unasked = ANSWERED.having(login=LoginVerdict.UNREACHABLE)
        assert next_of(unasked, READABLE, now=NOW + PROVE_WITHIN).act is Act.LOG_IN

    def test_a_password_refused_once_is_not_promoted_unproven(self) -> None:
        once = ANSWERED.having(login=LoginVerdict.REFUSED, refusals=1)
        step = next_of(once, ASKED, now=NOW + timedelta(days=1))
        assert (step.act, step.until) == (Act.WAIT, NOW + timedelta(days=1) + PAUSE)

    @pytest.mark.parametrize("staged", [None, "v2"])
    def test_nor_is_one_that_was_read_anew_and_refused_once(self, staged: str | None) -> None:
        """The first reading was wrong, and this one may be: only a login says."""
        anew = ANSWERED.having(login=LoginVerdict.UNREACHABLE, refusals=1, reading=1, staged=staged)
        step = next_of(anew, ASKED, now=NOW + PROVE_WITHIN)
        assert (step.act, step.until) == (Act.WAIT, NOW + PROVE_WITHIN + ASK_AGAIN)
        for other in (anew.having(refusals=0), anew.having(reading=0)):
            assert next_of(other, ASKED, now=NOW + PROVE_WITHIN).act in (Act.STAGE, Act.PROMOTE)

    def test_refused_twice_it_needs_a_person_and_nothing_is_reset(self) -> None:
        """The old password is not asked either: the answer is there, and the plan may be wrong."""
        twice = provable(end=CallEnd.ANSWERED, login=LoginVerdict.REFUSED, refusals=2)
        step = next_of(twice, ASKED, now=SETTLED)
        assert step.act is Act.ATTENTION
        assert "password_at" in step.why

    def test_an_unproven_password_is_delivered_and_its_answer_stays(self) -> None:
        """The escrow is deleted after an accepted login only."""
        unproven = ANSWERED.having(login=LoginVerdict.UNREACHABLE, staged="v2", promoted_at=NOW)
        assert next_of(unproven, on=rotation(phase=Phase.DELIVERING, promoted_at=NOW)).act is Act.DELIVER

    def test_once_it_is_accepted_the_answer_goes(self) -> None:
        proven = ANSWERED.having(login=LoginVerdict.ACCEPTED, staged="v2", promoted_at=NOW)
        assert next_of(proven, on=rotation(phase=Phase.VERIFYING, promoted_at=NOW)).act is Act.DELETE

    @pytest.mark.parametrize("login", [LoginVerdict.UNREACHABLE, LoginVerdict.ACCEPTED])
    def test_a_promoted_password_that_was_refused_since_needs_a_person(self, login: LoginVerdict) -> None:
        refused = ANSWERED.having(login=login, staged="v2", promoted_at=NOW)
        on = rotation(phase=Phase.NEEDS_ATTENTION, promoted_at=NOW, problems=("reset elsewhere",))
        step = next_of(refused, on=on)
        assert (step.act, step.why) == (Act.ATTENTION, "reset elsewhere")


class TestStaying:
    def test_needs_attention_stays_and_says_why(self) -> None:
        on = rotation(phase=Phase.NEEDS_ATTENTION, problems=("a", "b"))
        for way in Way:
            step = next_of(called(outcome=AttemptOutcome.NOT_CALLED), on=on, way=way)
            assert (step.act, step.why) == (Act.ATTENTION, "a\nb")

    def test_needs_attention_stays_also_with_a_promoted_password(self) -> None:
        closed = called(outcome=AttemptOutcome.PROMOTED, promoted_at=NOW)
        on = rotation(phase=Phase.NEEDS_ATTENTION, promoted_at=NOW, problems=("contents differ",))
        assert next_of(closed, on=on).act is Act.ATTENTION

    @pytest.mark.parametrize("way", list(Way))
    def test_a_higher_generation_in_the_store_is_never_overwritten(self, way: Way) -> None:
        """Invariant 4: generation N never overwrites N+1."""
        step = next_of(called(outcome=AttemptOutcome.SUPERSEDED), way=way)
        assert step.act is Act.ATTENTION
        assert "higher generation" in step.why
