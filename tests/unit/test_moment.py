"""Points in time as text, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rekey.model.moment import parse, render

JAKARTA = timezone(timedelta(hours=7))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 31, 2, 0, tzinfo=UTC), "2026-01-31T02:00:00.000Z"),
        (datetime(2026, 1, 31, 9, 0, 0, 250_999, tzinfo=JAKARTA), "2026-01-31T02:00:00.250Z"),
    ],
)
def test_a_time_is_written_in_utc(moment: datetime, text: str) -> None:
    assert render(moment) == text


@pytest.mark.parametrize("text", ["2026-01-31T02:00:00Z", "2026-01-31T09:00:00+07:00", "2026-01-31 02:00:00.000+00:00"])
def test_a_time_is_read_in_any_zone(text: str) -> None:
    assert parse(text) == datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    assert parse(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30T00:00:00Z", "2026-01-31T02:00:00", "2026-01-31"])
def test_what_is_no_time_or_has_no_zone_is_refused(text: str) -> None:
    """A time without its zone would be read as another moment by somebody else."""
    with pytest.raises(ValueError, match=r"zone|isoformat|day"):
        parse(text)


def test_there_and_back() -> None:
    moment = datetime(2026, 1, 31, 2, 0, 0, 125_000, tzinfo=UTC)
    assert parse(render(moment)) == moment
