"""Functions run in processes of their own, as Lambda runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws import Cloud
from tests.sandbox.aws_async import Retries
from tests.sandbox.aws_example import write_stack
from tests.sandbox.aws_faults import call_after, drop_after, throttle
from tests.sandbox.lambdas import HostSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]


@contextmanager
def running(folder: Path, settings: HostSettings | None = None, **overrides: str) -> Iterator[Cloud]:
    with Cloud(
        write_stack(folder), workdir=folder / "logs", overrides=overrides, stack_name="demo", settings=settings
    ) as cloud:
        yield cloud


@pytest.fixture(params=[False, True], ids=["started", "forked"])
def cloud(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with running(tmp_path, HostSettings(retries=Retries(0.01, 0.01), fork=request.param)) as cloud:
        yield cloud


def call(cloud: Cloud, **event: object) -> dict[str, Any]:
    """Invoke the worker over the wire; return its answer, or its error with the error's kind."""
    answer = cloud.client("lambda").invoke(FunctionName="demo-worker", Payload=json.dumps(event).encode())
    value: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        value["function_error"] = answer["FunctionError"]
    return value


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


def until(holds: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_function_answers_over_the_wire(cloud: Cloud) -> None:
    answer = call(cloud, some="event")
    assert (answer["word"], answer["event"]) == ("from the layer", {"some": "event"})
    assert 15_000 < answer["left_ms"] <= 20_000


def test_the_environment_is_built_from_scratch(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THIS_MACHINE", "canary")
    environment: Mapping[str, str] = call(cloud)["environment"]
    assert "canary" not in environment.values()
    assert environment["TABLE"] == "demo-Table"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "demo-worker"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    (record,) = cloud.lambdas.processes
    added = {name for name in environment if name not in record.environment}
    assert added <= {"_X_AMZN_TRACE_ID"}
    assert record.command == (sys.executable, "-m", "awslambdaric", "app.handler")


def test_a_function_reaches_the_same_aws(cloud: Cloud) -> None:
    call(cloud, do="put", key="one")
    assert cloud.client("dynamodb").get_item(TableName="demo-Table", Key={"pk": {"S": "one"}})["Item"]
    (put,) = [request for request in cloud.requests if request.operation == "dynamodb:PutItem"]
    assert put.caller == cloud.lambdas.processes[0].caller


def test_a_process_is_used_again_and_stands_still_meanwhile(cloud: Cloud) -> None:
    first = call(cloud)["pid"]
    until(lambda: state_of(first) == "T")
    assert call(cloud)["pid"] == first


def test_what_a_handler_leaves_running_goes_on_at_the_next_invocation(cloud: Cloud, tmp_path: Path) -> None:
    """The danger that invariant 13 is about; the sandbox has to show it."""
    file = tmp_path / "ticks"
    pid = call(cloud, do="tick-on", file=str(file))["pid"]
    until(lambda: state_of(pid) == "T")
    frozen = file.stat().st_size
    assert call(cloud, do="sleep", seconds=0.2)["pid"] == pid
    assert file.stat().st_size > frozen


def test_concurrent_invocations_have_a_process_each_up_to_the_cap(tmp_path: Path) -> None:
    with running(tmp_path, HostSettings(concurrency=3)) as cloud, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: call(cloud, do="sleep", seconds=0.2), range(6)))
        assert len({answer["pid"] for answer in answers}) == len(cloud.lambdas.processes) == 3


def test_an_exception_is_named_in_the_answer(cloud: Cloud) -> None:
    answer = call(cloud, do="fail")
    assert (answer["errorType"], answer["errorMessage"]) == ("LookupError", "as told")
    assert answer["function_error"] == "Unhandled"


def test_a_function_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, Timeout="1") as cloud:
        pid = call(cloud)["pid"]
        answer = call(cloud, do="sleep", seconds=30)
        assert answer["errorType"] == "Sandbox.Timedout"
        assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")
        assert not Path(f"/proc/{pid}").exists()
        assert call(cloud)["pid"] != pid


def test_a_function_that_exits_is_an_error_and_the_next_one_starts_anew(cloud: Cloud) -> None:
    pid = call(cloud)["pid"]
    answer = call(cloud, do="exit")
    assert answer["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer["errorMessage"]
    assert call(cloud)["pid"] != pid


def test_a_killed_function_is_an_error(cloud: Cloud) -> None:
    with ThreadPoolExecutor(1) as pool:
        running_call = pool.submit(call, cloud, do="sleep", seconds=30)
        until(lambda: "got ['do', 'seconds']" in cloud.lambdas.logs["demo-worker"])
        assert cloud.lambdas.kill("worker") == [cloud.lambdas.processes[0].pid]
        assert "signal: killed" in running_call.result(10)["errorMessage"]


def test_the_caller_of_a_request_can_be_killed(cloud: Cloud) -> None:
    """The write arrived, its writer died: what the crash campaign is made of."""
    cloud.faults.add("dynamodb:PutItem", call_after(cloud.lambdas.kill_caller))
    assert call(cloud, do="put", key="one")["errorType"] == "Runtime.ExitError"
    assert cloud.client("dynamodb").get_item(TableName="demo-Table", Key={"pk": {"S": "one"}})["Item"]


def test_a_function_that_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    write = {"worker/app.py": "import nowhere_to_be_found\n"}
    with Cloud(write_stack(tmp_path, write), workdir=tmp_path / "logs", stack_name="demo") as cloud:
        assert call(cloud)["errorType"] == "Runtime.ImportModuleError"


def test_a_slow_start_is_started_again_within_the_timeout(tmp_path: Path) -> None:
    slow = "import time; time.sleep(0.4)\ndef handler(event, context): return {}\n"
    settings = HostSettings(init_limit=0.2)
    with Cloud(write_stack(tmp_path, {"worker/app.py": slow}), workdir=tmp_path, settings=settings) as cloud:
        result = cloud.lambdas.invoke("worker", b"{}")
        assert not result.failed
        assert len(cloud.lambdas.processes) == 2


def test_logs_are_kept_by_function_and_in_a_file(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        call(cloud, some="event")
        call(cloud, do="fail")
    log = cloud.lambdas.logs["demo-worker"]
    assert log[0] == "got ['some']"
    assert any("LookupError: as told" in line for line in log)
    assert (tmp_path / "logs" / "demo-worker.log").read_bytes().decode() == "".join(f"{line}\n" for line in log)


def test_an_unknown_function_and_a_payload_too_large_are_refused(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName="nobody")
    with pytest.raises(client.exceptions.RequestTooLargeException):
        client.invoke(FunctionName="demo-worker", Payload=b'"' + b"x" * 6 * 1024 * 1024 + b'"')


def test_ping(cloud: Cloud, tmp_path: Path) -> None:
    assert not cloud.lambdas.ping("worker")
    (tmp_path / "worker" / "app.py").write_text("def handler(event, context): return {'ok': True}\n", "utf-8")
    cloud.lambdas.kill("worker")
    os.kill(cloud.lambdas.processes[0].pid, signal.SIGKILL)
    until(lambda: cloud.lambdas.ping("worker"))


def test_an_asynchronous_invocation_is_tried_three_times_and_then_sent_on(cloud: Cloud) -> None:
    cloud.client("lambda").invoke(
        FunctionName="demo-worker", InvocationType="Event", Payload=json.dumps({"do": "fail", "n": 7}).encode()
    )
    cloud.settle()
    url = cloud.client("sqs").get_queue_url(QueueName="demo-Failures")["QueueUrl"]
    (message,) = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    record = json.loads(message["Body"])
    assert record["requestPayload"] == {"do": "fail", "n": 7}
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"]["errorType"] == "LookupError"


def test_the_state_machine_calls_functions(cloud: Cloud) -> None:
    arn = cloud.start_execution({"some": "event"})
    ended = cloud.wait_for(arn)
    assert (ended.status, ended.output, ended.states) == ("SUCCEEDED", {"event": {"some": "event"}}, ["Work"])


def test_the_state_machine_catches_errors_by_their_class(cloud: Cloud) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"do": "fail"}, "LookupError"),
        ({"do": "exit"}, "Runtime.ExitError"),
    ]
    for event, error in cases:
        ended = cloud.wait_for(cloud.start_execution(event))
        assert (ended.status, ended.error, ended.states) == ("FAILED", "Failed", ["Work", "Failed"])
        failed = next(step for step in ended.history if step["type"] == "TaskFailed")
        assert failed["taskFailedEventDetails"]["error"] == error


def test_the_state_machine_sees_a_call_that_is_throttled_or_dropped(cloud: Cloud) -> None:
    for effect in (throttle(), drop_after()):
        cloud.faults.add("lambda:Invoke", effect)
        ended = cloud.wait_for(cloud.start_execution({}))
        assert (ended.status, ended.states) == ("FAILED", ["Work", "Failed"])


def test_a_redriven_execution_is_not_ended_by_the_run_that_was_stopped(cloud: Cloud) -> None:
    """The first call goes on after a stop and a redrive: the zombie that epochs and drains are there for."""
    arn = cloud.start_execution({"do": "sleep", "seconds": 4})
    log = cloud.lambdas.logs["demo-worker"]
    until(lambda: len(log) == 1)
    cloud.client("stepfunctions").stop_execution(executionArn=arn, error="Drill")
    assert cloud.execution(arn).status == "ABORTED"
    cloud.redrive(arn)
    until(lambda: len(log) == 2)
    assert cloud.execution(arn).status == "RUNNING"
    ended = cloud.wait_for(arn)
    assert (ended.status, ended.error, ended.states) == ("SUCCEEDED", None, ["Work", "Work"])
    assert len(cloud.lambdas.processes) == 2


def test_nothing_is_left_when_the_cloud_closes(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with running(tmp_path) as cloud:
        pid = call(cloud)["pid"]
        arn = cloud.start_execution({"do": "sleep", "seconds": 30})
        until(lambda: len(cloud.lambdas.processes) == 1 and bool(cloud.execution(arn).states))
    assert not Path(f"/proc/{pid}").exists()
    until(lambda: set(threading.enumerate()) <= before)


def test_no_process_outlives_a_sandbox_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from tests.sandbox.aws import Cloud
with Cloud(Path({str(write_stack(tmp_path))!r}), workdir=Path({str(tmp_path)!r})) as cloud:
    cloud.lambdas.invoke("worker", b"{{}}")
    print(cloud.lambdas.processes[0].pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        until(lambda: state_of(pid) == "T")
        process.kill()
    until(lambda: not Path(f"/proc/{pid}").exists() or state_of(pid) == "Z")


def test_an_execution_that_does_not_end_is_a_timeout(cloud: Cloud) -> None:
    arn = cloud.start_execution({"do": "sleep", "seconds": 20})
    with pytest.raises(TimeoutError, match="Work"):
        cloud.wait_for(arn, within=0.2)


def test_an_unknown_execution_is_an_error(cloud: Cloud) -> None:
    with pytest.raises(ClientError):
        cloud.execution(cloud.machine_arn.replace(":stateMachine:", ":execution:") + ":nobody")
