"""The reset protocol as one pure decision: in what the ledger says and what was seen, out the next act.

The registry's old password dies at the call and the new one is shown once: the order of these acts is what Rekey is.
`steps/reset.py` does an act and asks again; nothing else decides. An act is chosen from what is written down, so
another invocation that comes after a crash goes on at the same place. `Seen` belongs to one attempt and one invocation:
what an earlier one saw counts only where it is written in the ledger.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict

REFUSALS_THAT_COUNT = 2
"""A registry whose user database is down answers 401 to the right password: one refusal is not one."""


class Act(StrEnum):
    """What `reset` can do next."""

    CLAIM = auto()
    """Open an attempt: from here on no other invocation may call."""
    GET_READY = auto()
    """Have the escrow's key wrapped, try the old password, note the store's version."""
    CALL = auto()
    """Write "called at", look at the clock, send the one call."""
    KEEP = auto()
    """Put the answer into the escrow, unread."""
    LOOK = auto()
    """Look for the answer in the escrow, then for the candidate in the store."""
    READ = auto()
    """Find the password in the answer."""
    LOG_IN = auto()
    """Ask the registry about the new password."""
    STAGE = auto()
    """Put it into the store where readers do not look."""
    PROMOTE = auto()
    """Make it the one that readers see."""
    DELETE = auto()
    """Delete the answer from the escrow: the password is proven."""
    CLOSE = auto()
    """Write the attempt's outcome."""
    BE_READY = auto()
    """`manual`: try the old password, note the store's version, tell a person to click."""
    ASK_OLD = auto()
    """Ask the registry about the old password."""
    WAIT = auto()
    """Come back at `until`."""
    STAY_READY = auto()
    """`manual`: a person is to click and paste; nothing to do until then."""
    DELIVER = auto()
    """The password is promoted: consumers are next."""
    STOP = auto()
    """Nothing was reset, and nothing will be now."""
    ATTENTION = auto()
    """A person has to decide; nothing more is reset."""


@dataclass(frozen=True)
class Step:
    """An act with what belongs to it."""

    act: Act
    until: datetime | None = None
    why: str = ""
    outcome: AttemptOutcome | None = None


@dataclass(frozen=True)
class Records:
    """What the ledger says. `attempt` is the latest one."""

    rotation: Rotation
    attempt: Attempt | None
    manual: bool = False


@dataclass(frozen=True)
class Seen:
    """What this invocation saw of the latest attempt."""

    mine: bool = False
    """This invocation made the claim."""
    ready: bool = False
    old: LoginVerdict | None = None
    end: CallEnd | None = None
    in_hand: bool = False
    """The answer, or the password read from it, is in this invocation's memory."""
    kept: bool = False
    """The answer is in the escrow, or the password is staged because the escrow refused."""
    looked: bool = False
    readable: bool | None = None
    unreadable: str = ""
    """Why the password could not be found in the answer."""
    same_as_current: bool = False
    """The password read is the one the store already calls current."""
    asked: bool = False
    """The registry was asked about the new password in this invocation."""
    deleted: bool = False


@dataclass(frozen=True)
class Limits:
    """Durations of the plan, the adapter and the stack."""

    until: datetime
    """When this invocation is cut off."""
    call: timedelta
    """What must be left of the function's time when the call is sent: call, escrow write, margin."""
    settle: timedelta
    prove_within: timedelta
    refusal_pause: timedelta
    ask_again: timedelta = timedelta(seconds=3)


def next_act(records: Records, seen: Seen, limits: Limits, now: datetime) -> Step:
    """Return the next act."""
    attempt = records.attempt
    if attempt is None or attempt.outcome is not None:
        return _without_attempt(records, seen, limits, now)
    if attempt.promoted_at is not None:
        return _promoted(records.rotation, attempt, seen)
    if attempt.kind is AttemptKind.RESET and attempt.called_at is None:
        return _before_call(records, attempt, seen, limits, now)
    end = seen.end or attempt.end
    if end is CallEnd.REFUSED:
        return Step(Act.CLOSE, outcome=AttemptOutcome.REFUSED)
    if end is CallEnd.NOT_SENT:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NOT_CALLED)
    if seen.in_hand and not seen.kept:
        return Step(Act.KEEP)
    if not seen.in_hand:
        return _without_answer(records, attempt, seen, limits, now)
    if seen.readable is None:
        return Step(Act.READ)
    if not seen.readable:
        return Step(Act.ATTENTION, why=seen.unreadable)
    return _with_password(attempt, seen, limits, now)


def _without_attempt(records: Records, seen: Seen, limits: Limits, now: datetime) -> Step:
    rotation, last = records.rotation, records.attempt
    if rotation.completed and rotation.phase is not Phase.NEEDS_ATTENTION:
        return Step(Act.DELIVER)
    if last is not None and last.outcome is AttemptOutcome.SUPERSEDED:
        return Step(Act.ATTENTION, why="the store holds a higher generation: a later rotation overtook this one")
    if last is not None and last.outcome is AttemptOutcome.WRONG_PASTE and not records.manual:
        return Step(Act.ATTENTION, why=f"{last.said}: reset the password in the console and `rekey paste` the new one")
    if rotation.phase is Phase.NEEDS_ATTENTION:
        return Step(Act.ATTENTION, why="\n".join(rotation.problems))
    if records.manual:
        return _without_paste(rotation, seen, limits, now)
    if last is not None and last.outcome is AttemptOutcome.REFUSED:
        return Step(Act.STOP, why=f"the registry refused to reset: {last.said}")
    if last is not None and last.end is CallEnd.NOT_SENT:
        return Step(Act.STOP, why=f"the reset call could not be sent: {last.said}")
    if now + limits.call > limits.until:
        # A claim that could not be used would be given back, and made again: the next invocation has time.
        return Step(Act.WAIT, until=now + timedelta(seconds=1))
    return Step(Act.CLAIM)


def _without_paste(rotation: Rotation, seen: Seen, limits: Limits, now: datetime) -> Step:
    if rotation.ready_until is None:
        return Step(Act.BE_READY)
    if now < rotation.ready_until:
        return Step(Act.STAY_READY)
    if rotation.old_before is not LoginVerdict.ACCEPTED:
        return Step(Act.ATTENTION, why="nobody pasted a password: reset it in the console and `rekey paste` it")
    if seen.old is LoginVerdict.ACCEPTED:
        return Step(Act.STOP, why="nobody reset the password in time: the old one is still good")
    if rotation.old_refusals >= REFUSALS_THAT_COUNT:
        why = "the old password is dead and nobody pasted the new one: `rekey paste` it, or reset once more and paste"
        return Step(Act.ATTENTION, why=why)
    return Step(Act.ASK_OLD) if seen.old is None else Step(Act.WAIT, until=now + limits.refusal_pause)


def _before_call(records: Records, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    if not seen.mine:
        if now <= attempt.deadline:
            return Step(Act.WAIT, until=attempt.deadline + timedelta(seconds=1))
        return Step(Act.CLOSE, outcome=AttemptOutcome.NOT_CALLED)
    if now + limits.call > attempt.deadline:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NOT_CALLED)
    if not seen.ready:
        return Step(Act.GET_READY)
    return _old_allows(records.rotation.reason, seen.old)


def _old_allows(reason: Reason, old: LoginVerdict | None) -> Step:
    """Let a leak or a lost password go on whatever the old one does; all else stops and is tried again later."""
    if old in (None, LoginVerdict.ACCEPTED) or reason in (Reason.COMPROMISED, Reason.LOST):
        return Step(Act.CALL)
    if old is LoginVerdict.REFUSED:
        why = (
            "the registry refuses the password that the store calls current: somebody reset it elsewhere. "
            "`rekey paste` the right one, or rotate with reason `lost`"
        )
        return Step(Act.STOP, why=why)
    return Step(Act.STOP, why=f"the registry could not be asked about the old password ({old}): nothing was reset")


def _without_answer(records: Records, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    if not seen.looked:
        return Step(Act.LOOK)
    if attempt.kind is AttemptKind.PASTED:
        return Step(Act.CLOSE, outcome=AttemptOutcome.WRONG_PASTE)
    ended = attempt.call_ended_at or attempt.deadline
    if now < ended + limits.settle:
        return Step(Act.WAIT, until=ended + limits.settle + timedelta(seconds=1))
    why = (
        f"the reset of {records.rotation.id} was called and its answer was lost: nobody knows whether it took effect, "
        "and nothing more is reset. Reset the password in the registry's console and `rekey paste` it"
    )
    return Step(Act.ATTENTION, why=why)


def _with_password(attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    pasted = attempt.kind is AttemptKind.PASTED
    if pasted and (seen.same_as_current or attempt.refusals >= REFUSALS_THAT_COUNT):
        return Step(Act.CLOSE, outcome=AttemptOutcome.WRONG_PASTE) if seen.deleted else Step(Act.DELETE)
    if attempt.refusals >= REFUSALS_THAT_COUNT:
        why = (
            "the registry refuses the password that was read from its answer: the plan's `password_at` may be wrong. "
            "The answer is kept. Reset once more in the registry's console and `rekey paste` the new password, and "
            "mend the plan for the next rotation"
        )
        return Step(Act.ATTENTION, why=why)
    if attempt.login is LoginVerdict.ACCEPTED:
        return Step(Act.PROMOTE) if attempt.staged else Step(Act.STAGE)
    if not seen.asked:
        return Step(Act.LOG_IN)
    if attempt.login is LoginVerdict.REFUSED:
        return Step(Act.WAIT, until=now + limits.refusal_pause)
    waited = now >= (attempt.call_ended_at or attempt.deadline) + limits.prove_within
    if pasted or not waited:
        return Step(Act.WAIT, until=now + limits.ask_again)
    # Nobody can be asked, and the registry's positive answer is in hand: consumers cannot wait longer.
    return Step(Act.PROMOTE) if attempt.staged else Step(Act.STAGE)


def _promoted(rotation: Rotation, attempt: Attempt, seen: Seen) -> Step:
    if rotation.phase is Phase.NEEDS_ATTENTION:  # the registry was reset elsewhere since
        return Step(Act.ATTENTION, why="\n".join(rotation.problems))
    if attempt.login is not LoginVerdict.ACCEPTED:
        return Step(Act.DELIVER)  # unproven: the answer stays until Verify hears "accepted" and leads back here
    if not seen.deleted:
        return Step(Act.DELETE)
    return Step(Act.CLOSE, outcome=AttemptOutcome.PROMOTED)
