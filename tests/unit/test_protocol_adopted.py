"""Answers that a restored ledger had forgotten: a login decides, and none of them leads to a reset."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rekey.acts import Act, Seen, Way
from rekey.model.rotation import AttemptKind, AttemptOutcome, Phase
from rekey.model.verdict import LoginVerdict
from tests.unit.reset_states import (
    ASKED,
    CANNOT_SAY,
    LIMITS,
    NOTHING_FOUND,
    NOW,
    READABLE,
    SECOND,
    SETTLED,
    UNREADABLE,
    adopted,
    next_of,
    rotation,
)

OLD_IS_GOOD = replace(UNREADABLE, old=LoginVerdict.ACCEPTED)


@pytest.mark.parametrize("way", list(Way))
class TestReadable:
    def test_it_is_looked_up_read_tried_staged_and_promoted_without_any_claim(self, way: Way) -> None:
        assert next_of(adopted(), way=way).act is Act.LOOK
        assert next_of(adopted(), Seen(looked=True, in_hand=True, kept=True), way=way).act is Act.READ
        assert next_of(adopted(), READABLE, way=way).act is Act.LOG_IN
        accepted = adopted(login=LoginVerdict.ACCEPTED)
        assert next_of(accepted, ASKED, way=way).act is Act.STAGE
        assert next_of(accepted.having(staged="v2"), ASKED, way=way).act is Act.PROMOTE

    @pytest.mark.parametrize("beside", [False, True], ids=["a forgotten paste", "one of several pastes"])
    @pytest.mark.parametrize("same", [True, False], ids=["in the store already", "refused twice"])
    def test_what_is_of_no_use_is_deleted_then_closed(self, way: Way, *, same: bool, beside: bool) -> None:
        """Where a person has pasted nothing is reset, whichever of several was wrong."""
        refused = {} if same else {"login": LoginVerdict.REFUSED, "refusals": 2}
        useless = adopted(adopted=AttemptKind.PASTED, beside_paste=beside, **refused)
        seen = replace(READABLE, same_as_current=same)
        assert next_of(useless, seen, way=way).act is Act.DELETE
        step = next_of(useless, replace(seen, deleted=True), way=way)
        wrong = AttemptOutcome.WRONG_PASTE if beside and way is not Way.MANUAL else AttemptOutcome.STALE
        assert (step.act, step.outcome) == (Act.CLOSE, wrong)

    def test_an_answer_refused_twice_is_kept_unless_the_stores_password_is_still_good(self, way: Way) -> None:
        """The plan may read the wrong field, and this may be the only copy of the password in force."""
        refused = adopted(login=LoginVerdict.REFUSED, refusals=2, old_version="v1")
        assert next_of(refused, READABLE, way=way).act is Act.ASK_OLD
        assert next_of(refused, replace(READABLE, old=LoginVerdict.ACCEPTED), way=way).act is Act.DELETE
        assert next_of(refused.having(old_refusals=2), READABLE, way=way).act is Act.ATTENTION
        assert next_of(refused.having(old_version=None), READABLE, way=way).act is Act.ATTENTION

    def test_a_crash_after_its_deletion_closes_it_too(self, way: Way) -> None:
        step = next_of(adopted(), NOTHING_FOUND, way=way)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.STALE)

    @pytest.mark.parametrize("verdict", CANNOT_SAY)
    def test_it_is_never_promoted_unproven(self, way: Way, verdict: LoginVerdict) -> None:
        """It is an answer to some call, nobody knows to which."""
        for staged in (None, "v2"):
            unasked = adopted(login=verdict, staged=staged)
            assert next_of(unasked, ASKED, way=way, now=NOW + timedelta(days=1)).act is Act.WAIT


class TestUnreadable:
    """The store's password is asked: nobody knows what was asked before the call."""

    @pytest.mark.parametrize("before", [None, *LoginVerdict])
    def test_whatever_was_said_before(self, before: LoginVerdict | None) -> None:
        assert next_of(adopted(old_version="v1", old_before=before), UNREADABLE).act is Act.ASK_OLD

    def test_once_the_call_has_settled(self) -> None:
        fresh = adopted(old_version="v1", call_ended_at=NOW)
        step = next_of(fresh, UNREADABLE)
        assert (step.act, step.until) == (Act.WAIT, SETTLED + SECOND)

    def test_where_it_is_good_the_answer_is_deleted_and_stale(self) -> None:
        """It is not closed as a reset without effect, which would take one off the count."""
        assert next_of(adopted(old_version="v1"), OLD_IS_GOOD).act is Act.DELETE
        step = next_of(adopted(old_version="v1"), replace(OLD_IS_GOOD, deleted=True))
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.STALE)

    @pytest.mark.parametrize("version", ["v1", None])
    def test_where_it_is_dead_or_there_is_none_the_answer_stays_and_a_person_is_needed(
        self, version: str | None
    ) -> None:
        step = next_of(adopted(old_version=version, old_refusals=2 if version else 0), UNREADABLE)
        assert (step.act, step.why) == (Act.ATTENTION, "no password at /data")

    def test_what_was_refused_for_an_earlier_attempt_is_not_asked_again(self) -> None:
        """A fact that stands: it is about the same version of the store."""
        on = rotation(old_version="v1", old_refusals=2)
        assert next_of(adopted(old_version="v1"), UNREADABLE, on=on).act is Act.ATTENTION

    def test_unless_the_store_has_another_one_by_now(self) -> None:
        on = rotation(old_version="v1", old_refusals=2)
        assert next_of(adopted(old_version="v2"), UNREADABLE, on=on).act is Act.ASK_OLD

    def test_a_refusal_of_its_own_counts_whatever_the_rotation_says(self) -> None:
        on = rotation(old_version="v1", old_refusals=0)
        assert next_of(adopted(old_version="v1", old_refusals=2), UNREADABLE, on=on).act is Act.ATTENTION


class TestAfterwards:
    """A stale answer changes nothing: the rotation goes on as if it had never been found."""

    def test_a_rotation_that_has_not_reset_yet_goes_on_to_its_gate(self) -> None:
        stale, on = adopted(outcome=AttemptOutcome.STALE), rotation(gate_at=None, attempts=1)
        assert next_of(stale, on=on).act is Act.CLAIM

    def test_a_password_in_force_is_delivered(self) -> None:
        stale = adopted(outcome=AttemptOutcome.STALE)
        assert next_of(stale, on=rotation(promoted_at=NOW)).act is Act.DELIVER

    def test_who_waits_for_a_paste_waits_on(self) -> None:
        on = rotation(phase=Phase.RESETTING, ready_until=NOW + SECOND, old_before=LoginVerdict.ACCEPTED)
        assert next_of(adopted(outcome=AttemptOutcome.STALE), way=Way.MANUAL, on=on).act is Act.STAY_READY

    def test_resets_that_are_spent_stay_spent(self) -> None:
        on = rotation(resets=LIMITS.max_resets)
        assert next_of(adopted(outcome=AttemptOutcome.STALE), on=on).act is Act.ATTENTION

    def test_a_person_that_is_needed_is_needed_still(self) -> None:
        on = rotation(phase=Phase.NEEDS_ATTENTION, problems=("an answer was lost",))
        assert next_of(adopted(outcome=AttemptOutcome.STALE), on=on).act is Act.ATTENTION
