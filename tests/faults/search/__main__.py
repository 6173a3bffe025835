"""`python -m tests.faults.search`: the questions, the states looked at, and what came of each; then every guard.

`--all` looks at every state of every question; without it at those with one fault less, which takes some two minutes.
What says "as far as it was looked at" was cut: no good end is asked for there.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from tests.faults.search.configurations import ALL, part_of
from tests.faults.search.explore import Found
from tests.faults.search.guards import HARMLESS, REMOVALS, search


def main(arguments: Sequence[str]) -> int:
    """Print the tables; return 1 where an invariant is broken, or a guard is not missed."""
    parser = ArgumentParser(prog="python -m tests.faults.search", description=__doc__)
    parser.add_argument("--all", action="store_true", help="look at every state")
    parser.add_argument("--only", default="", help="questions whose name contains this")
    parser.add_argument("--no-guards", action="store_true", help="take no guard out")
    options = parser.parse_args(arguments)
    bad, everything = 0, []
    _line("configuration", ("states", "transitions", "depth", "seconds"), "result")
    for configuration in ALL:
        if options.only in configuration.name:
            asked = configuration if options.all else part_of(configuration)
            everything.append(search(asked))
            bad += _said(configuration.name, everything[-1])
    _row("in all", _sum(everything), f"{len(everything)} configurations")
    for removal in () if options.no_guards or options.only else REMOVALS:
        found = search(removal.configuration, removal.guard)
        bad += not removal.missed_in(found)
        fails = f"fails, {'as it must' if removal.missed_in(found) else 'UNEXPECTEDLY'}: {found.problem}"
        _row(f"without {removal.guard}", found, fails if found.problem else "HOLDS: the guard is not missed")
    for removal in HARMLESS if options.all and not options.no_guards else ():
        found = search(removal.configuration, removal.guard)
        _row(f"without {removal.guard}", found, found.result)
    return 1 if bad else 0


def _sum(everything: Sequence[Found]) -> Found:
    return Found(
        states=sum(found.states for found in everything),
        transitions=sum(found.transitions for found in everything),
        depth=max((found.depth for found in everything), default=0),
        seconds=sum(found.seconds for found in everything),
    )


def _said(name: str, found: Found) -> int:
    _row(name, found, found.result)
    for line in found.trace:
        sys.stdout.write(f"    {line}\n")
    return 1 if found.problem else 0


def _row(name: str, found: Found, result: str) -> None:
    numbers = (str(found.states), str(found.transitions), str(found.depth), f"{found.seconds:.1f}")
    _line(name, numbers, result)


def _line(name: str, numbers: tuple[str, str, str, str], result: str) -> None:
    sys.stdout.write(f"{name:<52}{''.join(f'{number:>12}' for number in numbers)}  {result}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
