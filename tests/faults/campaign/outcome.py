"""What came of a case, as it is written down: what out/faults.json holds and the table is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from tests.faults.campaign.points import Case
    from tests.sandbox.company import Kind
    from tests.sandbox.company_store import StoreKind
    from tests.sandbox.world import ClusterKind

FORMAT = 3
NOT_REACHED = "the point was never reached"
"""Said of a case whose fault did not strike: a rotation that was slow may have left something out."""


@dataclass(frozen=True)
class Target:
    """What the faults strike: a registry of a type, the store of its password, the cluster among the consumers."""

    registry: Kind = "cloudraya"
    store: StoreKind = "secrets-manager"
    cluster: ClusterKind = "simulator"

    def __str__(self) -> str:
        usual = {"secrets-manager", "simulator"}
        return ", ".join([self.registry, *(one for one in (self.store, self.cluster) if one not in usual)])


@dataclass(frozen=True)
class Outcome:
    """One case of one target. `what` and `kind` are its row in the table, `expected_resets` are the bounds."""

    target: str
    case: str
    what: str
    kind: str
    converged: bool
    struck: bool
    resets: int
    expected_resets: tuple[int, int]
    person: bool
    lost: bool
    leaked: int
    wrong: tuple[str, ...]
    seconds: float

    @property
    def extra_resets(self) -> int:
        """Resets beyond those that this fault makes unavoidable."""
        return max(0, self.resets - self.expected_resets[1])


def save(path: Path, outcomes: Sequence[Outcome], sums: str, seed: int | None, seconds: float) -> None:
    """Write everything down."""
    path.parent.mkdir(exist_ok=True)
    document = {
        "format": FORMAT,
        "sums": sums,
        "seed": seed,
        "seconds": round(seconds, 1),
        "cases": [asdict(outcome) for outcome in outcomes],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Outcome]:
    """Return what was written down; nothing where there is no file, or one of another format."""
    if not path.exists():
        return []
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document["format"] != FORMAT:
        return []
    return [
        Outcome(**{**case, "expected_resets": tuple(case["expected_resets"]), "wrong": tuple(case["wrong"])})
        for case in document["cases"]
    ]


def not_reached(outcomes: Sequence[Outcome], target: Target) -> set[str]:
    """Return a target's cases that show nothing: all was well, and the fault did not strike."""
    return {
        one.case
        for one in outcomes
        if one.target == str(target) and one.wrong == (NOT_REACHED,) and not (one.lost or one.leaked)
    }


def without_result(cases: Sequence[Case], outcomes: Sequence[Outcome], target: Target) -> set[str]:
    """Return the cases that show nothing, or of which there is no outcome at all: their world broke."""
    there = {one.case for one in outcomes if one.target == str(target)} - not_reached(outcomes, target)
    return {str(case) for case in cases} - there


def with_later(outcomes: Sequence[Outcome], later: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes, with later ones in the place of earlier ones of the same cases."""
    again = {(one.target, one.case) for one in later}
    return [*(one for one in outcomes if (one.target, one.case) not in again), *later]


def kept(outcomes: Sequence[Outcome], target: Target, known: Collection[str]) -> list[Outcome]:
    """Return what counts of an earlier run: not a target's single faults at what is no point any more."""
    return [one for one in outcomes if one.target != str(target) or " and " in one.case or one.case in known]
