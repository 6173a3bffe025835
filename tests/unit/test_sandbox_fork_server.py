"""The server that forks functions: what is asked of it when it ends."""

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
