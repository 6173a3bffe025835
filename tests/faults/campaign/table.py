"""What is said at the end: a table by operation and kind, and one line of sums."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.faults.campaign.points import AWS, REGISTRY, Point, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.campaign.outcome import Outcome
    from tests.faults.campaign.points import Case

TWO_FAULTS = "two faults"


def say(line: object) -> None:
    """Print a line at once: it may be minutes until the next."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def labels(case: Case) -> tuple[str, str]:
    """Return the row that a case belongs to: what was struck, and how."""
    if len(case.strikes) > 1:
        return TWO_FAULTS, ""
    (strike,) = case.strikes
    again = "again: " if case.delivers_again else ""
    return f"{again}{_named(strike.point)}", strike.kind.value


def rows(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the table: what was struck, how; how many points, how many converged, how many resets that may take."""
    groups: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.target, outcome.what, outcome.kind].append(outcome)
    head = f"{'registry, store':<17} {'what':<52} {'fault':<15} {'points':>6} {'converged':>9} {'resets':>6}"
    return [head, *(_row(*group, groups[group]) for group in sorted(groups))]


def sums(outcomes: Sequence[Outcome]) -> str:
    """Return the one line that counts."""
    return " ".join(
        [
            f"points={len(outcomes)}",
            f"converged={sum(outcome.converged for outcome in outcomes)}",
            f"lost={sum(outcome.lost for outcome in outcomes)}",
            f"leaked={sum(bool(outcome.leaked) for outcome in outcomes)}",
            f"extra_resets={sum(outcome.extra_resets for outcome in outcomes)}",
        ]
    )


def second_faults_missed(outcomes: Sequence[Outcome]) -> str:
    """Return how many double faults were single ones in truth, or "" where none was."""
    double = [outcome for outcome in outcomes if outcome.what == TWO_FAULTS]
    missed = sum(not outcome.struck for outcome in double)
    return f"{missed} of {len(double)} double faults: the first led around the point of the second" if missed else ""


def _row(target: str, what: str, kind: str, group: Sequence[Outcome]) -> str:
    expected = sorted({resets for one in group for resets in one.expected_resets})
    converged = sum(outcome.converged for outcome in group)
    bounds = "-".join(map(str, expected))
    return f"{target:<17} {what:<52} {kind:<15} {len(group):>6} {converged:>9} {bounds:>6}"


def _named(point: Point) -> str:
    if point.role in (Role.RESET_CALL, Role.SET_CALL, Role.ESCROW_WRITE, Role.NEW_LOGIN, Role.PROMOTED_LOGIN):
        return f"{point.task.function}: {point.role.value}"
    if point.server == AWS:
        return f"{point.task.function}: {point.operation}"
    method = point.operation.partition(" ")[0]
    who = point.operation.rpartition(" as ")[2] if point.server == REGISTRY else ""
    name = point.operation if point.task.function == "machine" else f"{method} {who}".strip()
    return f"{point.task.function}: {point.server} {name}"
