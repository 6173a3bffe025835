"""Plays Lambda: each function of the stack in processes of its own, under the runtime client Lambda itself uses."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.sandbox.aws_async import AsyncInvocations, Retries, Send
from tests.sandbox.aws_faults import Answer, AwsRequest, error_answer
from tests.sandbox.aws_worker import Invocation, Process, Worker
from tests.sandbox.fork_server import ForkServer, ForkServerGoneError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.template import Function

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_LIMIT = 6 * 1024 * 1024
INIT_LIMIT = 10.0  # seconds; after that Lambda starts the function again, inside its timeout

Environment: TypeAlias = Mapping[str, str]


class HostClosedError(Exception):
    """An invocation came when the sandbox was closing."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an invocation gave: the payload, and whether it is an error (`FunctionError: Unhandled`)."""

    request_id: str
    payload: bytes
    failed: bool

    @property
    def value(self) -> object:
        """The payload as a value."""
        value: object = json.loads(self.payload)
        return value


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process the host started. `caller` is the access key id it signs its requests with."""

    function: str
    pid: int
    command: tuple[str, ...]
    environment: Environment
    caller: str


@dataclass(frozen=True, slots=True)
class AtWork:
    """A process in the middle of an invocation, which times out at `deadline`, as time.time() has it.

    `kill` ends it with SIGKILL; `pause` lets it stand still until `resume`.
    """

    function: str
    pid: int
    event: bytes
    deadline: float
    kill: Callable[[], None]
    pause: Callable[[], None]
    resume: Callable[[], None]


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How functions are run.

    `retries` are the waits before the second and third try of an asynchronous invocation. There are at most
    `concurrency` processes of one function; beyond that an invocation waits. With `freeze` a process stands still
    between its invocations. A process that does not ask for its first event in `init_limit` seconds is started anew.
    With `fork` processes are forked from one that has the libraries loaded: a start takes a fifth of the time.
    """

    retries: Retries = field(default_factory=Retries)
    concurrency: int = 10
    freeze: bool = True
    init_limit: float = INIT_LIMIT
    fork: bool = False


class LambdaHost:
    """Runs the functions of a stack.

    `environment` is what every process gets besides its own (endpoint and region of the sandbox); `send` delivers what
    failed for good to its destination. A process is started when there is none free. `logs` holds what the processes
    wrote, line by line, by function; the same stands in a file a function in `workdir`. A line may come a moment after
    the answer; after `close` the lists are complete.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        environment: Environment,
        workdir: Path,
        send: Send,
        settings: HostSettings,
    ) -> None:
        self.logs: dict[str, list[str]] = {function.name: [] for function in functions}
        self.processes: list[ProcessRecord] = []
        self._functions = {function.name: function for function in functions}
        self._environment = dict(environment)
        self._workdir = workdir
        self._settings = settings
        self._slots = {function.name: threading.BoundedSemaphore(settings.concurrency) for function in functions}
        self._lock = threading.Lock()
        self._idle: dict[str, list[Worker]] = defaultdict(list)
        self._busy: dict[str, list[Worker]] = defaultdict(list)
        self._callers: dict[str, Worker] = {}
        self._function_of: dict[str, str] = {}
        self._closed = False
        self._opened = ExitStack()
        self._fork_server = self._opened.enter_context(ForkServer(_shared(functions))) if settings.fork else None
        self.asynchronous = AsyncInvocations(self.invoke, send, settings.retries)

    def invoke(self, name: str, payload: bytes) -> Result:
        """Invoke a function and return what it gave. `name` may be an ARN.

        Raises KeyError for an unknown function, HostClosedError after `close`.
        """
        function = self.function(name)
        invocation = Invocation(str(uuid.uuid4()), function.arn, payload, function.timeout)
        with self._slots[function.name]:
            worker = self._take(function)
            if not worker.invoke(invocation, self._settings.init_limit):
                self._give_back(function, worker)
                worker = self._take(function)
                if not worker.invoke(invocation, function.timeout):
                    message = f"RequestId: {invocation.request_id} Error: Task timed out in its init phase"
                    invocation.finish(
                        json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}).encode(), failed=True
                    )
            self._give_back(function, worker)
        return Result(invocation.request_id, invocation.result, invocation.failed)

    def invoke_event(self, name: str, payload: bytes) -> None:
        """Take an event for a function: it is invoked soon, and again if it fails, as its own settings say."""
        self.asynchronous.submit(self.function(name), payload)

    def ping(self, name: str) -> bool:
        """Return whether the function answers `{"call": "ping"}` with `{"ok": true}`."""
        return self.invoke(name, b'{"call": "ping"}').value == {"ok": True}

    def kill(self, name: str) -> list[int]:
        """Kill (SIGKILL) the processes of a function that are at work; return their process ids."""
        with self._lock:
            workers = list(self._busy[self.function(name).name])
        for worker in workers:
            worker.kill()
        return [worker.pid for worker in workers]

    def kill_caller(self, request: AwsRequest) -> None:
        """Kill (SIGKILL) the process that sent this request. Raises KeyError if it was none of ours."""
        with self._lock:
            worker = self._callers[request.caller]
        worker.kill()

    def at_work(self, caller: str | None = None) -> list[AtWork]:
        """Return what is being worked on at this moment: by every process, or by the one that signs as `caller`."""
        with self._lock:
            callers = list(self._callers) if caller is None else [one for one in [caller] if one in self._callers]
            workers = [(self._function_of[one], self._callers[one]) for one in callers]
        return [
            AtWork(name, worker.pid, current.payload, current.deadline, worker.kill, worker.pause, worker.resume)
            for name, worker in workers
            if (current := worker.current) is not None
        ]

    def function(self, name: str) -> Function:
        """Return the function with this name, ARN or short name. Raises KeyError."""
        own = name.rpartition(":function:")[2].partition(":")[0]
        for function in self._functions.values():
            if function.name == own or function.name.endswith(f"-{own}"):
                return function
        raise KeyError(name)

    def answer(self, request: AwsRequest) -> Answer:
        """Answer the Invoke API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html."""
        name = request.path.partition("/functions/")[2].partition("/invocations")[0].replace("%3A", ":")
        request_id = str(uuid.uuid4())
        try:
            self.function(name)
        except KeyError:
            return error_answer("lambda", 404, "ResourceNotFoundException", f"Function not found: {name}")
        if len(request.body) > PAYLOAD_LIMIT:
            return error_answer("lambda", 413, "RequestTooLargeException", "The payload is larger than 6 MB")
        headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)]
        if request.headers.get("x-amz-invocation-type", "RequestResponse") == "Event":
            self.invoke_event(name, request.body)
            return Answer(202, tuple(headers), b"")
        try:
            result = self.invoke(name, request.body or b"{}")
        except HostClosedError as error:
            return error_answer("lambda", 503, "ServiceException", str(error))
        headers.append(("X-Amz-Executed-Version", "$LATEST"))
        if result.failed:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        return Answer(200, tuple(headers), result.payload)

    def close(self) -> None:
        """Kill every process, and wait for the end of what was asynchronous."""
        with self._lock:
            self._closed = True
            workers = list(self._callers.values())
        self.asynchronous.stop()
        for worker in workers:
            worker.close()
        self.asynchronous.join()
        self._opened.close()

    def _take(self, function: Function) -> Worker:
        with self._lock:
            if self._closed:
                raise HostClosedError("The sandbox is closed")
            idle = self._idle[function.name]
            while idle:
                worker = idle.pop()
                if worker.alive:
                    self._busy[function.name].append(worker)
                    return worker
        return self._start(function)

    def _give_back(self, function: Function, worker: Worker) -> None:
        with self._lock:
            self._busy[function.name].remove(worker)
            if worker.alive:
                self._idle[function.name].append(worker)

    def _start(self, function: Function) -> Worker:
        caller = f"SANDBOX{secrets.token_hex(6).upper()}"
        command = [sys.executable, "-m", "awslambdaric", function.handler]

        def start(environment: Environment) -> Process:
            if self._fork_server is not None:
                return self._fork_server.start(*command[2:], folder=function.code, environment=environment)
            return subprocess.Popen(
                command,
                cwd=function.code,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

        try:
            worker = Worker(
                start,
                self._process_environment(function, caller),
                lambda line: self._log(function.name, line),
                freeze=self._settings.freeze,
            )
        except ForkServerGoneError:
            raise HostClosedError("The sandbox is closed") from None
        with self._lock:
            closed = self._closed
            if not closed:
                self._busy[function.name].append(worker)
                self._callers[caller] = worker
                self._function_of[caller] = function.name
            self.processes.append(
                ProcessRecord(function.name, worker.pid, tuple(command), dict(worker.environment), caller)
            )
        if closed:
            worker.close()
            raise HostClosedError("The sandbox is closed")
        return worker

    def _process_environment(self, function: Function, caller: str) -> dict[str, str]:
        # "Defined runtime environment variables": https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        folders = [function.code, *function.layers]
        return {
            **self._environment,
            "AWS_ACCESS_KEY_ID": caller,
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
            "AWS_SESSION_TOKEN": secrets.token_hex(20),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{uuid.uuid4().hex}",
            "LAMBDA_TASK_ROOT": str(function.code),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(str(folder) for folder in folders),
            "TZ": ":UTC",
            "_HANDLER": function.handler,
            **function.environment,
        }

    def _log(self, name: str, line: str) -> None:
        self.logs[name].append(line)
        with (self._workdir / f"{name}.log").open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _shared(functions: Sequence[Function]) -> list[Path]:
    """Return the layers that every function has."""
    return [layer for layer in dict.fromkeys(functions[0].layers) if all(layer in one.layers for one in functions)]
