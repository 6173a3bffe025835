"""Runs the part of the crash campaign that stands for all of it, in a world of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from tests.faults.campaign import cases, recording, running, table
from tests.faults.campaign.outcome import Target
from tests.faults.campaign.points import Kind, Point, Role
from tests.faults.campaign.setting import world_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.faults.campaign.points import Case
    from tests.faults.campaign.running import Result

Campaign: TypeAlias = "tuple[Sequence[Point], Sequence[Result]]"
LOST = (Kind.ERROR_AFTER, Kind.KILL_AFTER, Kind.CUT_OFF, Kind.GATEWAY_AFTER)
"""What loses the answer to the call."""


def run_some(folder: Path, target: Target, choose: Callable[[Sequence[Point]], list[Case]] | None = None) -> Campaign:
    """Return the points that a recording found, and what came of the cases that `choose` picks (or stand for all)."""
    with world_of(target, folder) as world:
        points = recording.record(world, "recorded", target.registry)
        if choose is not None:
            chosen = choose(points)
        else:
            again = recording.record(world, "again", target.registry, delivered_again=True)
            chosen = cases.representative(points, again)
        return points, running.run_in(world, chosen, at_once=6, kind=target.registry)


def all_converged(campaign: Campaign) -> None:
    """See that nothing was lost, nothing leaked, and everybody had the password in the end."""
    _, results = campaign
    assert len(results) >= 7
    assert [str(result) for result in results if not result.converged] == []
    assert "lost=0 leaked=0 extra_resets=0" in table.sums([result.outcome(Target()) for result in results])


def twice(campaign: Campaign) -> set[tuple[Role, Kind]]:
    """Return what led to two resets."""
    return {
        (result.case.strikes[0].point.role, result.case.strikes[0].kind) for result in campaign[1] if result.resets == 2
    }


def never_set_twice(campaign: Campaign) -> None:
    """See that a password of ours, which is in the store before the call, is set once, whatever loses the answer."""
    assert {result.case.strikes[0].kind for result in campaign[1]} >= set(LOST)
    assert twice(campaign) == set()
