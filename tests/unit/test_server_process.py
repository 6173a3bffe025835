"""What every real server of the sandbox has in common: it ends with who started it, and says why it does not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from tests.sandbox.server_process import ServerNotStartedError, ServerProcess, free_port

ROOT = Path(__file__).parents[2]
STARTS = """
import sys
from pathlib import Path
from tests.unit.test_server_process import Script
server = Script(Path(sys.argv[1])).start()
print(server.pid, flush=True)
sys.stdin.read()
"""


class Script(ServerProcess):
    """A program that serves once it has written `ready`."""

    def start(self) -> Self:
        self._spawn([], {"GREETING": "ready"})
        self._await(lambda: "ready" in self.log, within=10)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def folder(self) -> Path:
        return self._folder


def script(folder: Path, text: str) -> Path:
    program = folder / "server"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


def lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended(pid: int) -> bool:
    """Tell whether a process ends within some seconds."""
    deadline = time.monotonic() + 10
    while lives(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_it_is_killed_with_whoever_started_it(tmp_path: Path) -> None:
    """Also where that is killed and can clean nothing up, and the server itself ignores signals."""
    program = script(tmp_path, 'trap "" TERM INT HUP; echo "$GREETING"; while :; do sleep 1; done')
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS, program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    assert ended(pid)


def test_it_is_stopped_and_its_folder_removed(tmp_path: Path) -> None:
    with Script(script(tmp_path, 'echo "$GREETING"; exec sleep 600')) as server:
        pid, folder = server.pid, server.folder
        assert server.running
        assert folder.is_dir()
        server.stop()
        assert not server.running
        assert not lives(pid)
        server.start()
        assert server.running
    assert not server.running
    assert not folder.exists()


def test_nothing_of_ours_is_handed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server sees neither our environment nor our input."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    with Script(script(tmp_path, 'env; cat; echo "$GREETING"; exec sleep 600')) as server:
        assert "AWS_SECRET_ACCESS_KEY" not in server.log
        assert f"HOME={server.folder}" in server.log


def test_one_that_ends_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerNotStartedError, match="no such flag"),
        Script(script(tmp_path, "echo no such flag >&2; exit 3")),
    ):
        pass


def test_a_port_is_free_and_not_given_to_connections() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10
    assert max(ports) < 32_768


def test_one_that_died_is_not_running(tmp_path: Path) -> None:
    with Script(script(tmp_path, 'echo "$GREETING"; exec sleep 600')) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert ended(server.pid)
        assert not server.running
