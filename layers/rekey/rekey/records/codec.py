"""Keys of the ledger, and records to and from items."""

from typing import TypeVar

from pydantic import ValidationError

from rekey.errors import FormatUnknown
from rekey.model.record import Record
from rekey.records.dynamo import Item

R = TypeVar("R", bound=Record)

OPEN = "open"
"""Partition of everything that is not done: one strongly consistent query finds it."""


def partition(registry: str) -> str:
    """Return the partition of one registry."""
    return f"registry#{registry}"


def rotation_key(generation: int) -> str:
    """Return the sort key of a rotation: numbers sort as texts."""
    return f"rotation#{generation:08d}"


def attempt_key(generation: int, number: int) -> str:
    """Return the sort key of an attempt."""
    return f"attempt#{generation:08d}#{number:04d}"


def receipts_key(generation: int, shard: int, chunk: int) -> str:
    """Return the sort key of a chunk of receipts."""
    return f"receipts#{generation:08d}#{shard:04d}#{chunk:04d}"


def read_record(kind: type[R], item: Item | None) -> R | None:
    """Return the record of an item.

    Raises FormatUnknown where it is of a format or shape this release does not read: a newer release wrote it.
    """
    if item is None:
        return None
    fields = {key: value for key, value in item.items() if key not in ("pk", "sk")}
    if fields.get("format") != 1:
        raise FormatUnknown(f"a {kind.__name__} of format {fields.get('format')}: this release reads format 1")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False))
        raise FormatUnknown(f"a {kind.__name__} in the ledger cannot be read: {where}") from None
