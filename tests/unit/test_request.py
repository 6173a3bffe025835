"""A request is closed only by a reset that came after the exposure, and a doubled alert is one request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rekey.model.request import Reason, Request, request_key

ARRIVED = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def request(exposed_at: datetime | None = None, detected_at: datetime | None = None) -> Request:
    return Request(
        registry="prod-images",
        key="k",
        reason=Reason.COMPROMISED,
        source="siem",
        arrived_at=ARRIVED,
        exposed_at=exposed_at,
        detected_at=detected_at,
    )


@pytest.mark.parametrize(
    ("times", "exposure"),
    [
        ({}, ARRIVED),
        ({"detected_at": ARRIVED - 2 * MINUTE}, ARRIVED - 2 * MINUTE),
        ({"exposed_at": ARRIVED - 9 * MINUTE, "detected_at": ARRIVED - 2 * MINUTE}, ARRIVED - 9 * MINUTE),
    ],
)
def test_it_is_met_by_a_call_after_the_exposure(times: dict[str, datetime], exposure: datetime) -> None:
    """`exposed_at` where the source gives it, else `detected_at`, else the arrival."""
    second = timedelta(seconds=1)
    assert request(**times).is_met_by(exposure + second)
    assert not request(**times).is_met_by(exposure)
    assert not request(**times).is_met_by(exposure - second)


@pytest.mark.parametrize("field", ["exposed_at", "detected_at"])
def test_a_sources_clock_that_runs_ahead_does_not_ask_for_ever(field: str) -> None:
    """Never later than the arrival: else no reset would ever be late enough."""
    ahead = request(**{field: ARRIVED + timedelta(days=365)})
    assert ahead.is_met_by(ARRIVED + timedelta(seconds=1))
    assert not ahead.is_met_by(ARRIVED)


def test_an_alert_for_the_same_leak_has_the_same_key_whatever_event_brought_it() -> None:
    assert request_key("a", "leak-1", "event-1") == request_key("a", "leak-1", "event-2")


def test_another_leak_registry_or_event_has_another_key() -> None:
    keys = [
        request_key("a", "x", "event"),
        request_key("a", "y", "event"),
        request_key("b", "x", "event"),
        request_key("a", None, "x"),
        request_key("a", None, "y"),
        request_key("a", "", "x"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_leak_is_the_most_urgent_reason() -> None:
    assert max(Reason, key=lambda reason: reason.urgency) is Reason.COMPROMISED
    assert min(Reason, key=lambda reason: reason.urgency) is Reason.SCHEDULED
    assert len({reason.urgency for reason in Reason}) == len(Reason)
