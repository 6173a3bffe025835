"""The report as a page for people: one file, no scripts, nothing from elsewhere."""

from collections.abc import Mapping


def render(evidence: Mapping[str, object]) -> str:
    """Return the page of an evidence document."""
    return str(dict(evidence))
