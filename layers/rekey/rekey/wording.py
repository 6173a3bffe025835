"""Lists in words, of bounded length: a plan may name 10,000 consumers, and an item of DynamoDB ends at 400 kB."""

from collections.abc import Sequence

_MOST = 50


def some(texts: Sequence[str], most: int = _MOST) -> tuple[str, ...]:
    """Return the texts; of too many the first ones, and how many more there are."""
    more = len(texts) - most
    return tuple(texts) if more <= 0 else (*texts[:most], f"and {more} more")
