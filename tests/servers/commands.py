"""Runs the commands that get a server."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LIMIT = 1800  # seconds for one command


class FetchError(Exception):
    """A way to get a server failed; the text says which command and its last words."""


def run(command: list[str], folder: Path, settings: Mapping[str, str] | None = None) -> str:
    """Run a command in a folder and return what it wrote to stdout; raises `FetchError`."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(settings or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"`{command[0]}` took longer than {_LIMIT} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no output"]
        raise FetchError(f"`{' '.join(command)}` failed: {said[-1]}")
    return done.stdout
