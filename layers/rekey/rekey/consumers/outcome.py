"""From an error of ours to the receipt that says it: the one place that decides what is tried again."""

from datetime import datetime

from rekey.consumers.limiter import Held
from rekey.contracts import Prepared
from rekey.errors import (
    Conflict,
    CredentialUnusable,
    Denied,
    NotFound,
    RekeyError,
    Superseded,
    Unfit,
    Unintelligible,
    Unreachable,
)
from rekey.model.verdict import ConsumerOutcome, Receipt

ServiceErrors = (
    CredentialUnusable,
    Denied,
    NotFound,
    Unfit,
    Unintelligible,
    Superseded,
    Conflict,
    Unreachable,
)
"""What a service can answer. Not OutOfTime: that is the handler being interrupted, and must get through."""

_OUTCOMES: tuple[tuple[type[RekeyError], ConsumerOutcome], ...] = (
    (Held, ConsumerOutcome.PENDING),
    (Unreachable, ConsumerOutcome.UNREACHABLE),
    (Conflict, ConsumerOutcome.PENDING),  # nothing was written: the next pass meets another moment
    (Superseded, ConsumerOutcome.SUPERSEDED),
)


def receipt_for(
    error: RekeyError, consumer: str, kind: str, answered_at: datetime, facts: dict[str, str] | None = None
) -> Receipt:
    """Return the receipt of a delivery that ended in this error; the error's text is its reason."""
    outcome = next((outcome for cause, outcome in _OUTCOMES if isinstance(error, cause)), ConsumerOutcome.FAILED)
    return Receipt(consumer, kind, outcome, reason=str(error), answered_at=answered_at, facts=facts or {})


def receipt_of_unprepared(prepared: Prepared, kind: str, answered_at: datetime) -> Receipt:
    """Return the receipt of a consumer whose place is not known, because preparing its entry failed."""
    reason = f"nothing was written, since preparing it failed: {prepared.problem}"
    return Receipt(prepared.consumer, kind, ConsumerOutcome.FAILED, reason=reason, answered_at=answered_at)
