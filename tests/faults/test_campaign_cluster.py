"""A part of the crash campaign with a real API server: whatever goes wrong at a pull secret, it has the password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.campaign.outcome import Target
from tests.faults.campaign.points import Case, Kind, Strike, kinds_of
from tests.faults.some_cases import run_some
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.campaign.points import Point
    from tests.faults.campaign.running import Result

pytestmark = pytest.mark.timeout(600)  # seconds; a dozen rotations, each with what it takes to come back from a fault
AT_THE_OTHERS = (Kind.KILL_AFTER,)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Result]:
    """Return what came of everything that can go wrong at a PUT, and of some of it at what comes before and after."""
    for name in ("registry", "kube-apiserver", "etcd"):
        require(name)
    return run_some(tmp_path_factory.mktemp("campaign"), Target(cluster="kube-apiserver"), chosen).results


def chosen(points: Sequence[Point]) -> list[Case]:
    """Return the cases: every fault at the first PUT, and some at the first of each other request."""
    of_it = [point for point in points if point.server == "kubernetes"]
    firsts = {(point.task.call, point.operation.partition(" ")[0]): point for point in reversed(of_it)}
    assert {call for call, _ in firsts} == {"prepare", "deliver", "verify"}
    strikes = [
        Strike(point, kind)
        for (_, method), point in sorted(firsts.items())
        for kind in (kinds_of(point) if method == "PUT" else AT_THE_OTHERS)
    ]
    return [Case(f"case-{number}", (strike,)) for number, strike in enumerate(strikes, 1)]


def test_every_rotation_converges(results: Sequence[Result]) -> None:
    """Nothing is lost, nothing leaks, and each costs one reset."""
    assert len(results) >= 11
    assert [str(result) for result in results if not result.converged] == []
    assert [result.resets for result in results] == [1] * len(results)


def test_every_fault_struck(results: Sequence[Result]) -> None:
    assert [str(result) for result in results if not result.hit] == []
    at_the_put = {
        result.case.strikes[0].kind for result in results if result.case.strikes[0].point.operation.startswith("PUT")
    }
    assert at_the_put >= {Kind.ERROR_AFTER, Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.CUT_OFF, Kind.HANG, Kind.GATEWAY}
