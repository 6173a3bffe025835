"""What a test says that needs a real server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.servers.table import CACHE, ServerMissingError, find

if TYPE_CHECKING:
    from pathlib import Path


def require(name: str, cache: Path = CACHE) -> Path:
    """Return the server's program; without one the test is skipped with the reason, and fails in CI."""
    try:
        return find(name, cache)
    except ServerMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
