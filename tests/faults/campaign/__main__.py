"""`python -m tests.faults.campaign`: the whole campaign, or `--pairs N` random double faults under a printed seed."""

from __future__ import annotations

import argparse
import random
import re
import secrets
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.campaign import cases, recording, running, table
from tests.faults.campaign.setting import OVERRIDES
from tests.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.campaign.points import Case, Point
    from tests.faults.campaign.running import Result
    from tests.sandbox.world import Kind

OUT = Path(__file__).parents[3] / "out" / "faults.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and return 1 where anything is not as it has to be."""
    options = _options(arguments)
    began = time.monotonic()
    points = _recorded(options.registry)
    seed = options.seed if options.seed is not None else secrets.randbelow(2**31)
    chosen = cases.pairs(points, options.pairs, random.Random(seed)) if options.pairs else cases.singles(points)  # noqa: S311
    if options.only:
        chosen = [case for case in chosen if re.search(options.only, str(case))]
    table.say(f"{len(points)} points, {len(chosen)} cases" + (f", seed {seed}" if options.pairs else ""))
    results = _run(chosen, options)
    seconds = time.monotonic() - began
    table.save(OUT, results, seed if options.pairs else None, seconds)
    table.say("\n".join(["", *table.rows(results), ""]))
    wrong = [result for result in results if not result.converged]
    for result in wrong:
        table.say(result)
    table.say(f"{table.sums(results)} seconds={seconds:.0f}")
    return 1 if wrong or not results else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="run N random double faults instead")
    parser.add_argument("--seed", type=int, help="of the double faults; printed where it is not given")
    parser.add_argument("--registry", choices=["cloudraya", "harbor"], default="cloudraya")
    parser.add_argument("--only", metavar="PATTERN", help="run the cases whose text the regular expression is found in")
    parser.add_argument("--processes", type=int, default=2, help="worlds at the same time")
    parser.add_argument("--at-once", type=int, default=4, help="rotations at the same time in each world")
    parser.add_argument("--each", type=int, default=60, help="cases after which a world is made anew")
    return parser.parse_args(arguments)


def _recorded(kind: Kind) -> list[Point]:
    with tempfile.TemporaryDirectory() as folder, World(Path(folder), OVERRIDES) as world:
        return recording.record(world, "recorded", kind)


def _run(chosen: Sequence[Case], options: argparse.Namespace) -> list[Result]:
    parts = [chosen[first : first + options.each] for first in range(0, len(chosen), options.each)]
    results: list[Result] = []
    # Moto keeps everything in its modules, so there is one world a process, and a new process for each.
    with ProcessPoolExecutor(options.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        for future in as_completed(
            [pool.submit(running.run, part, options.at_once, options.registry) for part in parts]
        ):
            results += future.result()
            table.say(f"{len(results)} of {len(chosen)}: {table.sums(results)}")
    return sorted(results, key=lambda result: result.case.name)


if __name__ == "__main__":
    sys.exit(main())
