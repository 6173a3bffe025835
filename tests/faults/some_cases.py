"""Runs the part of the crash campaign that stands for all of it, in a world of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.faults.campaign import cases, recording, running, table
from tests.faults.campaign.outcome import Target
from tests.faults.campaign.points import Kind, Point, Role
from tests.faults.campaign.setting import world_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.faults.campaign.points import Case
    from tests.faults.campaign.running import Result


class Campaign(NamedTuple):
    """The points that recordings found, of a rotation and of a password that is delivered again; what came of some."""

    points: Sequence[Point]
    results: Sequence[Result]
    again: Sequence[Point] = ()


LOST = (Kind.ERROR_AFTER, Kind.KILL_AFTER, Kind.CUT_OFF, Kind.GATEWAY_AFTER)
"""What loses the answer to the call."""


def run_some(folder: Path, target: Target, choose: Callable[[Sequence[Point]], list[Case]] | None = None) -> Campaign:
    """Return the points that a recording found, and what came of the cases that `choose` picks (or stand for all)."""
    with world_of(target, folder) as world:
        points = recording.record(world, "recorded", target.registry)
        again: list[Point] = []
        if choose is None:
            again = recording.record(world, "again", target.registry, delivered_again=True)
        chosen = choose(points) if choose else cases.representative(points, again)
        return Campaign(points, running.run_in(world, chosen, at_once=6, kind=target.registry), again)


def all_converged(campaign: Campaign) -> None:
    """See that nothing was lost, nothing leaked, and everybody had the password in the end."""
    results = campaign.results
    assert len(results) >= 7
    assert [str(result) for result in results if not result.converged] == []
    assert "lost=0 leaked=0 extra_resets=0" in table.sums([result.outcome(Target()) for result in results])


def twice(campaign: Campaign) -> set[tuple[Role, Kind]]:
    """Return what led to two resets."""
    return {
        (result.case.strikes[0].point.role, result.case.strikes[0].kind)
        for result in campaign.results
        if result.resets == 2
    }


def never_set_twice(campaign: Campaign) -> None:
    """See that a password of ours, which is in the store before the call, is set once, whatever loses the answer."""
    assert {result.case.strikes[0].kind for result in campaign.results} >= set(LOST)
    assert twice(campaign) == set()
