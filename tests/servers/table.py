"""The real servers that tests and demo run: where each is looked for, and in which ways it can be got."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.commands import FetchError
from tests.servers.go_source import GoSource
from tests.servers.ways import DebianPackage, GoProgram, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HERE = Path(__file__).parent
CACHE = _HERE.parents[1] / ".cache" / "servers"
_VERSIONS = tomllib.loads((_HERE / "versions.toml").read_text(encoding="utf-8"))


class ServerMissingError(Exception):
    """A server is not here and cannot be got; the text is one sentence that says what to install."""


@dataclass(frozen=True)
class Server:
    """One row: the commands that may be on PATH, what one of them says of itself, and the ways to get one."""

    name: str
    commands: tuple[str, ...]
    speaks_of: tuple[str, ...]
    ways: tuple[Way, ...]
    install: str
    asked: str = "--version"

    def is_it(self, program: Path) -> bool:
        """Tell whether this program is the server: another one may bear the name, or a cached one may not run here."""
        try:
            done = subprocess.run(
                [program, self.asked],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and any(said in done.stdout for said in self.speaks_of)


SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server(
            name="registry",
            commands=("docker-registry", "registry"),
            speaks_of=("/distribution",),
            ways=(
                DebianPackage(**_VERSIONS["registry"]["debian"], program="usr/bin/docker-registry"),
                GoProgram(**_VERSIONS["registry"]["go"], program="registry"),
            ),
            install="Debian's package docker-registry, or Go from go.dev",
        ),
        Server(
            name="vault",
            commands=("vault", "bao"),
            speaks_of=("Vault v", "OpenBao v"),
            ways=(
                GoSource(
                    **_VERSIONS["vault"]["go"],
                    package=".",
                    program="vault",
                    takes="about six minutes on two cores, and 3 GB of memory",
                    tags="minimal",  # without the clients of every cloud and database
                    over=_HERE / "vault",
                ),
            ),
            install="Vault or OpenBao, or Go from go.dev",
        ),
        Server(
            name="token-server",
            commands=("token-server",),
            speaks_of=("distribution-token-server",),
            asked="-help",  # it has no version
            ways=(
                GoSource(
                    **_VERSIONS["token-server"]["go"],
                    package="./contrib/token-server",
                    program="token-server",
                    takes="half a minute",
                ),
            ),
            install="Go from go.dev",
        ),
        Server(
            name="gitea",
            commands=("gitea",),
            speaks_of=("gitea version", "Gitea version"),
            ways=(
                GoSource(
                    **_VERSIONS["gitea"]["go"],
                    package=".",
                    program="gitea",
                    takes="about five minutes on two cores",
                    tags="sqlite,sqlite_unlock_notify",
                    variables=(("main.Version", _VERSIONS["gitea"]["go"]["version"].removeprefix("v")),),
                    keeps=("options", "public", "templates"),  # the module proxy has no program with these built in
                    cgo=True,
                ),
            ),
            install="Gitea, or Go from go.dev and a C compiler (gcc)",
        ),
        Server(
            name="etcd",
            commands=("etcd",),
            speaks_of=("etcd Version",),
            ways=(
                GoSource(
                    **_VERSIONS["etcd"]["go"], package=".", program="etcd", takes="about half a minute on two cores"
                ),
            ),
            install="etcd, or Go from go.dev",
        ),
        Server(
            name="kube-apiserver",
            commands=("kube-apiserver",),
            speaks_of=("Kubernetes v",),
            ways=(
                GoSource(
                    **_VERSIONS["kube-apiserver"]["go"],
                    package="./cmd/kube-apiserver",
                    program="kube-apiserver",
                    takes="about three minutes on two cores",
                    variables=(
                        ("k8s.io/component-base/version.gitVersion", _VERSIONS["kube-apiserver"]["go"]["version"]),
                    ),
                ),
            ),
            install="kube-apiserver, or Go from go.dev",
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
        began = time.monotonic()
        try:
            program = _into_cache(way, cache / name)
        except FetchError as error:
            failures.append(f"{way.what}: {error}")
            continue
        if server.is_it(program):
            say(f"{name}: {program}, after {time.monotonic() - began:.0f} s")
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
