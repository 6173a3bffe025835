"""States of a reset for the tests of `next_act`: what the ledger says and what was seen, with short names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rekey.acts import Limits, Records, Seen, Way
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from rekey.protocol import next_act

if TYPE_CHECKING:
    from rekey.acts import Step

NOW = datetime(2026, 3, 7, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEADLINE = NOW + 119 * SECOND
"""Of the invocation that asks, and of a claim it made."""
CALL, SETTLE, PROVE_WITHIN, PAUSE, ASK_AGAIN = (seconds * SECOND for seconds in (45, 120, 60, 4, 3))
LIMITS = Limits(
    until=DEADLINE, call=CALL, settle=SETTLE, prove_within=PROVE_WITHIN, refusal_pause=PAUSE, ask_again=ASK_AGAIN
)
SETTLED = NOW + SETTLE
"""When a call that ended before NOW can have no more effect."""

MINE = Seen(mine=True, ready_at=NOW)
"""The claim is this invocation's, and what the call needs is got ready."""
IN_HAND = Seen(mine=True, ready_at=NOW, end=CallEnd.ANSWERED, in_hand=True)
"""The answer came, and only memory has it."""
NOTHING_FOUND = Seen(looked=True, kept=True)
"""Neither the escrow nor the store has anything of the attempt."""
READABLE = Seen(in_hand=True, kept=True, readable=True)
"""The password is in hand, and the escrow has the answer."""
ASKED = Seen(in_hand=True, kept=True, readable=True, asked=True)
"""So it is, and the registry was asked about it."""
UNREADABLE = Seen(in_hand=True, kept=True, readable=False, unreadable="no password at /data")

CANNOT_SAY = [LoginVerdict.LOCKED, LoginVerdict.UNREACHABLE, LoginVerdict.INCONCLUSIVE]
URGENT = [Reason.COMPROMISED, Reason.LOST]
NOT_URGENT = [Reason.SCHEDULED, Reason.REQUESTED, Reason.PERSONNEL_CHANGE]


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
            "gate_at": NOW,
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


def provable(**fields: object) -> Attempt:
    """Return an attempt whose call is over, with an old password that was good before it."""
    return called(**{"old_version": "v1", "old_before": LoginVerdict.ACCEPTED, **fields})


def pasted(**fields: object) -> Attempt:
    """Return an attempt with a pasted password."""
    return attempt(**{"kind": AttemptKind.PASTED, "deadline": NOW, "call_ended_at": NOW, **fields})


def adopted(**fields: object) -> Attempt:
    """Return an attempt with an answer that a restored ledger had forgotten."""
    return attempt(
        **{
            "kind": AttemptKind.ADOPTED,
            "adopted": AttemptKind.RESET,
            "deadline": NOW - SETTLE,
            "call_ended_at": NOW - SETTLE,
            **fields,
        }
    )


def next_of(  # noqa: PLR0913 (the state, and when)
    of: Attempt | None = None,
    seen: Seen | None = None,
    *,
    way: Way = Way.GENERATES,
    now: datetime = NOW,
    on: Rotation | None = None,
    limits: Limits = LIMITS,
) -> Step:
    """Return the next act of a rotation (one behind its gate), of this attempt, after what was seen of it."""
    return next_act(Records(on or rotation(), of, way), seen or Seen(), limits, now)
