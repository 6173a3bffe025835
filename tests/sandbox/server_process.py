"""A real server as an ordinary process of this machine: its folder, its log, its end."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_READY_WITHIN = 60.0  # seconds: several servers may start at once on a busy machine
_LOOK_EVERY = 0.02
_STOPPED_WITHIN = 10.0
_PORTS = range(20_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections: nobody else takes one between look and listen."""


class ServerNotStartedError(Exception):
    """A server's process ended or was not ready in time; the text quotes the end of its log."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    chance = random.SystemRandom()  # tests seed the common generator alike in several processes
    while True:
        port = chance.choice(_PORTS)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class ServerProcess(ABC):
    """A server; a context manager.

    `stop` and `start` again make an outage: address and data stay. `close` removes everything. Where this process
    ends in whatever way, the server is killed.
    """

    def __init__(self, program: Path) -> None:
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix=f"rekey-{program.name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> Self:
        """Start the process and return once it serves; raises `ServerNotStartedError`."""

    @property
    def log(self) -> str:
        """What the process wrote since its last start."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the process; connections are refused from now on."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def close(self) -> None:
        """Stop, and remove all data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the program: PATH, a home of its own, and what is given."""
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), **more}

    def _spawn(self, arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start the program with these arguments."""
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment(**(environment or {})),
            )
        self._guard = subprocess.Popen(  # its input ends when this process does
            ["/bin/sh", "-c", 'read -r _; kill -9 "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _await(self, ready: Callable[[], bool], within: float = _READY_WITHIN) -> None:
        """Return once `ready` is true; raises `ServerNotStartedError` where the process ends or time does."""
        deadline = time.monotonic() + within
        while self._process is not None and time.monotonic() < deadline:
            if ready():
                return
            try:
                self._process.wait(_LOOK_EVERY)
            except subprocess.TimeoutExpired:
                continue
            break
        said = self.log[-1000:]
        self.stop()
        raise ServerNotStartedError(f"{self._program.name} does not serve: {said}")
