"""A server is built from a Go module's source in the versions that are pinned, or it is not built."""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.servers.commands import FetchError
from tests.servers.go_source import GoSource
from tests.servers.requirement import require_go

if TYPE_CHECKING:
    from pathlib import Path

GO_MOD = "module example.test/server\n\ngo 1.21\n"
REQUIRES = "\nrequire example.test/lib v0.0.0\n"
MAIN = """package main

import (
	"fmt"

	"example.test/lib"
)

var version = "none"

func main() { fmt.Println("server", version, lib.Version, extra) }
"""
EXTRA = 'package main\n\nconst extra = "%s"\n'
BUILT = GoSource(
    module="example.test/server",
    version="v1.0.0",
    program="server",
    package=".",
    takes="a second",
    published="v0.2.0",
)


class Proxy:
    """A Go module proxy in a folder: https://go.dev/ref/mod#goproxy-protocol."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, module: str, version: str, go_mod: str, **files: str) -> None:
        """Publish a module; an empty `go_mod` is one that has none."""
        place = self.folder / module / "@v"
        place.mkdir(parents=True, exist_ok=True)
        with (place / "list").open("a") as listed:
            listed.write(f"{version}\n")
        (place / f"{version}.info").write_text(json.dumps({"Version": version}))
        (place / f"{version}.mod").write_text(go_mod or f"module {module}\n")
        with zipfile.ZipFile(place / f"{version}.zip", "w") as packed:
            for name, text in {**({"go.mod": go_mod} if go_mod else {}), **files}.items():
                packed.writestr(f"{module}@{version}/{name}", text)


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """Let Go know no modules but these."""
    require_go()
    folder = tmp_path / "proxy"
    monkeypatch.setenv("GOPROXY", folder.as_uri())
    monkeypatch.setenv("GOSUMDB", "off")
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GOFLAGS", "-modcacherw")
    proxy = Proxy(folder)
    for version in ("v0.1.0", "v0.2.0", "v0.3.0"):
        lib = {"lib.go": f'package lib\n\nconst Version = "{version}"\n'}
        proxy.put("example.test/lib", version, "module example.test/lib\n\ngo 1.21\n", **lib)
    return proxy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fresh = tmp_path / "cache" / "fresh"
    fresh.mkdir(parents=True)
    return fresh


def said(folder: Path) -> str:
    return subprocess.run([folder / "server"], capture_output=True, text=True, check=True).stdout.strip()


def files(extra: str = "theirs") -> dict[str, str]:
    return {"main.go": MAIN, "extra.go": EXTRA % extra}


def test_a_module_of_its_repository_is_taken_as_published(proxy: Proxy, folder: Path) -> None:
    """Neither the newest nor the folder that go.mod names, which the module does not carry."""
    proxy.put(BUILT.module, "v1.0.0", f"{GO_MOD}{REQUIRES}\nreplace example.test/lib => ./lib\n", **files())
    BUILT.fetch(folder)
    assert said(folder) == "server none v0.2.0 theirs"
    assert [path.name for path in folder.parent.iterdir()] == ["fresh"]


def test_without_a_version_for_it_the_required_one_is_taken(proxy: Proxy, folder: Path) -> None:
    required = "\nrequire example.test/lib v0.1.0\n\nreplace example.test/lib => ../lib\n"
    proxy.put(BUILT.module, "v1.0.0", GO_MOD + required, **files())
    replace(BUILT, published=None).fetch(folder)
    assert said(folder) == "server none v0.1.0 theirs"


def test_a_replacement_that_is_published_stays(proxy: Proxy, folder: Path) -> None:
    replaced = "\nreplace example.test/lib => example.test/lib v0.3.0\n"
    proxy.put(BUILT.module, "v1.0.0", GO_MOD + REQUIRES + replaced, **files())
    BUILT.fetch(folder)
    assert said(folder) == "server none v0.3.0 theirs"


def test_a_module_without_go_mod_has_its_versions_from_us(proxy: Proxy, folder: Path) -> None:
    proxy.put(BUILT.module, "v1.0.0", "", **files())
    replace(BUILT, requires={"example.test/lib": "v0.1.0"}).fetch(folder)
    assert said(folder) == "server none v0.1.0 theirs"


@pytest.mark.parametrize("requires", [{}, {"example.test/other": "v0.1.0"}])
def test_a_version_that_floats_is_refused(proxy: Proxy, folder: Path, requires: dict[str, str]) -> None:
    """Go would take the newest; the build of tomorrow would be another one."""
    proxy.put(
        "example.test/other", "v0.1.0", "module example.test/other\n\ngo 1.21\n", **{"other.go": "package other\n"}
    )
    proxy.put(BUILT.module, "v1.0.0", "" if requires else GO_MOD, **files())
    with pytest.raises(FetchError, match="not all pinned"):
        replace(BUILT, requires=requires).fetch(folder)


def test_our_files_the_variables_and_what_is_kept(proxy: Proxy, folder: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "extra.go").write_text(EXTRA % "ours")
    page = {"templates/page.html": "<p>", "notes.txt": "not kept"}
    proxy.put(BUILT.module, "v1.0.0", GO_MOD + REQUIRES.replace("v0.0.0", "v0.1.0"), **files(), **page)
    replace(BUILT, over=ours, variables=(("main.version", "v7"),), keeps=("templates",)).fetch(folder)
    assert said(folder) == "server v7 v0.1.0 ours"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "server",
        "static/templates/page.html",
    }


def test_a_build_that_fails_says_why(proxy: Proxy, folder: Path) -> None:
    proxy.put(BUILT.module, "v1.0.0", GO_MOD, **{"main.go": "package main\n\nfunc main() { nonsense() }\n"})
    with pytest.raises(FetchError, match="undefined: nonsense"):
        BUILT.fetch(folder)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert BUILT.lacks() == "go"
    (tmp_path / "go").touch(mode=0o755)
    assert BUILT.lacks() is None
    assert replace(BUILT, cgo=True).lacks() == "gcc"
