"""What holds in every state a reset can be in, reachable or not: the search in `tests/faults` meets reachable ones."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from rekey.acts import Act, Records, Seen, Step, Way
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from rekey.protocol import next_act
from tests.unit.reset_states import CALL, DEADLINE, LIMITS, NOW, PAUSE, PROVE_WITHIN, SECOND, SETTLE, attempt, rotation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

STATES = 40_000
VERDICTS = [None, *LoginVerdict]
BOTH = [False, True]
TIMES = [NOW, DEADLINE - CALL + SECOND, DEADLINE + SECOND, DEADLINE + SETTLE + PROVE_WITHIN + SECOND]
"""In time for a call; too late for one; past the claim; past every wait."""
ROTATIONS: Mapping[str, Sequence[object]] = {
    "phase": [Phase.READY, Phase.RESETTING, Phase.DELIVERING, Phase.NEEDS_ATTENTION],
    "reason": list(Reason),
    "gate_at": [None, NOW, NOW],
    "promoted_at": [None, None, None, NOW],
    "attempts": [1, 2],
    "calls": [0, 0, LIMITS.max_attempts],
    "resets": [0, 0, 1, LIMITS.max_resets],
    "wrong_logins": [0, 1, LIMITS.wrong_logins],
    "old_version": [None, "v1"],
    "old_before": VERDICTS,
    "old_refusals": [0, 0, 1, 2],
    "ready_until": [None, NOW, DEADLINE],
}
ATTEMPTS: Mapping[str, Sequence[object]] = {
    "kind": list(AttemptKind),
    "called_at": [None, NOW],
    "call_ended_at": [None, NOW],
    "end": [None, *CallEnd],
    "old_version": [None, "v1", "v1"],
    "old_before": VERDICTS,
    "old_refusals": [0, 1, 2],
    "change_mark": [None, "mark"],
    "mark_moved": [None, False, True],
    "login": VERDICTS,
    "refusals": [0, 1, 2],
    "staged": [None, "v2"],
    "promoted_at": [None, None, None, NOW],
    "outcome": [None, None, None, *AttemptOutcome],
}
SEEN: Mapping[str, Sequence[object]] = {
    "mine": BOTH,
    "ready_at": [None, NOW],
    "tried": BOTH,
    "old": VERDICTS,
    "end": [None, None, *CallEnd],
    "in_hand": BOTH,
    "kept": BOTH,
    "looked": BOTH,
    "readable": [None, False, True, True],
    "unreadable": ["no password at /data"],
    "same_as_current": [False, False, True],
    "mark_asked": BOTH,
    "asked": BOTH,
    "deleted": BOTH,
}
_WRITTEN_AFTER: Mapping[Act, dict[str, object]] = {
    Act.TRY_OLD: {"old_before": LoginVerdict.ACCEPTED},
    Act.CALL: {"called_at": NOW},
    Act.KEEP: {"end": CallEnd.ANSWERED},
    Act.LOG_IN: {"login": LoginVerdict.ACCEPTED},
    Act.STAGE: {"staged": "v2"},
    Act.READ_MARK: {"mark_moved": True},
    Act.PROMOTE: {"promoted_at": NOW},
}
"""What an act that goes well leaves in the attempt."""
_SEEN_AFTER: Mapping[Act, dict[str, Any]] = {
    Act.GET_READY: {"ready_at": NOW},
    Act.TRY_OLD: {"tried": True},
    Act.PAUSE: {"tried": False},
    Act.CALL: {"end": CallEnd.ANSWERED, "in_hand": True},
    Act.KEEP: {"kept": True},
    Act.LOOK: {"looked": True, "kept": True},
    Act.READ: {"readable": True},
    Act.LOG_IN: {"asked": True},
    Act.READ_MARK: {"mark_asked": True},
    Act.ASK_OLD: {"old": LoginVerdict.INCONCLUSIVE},
    Act.DELETE: {"deleted": True},
}
"""What an invocation has seen after it."""


@dataclass(frozen=True)
class Situation:
    """One state, and what comes of it."""

    records: Records
    seen: Seen
    now: datetime
    step: Step

    @property
    def attempt(self) -> Attempt:
        assert self.records.attempt is not None
        return self.records.attempt

    @property
    def rotation(self) -> Rotation:
        return self.records.rotation

    @property
    def settled(self) -> bool:
        """Whether the call, if one was made, can have no more effect."""
        return self.now >= (self.attempt.call_ended_at or self.attempt.deadline) + LIMITS.settle


@pytest.fixture(scope="module")
def situations() -> list[Situation]:
    """Every field's values, mixed; the same mix at every run."""
    return list(_explored())


def _explored() -> Iterator[Situation]:
    mixed = random.Random(1)  # noqa: S311 (mixes states, hides nothing)

    def one_of(values: Mapping[str, Sequence[object]]) -> dict[str, Any]:
        return {name: mixed.choice(several) for name, several in values.items()}

    of, one = rotation(problems=("a person is needed",)), attempt()
    for _ in range(STATES):
        records = Records(of.having(**one_of(ROTATIONS)), one.having(**one_of(ATTEMPTS)), mixed.choice(list(Way)))
        seen, now = Seen(**one_of(SEEN)), mixed.choice(TIMES)
        yield Situation(records, seen, now, next_act(records, seen, LIMITS, now))


def test_every_act_is_met(situations: list[Situation]) -> None:
    """Else a property would hold because nothing was looked at."""
    assert {situation.step.act for situation in situations} == set(Act)


def test_a_call_is_made_only_under_a_claim_of_ones_own_that_was_never_called_and_has_time(
    situations: list[Situation],
) -> None:
    for situation in situations:
        one, seen = situation.attempt, situation.seen
        if situation.step.act is Act.CALL:
            assert seen.mine
            assert seen.ready_at
            assert not seen.in_hand
            assert (one.kind, one.called_at, one.outcome, one.promoted_at) == (AttemptKind.RESET, None, None, None)
            assert situation.now + LIMITS.call <= one.deadline
            assert one.staged or situation.records.way is not Way.TAKES


def test_no_claim_beside_an_open_attempt_or_where_a_person_has_the_word(situations: list[Situation]) -> None:
    for situation in situations:
        if situation.step.act is Act.CLAIM:
            assert situation.attempt.outcome not in (None, AttemptOutcome.WRONG_PASTE, AttemptOutcome.SUPERSEDED)
            assert situation.records.way is not Way.MANUAL
            assert not situation.rotation.completed
            assert situation.rotation.phase is not Phase.NEEDS_ATTENTION
            assert situation.rotation.resets < LIMITS.max_resets
            assert situation.rotation.calls < LIMITS.max_attempts


def test_a_call_is_settled_before_it_is_closed_as_lost_or_without_effect(situations: list[Situation]) -> None:
    """And only a reset's: what a person pasted, or nobody waits for, takes none off the count."""
    for situation in situations:
        if situation.step.outcome in (AttemptOutcome.LOST, AttemptOutcome.NO_EFFECT):
            assert situation.settled
            assert situation.attempt.kind is AttemptKind.RESET
            in_hand = situation.seen.in_hand and situation.seen.readable
            assert situation.attempt.login is not LoginVerdict.ACCEPTED or not in_hand


def test_an_answer_in_hand_is_never_lost(situations: list[Situation]) -> None:
    """Invariant 5; the candidate of a set that was not made is no answer."""
    for situation in situations:
        if situation.step.outcome is AttemptOutcome.LOST:
            assert not situation.seen.in_hand or situation.records.way is Way.TAKES


def test_nothing_but_keeping_is_done_with_an_answer_that_is_not_kept(situations: list[Situation]) -> None:
    """Invariant 6. The candidate that the registry has not heard of is no answer."""
    for situation in situations:
        one, step = situation.attempt, situation.step
        if step.act in (Act.READ, Act.LOG_IN, Act.STAGE, Act.PROMOTE) and (one.called_at or situation.seen.in_hand):
            assert situation.seen.kept
        if step.act in (Act.LOG_IN, Act.PROMOTE):
            assert situation.seen.readable


def test_nothing_is_promoted_that_was_refused_or_that_nothing_speaks_for(situations: list[Situation]) -> None:
    """Invariant 2: accepted, or unproven with a positive answer in hand."""
    for situation in situations:
        one = situation.attempt
        if situation.step.act is Act.PROMOTE and one.login is not LoginVerdict.ACCEPTED:
            assert one.kind is AttemptKind.RESET
            assert one.login is not LoginVerdict.REFUSED
            assert one.refusals < 2
            assert situation.records.way is not Way.TAKES or one.end is CallEnd.ANSWERED


def test_no_answer_is_deleted_that_may_be_the_only_one(situations: list[Situation]) -> None:
    """It is proven and in force, or no reset's and of no use."""
    for situation in situations:
        one, seen = situation.attempt, situation.seen
        if situation.step.act is Act.DELETE:
            proven = one.promoted_at is not None and one.login is LoginVerdict.ACCEPTED
            useless = one.refusals >= 2 or seen.same_as_current or seen.old is LoginVerdict.ACCEPTED
            assert proven or (one.kind is not AttemptKind.RESET and one.login is not LoginVerdict.ACCEPTED and useless)


def test_no_login_is_tried_beyond_the_budget(situations: list[Situation]) -> None:
    for situation in situations:
        if situation.step.act in (Act.TRY_OLD, Act.LOG_IN, Act.ASK_OLD):
            assert situation.rotation.wrong_logins < LIMITS.wrong_logins


def test_a_rotation_whose_reset_was_called_does_not_stop(situations: list[Situation]) -> None:
    """A stopped one says that nothing has happened."""
    for situation in situations:
        if situation.step.act is Act.STOP and situation.records.way is not Way.MANUAL:
            assert situation.rotation.resets == 0


def test_consumers_are_told_only_of_a_promoted_password(situations: list[Situation]) -> None:
    for situation in situations:
        if situation.step.act is Act.DELIVER:
            assert situation.rotation.completed or situation.attempt.promoted_at is not None


def test_whoever_is_asked_for_or_stopped_for_is_told_why_and_a_wait_has_an_end(situations: list[Situation]) -> None:
    for situation in situations:
        step = situation.step
        if step.act in (Act.WAIT, Act.PAUSE):
            assert step.until is not None
            assert step.until > situation.now
        if step.act is Act.STOP or (
            step.act is Act.ATTENTION and situation.rotation.phase is not Phase.NEEDS_ATTENTION
        ):
            assert step.why
        if step.act is Act.CLOSE:
            assert step.outcome is not None


def test_an_act_that_was_done_does_not_come_again_at_once(situations: list[Situation]) -> None:
    """Termination: what an act changes leads somewhere else, so an invocation cannot turn in a circle."""
    for situation in situations:
        after = _after(situation)
        if after is not None:
            again = next_act(after.records, after.seen, LIMITS, after.now)
            assert again.act is not situation.step.act, (situation, again)


def _after(situation: Situation) -> Situation | None:
    """Return the state that `reset` leaves behind after an act, where it goes on; None where it leads out."""
    act = situation.step.act
    if act not in _SEEN_AFTER and act not in _WRITTEN_AFTER and act not in (Act.CLAIM, Act.CLOSE):
        return None
    of, one = situation.rotation, situation.attempt.having(**_WRITTEN_AFTER.get(act, {}))
    seen, now = replace(situation.seen, **_SEEN_AFTER.get(act, {})), situation.now
    if act is Act.CLAIM:
        of, one, seen = of.having(gate_at=NOW), attempt(number=2), Seen(mine=True)
    elif act is Act.CLOSE:
        one, seen = one.having(outcome=situation.step.outcome), Seen()
    elif act is Act.PROMOTE:
        of = of.having(promoted_at=NOW, phase=Phase.DELIVERING)
    elif act is Act.PAUSE:
        now += PAUSE
    return replace(situation, records=replace(situation.records, rotation=of, attempt=one), seen=seen, now=now)
