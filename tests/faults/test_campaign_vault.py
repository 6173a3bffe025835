"""A part of the crash campaign with the passwords in a real Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.campaign.outcome import Target
from tests.faults.campaign.points import STORE, Case, Kind, Strike
from tests.faults.some_cases import Campaign, all_converged, run_some
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.campaign.points import Point

pytestmark = pytest.mark.timeout(600)  # seconds; a dozen rotations, each with what it takes to come back from a fault


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Return the points that a recording found, and what came of faults at the store."""
    for name in ("registry", "vault"):
        require(name)
    return run_some(tmp_path_factory.mktemp("campaign"), Target(store="vault"), chosen)


def chosen(points: Sequence[Point]) -> list[Case]:
    """Return the cases: what `reset` writes last of each sort is staging, promoting and tidying up; and each login."""
    at_store = [point for point in points if point.server == STORE]
    lasts = {point.operation: point for point in at_store if point.task.function == "reset"}
    writes = [one for one in lasts.values() if not one.operation.startswith(("GET", "LIST")) and not _login(one)]
    assert {point.operation.partition(" ")[0] for point in writes} == {"POST", "PATCH", "DELETE"}
    logins = {point.task.function: point for point in at_store if _login(point)}
    assert set(logins) == {"begin", "reset", "distribute", "verify"}
    strikes = [Strike(point, kind) for point in writes for kind in (Kind.ERROR_AFTER, Kind.KILL_AFTER)]
    strikes += [Strike(point, Kind.THROTTLE) for point in logins.values()]
    return [Case(f"case-{number:02}", (strike,)) for number, strike in enumerate(strikes, 1)]


def _login(point: Point) -> bool:
    return point.operation.endswith("/login")


def test_every_rotation_converges(campaign: Campaign) -> None:
    """Whatever goes wrong at the store, nothing is lost, nothing leaks, and each costs one reset."""
    all_converged(campaign)
    assert {result.resets for result in campaign.results} == {1}


def test_every_fault_struck(campaign: Campaign) -> None:
    assert [str(result) for result in campaign.results if not result.hit] == []
