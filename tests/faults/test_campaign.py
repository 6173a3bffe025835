"""A part of the crash campaign that stands for all of it, and that the campaign sees what it looks for."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import canaries, cases, running, table
from tests.faults.campaign.outcome import Target
from tests.faults.campaign.points import (
    AWS,
    CONSUMERS,
    CONTROL_PLANE,
    MACHINE,
    REGISTRY,
    Case,
    Kind,
    Point,
    Role,
    Strike,
    Task,
)
from tests.faults.some_cases import LOST, Campaign, all_converged, run_some, twice

DEFINITION = Path(__file__).parents[2] / "statemachine" / "rotation.asl.json"


pytestmark = pytest.mark.timeout(600)  # seconds; a dozen rotations, each with what it takes to come back from a fault


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Return the points that a recording found, and what came of some cases."""
    return run_some(tmp_path_factory.mktemp("campaign"), Target())


def test_every_rotation_converges(campaign: Campaign) -> None:
    """Whatever goes wrong, nothing is lost, nothing leaks, and everybody has the password in the end."""
    all_converged(campaign)


def test_a_lost_answer_costs_one_more_reset(campaign: Campaign) -> None:
    """Only what dies between the registry's answer and the escrow makes a second reset."""
    assert twice(campaign) == {*((Role.RESET_CALL, kind) for kind in LOST), (Role.ESCROW_WRITE, Kind.KILL_BEFORE)}


def test_the_recording_finds_every_server(campaign: Campaign) -> None:
    """There are more than 200 points, on every server that a rotation talks to, and none twice."""
    points, _ = campaign
    assert {point.server for point in points} == {AWS, REGISTRY, CONTROL_PLANE, MACHINE, *CONSUMERS}
    assert len(set(points)) == len(points) >= 200


def test_every_state_is_stopped(campaign: Campaign) -> None:
    """The campaign stops the execution at every state of the machine, but for those it says why it cannot enter."""
    points, _ = campaign
    stopped = {
        strike.point.operation
        for case in cases.singles(points)
        for strike in case.strikes
        if strike.kind is Kind.STOP and strike.point.server == MACHINE
    }
    assert stopped | set(cases.NEVER_ENTERED) == set(_states(_definition()["States"]))
    assert not stopped & set(cases.NEVER_ENTERED)


def test_every_kind_is_tried(campaign: Campaign) -> None:
    points, _ = campaign
    assert {strike.kind for case in cases.singles(points) for strike in case.strikes} == set(Kind)


def test_the_same_seed_gives_the_same_pairs(campaign: Campaign) -> None:
    points, _ = campaign
    one, again = (cases.pairs(points, 20, random.Random(4)) for _ in range(2))  # noqa: S311 (a seed that is printed)
    assert one == again
    assert len({case.name for case in one}) == 20


def test_a_secret_is_found_in_every_form() -> None:
    """Plain, JSON, URL, base64, and base64 of `user:password`."""
    secret = 'a"b\\c/d+e=f&g%h'  # noqa: S105 (every character that one of the forms escapes)
    written = [
        secret,
        json.dumps({"p": secret}),
        "a%22b%5Cc%2Fd%2Be%3Df%26g%25h",
        base64.b64encode(secret.encode()).decode(),
        base64.b64encode(f"shop:{secret}".encode()).decode(),
    ]
    assert [canaries.leaks(text, {"shop": canaries.Known("shop", (secret,))}) for text in written] == [
        {"shop": 1}
    ] * len(written)
    assert canaries.leaks("nothing", {"shop": canaries.Known("shop", (secret,))}) == {}


def test_what_went_wrong_is_counted() -> None:
    """A result that is not as it has to be is in the sums: lost, leaked, reset too often."""
    strike = Strike(Point(Task("verify"), AWS, "s3:GetObject"), Kind.HANG)
    good, bad = running.Result(Case("c1", (strike,)), resets=1), running.Result(Case("c2", (strike,)), resets=3)
    bad.lost, bad.leaked = True, 2
    assert (
        table.sums([good.outcome(Target()), bad.outcome(Target())])
        == "points=2 converged=1 lost=1 leaked=1 extra_resets=2"
    )


def _definition() -> dict[str, Any]:
    text = DEFINITION.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(_without_placeholders(text))
    return found


def _without_placeholders(text: str) -> str:
    """Return the definition with a number in place of each number that the template fills in."""
    parts = text.split(": ${")
    return parts[0] + "".join(": 1" + part.partition("}")[2] for part in parts[1:])


def _states(states: dict[str, Any]) -> list[str]:
    inner = [state["ItemProcessor"]["States"] for state in states.values() if "ItemProcessor" in state]
    return [*states, *(name for more in inner for name in _states(more))]
