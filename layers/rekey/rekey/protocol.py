"""The reset protocol as one pure decision: in what the ledger says and what was seen, out the next act.

The registry's old password dies at the call and the new one is shown once: the order of these acts is what Rekey is.
`steps/reset` does an act and asks again; nothing else decides. An act is chosen from what is written down, so
another invocation that comes after a crash goes on at the same place. `Seen` belongs to one attempt and one invocation:
what an earlier one saw counts only where it is written in the ledger.

Three ways a password changes: the registry generates it and its answer is the only copy; the registry takes ours, which
is in the store before the call; a person resets and pastes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rekey.acts import Act, Limits, Records, Seen, Step, Way
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict

REFUSALS_THAT_COUNT = 2
"""A registry whose user database is down answers 401 to the right password: one refusal is not one."""
_TICK = timedelta(seconds=1)


def next_act(records: Records, seen: Seen, limits: Limits, now: datetime) -> Step:
    """Return the next act."""
    attempt = records.attempt
    if attempt is None or attempt.outcome is not None:
        return _without_attempt(records, seen, limits, now)
    if attempt.promoted_at is not None:
        return _promoted(records.rotation, attempt, seen)
    if attempt.kind is AttemptKind.RESET and attempt.called_at is None and not seen.in_hand:
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
        return _undecided(records, attempt, seen, limits, now)
    return _with_password(records, attempt, seen, limits, now)


def in_force_after(rotation: Rotation, attempt: Attempt, attempts: Sequence[Attempt]) -> datetime | None:
    """Return a moment after which the attempt's password surely came into force, or None; `attempts`: the rotation's.

    Of a paste it is what the person says. Where nobody said it, it is the last call before which the registry took the
    old password that it refuses by now (counted): a call that may have had no effect says nothing of a paste.
    """
    if attempt.kind is not AttemptKind.PASTED or attempt.called_at is not None:
        return attempt.called_at
    refused = rotation.old_version if rotation.old_refusals >= REFUSALS_THAT_COUNT else None
    killed = [
        one.called_at
        for one in attempts
        if one.old_before is LoginVerdict.ACCEPTED
        and (one.old_refusals >= REFUSALS_THAT_COUNT or (refused is not None and one.old_version == refused))
    ]
    return max((at for at in killed if at is not None), default=None)


def may_be_in_force_after(rotation: Rotation, attempts: Sequence[Attempt]) -> datetime | None:
    """Return that moment of a promoted password: what is known, or what asking the old one may show yet."""
    asked = rotation.old_verdict in (LoginVerdict.ACCEPTED, LoginVerdict.REFUSED) or rotation.logins_spent
    if rotation.called_at is not None or asked or not attempts:
        return rotation.called_at
    return in_force_after(rotation.having(old_refusals=REFUSALS_THAT_COUNT), attempts[-1], attempts)


def _without_attempt(records: Records, seen: Seen, limits: Limits, now: datetime) -> Step:
    rotation, last = records.rotation, records.attempt
    if rotation.completed and rotation.phase is not Phase.NEEDS_ATTENTION:
        return Step(Act.DELIVER)
    if last is not None and last.outcome is AttemptOutcome.SUPERSEDED:
        return Step(Act.ATTENTION, why="the store holds a higher generation: a later rotation overtook this one")
    if rotation.phase is Phase.NEEDS_ATTENTION:
        return Step(Act.ATTENTION, why="\n".join(rotation.problems))
    if last is not None and last.outcome is AttemptOutcome.WRONG_PASTE and records.way is not Way.MANUAL:
        return _after_wrong_paste(rotation, last, seen, limits, now)
    if records.way is Way.MANUAL:
        return _without_paste(rotation, seen, limits, now)
    return _after(rotation, last, limits, now)


def _after_wrong_paste(rotation: Rotation, last: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    """Let the store's password say whether a person is needed: a slip of the pen must not block a healthy registry."""
    paste = Step(Act.ATTENTION, why=f"{last.said}: reset the password in the console and `rekey paste` the new one")
    if rotation.resets or rotation.old_version is None:
        return paste
    if seen.old is LoginVerdict.ACCEPTED:
        return Step(Act.STOP, why=f"{last.said}. Nothing was reset: the one in the store is still good")
    spent = seen.old is None and rotation.wrong_logins >= limits.wrong_logins
    if spent or rotation.old_refusals >= REFUSALS_THAT_COUNT:
        return paste
    return _ask_old(rotation, seen, limits, now)


def _after(rotation: Rotation, last: Attempt | None, limits: Limits, now: datetime) -> Step:
    """Return what follows from the last attempt's end: the first one, another one, or none."""
    if last is not None and last.outcome is AttemptOutcome.REFUSED and rotation.resets:
        # An earlier call killed the old password: a stopped rotation would forget that, and stop for ever.
        why = (
            f"an earlier reset's answer was lost, and the registry refuses another: {last.said}. "
            "Reset it in the registry's console and `rekey paste` the new password"
        )
        return Step(Act.ATTENTION, why=why)
    if last is not None and last.outcome is AttemptOutcome.REFUSED:
        return Step(Act.STOP, why=f"the registry refused to reset: {last.said}")
    if last is not None and last.end is CallEnd.NOT_SENT and not rotation.resets:
        return Step(Act.STOP, why=f"the reset call could not be sent: {last.said}")
    if rotation.resets >= limits.max_resets:
        why = f"{rotation.resets} resets, and each answer was lost: reset in the console and `rekey paste` the password"
        return Step(Act.ATTENTION, why=why)
    if rotation.calls >= limits.max_attempts:
        why = f"{rotation.calls} calls, and none came to a password: see the registry. `rekey resume` makes more"
        return Step(Act.ATTENTION, why=why)
    if last is not None and last.end is CallEnd.NOT_SENT and last.call_ended_at is not None:
        again = last.call_ended_at + limits.ask_again
        if now < again:
            return Step(Act.WAIT, until=again)
    if rotation.gate_at is not None and now + limits.call > limits.until:
        # A claim that could not be used would be given back, and made again: the next invocation has time.
        return Step(Act.WAIT, until=now + timedelta(seconds=1))
    return Step(Act.CLAIM)


def _without_paste(rotation: Rotation, seen: Seen, limits: Limits, now: datetime) -> Step:
    if rotation.ready_until is None:
        return Step(Act.BE_READY)
    if now < rotation.ready_until:
        return Step(Act.STAY_READY)
    nobody = "nobody pasted a password: reset it in the console and `rekey paste` it"
    if rotation.old_version is None or rotation.reason is Reason.LOST:
        return Step(Act.ATTENTION, why=nobody)
    if seen.old is LoginVerdict.ACCEPTED:
        return Step(Act.STOP, why="nobody reset the password in time: the old one is still good")
    if rotation.old_refusals >= REFUSALS_THAT_COUNT:
        dead = "the old password is dead and nobody pasted the new one: `rekey paste` it, or reset once more and paste"
        return Step(Act.ATTENTION, why=dead if rotation.old_before is LoginVerdict.ACCEPTED else nobody)
    return _ask_old(rotation, seen, limits, now)


def _before_call(records: Records, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    if not seen.mine:
        if now <= attempt.deadline:
            return Step(Act.WAIT, until=attempt.deadline + _TICK)
        if records.way is Way.GENERATES and not seen.looked:
            return Step(Act.LOOK)  # a ledger restored from a backup does not know that the call was made
        return Step(Act.CLOSE, outcome=AttemptOutcome.NOT_CALLED)
    if now + limits.call > attempt.deadline:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NOT_CALLED)
    if seen.ready_at is None:
        return Step(Act.GET_READY)
    if attempt.old_version is not None and attempt.old_before is not LoginVerdict.ACCEPTED:
        step = _by_old_before(records.rotation, attempt, seen, limits, now)
        if step is not None:
            return step
    if records.way is Way.TAKES and attempt.staged is None:
        return Step(Act.STAGE)  # our own choice is in the store, read back, before the registry hears of it
    return Step(Act.CALL)


def _by_old_before(rotation: Rotation, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step | None:
    """Ask the old password before the call until its verdict counts, or for `prove_within`. None: call.

    A leak or a lost password goes on whatever it says; all else stops, and is tried again later.
    """
    goes_on = rotation.reason in (Reason.COMPROMISED, Reason.LOST) or rotation.resets > 0
    if rotation.old_refusals >= REFUSALS_THAT_COUNT:  # a fact that stands is not asked again
        return None if goes_on else Step(Act.STOP, why=OLD_REFUSED)
    # Where the call goes on whatever the old one says, one login is kept for the new one.
    spent = rotation.wrong_logins >= limits.wrong_logins - goes_on
    if not seen.tried and not spent:
        return Step(Act.TRY_OLD)
    again = now + limits.refusal_pause
    worth_it = not spent and rotation.reason is not Reason.LOST and rotation.resets == 0
    waited = again > (seen.ready_at or now) + limits.prove_within or again + limits.call > attempt.deadline
    if worth_it and not waited:
        return Step(Act.PAUSE, until=again)
    if goes_on:
        return None
    asked = (
        f"the registry could not be asked about the old password ({attempt.old_before}: {attempt.said}). Nothing was "
        "reset; it is tried again"
    )
    return Step(Act.STOP, why=WRONG_LOGINS_SPENT if spent else asked)


OLD_REFUSED = (
    "the registry refuses the password that the store calls current: somebody reset it elsewhere. "
    "`rekey paste` the right one, or rotate with reason `lost`"
)


def _without_answer(records: Records, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    if not seen.looked:
        return Step(Act.LOOK)
    if attempt.kind is not AttemptKind.RESET:
        return Step(Act.CLOSE, outcome=_wrong(records, attempt))
    if now < _settled_at(attempt, limits):
        return Step(Act.WAIT, until=_settled_at(attempt, limits) + _TICK)
    if attempt.change_mark is not None and attempt.mark_moved is None:
        return _read_mark(seen, limits, now)
    if attempt.mark_moved is False:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NO_EFFECT)
    return _by_old(records.rotation, attempt, seen, limits, now)


def _settled_at(attempt: Attempt, limits: Limits) -> datetime:
    """Return when the call can have no more effect: it may leave until its end was seen, or the claim's deadline."""
    return (attempt.call_ended_at or attempt.deadline) + limits.settle


def _read_mark(seen: Seen, limits: Limits, now: datetime) -> Step:
    return Step(Act.WAIT, until=now + limits.ask_again) if seen.mark_asked else Step(Act.READ_MARK)


def _by_old(rotation: Rotation, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    """Let the old password say whether the reset happened. With none to ask, nobody holds a working one: go on."""
    if attempt.old_version is None or attempt.old_before is not LoginVerdict.ACCEPTED:
        return Step(Act.CLOSE, outcome=AttemptOutcome.LOST)
    if attempt.old_refusals >= REFUSALS_THAT_COUNT:
        return Step(Act.CLOSE, outcome=AttemptOutcome.LOST)
    if seen.old is LoginVerdict.ACCEPTED:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NO_EFFECT)
    return _ask_old(rotation, seen, limits, now)


def _ask_old(rotation: Rotation, seen: Seen, limits: Limits, now: datetime) -> Step:
    if seen.old is not None:
        return Step(Act.WAIT, until=now + max(limits.refusal_pause, limits.ask_again))
    if rotation.wrong_logins >= limits.wrong_logins:
        return Step(Act.ATTENTION, why=WRONG_LOGINS_SPENT)
    return Step(Act.ASK_OLD)


WRONG_LOGINS_SPENT = (
    "the rotation's wrong logins are used up, more could lock the account, and it is not known which password is good: "
    "reset it in the registry's console and `rekey paste` the new one"
)


def _undecided(records: Records, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    """Keep an answer that gives no good password. Only an old one that is still good says that nothing happened."""
    rotation = records.rotation
    adopted = attempt.kind is AttemptKind.ADOPTED  # nobody knows what was asked before its call: ask the store's now
    to_ask = attempt.old_version is not None and (adopted or attempt.old_before is LoginVerdict.ACCEPTED)
    if now < _settled_at(attempt, limits):  # also before a person is called, who would reset while it may still act
        return Step(Act.WAIT, until=_settled_at(attempt, limits) + _TICK)
    known = adopted and attempt.old_version == rotation.old_version  # asked for an earlier attempt: a fact that stands
    refusals = max(attempt.old_refusals, rotation.old_refusals) if known else attempt.old_refusals
    was_accepted = attempt.login is LoginVerdict.ACCEPTED  # by an earlier reading, before the plan was changed
    if not to_ask or was_accepted or refusals >= REFUSALS_THAT_COUNT:
        return Step(Act.ATTENTION, why=seen.unreadable or _refused(records.way, attempt))
    if seen.old is LoginVerdict.ACCEPTED and adopted:
        return Step(Act.CLOSE, outcome=AttemptOutcome.STALE) if seen.deleted else Step(Act.DELETE)
    if seen.old is LoginVerdict.ACCEPTED:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NO_EFFECT)
    return _ask_old(rotation, seen, limits, now)


def _with_password(records: Records, attempt: Attempt, seen: Seen, limits: Limits, now: datetime) -> Step:
    if attempt.login is LoginVerdict.ACCEPTED:
        return Step(Act.PROMOTE) if attempt.staged else Step(Act.STAGE)
    if attempt.after_call is not None and now < attempt.after_call + limits.settle:
        return Step(Act.WAIT, until=attempt.after_call + limits.settle + _TICK)
    refused = attempt.refusals >= REFUSALS_THAT_COUNT
    if refused and attempt.kind is AttemptKind.ADOPTED and not attempt.is_paste and not seen.same_as_current:
        # Perhaps the plan reads the wrong field: the answer may still be the only copy of what is in force.
        return _undecided(records, attempt, seen, limits, now)
    if attempt.kind is not AttemptKind.RESET and (seen.same_as_current or refused):
        return Step(Act.CLOSE, outcome=_wrong(records, attempt)) if seen.deleted else Step(Act.DELETE)
    if _set_is_uncertain(records, attempt):
        led = _after_uncertain_set(records.rotation, attempt, seen, limits, now)
        if led is not None:
            return led
    if refused:
        return Step(Act.ATTENTION, why=_refused(records.way, attempt))
    if not seen.asked:
        spent = records.rotation.wrong_logins >= limits.wrong_logins
        return Step(Act.ATTENTION, why=WRONG_LOGINS_SPENT) if spent else Step(Act.LOG_IN)
    return _unproven(records, attempt, limits, now)


def _wrong(records: Records, attempt: Attempt) -> AttemptOutcome:
    """Of several pastes an earlier one is adopted when a later one was wrong: after it, too, nothing is reset."""
    pasted = attempt.kind is AttemptKind.PASTED or (attempt.beside_paste and records.way is not Way.MANUAL)
    return AttemptOutcome.WRONG_PASTE if pasted else AttemptOutcome.STALE


def _set_is_uncertain(records: Records, attempt: Attempt) -> bool:
    """Whether nobody knows if the registry took our password: a positive answer alone says so."""
    return records.way is Way.TAKES and attempt.kind is AttemptKind.RESET and attempt.end is not CallEnd.ANSWERED


def _after_uncertain_set(
    rotation: Rotation, attempt: Attempt, seen: Seen, limits: Limits, now: datetime
) -> Step | None:
    if now < _settled_at(attempt, limits):
        return Step(Act.WAIT, until=_settled_at(attempt, limits) + _TICK)
    if attempt.change_mark is not None and attempt.mark_moved is None:
        return _read_mark(seen, limits, now)
    if attempt.mark_moved is False:
        return Step(Act.CLOSE, outcome=AttemptOutcome.NO_EFFECT)
    if attempt.refusals >= REFUSALS_THAT_COUNT:
        return _by_old(rotation, attempt, seen, limits, now)
    return None


def _unproven(records: Records, attempt: Attempt, limits: Limits, now: datetime) -> Step:
    """Go on without proof only where nobody can be asked for long, and a positive answer is in hand."""
    if attempt.login is LoginVerdict.REFUSED:
        return Step(Act.WAIT, until=now + limits.refusal_pause)
    if attempt.reading and attempt.refusals:  # the first reading was wrong, and this one may be: only a login says
        return Step(Act.WAIT, until=now + limits.ask_again)
    waited = now >= (attempt.call_ended_at or attempt.deadline) + limits.prove_within
    if attempt.kind is not AttemptKind.RESET or _set_is_uncertain(records, attempt) or not waited:
        return Step(Act.WAIT, until=now + limits.ask_again)
    return Step(Act.PROMOTE) if attempt.staged else Step(Act.STAGE)


def _refused(way: Way, attempt: Attempt) -> str:
    if way is Way.TAKES:
        return "the registry said it took the password, and refuses it: reset it in the console and `rekey paste` it"
    if attempt.unkept:
        return (
            "the registry refuses the password that was read from its answer, and the escrow did not take the answer: "
            "reset the password in the console and `rekey paste` the new one"
        )
    return (
        "the registry refuses the password that was read from its answer: the plan's `password_at` may be wrong. "
        "The answer is kept. Mend the plan, push it and `rekey resume`, or reset in the console and `rekey paste`"
    )


def _promoted(rotation: Rotation, attempt: Attempt, seen: Seen) -> Step:
    if rotation.phase is Phase.NEEDS_ATTENTION:  # the registry was reset elsewhere since
        return Step(Act.ATTENTION, why="\n".join(rotation.problems))
    if attempt.login is not LoginVerdict.ACCEPTED:
        return Step(Act.DELIVER)  # unproven: the answer stays until Verify hears "accepted" and leads back here
    if not seen.deleted:
        return Step(Act.DELETE)
    return Step(Act.CLOSE, outcome=AttemptOutcome.PROMOTED)
