"""A part of the crash campaign with a real Gitea, which takes the password we choose."""

from __future__ import annotations

import pytest

from tests.faults.campaign import cases
from tests.faults.campaign.outcome import Target
from tests.faults.some_cases import Campaign, all_converged, never_set_twice, run_some
from tests.servers.requirement import require

pytestmark = pytest.mark.timeout(600)  # seconds; some rotations, each with what it takes to come back from a fault


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Return the points that a recording found, and what came of some cases."""
    for name in ("registry", "gitea"):
        require(name)
    return run_some(tmp_path_factory.mktemp("campaign"), Target("gitea"), cases.around_the_reset)


def test_every_rotation_converges(campaign: Campaign) -> None:
    """Whatever goes wrong, nothing is lost, nothing leaks, and everybody has the password in the end."""
    all_converged(campaign)


def test_a_password_of_ours_is_never_set_twice(campaign: Campaign) -> None:
    """It is in the store before the call: where the answer is lost, a login tells whether it was taken."""
    never_set_twice(campaign)
