"""A part of the crash campaign that stands for all of it, and that the campaign sees what it looks for."""

from __future__ import annotations

import json
import os
import random
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.faults.campaign import cases, outcome, peers, recording, running, table
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
    kinds_of,
)
from tests.faults.campaign.strikes import Struck
from tests.faults.some_cases import LOST, Campaign, all_converged, run_some, twice
from tests.sandbox.aws import AwsSandbox

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
    """What dies between the registry's answer and the escrow makes a second reset; or a person whom Verify asks."""
    assert twice(campaign) == {
        *((Role.RESET_CALL, kind) for kind in LOST),
        (Role.ESCROW_WRITE, Kind.KILL_BEFORE),
        (Role.PROMOTED_LOGIN, Kind.REFUSED_TWICE),
    }


def test_the_recording_finds_every_server(campaign: Campaign) -> None:
    """There are more than 200 points, on every server that a rotation talks to, and none twice."""
    points = campaign.points
    assert {point.server for point in points} == {AWS, REGISTRY, CONTROL_PLANE, MACHINE, *CONSUMERS}
    assert len(set(points)) == len(points) >= 200


def test_every_state_is_stopped(campaign: Campaign) -> None:
    """The campaign stops the execution at every state of the machine, but for those it says why it cannot enter."""
    stopped = {
        strike.point.operation
        for case in cases.singles(campaign.points, again=campaign.again)
        for strike in case.strikes
        if strike.kind is Kind.STOP and strike.point.server == MACHINE
    }
    assert stopped | set(cases.NEVER_ENTERED) == set(_states(_definition()["States"]))
    assert not stopped & set(cases.NEVER_ENTERED)


def test_every_kind_is_tried(campaign: Campaign) -> None:
    """In the whole campaign, and in the part of it that ran here; a page of a gateway also in AWS's place."""
    points, results, _ = campaign
    assert {strike.kind for case in cases.singles(points) for strike in case.strikes} == set(Kind)
    struck = [strike for result in results for strike in result.case.strikes if result.hit]
    assert {strike.kind for strike in struck} == set(Kind)
    assert {strike.point.server for strike in struck if strike.kind is Kind.GATEWAY} == {AWS, CONTROL_PLANE}


def test_the_same_seed_gives_the_same_pairs(campaign: Campaign) -> None:
    points = campaign.points
    one, again = (cases.pairs(points, 20, random.Random(4)) for _ in range(2))  # noqa: S311 (a seed that is printed)
    assert one == again
    assert len({case.name for case in one}) == 20


def test_what_went_wrong_is_counted() -> None:
    """A result that is not as it has to be is in the sums: lost, leaked, reset too often."""
    strike = Strike(Point(Task("verify"), AWS, "s3:GetObject"), Kind.HANG)
    good, bad = running.Result(Case("c1", (strike,)), resets=1), running.Result(Case("c2", (strike,)), resets=3)
    bad.lost, bad.leaked = True, 2
    assert (
        table.sums([good.outcome(Target()), bad.outcome(Target())])
        == "points=2 converged=1 lost=1 leaked=1 extra_resets=2"
    )


def test_double_faults_whose_second_did_not_strike_are_said() -> None:
    one, other = (Strike(Point(Task("verify"), AWS, name), Kind.HANG) for name in ("a:B", "a:C"))
    double, single = Case("c1", (one, other)), Case("c2", (one,))
    both, first = (running.Result(double, hit=hit).outcome(Target()) for hit in (True, False))
    alone = running.Result(single, hit=False).outcome(Target())
    assert table.second_faults_missed([both, first, alone]).startswith("1 of 2 double faults")
    assert table.second_faults_missed([both, alone]) == ""


def test_what_only_an_unproven_password_writes_in_the_store_is_struck_too() -> None:
    task, write, look = Task("reset"), "secretsmanager:UpdateSecretVersionStage", "secretsmanager:GetSecretValue"
    login = Point(task, REGISTRY, "GET /v2/ as new password", role=Role.NEW_LOGIN)
    promoted, marked = (Point(task, AWS, write, number) for number in (1, 2))
    unproven = [promoted, marked, Point(task, AWS, look), Point(task, AWS, "dynamodb:PutItem"), login]
    states = [Point(Task("machine"), MACHINE, name) for name in ("Begin", "Reset", "Verify")]
    double = [case for case in cases.singles([login, promoted, *states], unproven) if len(case.strikes) == 2]
    away = Strike(login, Kind.AWAY)
    assert [case.strikes for case in double] == [(away, Strike(marked, kind)) for kind in kinds_of(marked)]
    assert {(case.fewest_resets, case.most_resets, case.may_need_a_person) for case in double} == {(1, 1, False)}


def test_only_what_is_in_every_recording_is_a_point() -> None:
    """Whoever is faster reads a record once more or not: what depends on that can be struck in no other run."""
    one, other, more = (Point(Task("verify"), AWS, "s3:GetObject", number) for number in (1, 2, 3))
    assert recording.compared([[one, other], [other, more, one], [one, other]]) == ([one, other], [more])


@pytest.mark.parametrize("kind", [Kind.ERROR_BEFORE, Kind.THROTTLE, Kind.GATEWAY, Kind.ANSWERS_LOST])
@pytest.mark.parametrize("patience", [2, 3])
def test_a_fault_at_aws_strikes_one_call_as_often_as_its_client_asks(kind: Kind, patience: int) -> None:
    """The escrow's client is hurried: what it asks for next is another call, and goes through."""
    point, at_work = Point(Task("reset"), AWS, "dynamodb:ListTables", 2), [(Task("reset"), None)]
    with AwsSandbox() as sandbox:
        setting: Any = SimpleNamespace(
            world=SimpleNamespace(cloud=sandbox),
            operation=lambda _, request: request.operation,
            worker_of=lambda _: at_work[0],
        )
        struck = Struck(setting, Strike(point, kind))
        struck.put()
        retries: Any = {"mode": "standard", "total_max_attempts": patience}
        client = sandbox.session.client("dynamodb", config=Config(retries=retries))
        client.list_tables()
        with pytest.raises(ClientError):
            client.list_tables()
        client.list_tables()
        assert struck.hit.is_set()
        assert len(sandbox.requests) == 1 + patience + 1


def test_an_earlier_run_counts_for_the_points_that_are_left() -> None:
    """Other targets' outcomes and double faults stay; a single fault at what is no point any more goes."""
    here, there = Target(), Target(store="vault")
    case, gone = (Case("c1", (Strike(Point(Task("verify"), AWS, name), Kind.HANG),)) for name in ("a:B", "a:Gone"))
    double = Case("c2", (*case.strikes, *gone.strikes))
    outcomes = [running.Result(one).outcome(here) for one in (case, gone, double)]
    elsewhere = running.Result(gone).outcome(there)
    assert outcome.kept([*outcomes, elsewhere], here, {str(case)}) == [outcomes[0], outcomes[2], elsewhere]


def test_a_case_that_shows_nothing_is_run_again_and_its_later_outcome_counts() -> None:
    """Only where nothing else was wrong: what went wrong once is a finding, however often it goes well."""
    here = Target()
    strikes = [Strike(Point(Task("verify"), AWS, name), Kind.HANG) for name in ("a:B", "a:C", "a:D")]
    past, wrong, good = (Case(f"c{number}", (strike,)) for number, strike in enumerate(strikes))
    missed = running.Result(past, wrong=[outcome.NOT_REACHED]).outcome(here)
    broken = running.Result(wrong, wrong=["a lease is left", outcome.NOT_REACHED]).outcome(here)
    lost = running.Result(good, lost=True, wrong=[outcome.NOT_REACHED]).outcome(here)
    first = [missed, broken, lost]
    assert outcome.not_reached(first, here) == {str(past)}
    assert outcome.not_reached(first, Target(store="vault")) == set()
    broken_world = Case("c4", (Strike(Point(Task("verify"), AWS, "a:E"), Kind.HANG),))
    assert outcome.without_result([past, wrong, good, broken_world], first, here) == {str(past), str(broken_world)}
    later = running.Result(past, resets=1).outcome(here)
    assert outcome.with_later(first, [later]) == [*first[1:], later]


def test_a_run_that_was_written_down_is_read_again(tmp_path: Path) -> None:
    strike = Strike(Point(Task("verify"), AWS, "s3:GetObject"), Kind.HANG)
    written = [running.Result(Case("c1", (strike,)), resets=1, wrong=["all of it"]).outcome(Target("gitea"))]
    outcome.save(tmp_path / "faults.json", written, table.sums(written), None, 1.0)
    assert outcome.load(tmp_path / "faults.json") == written
    assert outcome.load(tmp_path / "nothing.json") == []


def test_the_kernel_says_who_asks() -> None:
    """A connection is found at the process that has it, and at no other."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = client.getsockname()[1]
        assert peers.owner_of(port, [os.getppid(), os.getpid()]) == os.getpid()
        assert peers.owner_of(port, [os.getppid()]) is None


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
