"""Resume: a person has mended the plan, and a rotation that needed attention goes on with the answer that was kept."""

import secrets
from datetime import datetime, timedelta

from rekey.acts import Act, Limits, Records, Seen, Way
from rekey.errors import Conflict, InputInvalid
from rekey.model.rotation import Again, Attempt, Phase, Rotation
from rekey.protocol import next_act
from rekey.records.dynamo import ConditionFailed
from rekey.records.ledger import Ledger, following, open_mark

_NOTHING = timedelta(0)


def resume(ledger: Ledger, registry: str, plan_version: str, now: datetime, *, manual: bool = False) -> Rotation:
    """Let the registry's rotation go on under this version of the plan, from the tick's next turn.

    A kept answer is read anew, under a store token of its own; wrong logins and calls count from nought, since a person
    has looked. `manual`: the plan's registry is one that only a person resets. Raises InputInvalid where no rotation
    needs attention, and where only a paste leads on; Conflict where an execution wrote at that moment.
    """
    rotation = ledger.latest(registry)
    if rotation is None or rotation.phase is not Phase.NEEDS_ATTENTION or rotation.completed:
        raise InputInvalid(
            f"no rotation of {registry} waits to be resumed: `rekey status {registry}` says what is open"
        )
    changed = rotation.having(
        phase=Phase.RESETTING,
        plan_version=plan_version,
        pin_again=True,
        wrong_logins=0,
        calls=0,
        problems=(),
        rev=secrets.token_hex(8),
    )
    writes = [following(rotation, changed), open_mark(changed)]
    attempts = ledger.attempts_of(rotation)
    _check_leads_on(changed, attempts[-1] if attempts else None, now, manual=manual)
    if attempts and attempts[-1].outcome is None:
        last = attempts[-1]
        # What is staged was perhaps misread: it is staged anew. Where it is all there is, its earlier token finds it.
        anew = last.having(
            reading=last.reading + 1, refusals=0, login=None, staged=None, old_refusals=0, rev=secrets.token_hex(8)
        )
        writes.append(following(last, anew))
    before = ledger.again(registry)
    again = Again(registry=registry, tries=0, at=now, rev=secrets.token_hex(8))
    writes.append(following(before or again.having(rev=""), again))
    try:
        ledger.table.write(*writes)
    except ConditionFailed as failed:
        if (failed.old.get(0) or {}).get("rev") != changed.rev:
            raise Conflict(f"an execution wrote to {registry} at the same moment: resume once more") from None
    return changed


def _check_leads_on(rotation: Rotation, last: Attempt | None, now: datetime, *, manual: bool) -> None:
    """Raise InputInvalid where the protocol's very next act would be to call a person again."""
    limits = Limits(until=now, call=_NOTHING, settle=_NOTHING, prove_within=_NOTHING, refusal_pause=_NOTHING)
    step = next_act(Records(rotation, last, Way.MANUAL if manual else Way.GENERATES), Seen(), limits, now)
    if step.act is Act.ATTENTION:
        raise InputInvalid(
            f"to resume {rotation.id} would lead back to where it is ({step.why}): "
            f"`rekey paste {rotation.registry}` leads on"
        )
