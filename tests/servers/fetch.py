"""Gets real servers into the cache: `python -m tests.servers.fetch registry`."""

from __future__ import annotations

import argparse
import sys

from tests.servers.table import SERVERS, ServerMissingError, fetch


def main() -> int:
    """Fetch the servers named (all without a name); return 0, or 1 where one cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.fetch", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SERVER", help=f"of {', '.join(SERVERS)}; all without one")
    names = parser.parse_args().names or list(SERVERS)
    if unknown := [name for name in names if name not in SERVERS]:
        parser.error(f"no such server: {', '.join(unknown)}")
    missing = 0
    for name in names:
        try:
            fetch(name, _say)
        except ServerMissingError as error:
            missing = 1
            sys.stderr.write(f"{error}\n")
    return missing


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
