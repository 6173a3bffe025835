"""One process of a Lambda function under the real runtime client, and the Runtime API it talks to.

The API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from tests.sandbox.fork_server import Forked

_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
}  # as Go names them, which Lambda does
_API = "/2018-06-01/runtime"


Process: TypeAlias = "subprocess.Popen[bytes] | Forked"


@dataclass(slots=True)
class Invocation:
    """One event for a function, and what became of it. `timeout` is in seconds, from the delivery of the event."""

    request_id: str
    arn: str
    payload: bytes
    timeout: float
    deadline: float = 0.0
    """When it times out, as time.time() has it; from the delivery on."""
    delivered: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    failed: bool = False
    _finishing: threading.Lock = field(default_factory=threading.Lock)

    def finish(self, result: bytes, *, failed: bool) -> None:
        """Set the outcome, unless there is one already."""
        with self._finishing:
            if not self.done.is_set():
                self.result, self.failed = result, failed
                self.done.set()


class Worker:
    """A process of one function; it handles one invocation at a time.

    `start` starts it with exactly `environment` and the address of its Runtime API, as the leader of its own process
    group; `log` gets every line it writes. With `freeze` it is stopped when it has nothing to do, as Lambda freezes a
    sandbox, and continued at the next invocation. When the sandbox dies, the kernel sends SIGHUP and SIGCONT to the
    stopped processes of a group that lost its parent, so none stays behind.
    """

    def __init__(
        self,
        start: Callable[[Mapping[str, str]], Process],
        environment: Mapping[str, str],
        log: Callable[[str], None],
        *,
        freeze: bool,
    ) -> None:
        self._freeze = freeze
        self._inbox: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._current: Invocation | None = None
        self._delivering = threading.Lock()
        self._abandoned = False
        self._init_error: bytes | None = None
        self._server = _RuntimeApi(self)
        self.environment = {**environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}"}
        try:
            self._process = start(self.environment)
        except BaseException:
            self._server.server_close()
            raise
        self.pid = self._process.pid
        self._exited = threading.Event()
        self._threads = [
            threading.Thread(target=work, args=arguments, name=f"lambda-{self.pid}", daemon=True)
            for work, arguments in ((self._server.answer, ()), (self._collect, (log,)), (self._watch, ()))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether it can take an invocation."""
        return not self._exited.is_set()

    def invoke(self, invocation: Invocation, init_limit: float) -> bool:
        """Hand over an invocation and return when it has an outcome.

        Returns False if the process did not ask for its event within `init_limit` seconds: then it is dead, and the
        event was not delivered.
        """
        self._current = invocation
        self._inbox.put(invocation)
        if not self.alive:  # it may have exited just before the event was put
            self._fail_current()
        if not invocation.delivered.wait(init_limit) and self._abandon(invocation):
            self.kill()
            return False
        if not invocation.done.wait(invocation.timeout):
            # The runtimes of today answer so; older ones had no errorType, and Step Functions said Lambda.Unknown:
            # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
            message = f"RequestId: {invocation.request_id} Error: Task timed out after {invocation.timeout:.2f} seconds"
            invocation.finish(_error("Sandbox.Timedout", message), failed=True)
            self.kill()
        self._current = None
        return True

    @property
    def current(self) -> Invocation | None:
        """The invocation it is at work on."""
        return self._current

    def pause(self) -> None:
        """Let the process stand still in the middle of its work."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process and everything it started with SIGKILL, and wait for its end."""
        self._signal(signal.SIGKILL)
        self._exited.wait()

    def close(self) -> None:
        """Kill the process and end the threads that served it."""
        self.kill()
        for thread in self._threads:
            thread.join()

    def next_invocation(self) -> Invocation | None:
        """Return what to do next; meanwhile the process stands still. None: it is dead."""
        frozen = False
        try:
            invocation = self._inbox.get_nowait()
        except queue.Empty:
            frozen = self._freeze and self._signal(signal.SIGSTOP)
            invocation = self._inbox.get()
        if frozen:
            self._signal(signal.SIGCONT)
        with self._delivering:
            if invocation is None or self._abandoned:
                return None
            invocation.deadline = time.time() + invocation.timeout
            invocation.delivered.set()
        return invocation

    def _abandon(self, invocation: Invocation) -> bool:
        with self._delivering:
            self._abandoned = not invocation.delivered.is_set()
            if self._abandoned:
                self._current = None
            return self._abandoned

    def finish(self, body: bytes, *, failed: bool) -> None:
        """Take the outcome of the current invocation from the runtime client."""
        if self._current is not None:
            self._current.finish(body, failed=failed)

    def init_failed(self, body: bytes) -> None:
        """Take the error with which the function could not be loaded."""
        self._init_error = body

    def _signal(self, number: signal.Signals) -> bool:
        if not self.alive:  # its number may belong to somebody else by now
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
            return True
        return False

    def _collect(self, log: Callable[[str], None]) -> None:
        stream = self._process.stdout
        if stream is not None:
            with stream:
                for line in stream:
                    log(line.decode("utf-8", "replace").rstrip("\n"))

    def _watch(self) -> None:
        self._process.wait()
        self._exited.set()
        self._inbox.put(None)
        with contextlib.suppress(ProcessLookupError):  # what it started must not hold its output open
            os.killpg(self.pid, signal.SIGKILL)
        self._fail_current()
        self._server.close()

    def _fail_current(self) -> None:
        invocation = self._current
        if invocation is None:
            return
        code = self._process.wait()
        reason = f"signal: {_SIGNALS.get(-code, str(-code))}" if code < 0 else f"exit status {code}"
        message = f"RequestId: {invocation.request_id} Error: Runtime exited with error: {reason}"
        invocation.finish(self._init_error or _error("Runtime.ExitError", message), failed=True)
        invocation.delivered.set()


class _RuntimeApi(HTTPServer):
    """The Runtime API of one worker. One connection at a time is all the runtime client opens."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeHandler)
        self.worker = worker
        self._closed = False

    def answer(self) -> None:
        """Answer until closed."""
        with self:
            while not self._closed:
                self.handle_request()

    def close(self) -> None:
        """Stop answering; the connection made here wakes the loop."""
        self._closed = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_port), 1.0).close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the process died while it was being answered, and `_watch` tells what follows from that."""


class _RuntimeHandler(BaseHTTPRequestHandler):
    """HTTP/1.0, so that every request has a connection of its own."""

    server: _RuntimeApi

    def do_GET(self) -> None:
        """Answer `next` with the next event."""
        invocation = self.server.worker.next_invocation()
        if self.path != f"{_API}/invocation/next" or invocation is None:
            self.close_connection = True
            return
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
        }
        self._reply(200, headers, invocation.payload)

    def do_POST(self) -> None:
        """Take a result, an error, or the failure to load the function."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        last = self.path.rpartition("/")[2]
        if self.path == f"{_API}/init/error":
            self.server.worker.init_failed(body)
        elif last in {"response", "error"}:
            self.server.worker.finish(body, failed=last == "error")
        self._reply(202, {"Content-Type": "application/json"}, b'{"status": "OK"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is http.server's
        """Say nothing."""

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
