"""Builds a server from the source of a Go module, in exactly the versions that its own go.mod names.

`go install` refuses such modules: their go.mod replaces modules by folders of their repository, which the module proxy
does not carry. So the source is unpacked, those replacements give way to published versions, and the program is built
there. The module's own go.sum comes with it; Go checks the module, and what its go.sum lacks, against the checksum
database.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.commands import FetchError, run

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class GoSource:
    """A program built from a module's source."""

    module: str
    version: str
    program: str
    package: str
    """The program's folder in the module, as in `./cmd/gitea`."""
    takes: str
    tags: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    """What the linker sets (`-X`): a program is told its version so."""
    published: str | None = None
    """The version of every module that go.mod replaces by a folder; None: the one that go.mod requires."""
    requires: Mapping[str, str] = field(default_factory=dict)
    """The versions of all modules it is built from, for a module that has no go.mod."""
    over: Path | None = None
    """A folder of ours whose files are put over the source."""
    keeps: tuple[str, ...] = ()
    """Folders of the source that are kept in a folder `static` beside the program."""
    cgo: bool = False

    @property
    def what(self) -> str:
        """What is got, for people."""
        return f"a Go build of {self.module}@{self.version}"

    @property
    def folder(self) -> str:
        """The name of the cache folder."""
        return f"go-{self.version}"

    def lacks(self) -> str | None:
        """Return what is missing of Go and, where it is needed, a C compiler, or None."""
        return next((command for command in ("go", *(["gcc"] if self.cgo else [])) if not shutil.which(command)), None)

    def fetch(self, folder: Path) -> None:
        """Build into the folder."""
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            source = self._source(Path(name))
            self._pin(source)
            flags = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.variables)])
            build = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", f"-tags={self.tags}"]
            run([*build, f"-ldflags={flags}", "-o", str(folder / self.program), self.package], source, self._settings)
            for kept in self.keeps:
                shutil.copytree(source / kept, folder / "static" / kept)

    def _source(self, scratch: Path) -> Path:
        """Unpack the module and put our files in."""
        asked = f"{self.module}@{self.version}"
        archive = json.loads(run(["go", "mod", "download", "-json", asked], scratch))["Zip"]
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(scratch)
        source = scratch / asked
        if self.over:
            shutil.copytree(self.over, source, dirs_exist_ok=True)
        return source

    @property
    def _settings(self) -> dict[str, str]:
        return {"CGO_ENABLED": "1" if self.cgo else "0", "GOWORK": "off"}

    def _pin(self, source: Path) -> None:
        """Let go.mod name published versions alone, and go.sum all of them; raises `FetchError` where one floats."""
        if self.requires:
            run(["go", "mod", "init", self.module], source)
        changes = [f"-require={module}@{version}" for module, version in self.requires.items()]
        stated = _versions(source)
        required = {require["Path"] for require in stated["Require"] or []}
        for replaced in stated["Replace"] or []:
            module = replaced["Old"]["Path"]
            if "Version" not in replaced["New"]:
                changes.append(f"-dropreplace={module}")
                if self.published and module in required:
                    changes.append(f"-require={module}@{self.published}")
        if changes:
            run(["go", "mod", "edit", *changes], source)
        pinned = _versions(source)
        run(["go", "list", "-mod=mod", f"-tags={self.tags}", "-deps", self.package], source, self._settings)
        if _versions(source) != pinned:
            raise FetchError(f"the versions that {self.module}@{self.version} is built from are not all pinned")


def _versions(source: Path) -> dict[str, Any]:
    stated = json.loads(run(["go", "mod", "edit", "-json"], source))
    return {part: stated.get(part) for part in ("Require", "Replace", "Exclude")}
