"""What a cold start pays before the handler: importing a function, beside importing boto3 alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.measure import Measured
from tests.sandbox.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_PEER = "import boto3"


def measure(times: int) -> Iterator[Measured]:
    """Yield a row for each function; peer and function take turns, so that a busy moment meets both."""
    for folder in sorted((ROOT / "functions").iterdir()):
        if (folder / "app.py").exists():
            mine, peer = [], []
            for _ in range(times):
                peer.append(_seconds(_PEER, folder))
                mine.append(_seconds("import app", folder))
            yield Measured(f"cold import: {folder.name}", mine, _PEER, peer)


def _seconds(statement: str, folder: os.PathLike[str]) -> float:
    path = os.pathsep.join([str(folder), str(ROOT / "layers" / "rekey")])
    env = {**os.environ, "PYTHONPATH": path, "AWS_DEFAULT_REGION": "eu-central-1"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], env=env, check=True, capture_output=True)
    return time.perf_counter() - began
