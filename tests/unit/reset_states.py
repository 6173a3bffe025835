"""States of a reset for the tests of `next_act`: what the ledger says and what was seen, with short names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, Phase, Rotation
from rekey.protocol import Limits, Records, Seen, next_act

if TYPE_CHECKING:
    from rekey.protocol import Step

NOW = datetime(2026, 3, 7, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEADLINE = NOW + 119 * SECOND
"""Of the invocation that asks, and of a claim it made."""
CALL, SETTLE, PROVE_WITHIN, PAUSE, ASK_AGAIN = (seconds * SECOND for seconds in (45, 120, 60, 4, 3))
LIMITS = Limits(
    until=DEADLINE, call=CALL, settle=SETTLE, prove_within=PROVE_WITHIN, refusal_pause=PAUSE, ask_again=ASK_AGAIN
)


def rotation(**fields: object) -> Rotation:
    """Return a rotation behind its gate."""
    return Rotation.model_validate(
        {
            "registry": "prod-images",
            "generation": 3,
            "phase": Phase.RESETTING,
            "reason": Reason.SCHEDULED,
            "plan_version": "v1",
            "started_at": NOW,
            "execution": "execution",
            **fields,
        }
    )


def attempt(**fields: object) -> Attempt:
    """Return a claim that can still be used."""
    return Attempt.model_validate(
        {
            "registry": "prod-images",
            "generation": 3,
            "number": 1,
            "kind": AttemptKind.RESET,
            "nonce": "nonce",
            "deadline": DEADLINE,
            **fields,
        }
    )


def called(**fields: object) -> Attempt:
    """Return an attempt whose call was made and is over."""
    return attempt(**{"called_at": NOW - 2 * SECOND, "call_ended_at": NOW - SECOND, **fields})


def pasted(**fields: object) -> Attempt:
    """Return an attempt with a pasted password."""
    return attempt(**{"kind": AttemptKind.PASTED, "deadline": NOW, "call_ended_at": NOW, **fields})


def next_of(
    of: Attempt | None = None,
    seen: Seen | None = None,
    *,
    manual: bool = False,
    now: datetime = NOW,
    on: Rotation | None = None,
) -> Step:
    """Return the next act of a rotation (one behind its gate), of this attempt, after what was seen of it."""
    return next_act(Records(on or rotation(), of, manual=manual), seen or Seen(), LIMITS, now)
