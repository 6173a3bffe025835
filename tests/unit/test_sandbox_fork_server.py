"""The server that forks functions: what is asked of it when it ends."""

# ruff: noqa: SLF001 (nothing of the public face says that an order is on its way)
from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.fork_server import ForkServer, ForkServerGoneError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_that_ends_with_an_order_unread_is_gone(tmp_path: Path) -> None:
    """Its end of the socket is reset then, not closed."""
    with ForkServer() as server, ThreadPoolExecutor(1) as pool:
        os.kill(server._process.pid, signal.SIGSTOP)
        start = pool.submit(server.start, "this", folder=tmp_path, environment={})
        # The order is on its way as soon as the server's lock is held and waited on.
        while not server._starting.locked():
            assert not start.done()
        with server._started:
            server._process.kill()
        with pytest.raises(ForkServerGoneError):
            start.result(10)
