"""Answers in the escrow that no open attempt waits for: each is deleted, or gets an attempt that a login decides.

A ledger restored from a backup forgets attempts, and one of their answers may be the password in force.
"""

import secrets
from collections.abc import Sequence

from rekey import runtime
from rekey.errors import Conflict
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, Fence, Phase, Rotation
from rekey.records.escrow import Stray
from rekey.steps import unclaimed
from rekey.steps.bench import Bench

_DECIDED = frozenset(
    {
        AttemptOutcome.NO_EFFECT,
        AttemptOutcome.NOT_CALLED,
        AttemptOutcome.PROMOTED,
        AttemptOutcome.REFUSED,
        AttemptOutcome.STALE,
        AttemptOutcome.WRONG_PASTE,
    }
)
"""Ends of an attempt after which its answer is of no use to anybody."""
_UNDECIDED = frozenset({AttemptOutcome.LOST, AttemptOutcome.REPLACED})
"""Ends after which an answer may still hold the password in force: a paste that replaced it may be a wrong one."""


def settle(
    bench: Bench, fence: Fence, rotation: Rotation, attempts: Sequence[Attempt]
) -> tuple[Rotation, Attempt | None]:
    """Delete what is decided, and adopt one stray where no attempt is open.

    Returns the rotation and its latest attempt. Raises Fenced, Conflict, and what escrow and ledger raise.
    """
    latest = attempts[-1] if attempts else None
    by_token = {attempt.escrow_token: attempt for attempt in attempts}
    for token in unclaimed.tokens(bench, rotation):
        known = by_token.get(token)
        if known is not None and known.outcome in _DECIDED:
            bench.escrow.delete(known)
        elif rotation.completed or not rotation.phase.open:  # the next one tries it: a paste's, or Begin's
            continue
        elif (known is None or known.outcome in _UNDECIDED) and (latest is None or latest.outcome is not None):
            stray = bench.escrow.stray(rotation.registry, token)
            if stray is None:
                raise Conflict("an answer in the escrow went while it was looked at: looked at again")
            if not stray.of_check:
                pasted = any(attempt.kind is AttemptKind.PASTED for attempt in attempts)
                return _adopt(bench, fence, rotation, stray, pasted=pasted)
            bench.escrow.discard(rotation.registry, token)
    return rotation, latest


def waiting(bench: Bench, rotation: Rotation) -> bool:
    """Whether another look would take up an answer: each is tried before anything is reset, stopped or asked for."""
    if rotation.completed:
        return False
    attempts = bench.ledger.attempts_of(rotation)
    by_token = {attempt.escrow_token: attempt for attempt in attempts}
    closed = not attempts or attempts[-1].outcome is not None
    found = [by_token.get(token) for token in unclaimed.tokens(bench, rotation)]
    return any(known is None or (closed and known.outcome in _UNDECIDED) for known in found)


def _adopt(bench: Bench, fence: Fence, rotation: Rotation, stray: Stray, *, pasted: bool) -> tuple[Rotation, Attempt]:
    now, number = runtime.now(), rotation.attempts + 1
    attempt = Attempt(
        registry=rotation.registry,
        generation=rotation.generation,
        number=number,
        kind=AttemptKind.ADOPTED,
        adopted=stray.kind,
        beside_paste=pasted and stray.kind is AttemptKind.PASTED,
        nonce=secrets.token_hex(16),
        deadline=now,
        called_at=stray.called_at,
        call_ended_at=now,
    )
    changed = rotation.having(attempts=number, phase=Phase.RESETTING)
    moving = bench.escrow.moving(stray, attempt, bench.escrow.envelope(attempt))
    return bench.ledger.save(fence, changed, attempt, also=moving)
