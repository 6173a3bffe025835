"""What every handler does around its one call into a step."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.config import Config

from rekey import http, runtime
from rekey.errors import Conflict, Defect, FormatUnknown, InputInvalid, OutOfTime, RekeyError, Unreachable
from rekey.model.state import Next, State
from rekey.observability import logger
from rekey.runtime import MARGIN, Call, Event, event_handler, task_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

STATE = {"format": 1, "operation": "rotate", "registry": "prod-images", "start": 1}
PAYLOAD: Event = {"call": "begin", "execution": {"arn": "an-arn", "redrive": 2}, "state": STATE}
SHORT = 0.3
"""Seconds until the alarm."""
PATIENCE = 10.0
"""Seconds after which what hangs in these tests would give up by itself."""


@dataclass(frozen=True)
class Context:
    """Lambda's context object, with so many seconds left."""

    seconds: float = 60.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


ABOUT_TO_END = Context(MARGIN.total_seconds() + SHORT)


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Get what the functions write into their log."""
    handler, said = logger.registered_handler, StringIO()
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(said)
    yield said
    handler.setStream(before)


def unused(_call: Call) -> State:
    pytest.fail("the step was called")


class TestTask:
    def test_a_step_gets_what_the_machine_says_and_its_state_is_the_answer(self) -> None:
        calls: list[Call] = []

        def step(call: Call) -> State:
            calls.append(call)
            return call.state.to(Next.PREPARE)

        answer = task_handler(step)(PAYLOAD, Context())
        (call,) = calls
        assert (call.verb, call.execution, call.redrive) == ("begin", "an-arn", 2)
        assert answer["next"] == "prepare"
        assert json.loads(json.dumps(answer)) == answer

    def test_a_map_iteration_may_answer_something_smaller(self) -> None:
        handler = task_handler(lambda _call: {"shard": 3, "left": False})
        assert handler(PAYLOAD, Context()) == {"shard": 3, "left": False}

    def test_the_deadline_is_a_margin_before_lambdas(self) -> None:
        """What it takes to unwind and answer."""
        lefts: list[timedelta] = []

        def step(call: Call) -> Event:
            lefts.append(call.left(runtime.now()))
            return {}

        task_handler(step)(PAYLOAD, Context(60))
        assert timedelta(seconds=58) < lefts[0] <= timedelta(seconds=60) - MARGIN

    @pytest.mark.parametrize(("retry", "repeated"), [({}, False), ({"retry": 0}, False), ({"retry": 2}, True)])
    def test_it_knows_whether_it_was_called_before(self, retry: Event, *, repeated: bool) -> None:
        """A first call, which the state machine has given up, may still run."""
        calls: list[Call] = []

        def step(call: Call) -> Event:
            calls.append(call)
            return {}

        task_handler(step)({**PAYLOAD, "execution": {"arn": "an-arn", "redrive": 0, **retry}}, Context())
        assert [call.repeated for call in calls] == [repeated]

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"execution": None}, InputInvalid),
            ({"state": {**STATE, "format": 2}}, FormatUnknown),
            ({"state": {**STATE, "password": "x"}}, InputInvalid),
        ],
    )
    def test_an_input_that_is_not_ours_reaches_no_step(self, change: Event, error: type[Exception]) -> None:
        with pytest.raises(error):
            task_handler(unused)({**PAYLOAD, **change}, Context())


def test_a_ping_is_answered_without_any_step() -> None:
    assert task_handler(unused)({"call": "ping"}, Context()) == {"ok": True}


class TestWait:
    def test_it_lasts_until_its_time(self) -> None:
        until = runtime.now() + timedelta(seconds=0.05)
        runtime.wait(until)
        assert runtime.now() >= until

    def test_one_whose_time_is_over_is_none(self) -> None:
        runtime.wait(runtime.now() - timedelta(hours=1))

    def test_the_functions_end_interrupts_it(self) -> None:
        def step(_call: Call) -> State:
            runtime.wait(runtime.now() + timedelta(seconds=PATIENCE))
            pytest.fail("it was not cut off")

        with pytest.raises(OutOfTime):
            task_handler(step)(PAYLOAD, ABOUT_TO_END)


class TestErrors:
    @pytest.mark.parametrize("error", [Conflict("somebody was faster"), Unreachable("no answer")])
    def test_an_error_of_ours_keeps_its_class_and_its_words(self, error: RekeyError) -> None:
        """The state machine tells them by the class's name."""

        def step(_call: Call) -> State:
            raise error

        with pytest.raises(type(error)) as caught:
            task_handler(step)(PAYLOAD, Context())
        assert str(caught.value) == str(error)

    def test_an_unexpected_one_becomes_a_defect_that_says_where_and_quotes_nothing(self, log: StringIO) -> None:
        """Its text may hold the document it failed on: neither error nor log repeat it."""
        secret = secrets.token_urlsafe(16)

        def step(_call: Call) -> State:
            raise ValueError(f"cannot parse {secret}")

        with pytest.raises(Defect, match=r"ValueError at unit/test_runtime\.py:\d+ step") as caught:
            task_handler(step)(PAYLOAD, Context())
        assert caught.value.__suppress_context__
        assert secret not in str(caught.value) + log.getvalue()
        (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
        assert (line["message"], line["error"]) == ("a defect", "ValueError")
        assert line["places"][-1].endswith(" step")

    def test_what_goes_wrong_is_logged_with_the_rotation_it_belongs_to(self, log: StringIO) -> None:
        def step(_call: Call) -> State:
            raise Unreachable("no answer")

        with pytest.raises(Unreachable):
            task_handler(step)(PAYLOAD, Context())
        line = json.loads(log.getvalue())
        assert (line["registry"], line["execution"]) == ("prod-images", "an-arn")
        assert (line["error"], line["why"]) == ("Unreachable", "no answer")

    def test_the_next_invocations_lines_name_nothing_of_this_one(self, log: StringIO) -> None:
        def fail(_event: Event, _deadline: datetime) -> Event:
            raise Unreachable("no answer")

        task_handler(lambda _call: {})(PAYLOAD, Context())
        with pytest.raises(Unreachable):
            event_handler(fail)({}, Context())
        assert "registry" not in json.loads(log.getvalue())


@contextmanager
def silent_server() -> Iterator[str]:
    """Yield the address of a server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def ask_aws(url: str) -> None:
    """Ask as the product does: botocore wraps whatever is raised inside it, and tries again."""
    config = Config(read_timeout=PATIENCE, retries={"mode": "standard", "total_max_attempts": 3})
    client = boto3.client(
        "dynamodb",
        "eu-west-1",
        endpoint_url=url,
        config=config,
        aws_access_key_id="none",
        aws_secret_access_key=secrets.token_hex(4),
    )
    client.list_tables()


def ask_http(url: str) -> None:
    with http.client(url, timeout=timedelta(seconds=PATIENCE)) as client, http.answering("a service"):
        client.get("/")


def ask_async(url: str) -> None:
    """Ask from two tasks of an event loop, as a shard of consumers does."""

    async def ask() -> None:
        async with http.async_client(url, timeout=timedelta(seconds=PATIENCE)) as client:
            await asyncio.gather(client.get("/"), client.get("/"), return_exceptions=True)

    asyncio.run(ask())


def work_async(_url: str) -> None:
    """Compute in a task whose failures are gathered: asyncio keeps almost whatever is raised there."""

    async def work() -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            pass

    async def gather() -> None:
        await asyncio.gather(work(), return_exceptions=True)

    asyncio.run(gather())


def wait_without_io(_url: str) -> None:
    threading.Event().wait(PATIENCE)


def take_errors_for_answers(url: str) -> None:
    """Do what adapters and steps do: an error of the service is a verdict, and the work goes on."""
    for _ in range(3):
        try:
            ask_aws(url)
        except (RekeyError, Exception):  # noqa: BLE001, S112 (the very thing that must not stop the alarm)
            continue


class TestDeadline:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where Python swallows an alarm
    @pytest.mark.parametrize(
        "hang", [ask_aws, ask_http, ask_async, work_async, wait_without_io, take_errors_for_answers]
    )
    def test_whatever_hangs_is_cut_off_in_time_and_leaves_nothing_running(self, hang: Callable[[str], None]) -> None:
        """Invariant 13: a frozen sandbox thaws, and what still lived would go on then."""
        before = set(threading.enumerate())
        began = time.monotonic()
        with silent_server() as url:

            def step(_call: Call) -> State:
                hang(url)
                pytest.fail("it was not cut off")

            with pytest.raises(OutOfTime):
                task_handler(step)(PAYLOAD, ABOUT_TO_END)
        assert time.monotonic() - began < SHORT + MARGIN.total_seconds()
        assert set(threading.enumerate()) <= before

    def test_a_request_that_was_cut_off_is_over(self) -> None:
        """The other side sees the connection end: nothing of it goes on behind the answer."""
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"

            def step(_call: Call) -> State:
                httpx.get(url, timeout=PATIENCE)
                pytest.fail("it was not cut off")

            with pytest.raises(OutOfTime):
                task_handler(step)(PAYLOAD, ABOUT_TO_END)
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while connection.recv(4096):
                    pass  # the request, and then the end

    def test_no_alarm_is_left_behind(self) -> None:
        before = signal.getsignal(signal.SIGALRM)
        task_handler(lambda _call: {})(PAYLOAD, Context())
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) is before

    def test_an_invocation_that_comes_too_late_is_cut_off_at_once(self) -> None:
        with pytest.raises(OutOfTime):
            task_handler(lambda _call: _forever())(PAYLOAD, Context(0.5))


class _DeafFinalizer:
    """An object whose finalizer is running when the first alarm rings: what is raised there, Python swallows."""

    def __del__(self) -> None:
        threading.Event().wait(PATIENCE)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_python_swallows_rings_again() -> None:
    def step(_call: Call) -> State:
        _DeafFinalizer()
        threading.Event().wait(PATIENCE)
        pytest.fail("it was not cut off")

    with pytest.raises(OutOfTime):
        task_handler(step)(PAYLOAD, ABOUT_TO_END)


def _forever() -> Event:
    threading.Event().wait(PATIENCE)
    return {}


OUTLIVED = """
    import json, sys, threading
    from rekey.runtime import event_handler

    class Context:
        def get_remaining_time_in_millis(self):
            return 60_000

    def serve(event, deadline):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        {end}

    try:
        event_handler(serve)({{}}, Context())
    finally:
        print("the handler returned")
"""


@pytest.mark.parametrize("end", ["return {}", "raise LookupError('a defect')"])
def test_a_process_whose_thread_outlives_the_handler_ends_itself(end: str) -> None:
    """Better no answer than a thread that thaws hours later with a stale password in its hand."""
    script = textwrap.dedent(OUTLIVED.format(end=end))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 70, ran.stderr
    assert "the handler returned" not in ran.stdout
    lines: list[Any] = [json.loads(line) for line in ran.stdout.splitlines()]
    assert lines[-1]["message"] == "a thread outlived the handler: the process ends"
