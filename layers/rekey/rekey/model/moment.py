"""Points in time as text: RFC 3339 in UTC, as Step Functions' TimestampPath reads them."""

from datetime import UTC, datetime


def render(moment: datetime) -> str:
    """Return `2026-01-31T02:00:00.250Z`. Milliseconds, because the sandbox waits fractions of a second."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """Return the moment a text names. Raises ValueError where it names none or has no time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a time zone, such as 2026-01-31T02:00:00Z")
    return moment.astimezone(UTC)
