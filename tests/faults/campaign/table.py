"""What is said at the end: a table by operation and kind, one line of sums, and everything in out/faults.json."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.faults.campaign.points import AWS, REGISTRY, Point, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.faults.campaign.running import Result


def say(line: object) -> None:
    """Print a line at once: it may be minutes until the next."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def rows(results: Sequence[Result]) -> list[str]:
    """Return the table: what was struck, how; how many points, how many converged, how many resets that may take."""
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        what = " and ".join(sorted({_named(strike.point) for strike in result.case.strikes}))
        kind = " and ".join(strike.kind.value for strike in result.case.strikes)
        groups["random pairs" if len(result.case.strikes) > 1 else what, "" if " and " in kind else kind].append(result)
    head = f"{'what':<52} {'fault':<15} {'points':>6} {'converged':>9} {'resets':>6}"
    return [head, *(_row(what, kind, group) for (what, kind), group in sorted(groups.items()))]


def sums(results: Sequence[Result]) -> str:
    """Return the one line that counts."""
    return " ".join(
        [
            f"points={len(results)}",
            f"converged={sum(result.converged for result in results)}",
            f"lost={sum(result.lost for result in results)}",
            f"leaked={sum(bool(result.leaked) for result in results)}",
            f"extra_resets={sum(result.extra_resets for result in results)}",
        ]
    )


def save(path: Path, results: Sequence[Result], seed: int | None, seconds: float) -> None:
    """Write everything down, and what is to be run to see one case again."""
    path.parent.mkdir(exist_ok=True)
    document = {
        "format": 1,
        "sums": sums(results),
        "seed": seed,
        "seconds": round(seconds, 1),
        "cases": [
            {
                "case": str(result.case),
                "converged": result.converged,
                "struck": result.hit,
                "resets": result.resets,
                "expected_resets": [result.case.fewest_resets, result.case.most_resets],
                "person": result.had_to,
                "wrong": result.wrong,
                "seconds": round(result.seconds, 1),
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _row(what: str, kind: str, group: Sequence[Result]) -> str:
    expected = sorted({resets for one in group for resets in (one.case.fewest_resets, one.case.most_resets)})
    converged = sum(result.converged for result in group)
    return f"{what:<52} {kind:<15} {len(group):>6} {converged:>9} {'-'.join(map(str, expected)):>6}"


def _named(point: Point) -> str:
    if point.role in (Role.RESET_CALL, Role.SET_CALL, Role.ESCROW_WRITE, Role.NEW_LOGIN):
        return f"{point.task.function}: {point.role.value}"
    if point.server == AWS:
        return f"{point.task.function}: {point.operation}"
    method = point.operation.partition(" ")[0]
    who = point.operation.rpartition(" as ")[2] if point.server == REGISTRY else ""
    name = point.operation if point.task.function == "machine" else f"{method} {who}".strip()
    return f"{point.task.function}: {point.server} {name}"
