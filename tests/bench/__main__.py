"""`make bench`, or `python -m tests.bench`: print the table and write out/bench.json."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import imports, rotations
from tests.bench.measure import HEAD, Measured
from tests.servers import table

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Measure, print each row when it is there, and write them all down."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="samples of each row (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"))
    options = parser.parse_args(arguments)
    table.fetch("registry", _say)
    _say(HEAD)
    rows: list[Measured] = []
    for part in (rotations, imports):
        for row in part.measure(options.times):
            _say(row.row())
            rows.append(row)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": 1, "python": platform.python_version(), "rows": [row.document() for row in rows]}
    options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _say(f"written: {options.out}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
