"""Why a password is to be rotated, and who says so."""

import hashlib
from datetime import datetime
from enum import StrEnum

from rekey.model.record import Record


class Reason(StrEnum):
    """Why somebody wants a new password."""

    SCHEDULED = "scheduled"
    COMPROMISED = "compromised"
    PERSONNEL_CHANGE = "personnel_change"
    LOST = "lost"
    """Nobody knows the old password any more."""
    REQUESTED = "requested"

    @property
    def urgency(self) -> int:
        """The higher, the more it decides where several requests are open."""
        return [Reason.SCHEDULED, Reason.REQUESTED, Reason.PERSONNEL_CHANGE, Reason.LOST, Reason.COMPROMISED].index(
            self
        )


class RequestState(StrEnum):
    """What became of a request."""

    OPEN = "open"
    CLOSED = "closed"


class Request(Record):
    """One wish for a new password. A replayed or doubled alert for the same leak has the same key."""

    registry: str
    key: str
    reason: Reason
    source: str
    arrived_at: datetime
    exposed_at: datetime | None = None
    detected_at: datetime | None = None
    state: RequestState = RequestState.OPEN
    closed_by: int | None = None
    """Generation of the rotation that closed it."""

    def is_met_by(self, called_at: datetime) -> bool:
        """Whether a reset that was called then came after the exposure.

        The exposure is `exposed_at` where the source gives it, else `detected_at`, else the arrival, and never later
        than the arrival: a source's clock that runs ahead would otherwise ask for ever.
        """
        exposure = self.exposed_at or self.detected_at or self.arrived_at
        return called_at > min(exposure, self.arrived_at)


def request_key(registry: str, leak: str | None, event_id: str) -> str:
    """Return the key of a request: of its leak where the source names one, else of the event that brought it."""
    what = f"leak:{leak}" if leak is not None else f"event:{event_id}"
    return hashlib.sha256(f"{registry}\n{what}".encode()).hexdigest()[:32]
