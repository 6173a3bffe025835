"""Where people take part: what they paste, and the registries that only they can reset."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.acts import Act, Seen, Way
from rekey.model.request import Reason
from rekey.model.rotation import AttemptOutcome, Phase
from rekey.model.verdict import LoginVerdict
from tests.unit.reset_states import (
    ASKED,
    CANNOT_SAY,
    LIMITS,
    NOW,
    READABLE,
    SECOND,
    next_of,
    pasted,
    rotation,
)

if TYPE_CHECKING:
    from datetime import datetime

    from rekey.model.rotation import Rotation

A_DAY = timedelta(days=1)
STUCK = [
    rotation(resets=LIMITS.max_resets),
    rotation(calls=LIMITS.max_attempts),
    rotation(phase=Phase.NEEDS_ATTENTION, problems=("an answer was lost",)),
    rotation(phase=Phase.READY, gate_at=None, ready_until=NOW - SECOND, old_refusals=2),
]
"""Rotations in which nothing more is reset."""


def ready(until: datetime = NOW, **fields: object) -> Rotation:
    """Return a rotation for which a person was told to click while the old password was good."""
    told = {"phase": Phase.READY, "ready_until": until, "old_before": LoginVerdict.ACCEPTED, "old_version": "v1"}
    return rotation(**{**told, **fields})


@pytest.mark.parametrize("way", list(Way))
class TestPaste:
    @pytest.mark.parametrize("on", [rotation(), *STUCK])
    def test_it_is_the_way_out_of_everything(self, on: Rotation, way: Way) -> None:
        """Looked up, read, tried, staged and promoted like any answer, and waited for by nobody's deadline."""
        assert next_of(pasted(), on=on, way=way).act is Act.LOOK
        assert next_of(pasted(), Seen(looked=True, in_hand=True, kept=True), on=on, way=way).act is Act.READ
        assert next_of(pasted(), READABLE, on=on, way=way).act is Act.LOG_IN
        accepted = pasted(login=LoginVerdict.ACCEPTED)
        assert next_of(accepted, ASKED, on=on, way=way).act is Act.STAGE
        assert next_of(accepted.having(staged="v2"), ASKED, on=on, way=way).act is Act.PROMOTE

    @pytest.mark.parametrize("verdict", CANNOT_SAY)
    def test_it_is_never_promoted_unproven(self, verdict: LoginVerdict, way: Way) -> None:
        for staged in (None, "v2"):
            assert next_of(pasted(login=verdict, staged=staged), ASKED, way=way, now=NOW + A_DAY).act is Act.WAIT

    @pytest.mark.parametrize("wrong", ["refused twice", "the one in the store"])
    def test_a_wrong_one_is_deleted_and_closed(self, wrong: str, way: Way) -> None:
        same = wrong == "the one in the store"
        refused = pasted() if same else pasted(login=LoginVerdict.REFUSED, refusals=2)
        seen = replace(READABLE, same_as_current=same)
        assert next_of(refused, seen, way=way).act is Act.DELETE
        step = next_of(refused, replace(seen, deleted=True), way=way)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.WRONG_PASTE)

    def test_a_crash_after_its_deletion_closes_it_too(self, way: Way) -> None:
        step = next_of(pasted(login=LoginVerdict.REFUSED, refusals=2), Seen(looked=True, kept=True), way=way)
        assert (step.act, step.outcome) == (Act.CLOSE, AttemptOutcome.WRONG_PASTE)

    def test_one_that_was_accepted_is_promoted_though_the_store_has_it_by_now(self, way: Way) -> None:
        """Its own promotion, whose function died before it wrote that down."""
        accepted = pasted(login=LoginVerdict.ACCEPTED, staged="v2")
        assert next_of(accepted, replace(READABLE, same_as_current=True), way=way).act is Act.PROMOTE

    def test_a_later_one_that_replaced_it_leaves_it_nothing_to_do(self, way: Way) -> None:
        replaced = pasted(outcome=AttemptOutcome.REPLACED)
        step = next_of(replaced, on=rotation(phase=Phase.NEEDS_ATTENTION, problems=("paste",)), way=way)
        assert (step.act, step.why) == (Act.ATTENTION, "paste")


WRONG = pasted(outcome=AttemptOutcome.WRONG_PASTE, said="the pasted password is refused by the registry")


@pytest.mark.parametrize("way", [Way.GENERATES, Way.TAKES])
class TestAfterAWrongPaste:
    """The registry is one that Rekey resets, and a person had stepped in: nothing is reset."""

    @pytest.mark.parametrize(
        "on",
        [
            rotation(),
            rotation(old_version="v1", resets=1),
            rotation(old_version="v1", old_refusals=2),
            rotation(old_version="v1", wrong_logins=LIMITS.wrong_logins),
            rotation(old_version="v1", phase=Phase.NEEDS_ATTENTION, problems=(f"{WRONG.said}: reset it",)),
        ],
        ids=["no password in the store", "reset before", "store's is dead", "logins spent", "told already"],
    )
    def test_a_person_is_told_what_was_wrong(self, on: Rotation, way: Way) -> None:
        step = next_of(WRONG, on=on, way=way)
        assert step.act is Act.ATTENTION
        assert step.why.startswith("the pasted password is refused by the registry: ")

    def test_where_none_was_made_before_the_stores_password_is_asked(self, way: Way) -> None:
        on = rotation(old_version="v1")
        assert next_of(WRONG, on=on, way=way).act is Act.ASK_OLD
        assert next_of(WRONG, on=on, way=way, seen=Seen(old=LoginVerdict.REFUSED)).act is Act.WAIT
        assert next_of(WRONG, on=on, way=way, seen=Seen(old=LoginVerdict.UNREACHABLE)).act is Act.WAIT

    def test_where_that_is_still_good_nobody_is_needed(self, way: Way) -> None:
        """A slip of the pen blocks no rotation of a healthy registry."""
        step = next_of(WRONG, on=rotation(old_version="v1"), way=way, seen=Seen(old=LoginVerdict.ACCEPTED))
        assert step.act is Act.STOP
        assert step.why.startswith("the pasted password is refused by the registry. ")


class TestManual:
    def test_behind_the_gate_a_person_is_told_to_click(self) -> None:
        assert next_of(way=Way.MANUAL).act is Act.BE_READY

    def test_until_the_time_is_over_nothing_is_done(self) -> None:
        assert next_of(way=Way.MANUAL, on=ready(NOW + SECOND)).act is Act.STAY_READY

    def test_a_wrong_paste_is_asked_for_again(self) -> None:
        wrong = pasted(outcome=AttemptOutcome.WRONG_PASTE)
        assert next_of(wrong, way=Way.MANUAL, on=ready(NOW + SECOND)).act is Act.STAY_READY

    def test_when_it_is_over_the_old_password_is_asked(self) -> None:
        assert next_of(way=Way.MANUAL, on=ready()).act is Act.ASK_OLD

    def test_accepted_means_nobody_clicked(self) -> None:
        """It stops, and no generation is used up."""
        step = next_of(None, Seen(old=LoginVerdict.ACCEPTED), way=Way.MANUAL, on=ready(old_refusals=1))
        assert step.act is Act.STOP
        assert "still good" in step.why

    def test_refused_twice_means_somebody_clicked_and_did_not_paste(self) -> None:
        step = next_of(way=Way.MANUAL, on=ready(old_refusals=2, wrong_logins=LIMITS.wrong_logins))
        assert step.act is Act.ATTENTION
        assert "the old password is dead" in step.why

    @pytest.mark.parametrize("before", [None, LoginVerdict.REFUSED, *CANNOT_SAY])
    def test_what_one_login_said_before_is_no_fact(self, before: LoginVerdict | None) -> None:
        """A registry whose user database was down is asked anew: nobody is called for a password that is good."""
        assert next_of(way=Way.MANUAL, on=ready(old_before=before)).act is Act.ASK_OLD
        accepted = Seen(old=LoginVerdict.ACCEPTED)
        assert next_of(None, accepted, way=Way.MANUAL, on=ready(old_before=before)).act is Act.STOP

    @pytest.mark.parametrize("before", [None, LoginVerdict.REFUSED, *CANNOT_SAY])
    def test_where_it_did_not_log_in_before_nobody_is_said_to_have_clicked(self, before: LoginVerdict | None) -> None:
        step = next_of(way=Way.MANUAL, on=ready(old_before=before, old_refusals=2))
        assert step.act is Act.ATTENTION
        assert "nobody pasted" in step.why
        assert "dead" not in step.why

    @pytest.mark.parametrize("on", [ready(old_version=None), ready(reason=Reason.LOST)])
    def test_where_there_is_none_to_ask_a_person_is_called(self, on: Rotation) -> None:
        step = next_of(way=Way.MANUAL, on=on)
        assert step.act is Act.ATTENTION
        assert "nobody pasted" in step.why

    @pytest.mark.parametrize("outcome", list(AttemptOutcome))
    def test_nothing_is_ever_claimed(self, outcome: AttemptOutcome) -> None:
        """No call resets it."""
        for on in (rotation(), ready(), ready(NOW + SECOND), rotation(resets=1)):
            assert next_of(pasted(outcome=outcome), way=Way.MANUAL, on=on).act is not Act.CLAIM
