"""One row of the table: samples of a thing, and of its peer."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Measured:
    """Seconds that something took, time by time, and what they are compared with."""

    name: str
    seconds: Sequence[float]
    peer: str = ""
    peer_seconds: Sequence[float] = ()

    @property
    def ratio(self) -> float | None:
        """How many times its peer it takes, median by median. None without a peer."""
        return self._median / statistics.median(self.peer_seconds) if self.peer_seconds else None

    @property
    def _median(self) -> float:
        return statistics.median(self.seconds)

    def row(self) -> str:
        """Return its line of the table: milliseconds."""
        numbers = [min(self.seconds), self._median, max(self.seconds)]
        said = "".join(f"{number * 1000:>10.1f}" for number in numbers)
        ratio = f"{self.ratio:>8.2f} times {self.peer}" if self.ratio is not None else ""
        return f"{self.name:<44}{len(self.seconds):>4}{said}{ratio}"

    def document(self) -> dict[str, object]:
        """Return it for out/bench.json."""
        return {
            "name": self.name,
            "seconds": [round(one, 6) for one in self.seconds],
            "peer": self.peer,
            "peer_seconds": [round(one, 6) for one in self.peer_seconds],
            "ratio": None if self.ratio is None else round(self.ratio, 3),
        }


HEAD = f"{'':<44}{'n':>4}{'min ms':>10}{'median':>10}{'max':>10}   ratio of medians"
