"""The ledger's records as numbers: equal records have one number, so that a state of the search is small and cheap.

The records themselves are the product's. Moments that are compared with the clock are kept relative to it: "now" is
always NOW, and a step of the clock moves them all one second into the past, where they stop at FOREVER_AGO. Moments
that are only compared with each other (a request's arrival, a reset's call) count arrivals instead of seconds.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from rekey.acts import Seen
from rekey.model.rotation import Attempt, Rotation

NONE = -1
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_ARRIVALS = datetime(2000, 1, 1, tzinfo=UTC)
FOREVER_AGO = -8
"""Seconds: longer ago than any duration of the model."""
_SECOND = timedelta(seconds=1)
_CLOCKED = ("deadline", "call_ended_at", "ready_until")


_R = TypeVar("_R", bound=Rotation | Attempt)


def moment(seconds: int) -> datetime:
    """Return a moment so many seconds from now."""
    return NOW + seconds * _SECOND


def seconds(when: datetime) -> int:
    """Return how many seconds from now a moment is."""
    return int((when - NOW).total_seconds())


def after_arrivals(number: int) -> datetime:
    """Return the moment at which so many requests had arrived: later than the last of them, before the next."""
    return _ARRIVALS + number * _SECOND


def _timeless(record: _R) -> _R:
    """Return a record without the moments that nobody looks at any more."""
    if isinstance(record, Attempt) and record.outcome is not None:
        return record.having(deadline=moment(FOREVER_AGO), call_ended_at=None)
    if isinstance(record, Rotation) and not record.phase.open:
        return record.having(ready_until=None, heard_by=None)
    return record


class Book:
    """Numbers for records and for what an invocation saw."""

    def __init__(self) -> None:
        self._records: list[Rotation | Attempt] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._changed: dict[tuple[object, ...], int] = {}
        self._later: dict[int, int] = {}
        self._seen: list[Seen] = []
        self._seen_numbers: dict[Seen, int] = {}

    def add(self, record: Rotation | Attempt) -> int:
        """Return a record's number."""
        key = (type(record), *record.__dict__.values())
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._records)
            self._records.append(record)
        return number

    def rotation(self, number: int) -> Rotation:
        """Return the rotation with this number."""
        record = self._records[number]
        assert isinstance(record, Rotation)
        return record

    def attempt(self, number: int) -> Attempt:
        """Return the attempt with this number."""
        record = self._records[number]
        assert isinstance(record, Attempt)
        return record

    def having(self, number: int, **changes: object) -> int:
        """Return the number of a record with changes."""
        if not changes:
            return number
        key = (number, *changes.items())
        there = self._changed.get(key)
        if there is None:
            there = self._changed[key] = self.add(_timeless(self._records[number].having(**changes)))
        return there

    def later(self, number: int) -> int:
        """Return the number of a record as it is a second later."""
        there = self._later.get(number)
        if there is None:
            record = self._records[number]
            moved = {
                name: max(when - _SECOND, moment(FOREVER_AGO))
                for name in _CLOCKED
                if (when := record.__dict__.get(name)) is not None
            }
            there = self._later[number] = self.having(number, **moved)
        return there

    def saw(self, seen: Seen) -> int:
        """Return the number of what an invocation saw."""
        number = self._seen_numbers.get(seen)
        if number is None:
            number = self._seen_numbers[seen] = len(self._seen)
            self._seen.append(seen)
        return number

    def saw_earlier(self, number: int) -> int:
        """Return the number of what an invocation saw as it is a second later."""
        seen = self._seen[number]
        if seen.ready_at is None:
            return number
        return self.saw(replace(seen, ready_at=max(seen.ready_at - _SECOND, moment(FOREVER_AGO))))

    def seen(self, number: int) -> Seen:
        """Return what was seen."""
        return self._seen[number]
