"""The server that forks functions: what it has loaded for them, and what is asked of it when it ends."""

# ruff: noqa: SLF001 (its public face waits for an answer to an order, and none comes here)
from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.fork_server import ForkServer, ForkServerGoneError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_that_ends_with_an_order_unread_is_gone(tmp_path: Path) -> None:
    """Its end of the socket is reset then, not closed."""
    with ForkServer() as server:
        os.kill(server._process.pid, signal.SIGSTOP)
        server._channel.send(b"an order")
        server._process.kill()
        with pytest.raises(ForkServerGoneError):
            server.start("this", folder=tmp_path, environment={})


def test_the_classes_of_the_records_are_loaded_once_and_from_the_layer_that_is_named(tmp_path: Path) -> None:
    records = tmp_path / "layer" / "rekey" / "model"
    records.mkdir(parents=True)
    (records.parent / "__init__.py").touch()
    (records / "__init__.py").touch()
    (records / "one.py").write_text("import os; PROCESS = os.getpid()")
    (tmp_path / "function.py").write_text("import os; from rekey.model.one import PROCESS; print(PROCESS, os.getpid())")
    with ForkServer([tmp_path / "layer"]) as server:
        forked = [
            server.start("function", folder=tmp_path, environment={"PYTHONPATH": str(tmp_path / "layer")})
            for _ in range(2)
        ]
        said = []
        for one in forked:
            with one.stdout as output:
                said.append(output.read().split())
    loaded_by = {loaded for loaded, _ in said}
    assert len(loaded_by) == 1
    assert loaded_by.isdisjoint(own for _, own in said)
