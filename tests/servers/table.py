"""The real servers that tests and demo run: where each is looked for, and in which ways it can be got."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.ways import DebianPackage, FetchError, GoProgram, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CACHE = Path(__file__).parents[2] / ".cache" / "servers"
_VERSIONS = tomllib.loads(Path(__file__).with_name("versions.toml").read_text(encoding="utf-8"))


class ServerMissingError(Exception):
    """A server is not here and cannot be got; the text is one sentence that says what to install."""


@dataclass(frozen=True)
class Server:
    """One row: the commands that may be on PATH, what their `--version` must say, and the ways to get one."""

    name: str
    commands: tuple[str, ...]
    speaks_of: str
    ways: tuple[Way, ...]
    install: str

    def is_it(self, program: Path) -> bool:
        """Tell whether this program is the server: another one may bear the name, or a cached one may not run here."""
        try:
            done = subprocess.run(
                [program, "--version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and self.speaks_of in done.stdout


SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server(
            name="registry",
            commands=("docker-registry", "registry"),
            speaks_of="/distribution",
            ways=(
                DebianPackage(**_VERSIONS["registry"]["debian"], program="usr/bin/docker-registry"),
                GoProgram(**_VERSIONS["registry"]["go"], program="registry"),
            ),
            install="Debian's package docker-registry, or Go from go.dev",
        ),
    )
}


def find(name: str, cache: Path = CACHE) -> Path:
    """Return the server's program, on PATH or in the cache, fetching nothing; raises `ServerMissingError`."""
    server = SERVERS[name]
    on_path = [Path(found) for command in server.commands if (found := shutil.which(command))]
    cached = [cache / name / way.folder / way.program for way in server.ways]
    for program in (*on_path, *cached):
        if program.is_file() and server.is_it(program):
            return program
    raise ServerMissingError(f"no {name} here: run `make servers`, or install {server.install}")


def fetch(name: str, say: Callable[[str], None], cache: Path = CACHE) -> Path:
    """Return the server's program, got in the first way that works where it is not here yet.

    Tells `say` what is done and how long it may take. Raises `ServerMissingError` where no way works.
    """
    try:
        program = find(name, cache)
    except ServerMissingError:
        say(f"{name}: not on PATH and not in {cache}")
    else:
        say(f"{name}: {program}")
        return program
    server = SERVERS[name]
    failures = []
    for way in server.ways:
        if lacking := way.lacks():
            failures.append(f"{way.what}: needs {lacking}")
            continue
        say(f"{name}: getting {way.what}: {way.takes}")
        try:
            program = _into_cache(way, cache / name)
        except FetchError as error:
            failures.append(f"{way.what}: {error}")
            continue
        if server.is_it(program):
            say(f"{name}: {program}")
            return program
        failures.append(f"{way.what}: does not run here")
    raise ServerMissingError(f"no {name} can be had: install {server.install} ({'; '.join(failures)})")


def _into_cache(way: Way, cache: Path) -> Path:
    """Fetch beside the final folder and rename: what is in the cache is whole."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / way.folder
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        way.fetch(fresh)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    return folder / way.program
