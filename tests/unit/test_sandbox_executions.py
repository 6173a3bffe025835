"""The sandbox's Step Functions start, stop, describe and redrive executions as AWS does."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from moto.stepfunctions.models import StateMachine

from tests.sandbox.aws import AwsSandbox
from tests.sandbox.aws_example import definition
from tests.sandbox.aws_stepfunctions import faithful_step_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from types_boto3_stepfunctions import SFNClient
    from types_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

    from tests.sandbox.aws import Repair
    from tests.sandbox.aws_intrinsics import Json

PASS: Mapping[str, Json] = {"Only": {"Type": "Pass", "End": True}}
CONTEXT: Mapping[str, Json] = {
    "Only": {
        "Type": "Pass",
        "Parameters": {
            "redrive.$": "$$.Execution.RedriveCount",
            "retry.$": "$$.State.RetryCount",
            "started.$": "$$.Execution.StartTime",
        },
        "End": True,
    }
}
STARTED: Mapping[str, Json] = {
    "Only": {"Type": "Pass", "Parameters": {"started.$": "$$.Execution.StartTime"}, "End": True}
}
WAIT: Mapping[str, Json] = {"Only": {"Type": "Wait", "Seconds": 60, "End": True}}
MAP: Mapping[str, Json] = {
    "Only": {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": {"Type": "Wait", "Seconds": 60, "End": True}}},
        "End": True,
    }
}
UNTIL: Mapping[str, Json] = {"Only": {"Type": "Wait", "TimestampPath": "$.until", "End": True}}
FAIL: Mapping[str, Json] = {
    "First": {"Type": "Pass", "Result": {"passed": "first"}, "Next": "Second"},
    "Second": {"Type": "Pass", "InputPath": "$.missing", "End": True},
}


@dataclass(frozen=True)
class Machine:
    client: SFNClient
    arn: str

    def start(self, name: str | None = None, text: str = '{"items": [1, 2]}') -> str:
        named = {} if name is None else {"name": name}
        return self.client.start_execution(stateMachineArn=self.arn, input=text, **named)["executionArn"]

    def describe(self, arn: str) -> DescribeExecutionOutputTypeDef:
        return self.client.describe_execution(executionArn=arn)

    def end(self, arn: str) -> DescribeExecutionOutputTypeDef:
        until(lambda: self.describe(arn)["status"] != "RUNNING")
        return self.describe(arn)

    def events(self, arn: str, **options: object) -> list[str]:
        found = self.client.get_execution_history(executionArn=arn, **options)  # type: ignore[arg-type]
        return [event["type"] for event in found["events"]]


@contextmanager
def machine(states: Mapping[str, Json], repairs: Sequence[Repair] = (faithful_step_functions,)) -> Iterator[Machine]:
    with AwsSandbox(repairs=repairs) as aws:
        client = aws.client("stepfunctions")
        made = client.create_state_machine(
            name="machine",
            definition=definition(next(iter(states)), states),
            roleArn="arn:aws:iam::123456789012:role/machine",
        )
        yield Machine(client, made["stateMachineArn"])


def until(holds: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_context_object_is_complete() -> None:
    with machine(CONTEXT) as played:
        found = played.end(played.start())
        output = json.loads(found["output"])
        assert (output["redrive"], output["retry"]) == (0, 0)
        assert output["started"].endswith("Z")


def test_moto_alone_knows_no_counts() -> None:
    """Fails when moto has RedriveCount and RetryCount: then ours can go."""
    with machine(CONTEXT, repairs=()) as played:
        assert played.end(played.start("one"))["status"] == "FAILED"


def waited(played: Machine) -> bool:
    """Whether an execution that waits until a moment, less than a second off, ends after it."""
    moment = datetime.now(UTC) + timedelta(milliseconds=700)
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    played.end(played.start("one", json.dumps({"until": text})))
    return datetime.now(UTC) >= moment


def test_a_wait_ends_at_its_time_and_not_before() -> None:
    with machine(UNTIL) as played:
        assert waited(played)


def test_moto_alone_cuts_the_fractions_of_a_wait_off() -> None:
    """Fails when a Wait ends at its time: then ours can go."""
    with machine(UNTIL, repairs=()) as played:
        assert not waited(played)


def test_moto_alone_cannot_show_a_start_time() -> None:
    """Fails when $$.Execution.StartTime is a text: then ours can go."""
    with machine(STARTED, repairs=()) as played:
        arn = played.start("one")
        with pytest.raises(ClientError, match=r"500|Internal"):
            played.end(arn)


def test_executions_without_a_name_get_one_each() -> None:
    with machine(PASS) as played:
        assert len({played.start() for _ in range(3)}) == 3


def test_moto_alone_lets_unnamed_executions_collide() -> None:
    """Fails when moto names them: then ours can go."""
    with machine(PASS, repairs=()) as played:
        played.end(played.start())
        with pytest.raises(played.client.exceptions.ExecutionAlreadyExists):
            played.start()


def winners_of_two(played: Machine) -> int:
    """Start two executions of one name that are both past moto's check of the name (or half a second has passed)."""
    both = threading.Barrier(2)
    check = StateMachine._handle_name_input_idempotency  # noqa: SLF001 the place where two can meet

    def slow(self: StateMachine, name: str, execution_input: str) -> object:
        found = check(self, name, execution_input)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        return found

    def start(number: int) -> bool:
        with suppress(played.client.exceptions.ExecutionAlreadyExists):
            played.start("one", json.dumps({"number": number}))
            return True
        return False

    with mock.patch.object(StateMachine, "_handle_name_input_idempotency", slow), ThreadPoolExecutor(2) as pool:
        return sum(pool.map(start, range(2)))


def test_moto_alone_lets_two_starts_of_one_name_win() -> None:
    """Fails when moto's starts are atomic: then the lock can go."""
    with machine(WAIT, repairs=()) as played:
        assert winners_of_two(played) == 2
    with machine(WAIT) as played:
        assert winners_of_two(played) == 1


def test_the_same_start_again_joins_the_running_execution() -> None:
    with machine(WAIT) as played:
        assert played.start("one") == played.start("one")


@pytest.mark.parametrize("name", ["x" * 81, "a b", "a/b"])
def test_names_are_checked(name: str) -> None:
    with machine(PASS) as played, pytest.raises(ClientError, match=r"[nN]ame"):
        played.start(name)


@pytest.mark.parametrize("states", [WAIT, MAP], ids=["in a Wait", "in a Map"])
def test_a_stop_aborts_and_keeps_its_reason(states: Mapping[str, Json]) -> None:
    with machine(states) as played:
        arn = played.start()
        until(lambda: any(event.endswith("StateEntered") for event in played.events(arn)))
        played.client.stop_execution(executionArn=arn, error="Drill", cause="because")
        found = played.describe(arn)
        assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Drill", "because")
        until(lambda: "ExecutionAborted" in played.events(arn))
        assert played.describe(arn)["status"] == "ABORTED"


def test_moto_alone_fails_a_stopped_map() -> None:
    """Fails when a stop during a Map is ABORTED: then ours can go."""
    with machine(MAP, repairs=()) as played:
        arn = played.start("one")
        until(lambda: played.events(arn).count("WaitStateEntered") == 2)
        played.client.stop_execution(executionArn=arn, error="Drill", cause="because")
        found = played.end(arn)
        assert (found["status"], found["error"]) == ("FAILED", "States.Runtime")


def test_a_stop_of_an_ended_execution_changes_nothing() -> None:
    with machine(PASS) as played:
        arn = played.start()
        played.end(arn)
        played.client.stop_execution(executionArn=arn, error="Drill")
        assert played.describe(arn)["status"] == "SUCCEEDED"


def test_a_redrive_goes_on_in_the_state_that_failed() -> None:
    with machine(FAIL) as played:
        arn = played.start()
        assert played.end(arn)["status"] == "FAILED"
        played.client.redrive_execution(executionArn=arn)
        found = played.end(arn)
        assert (found["status"], found["redriveCount"]) == ("FAILED", 1)
        entered = [
            (details["name"], json.loads(details["input"]))
            for event in played.client.get_execution_history(executionArn=arn)["events"]
            if (details := event.get("stateEnteredEventDetails"))
        ]
        second = ("Second", {"passed": "first"})
        assert entered == [("First", {"items": [1, 2]}), second, second]


def test_a_redrive_of_a_stopped_execution_has_the_same_input_and_counts() -> None:
    states: Mapping[str, Json] = {
        "Only": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "Show"},
        "Show": {
            "Type": "Pass",
            "Parameters": {"input.$": "$$.Execution.Input", "redrive.$": "$$.Execution.RedriveCount"},
            "End": True,
        },
    }
    with machine(states) as played:
        arn = played.start(text='{"seconds": 1}')
        until(lambda: "WaitStateEntered" in played.events(arn))
        played.client.stop_execution(executionArn=arn)
        played.client.redrive_execution(executionArn=arn)
        found = played.end(arn)
        assert found["status"] == "SUCCEEDED"
        assert json.loads(found["output"]) == {"input": {"seconds": 1}, "redrive": 1}


def test_what_runs_or_succeeded_is_not_redriven() -> None:
    with machine(PASS) as played:
        arn = played.start()
        played.end(arn)
        with pytest.raises(played.client.exceptions.ExecutionNotRedrivable):
            played.client.redrive_execution(executionArn=arn)


def test_moto_alone_knows_no_redrive() -> None:
    """Fails when moto redrives: then ours can go, if it goes on in the failed state."""
    with machine(FAIL, repairs=()) as played:
        arn = played.start("one")
        played.end(arn)
        with pytest.raises(ClientError):
            played.client.redrive_execution(executionArn=arn)


def test_the_history_is_paged_and_can_be_reversed() -> None:
    with machine(PASS) as played:
        arn = played.start()
        played.end(arn)
        events = played.events(arn)
        assert events == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
        assert played.events(arn, reverseOrder=True, maxResults=1) == ["ExecutionSucceeded"]
        pages = played.client.get_paginator("get_execution_history").paginate(
            executionArn=arn, PaginationConfig={"PageSize": 3}
        )
        assert [len(page["events"]) for page in pages] == [3, 1]


def test_moto_alone_ignores_the_order_of_the_history() -> None:
    """Fails when moto reverses and pages: then ours can go."""
    with machine(PASS, repairs=()) as played:
        arn = played.start("one")
        played.end(arn)
        assert played.events(arn, reverseOrder=True, maxResults=1)[0] == "ExecutionStarted"


def test_an_execution_that_takes_too_long_times_out() -> None:
    with AwsSandbox() as aws:
        client = aws.client("stepfunctions")
        text = json.dumps({"StartAt": "Only", "TimeoutSeconds": 1, "States": dict(WAIT)})
        made = client.create_state_machine(
            name="machine", definition=text, roleArn="arn:aws:iam::123456789012:role/machine"
        )
        played = Machine(client, made["stateMachineArn"])
        found = played.end(played.start())
        assert found["status"] == "TIMED_OUT"
        assert found["stopDate"] >= found["startDate"]
