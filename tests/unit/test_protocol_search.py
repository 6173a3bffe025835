"""What holds in every state a reset can be in, reachable or not: a product of the values of every field."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from rekey.protocol import Act, Records, Seen, Step, next_act
from tests.unit.reset_states import CALL, DEADLINE, LIMITS, NOW, PROVE_WITHIN, SECOND, SETTLE, attempt, rotation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

LOGINS = [None, LoginVerdict.ACCEPTED, LoginVerdict.REFUSED, LoginVerdict.UNREACHABLE]
BOTH = [False, True]
TIMES = [NOW, DEADLINE - CALL + SECOND, DEADLINE + SETTLE + PROVE_WITHIN + SECOND]
"""In time for a call; too late for one; past every wait."""
_WRITTEN_AFTER: Mapping[Act, dict[str, object]] = {
    Act.CALL: {"called_at": NOW},
    Act.KEEP: {"end": CallEnd.ANSWERED},
    Act.LOG_IN: {"login": LoginVerdict.ACCEPTED},
    Act.STAGE: {"staged": "version"},
    Act.PROMOTE: {"promoted_at": NOW},
}
"""What an act that goes well leaves in the attempt."""
_SEEN_AFTER: Mapping[Act, dict[str, Any]] = {
    Act.GET_READY: {"ready": True, "old": LoginVerdict.ACCEPTED},
    Act.CALL: {"end": CallEnd.ANSWERED, "in_hand": True},
    Act.KEEP: {"kept": True},
    Act.LOOK: {"looked": True, "kept": True},
    Act.READ: {"readable": True},
    Act.LOG_IN: {"asked": True},
    Act.DELETE: {"deleted": True},
}
"""What an invocation has seen after an act that went well."""


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


def rotations() -> list[Rotation]:
    phases = [Phase.READY, Phase.RESETTING, Phase.DELIVERING, Phase.NEEDS_ATTENTION]
    product = itertools.product(phases, [Reason.SCHEDULED, Reason.COMPROMISED], [None, NOW])
    return [rotation(phase=phase, reason=reason, promoted_at=promoted) for phase, reason, promoted in product]


def attempts() -> list[Attempt]:
    product = itertools.product(
        AttemptKind,
        [None, NOW],
        [None, CallEnd.ANSWERED, CallEnd.REFUSED, CallEnd.UNKNOWN],
        LOGINS,
        [0, 1, 2],
        [None, "version"],
        [None, NOW],
        [None, AttemptOutcome.NOT_CALLED, AttemptOutcome.REFUSED, AttemptOutcome.PROMOTED, AttemptOutcome.WRONG_PASTE],
    )
    names = ("kind", "called_at", "end", "login", "refusals", "staged", "promoted_at", "outcome")
    base = attempt()
    return [base.having(**dict(zip(names, values, strict=True))) for values in product]


def seens() -> list[Seen]:
    claims = [(False, False), (True, False), (True, True)]
    answers = [(False, None, False), (True, None, False), (True, False, False), (True, True, False), (True, True, True)]
    return [
        Seen(mine=mine, ready=ready, in_hand=in_hand, kept=kept, looked=looked, readable=readable, asked=asked)
        for (mine, ready), (in_hand, readable, asked), kept, looked in itertools.product(claims, answers, BOTH, BOTH)
    ]


@pytest.fixture(scope="module")
def situations() -> list[Situation]:
    """Every attempt, in every rotation or of every view and time: the three are varied against it in turn."""
    return list(explored())


def explored() -> Iterator[Situation]:
    all_rotations, all_seens = rotations(), seens()
    for number, one in enumerate(attempts()):
        for turn, seen in enumerate(all_seens):
            of = all_rotations[(number + turn) % len(all_rotations)]
            now = TIMES[(number + turn) % len(TIMES)]
            records = Records(of, one, manual=bool((number + turn // 3) % 2))
            yield Situation(records, seen, now, next_act(records, seen, LIMITS, now))


def test_the_search_meets_every_act(situations: list[Situation]) -> None:
    """Else a property would hold because nothing was looked at."""
    missing = set(Act) - {situation.step.act for situation in situations}
    assert missing <= {Act.BE_READY, Act.STAY_READY, Act.ASK_OLD}, missing


def test_whatever_leads_to_a_call_is_done_only_under_a_claim_of_ones_own(situations: list[Situation]) -> None:
    """Another invocation's claim is waited for or closed, never gone on with."""
    for situation in situations:
        if situation.step.act in (Act.GET_READY, Act.CALL, Act.KEEP):
            one = situation.attempt
            assert situation.seen.mine or one.called_at is not None or one.kind is AttemptKind.PASTED


def test_a_call_is_made_only_under_a_claim_of_ones_own_that_was_never_called_and_has_time(
    situations: list[Situation],
) -> None:
    for situation in situations:
        if situation.step.act is Act.CALL:
            assert situation.seen.mine
            assert situation.seen.ready
            assert situation.attempt.kind is AttemptKind.RESET
            assert situation.attempt.called_at is None
            assert situation.attempt.outcome is None
            assert situation.now + LIMITS.call <= situation.attempt.deadline
            assert not situation.records.rotation.completed or situation.attempt.promoted_at is None


def test_no_claim_while_an_attempt_is_open(situations: list[Situation]) -> None:
    claims = [situation for situation in situations if situation.step.act is Act.CLAIM]
    assert claims
    for situation in claims:
        assert situation.attempt.outcome is not None
        assert not situation.records.rotation.completed
        assert not situation.records.manual
        assert situation.records.rotation.phase is not Phase.NEEDS_ATTENTION


def test_no_claim_after_a_call_whose_end_is_unknown(situations: list[Situation]) -> None:
    """It is never closed as if nothing had happened, and nothing is claimed beside it."""
    for situation in situations:
        one, step = situation.attempt, situation.step
        if one.kind is not AttemptKind.RESET or one.called_at is None or one.outcome is not None:
            continue
        assert step.act is not Act.CLAIM
        assert step.act is not Act.CALL
        if one.end not in (CallEnd.REFUSED, CallEnd.NOT_SENT):
            assert step.outcome in (None, AttemptOutcome.PROMOTED)


def test_nothing_is_staged_or_promoted_without_a_password_in_hand(situations: list[Situation]) -> None:
    for situation in situations:
        if situation.step.act in (Act.STAGE, Act.PROMOTE, Act.LOG_IN):
            assert situation.seen.readable
            assert situation.seen.in_hand
            assert situation.seen.kept


def test_nothing_is_promoted_that_the_registry_refused_or_that_was_pasted_and_not_accepted(
    situations: list[Situation],
) -> None:
    for situation in situations:
        one = situation.attempt
        if situation.step.act in (Act.STAGE, Act.PROMOTE):
            assert one.refusals < 2
            assert one.login is not LoginVerdict.REFUSED
            assert one.login is LoginVerdict.ACCEPTED or one.kind is AttemptKind.RESET


def test_nothing_is_read_before_it_is_kept(situations: list[Situation]) -> None:
    for situation in situations:
        if situation.step.act is Act.READ:
            assert situation.seen.kept


def test_an_answer_is_deleted_only_once_proven_or_where_a_paste_was_wrong(situations: list[Situation]) -> None:
    for situation in situations:
        one = situation.attempt
        if situation.step.act is Act.DELETE:
            proven = one.promoted_at is not None and one.login is LoginVerdict.ACCEPTED
            assert proven or (one.kind is AttemptKind.PASTED and one.refusals >= 2)


def test_consumers_are_told_only_of_a_promoted_password(situations: list[Situation]) -> None:
    for situation in situations:
        if situation.step.act is Act.DELIVER:
            assert situation.records.rotation.completed or situation.attempt.promoted_at is not None


def test_whoever_is_asked_for_or_stopped_for_is_told_why_and_a_wait_has_an_end(situations: list[Situation]) -> None:
    for situation in situations:
        step = situation.step
        if step.act is Act.WAIT:
            assert step.until is not None
            assert step.until > situation.now
        if step.act is Act.STOP:
            assert step.why
        if step.act is Act.CLOSE:
            assert step.outcome is not None


def test_an_act_that_was_done_does_not_come_again_at_once(situations: list[Situation]) -> None:
    """Termination: what an act changes leads somewhere else, so an invocation cannot turn in a circle."""
    for situation in situations:
        after = _after(situation)
        if after is not None:
            again = next_act(after.records, after.seen, LIMITS, situation.now)
            assert again.act is not situation.step.act, (situation, again)


def _after(situation: Situation) -> Situation | None:
    """Return the state that `reset` leaves behind after an act, where it goes on; None where it leads out."""
    act = situation.step.act
    if act not in _SEEN_AFTER and act not in _WRITTEN_AFTER and act not in (Act.CLAIM, Act.CLOSE):
        return None
    one = situation.attempt.having(**_WRITTEN_AFTER.get(act, {}))
    seen = replace(situation.seen, **_SEEN_AFTER.get(act, {}))
    of = situation.records.rotation
    if act is Act.CLAIM:
        one, seen = attempt(number=2), Seen(mine=True)
    elif act is Act.CLOSE:
        one, seen = one.having(outcome=situation.step.outcome), Seen()
    elif act is Act.PROMOTE:
        of = of.having(promoted_at=NOW, phase=Phase.DELIVERING)
    return replace(situation, records=replace(situation.records, rotation=of, attempt=one), seen=seen)
