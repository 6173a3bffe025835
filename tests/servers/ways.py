"""Ways to get a server: out of a Debian package without installing it, or built from the Go module proxy."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.servers.commands import FetchError, run


class Way(Protocol):
    """One way to get a server into a cache folder."""

    @property
    def what(self) -> str:
        """What is got, for people."""

    @property
    def takes(self) -> str:
        """How long it may take, for people."""

    @property
    def folder(self) -> str:
        """The name of the cache folder, with the version in it."""

    @property
    def program(self) -> str:
        """Where the program is within that folder."""

    def lacks(self) -> str | None:
        """Return what is to be installed first, or None."""

    def fetch(self, folder: Path) -> None:
        """Put the server into an empty folder; raises `FetchError`."""


@dataclass(frozen=True)
class DebianPackage:
    """A program out of a Debian package, unpacked into the cache without root."""

    package: str
    series: str
    program: str
    takes: str = "a few seconds, a minute where apt's lists are missing"

    @property
    def what(self) -> str:
        """What is got, for people."""
        return f"Debian's package {self.package} ({self.series})"

    @property
    def folder(self) -> str:
        """The name of the cache folder."""
        return f"debian-{self.series}"

    def lacks(self) -> str | None:
        """Return what is missing of apt-get and dpkg, or None."""
        return next((f"{command} (of Debian)" for command in ("apt-get", "dpkg") if not shutil.which(command)), None)

    def fetch(self, folder: Path) -> None:
        """Download and unpack; with lists of its own where the machine's know no such package."""
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            scratch = Path(name)
            try:
                run(["apt-get", "download", self.package], scratch)
            except FetchError:
                own = _own_lists(scratch)
                run(["apt-get", *own, "update"], scratch)
                run(["apt-get", *own, "download", self.package], scratch)
            archive = next(scratch.glob("*.deb"))
            if not archive.name.startswith(f"{self.package}_{self.series}."):
                raise FetchError(f"this release of Debian has {archive.name}, not the series {self.series}")
            run(["dpkg", "-x", str(archive), str(folder)], scratch)


@dataclass(frozen=True)
class GoProgram:
    """A program built from the Go module proxy at a pinned version."""

    package: str
    version: str
    program: str
    takes: str = "one to two minutes"

    @property
    def what(self) -> str:
        """What is got, for people."""
        return f"a Go build of {self.package}@{self.version}"

    @property
    def folder(self) -> str:
        """The name of the cache folder."""
        return f"go-{self.version}"

    def lacks(self) -> str | None:
        """Return that Go is missing, or None."""
        return None if shutil.which("go") else "go"

    def fetch(self, folder: Path) -> None:
        """Build into the folder."""
        settings = {"GOBIN": str(folder), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
        run(["go", "install", "-ldflags=-s -w", f"{self.package}@{self.version}"], folder, settings)


def _own_lists(scratch: Path) -> list[str]:
    """Return apt options for package lists in a folder of our own, which needs no root."""
    for part in ("lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    options = {
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "root",  # the user _apt could not write there; without root it means nothing
    }
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
