"""Starts processes of functions by forking one that has their libraries loaded, where a start counts by the thousand.

Whatever is of the function itself is loaded in its own process, as ever, but for the classes of the records. The first
start of a process as Lambda does it, with an interpreter of its own, is what `HostSettings` has as a rule.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_MAIN = Path(__file__).with_name("fork_server_main.py")


class ForkServerGoneError(Exception):
    """The server has ended."""


class Forked:
    """A process that a fork server started, with what a Popen offers of these."""

    def __init__(self, pid: int, output: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(output, "rb")
        self.returncode: int | None = None
        self._over = threading.Event()

    def wait(self) -> int:
        """Return the exit code, once it has ended; negative: the signal."""
        self._over.wait()
        assert self.returncode is not None
        return self.returncode

    def end(self, code: int) -> None:
        """Take the exit code from the server."""
        self.returncode = code
        self._over.set()


class ForkServer:
    """The server; the processes it started end with it. To be used as a context manager.

    `layers` are the ones that every function has.
    """

    def __init__(self, layers: Sequence[Path] = ()) -> None:
        self._layers = layers

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = {"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)}
            command = [sys.executable, str(_MAIN), *map(str, self._layers)]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=environment, process_group=0)
        self._channel = ours
        self._starting = threading.Lock()
        self._started = threading.Condition()
        self._pids: list[int] = []
        self._running: dict[int, Forked] = {}
        self._early: dict[int, int] = {}
        self._gone = False
        self._reader = threading.Thread(target=self._read, name="fork-server", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.shutdown(socket.SHUT_RDWR)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._channel.close()

    def start(self, module: str, *arguments: str, folder: Path, environment: Mapping[str, str]) -> Forked:
        """Start `python -m MODULE ARGUMENTS…` in a process group of its own. Raises ForkServerGoneError."""
        order = {
            "module": module,
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
        }
        output, theirs = os.pipe()
        try:
            with self._starting, self._started:
                with contextlib.suppress(OSError):  # it is gone: `_read` says so
                    socket.send_fds(self._channel, [json.dumps(order).encode()], [theirs])
                self._started.wait_for(lambda: self._pids or self._gone)
                if not self._pids:
                    os.close(output)
                    raise ForkServerGoneError
                forked = Forked(self._pids.pop(), output)
                self._running[forked.pid] = forked
                if forked.pid in self._early:
                    self._running.pop(forked.pid).end(self._early.pop(forked.pid))
        finally:
            os.close(theirs)
        return forked

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(4096)
        except ConnectionResetError:  # it was killed before it had read an order
            return b""

    def _read(self) -> None:
        while data := self._receive():
            told: dict[str, int] = json.loads(data)
            with self._started:
                if "started" in told:
                    self._pids.append(told["started"])
                    self._started.notify_all()
                elif told["ended"] in self._running:
                    self._running.pop(told["ended"]).end(told["code"])
                else:
                    self._early[told["ended"]] = told["code"]
        with self._started:
            self._gone = True
            for forked in self._running.values():
                forked.end(-9)
            self._running.clear()
            self._started.notify_all()
