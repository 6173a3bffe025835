"""What a test says that needs a real server."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.servers.table import CACHE, ServerMissingError, find

if TYPE_CHECKING:
    from pathlib import Path


def require(name: str, cache: Path = CACHE) -> Path:
    """Return the server's program; without one the test is skipped with the reason, and fails in CI."""
    try:
        return find(name, cache)
    except ServerMissingError as error:
        _cannot_run(str(error))


def require_go() -> None:
    """Skip a test that builds something where Go is missing; in CI it fails."""
    if not shutil.which("go"):
        _cannot_run("no go here: install Go from go.dev")


def _cannot_run(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
