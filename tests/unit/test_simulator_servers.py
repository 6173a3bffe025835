"""Where a real server comes from: PATH, the cache, a Debian package, a Go build, or one sentence on what to install."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import table
from tests.servers.requirement import require
from tests.servers.table import ServerMissingError, fetch, find

SPEAKS = "#!/bin/sh\necho registry github.com/distribution/distribution v0\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the one folder on PATH, empty."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


def test_one_on_path_is_used_as_it_is(path: Path, cache: Path) -> None:
    expected = program(path / "registry", SPEAKS)
    assert find("registry", cache) == expected
    assert fetch("registry", lambda _: None, cache) == expected
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "command", "says"),
    [
        ("vault", "vault", "Vault v1.20.4 (0000), built 2025-09-23T13:22:38Z"),
        ("vault", "bao", "OpenBao v2.4.1 (0000), built 2025-09-24T13:22:38Z"),
        ("gitea", "gitea", "gitea version 1.25.1 built with GNU Make 4.4.1, go1.25.3"),
        ("etcd", "etcd", "etcd Version: 3.6.5"),
        ("kube-apiserver", "kube-apiserver", "Kubernetes v1.33.2"),
        ("token-server", "token-server", 'Issuer string for token (default "distribution-token-server")'),
    ],
)
def test_each_is_known_by_what_it_says(path: Path, cache: Path, name: str, command: str, says: str) -> None:
    """Another version than ours too; the same words from a program that fails are not enough."""
    expected = program(path / command, f"#!/bin/sh\necho '{says}' >&2\n")
    assert find(name, cache) == expected
    program(path / command, f"#!/bin/sh\necho '{says}'\nexit 1\n")
    with pytest.raises(ServerMissingError):
        find(name, cache)


def test_another_program_of_that_name_is_not_taken(path: Path, cache: Path) -> None:
    program(path / "registry", "#!/bin/sh\necho windows-registry 1.0\n")
    with pytest.raises(ServerMissingError, match="make servers"):
        find("registry", cache)


@pytest.mark.usefixtures("path")
def test_nothing_to_be_had_says_what_to_install(cache: Path) -> None:
    """One sentence for people, with what each way lacks."""
    said: list[str] = []
    with pytest.raises(ServerMissingError) as caught:
        fetch("registry", said.append, cache)
    assert "install Debian's package docker-registry, or Go" in str(caught.value)
    assert "needs apt-get" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert said == [f"registry: not on PATH and not in {cache}"]


def test_the_debian_package_is_unpacked_with_lists_of_our_own_where_the_machine_has_none(
    path: Path, cache: Path
) -> None:
    """apt-get without lists fails first; then it is given lists in a folder of our own."""
    program(
        path / "apt-get",
        '#!/bin/sh\nfor last; do :; done\n[ "$last" = update ] && exit 0\n'
        'if [ "$1" != -o ]; then echo "E: Unable to locate package" >&2; exit 100; fi\n'
        ": > docker-registry_2.8.9_amd64.deb\n",
    )
    unpack = f'/bin/mkdir -p "$3/usr/bin"\n/bin/cat > "$3/usr/bin/docker-registry" <<X\n{SPEAKS}X\n'
    program(path / "dpkg", f'#!/bin/sh\n{unpack}/bin/chmod 755 "$3/usr/bin/docker-registry"\n')
    said: list[str] = []
    assert fetch("registry", said.append, cache) == cache / "registry/debian-2.8/usr/bin/docker-registry"
    assert "a few seconds" in said[1]
    assert find("registry", cache).is_relative_to(cache)


def test_a_way_that_fails_leaves_the_next(path: Path, cache: Path) -> None:
    """Another series of the package is refused; Go builds the pinned version then."""
    program(path / "apt-get", "#!/bin/sh\n: > docker-registry_3.0.0_amd64.deb\n")
    program(path / "dpkg", "#!/bin/sh\nexit 1\n")
    program(
        path / "go", f'#!/bin/sh\n/bin/cat > "$GOBIN/registry" <<X\n{SPEAKS}# $3\nX\n/bin/chmod 755 "$GOBIN/registry"\n'
    )
    built = fetch("registry", lambda _: None, cache)
    assert built.is_relative_to(cache / "registry")
    assert "github.com/distribution/distribution/v3/cmd/registry@v" in built.read_text()


def test_a_failed_build_says_its_last_words(path: Path, cache: Path) -> None:
    program(path / "go", "#!/bin/sh\necho downloading\necho no network >&2\nexit 1\n")
    with pytest.raises(ServerMissingError, match=r"`go install .*` failed: no network"):
        fetch("registry", lambda _: None, cache)
    assert list((cache / "registry").iterdir()) == []


def test_a_cached_one_that_does_not_run_here_is_fetched_anew(path: Path, cache: Path) -> None:
    way = table.SERVERS["registry"].ways[1]
    stale = program(cache / "registry" / way.folder / way.program, "not a program")
    program(path / "go", f'#!/bin/sh\n/bin/cat > "$GOBIN/registry" <<X\n{SPEAKS}X\n/bin/chmod 755 "$GOBIN/registry"\n')
    assert fetch("registry", lambda _: None, cache) == stale
    assert stale.read_text() == SPEAKS


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_test_without_its_server_is_skipped_and_fails_in_ci(
    cache: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="make servers"):
        require("registry", cache)


def test_a_second_run_takes_a_second() -> None:
    """Of computing, for all servers together; what else this machine does is none of it."""
    for name in table.SERVERS:
        require(name)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "tests.servers.fetch"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 1
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == [*table.SERVERS]


def test_every_version_stands_in_one_file() -> None:
    """No other file of this folder has one, and each row of the table has its own there."""
    folder = Path(table.__file__).parent
    stated = re.findall(r'"(v?[0-9]+\.[0-9.]+[^"]*)"', (folder / "versions.toml").read_text(encoding="utf-8"))
    assert len(stated) >= len(table.SERVERS)
    for file in folder.rglob("*"):
        if file.suffix in {".py", ".go"}:
            text = file.read_text(encoding="utf-8")
            assert [version for version in stated if version in text] == [], file


def test_an_unknown_server_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.servers.fetch", "harbour"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such server: harbour" in done.stderr
