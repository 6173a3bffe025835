"""A paste: the new password, from the person who reset it, on its way into the store. An attempt of its own.

It needs no lease: the attempt, the escrow's item and what they follow from are written in one transaction, and `reset`
treats it as any other answer. So it is the way on where a rotation is `ready`, the way out of `needs_attention`, and it
opens a rotation of its own where none is open.
"""

import secrets
from datetime import datetime

from rekey.errors import Conflict
from rekey.model.password import Password
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from rekey.records.dynamo import ConditionFailed, Write
from rekey.records.escrow import Escrow
from rekey.records.ledger import Ledger, following, open_mark


def paste(  # noqa: PLR0913 (where to, what, when)
    ledger: Ledger, escrow: Escrow, registry: str, password: Password, *, now: datetime, clicked_at: datetime | None
) -> Attempt:
    """Put a pasted password into the escrow and open its attempt.

    `clicked_at`: when the person reset it, where Rekey cannot know. Without either, it closes a request only where the
    registry took the old password before a call of this rotation, and refuses it after the paste. Raises Conflict where
    an execution wrote at the same moment (paste again), Denied, NotFound, Unfit, Unreachable.
    """
    latest = ledger.latest(registry)
    writes: list[Write] = []
    after_call: datetime | None = None
    if latest is not None and latest.phase.open and not latest.completed:
        rotation = latest
        attempts = ledger.attempts_of(latest)
        if attempts and attempts[-1].outcome is None:
            replaced = attempts[-1].having(outcome=AttemptOutcome.REPLACED, rev=secrets.token_hex(8))
            writes.append(following(attempts[-1], replaced))
            after_call = _may_act_from(replaced)
    else:
        rotation = _opened(ledger.stopped_after(latest) or latest, registry, now)
        if latest is not None and latest.phase.open:
            # A paste may turn out wrong: then the consumers that are left of this one have to be told after all.
            over = latest.having(
                phase=Phase.FINISHED,
                finished_at=now,
                problems=("overtaken by a paste",),
                cut_short=bool(latest.shards),
            )
            writes += [following(latest, over.having(rev=secrets.token_hex(8))), open_mark(over)]
        else:
            writes += ledger.closed_before(rotation, latest)
    number = rotation.attempts + 1
    waiting = rotation.phase is Phase.READY
    changed = rotation.having(
        attempts=number,
        phase=rotation.phase if waiting else Phase.RESETTING,
        problems=(),
        rev=secrets.token_hex(8),
        calls=0,
        wrong_logins=0,  # a person has looked: a wrong paste must not use up what the proof of the right one needs
    )
    attempt = Attempt(
        registry=registry,
        generation=rotation.generation,
        number=number,
        kind=AttemptKind.PASTED,
        nonce=secrets.token_hex(16),
        deadline=now,
        called_at=clicked_at or click_known(rotation),
        call_ended_at=now,
        after_call=after_call,
        rev=secrets.token_hex(8),
    )
    put = escrow.putting(attempt, escrow.envelope(attempt), password.reveal().encode())
    new_attempt = following(attempt.having(rev=""), attempt)
    try:
        ledger.table.write(following(rotation, changed), new_attempt, open_mark(changed), put, *writes)
    except ConditionFailed as failed:
        if (failed.old.get(1) or {}).get("rev") == attempt.rev:
            return attempt
        raise Conflict(f"an execution wrote to {registry} at the same moment: paste once more") from None
    return attempt


def _may_act_from(replaced: Attempt) -> datetime | None:
    """Return from when on a call that was replaced may act for `settle` still, where nobody knows that it is over."""
    if replaced.kind is not AttemptKind.RESET or replaced.called_at is None:
        return replaced.after_call
    return None if replaced.end is CallEnd.ANSWERED else replaced.call_ended_at or replaced.deadline


def click_known(rotation: Rotation) -> datetime | None:
    """Return the moment before which the password surely was not reset: "ready", if the old one was good then."""
    return rotation.ready_at if rotation.old_before is LoginVerdict.ACCEPTED else None


def _opened(latest: Rotation | None, registry: str, now: datetime) -> Rotation:
    """Return a new rotation for a paste that nobody waited for. Begin lays it out when it meets it."""
    reused = latest is not None and latest.phase is Phase.STOPPED
    used = latest.attempts if latest is not None and reused else 0
    return Rotation(
        rev=latest.rev if latest is not None and reused else "",
        registry=registry,
        generation=(latest.generation + (not reused)) if latest is not None else 1,
        phase=Phase.RESETTING,
        reason=Reason.REQUESTED,
        plan_version="",
        started_at=now,
        execution="",
        attempts=used,
        attempts_before=used,
    )
