"""Answers in the escrow, as a rotation looks at them: its own, and those that nobody may know any more."""

from rekey.model.rotation import Rotation
from rekey.steps.bench import Bench


def tokens(bench: Bench, rotation: Rotation) -> list[str]:
    """Return the tokens of the answers in the escrow, but for those that the rotation before keeps.

    Of a promoted password that the registry has not accepted yet: its answer goes when that hears "accepted", or when
    this one's password is proven.
    """
    found = bench.escrow.tokens(rotation.registry)
    before = bench.ledger.attempts(rotation.registry, rotation.generation - 1) if found else []
    kept = {one.escrow_token for one in before if one.promoted_at is not None and one.outcome is None}
    return [token for token in found if token not in kept]


def forgotten(bench: Bench, rotation: Rotation) -> bool:
    """Whether one lies there that no attempt knows, of this rotation or the one before: a restored ledger forgot it."""
    numbers = (rotation.generation - 1, rotation.generation)
    attempts = [each for number in numbers for each in bench.ledger.attempts(rotation.registry, number)]
    known = {attempt.escrow_token for attempt in attempts}
    return any(token not in known for token in bench.escrow.tokens(rotation.registry))
