"""`python -m tests.faults.campaign`: the whole campaign, or `--pairs N` random double faults under a printed seed."""

from __future__ import annotations

import argparse
import random
import re
import secrets
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.campaign import cases, outcome, recording, running, table
from tests.faults.campaign.outcome import Target
from tests.faults.campaign.setting import world_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.campaign.points import Case, Point
    from tests.faults.campaign.running import Result

_ROUNDS = 2
"""How often a case whose point was not reached is run again."""
OUT = Path(__file__).parents[3] / "out" / "faults.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and return 1 where anything is not as it has to be."""
    options = _options(arguments)
    began = time.monotonic()
    target = Target(options.registry, options.store, options.cluster)
    points, unproven, delivered_again = _recorded(target)
    seed = options.seed if options.seed is not None else secrets.randbelow(2**31)
    chosen = singles = cases.singles(points, unproven, delivered_again)
    if options.pairs:
        chosen = cases.pairs(points, options.pairs, random.Random(seed))  # noqa: S311
    if options.only:
        chosen = [case for case in chosen if re.search(options.only, str(case))]
    known = {str(case) for case in singles}
    earlier = outcome.kept(outcome.load(OUT), target, known) if options.resume else []
    done = {(one.target, one.case) for one in earlier} - {
        (str(target), case) for case in outcome.not_reached(earlier, target)
    }
    chosen = [case for case in chosen if (str(target), str(case)) not in done][: options.at_most]
    table.say(f"{len(points)} points, {len(chosen)} cases" + (f", seed {seed}" if options.pairs else ""))
    outcomes = list(earlier)

    def run(part: Sequence[Case], at_once: int) -> None:
        nonlocal outcomes
        for results in _run(part, target, options, at_once):
            outcomes = outcome.with_later(outcomes, [result.outcome(target) for result in results])
            outcome.save(OUT, outcomes, table.sums(outcomes), seed if options.pairs else None, time.monotonic() - began)
            table.say(f"{len(outcomes)}: {table.sums(outcomes)}")

    run(chosen, options.at_once)
    for _ in range(_ROUNDS):
        again = [case for case in chosen if str(case) in outcome.without_result(chosen, outcomes, target)]
        if again:
            table.say(f"{len(again)} whose fault did not strike, or whose world broke: again, one at a time")
            run(again, 1)
    table.say("\n".join(["", *table.rows(outcomes), ""]))
    if missed := table.second_faults_missed(outcomes):
        table.say(missed)
    wrong = [one for one in outcomes if not one.converged]
    for one in wrong:
        table.say(f"{one.target} {one.case}: {'; '.join(one.wrong)}")
    missing = outcome.without_result(chosen, outcomes, target)
    for case in missing:
        table.say(f"{target} {case}: shows nothing")
    table.say(f"{table.sums(outcomes)} seconds={time.monotonic() - began:.0f}")
    return 1 if wrong or missing or not outcomes else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="run N random double faults instead")
    parser.add_argument("--seed", type=int, help="of the double faults; printed where it is not given")
    parser.add_argument("--registry", choices=["cloudraya", "harbor", "gitea"], default="cloudraya")
    parser.add_argument("--store", choices=["secrets-manager", "vault"], default="secrets-manager")
    parser.add_argument("--cluster", choices=["simulator", "kube-apiserver"], default="simulator")
    parser.add_argument("--only", metavar="PATTERN", help="run the cases whose text the regular expression is found in")
    parser.add_argument("--resume", action="store_true", help="keep what out/faults.json has, and run what it has not")
    parser.add_argument("--at-most", type=int, metavar="N", help="run the first N of these cases")
    parser.add_argument("--processes", type=int, default=2, help="worlds at the same time")
    parser.add_argument("--at-once", type=int, default=4, help="rotations at the same time in each world")
    parser.add_argument("--each", type=int, default=120, help="cases after which a world is made anew")
    return parser.parse_args(arguments)


def _recorded(target: Target) -> tuple[list[Point], list[Point], list[Point]]:
    """Return every rotation's points, those of one whose password goes out unproven, and of one delivered again."""
    with tempfile.TemporaryDirectory() as folder, world_of(target, Path(folder)) as world:
        points, sometimes = recording.record_thrice(world, target.registry)
        unproven = recording.record(world, "unproven", target.registry, cases.going_out_unproven(points))
        again = recording.record(world, "again", target.registry, delivered_again=True)
    for point in sometimes:
        table.say(f"left out, since not every rotation comes there: {point}")
    return points, unproven, again


def _run(chosen: Sequence[Case], target: Target, options: argparse.Namespace, at_once: int) -> Iterator[list[Result]]:
    """Run the cases in several worlds, and give the results of each when it is through."""
    parts = [chosen[first : first + options.each] for first in range(0, len(chosen), options.each)]
    # Moto keeps everything in its modules, so there is one world a process, and a new process for each.
    with ProcessPoolExecutor(options.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(running.run, part, at_once, target) for part in parts]):
            if error := future.exception():
                table.say("".join(traceback.format_exception(error)))  # of its cases there is no outcome
            else:
                yield future.result()


if __name__ == "__main__":
    sys.exit(main())
