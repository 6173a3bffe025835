"""How a rotation whose password is promoted stands: whether the store, or a later leak, has overtaken it."""

from rekey.contracts import Stored
from rekey.model.request import Reason, Request
from rekey.model.rotation import Rotation
from rekey.protocol import may_be_in_force_after
from rekey.steps.bench import Bench


def overtaken(bench: Bench, rotation: Rotation, promoted: Stored | None) -> bool:
    """Whether this generation or a later one was in force, and not from an attempt of this rotation.

    A ledger restored from a backup resumes what is long over; only the store can tell.
    """
    if promoted is None or promoted.generation < rotation.generation:
        return False
    if promoted.version == rotation.store_version:
        return False
    attempts = bench.ledger.attempts(rotation.registry, rotation.generation)
    return promoted.version not in [token for attempt in attempts for token in attempt.store_tokens]


def unmet_leaks(bench: Bench, rotation: Rotation) -> list[Request]:
    """Return the leaks that were reported and that the rotation's completed reset does not meet.

    What a person has pasted may meet them, as long as Verify could not ask about that.
    """
    called = may_be_in_force_after(rotation, bench.ledger.attempts_of(rotation))
    return [
        request
        for request in bench.ledger.open_requests(rotation.registry)
        if request.reason is Reason.COMPROMISED and not (called and request.is_met_by(called))
    ]
