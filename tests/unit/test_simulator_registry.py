"""The sandbox's registry is the real one: its users, its images, and a password that dies at once."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox.images import Images, push_samples
from tests.sandbox.registry import Registry
from tests.sandbox.server_process import ServerNotStartedError
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry(require("registry")) as registry:
        yield registry


@pytest.fixture
def user(registry: Registry) -> tuple[str, str]:
    name, password = f"user-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    registry.add_user(name, password)
    return name, password


def login(registry: Registry, name: str, password: str) -> int:
    return httpx.get(f"{registry.url}/v2/", auth=(name, password)).status_code


def test_only_users_get_in(registry: Registry, user: tuple[str, str]) -> None:
    name, password = user
    anonymous = httpx.get(f"{registry.url}/v2/")
    assert anonymous.status_code == 401
    assert anonymous.headers["www-authenticate"].startswith("Basic ")
    assert login(registry, name, password) == 200
    assert login(registry, name, password + "x") == 401
    assert login(registry, "nobody", password) == 401


def test_the_old_password_dies_at_once(registry: Registry, user: tuple[str, str]) -> None:
    """Changed many times in a row, the registry never takes the old one again nor refuses the new one."""
    name, old = user
    with httpx.Client(base_url=registry.url) as client:
        for _ in range(20):
            new = secrets.token_urlsafe(16)
            registry.set_password(name, new)
            assert client.get("/v2/", auth=(name, new)).status_code == 200
            assert client.get("/v2/", auth=(name, old)).status_code == 401
            old = new


def test_changing_one_user_leaves_the_others(registry: Registry, user: tuple[str, str]) -> None:
    registry.add_user("neighbour", "unchanged")
    registry.set_password(user[0], secrets.token_urlsafe(16))
    assert login(registry, "neighbour", "unchanged") == 200
    assert {"neighbour", user[0]} <= set(registry.users)


def test_users_are_neither_doubled_nor_invented(registry: Registry, user: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="already"):
        registry.add_user(user[0], "again")
    with pytest.raises(KeyError):
        registry.set_password("nobody", "anything")


def test_images_are_pushed_and_read_back(registry: Registry, user: tuple[str, str]) -> None:
    """Several repositories with several tags; two tags of one push share a digest; an index holds architectures."""
    contents = push_samples(registry.url, *user, number=42)
    namespace = f"ir-cr-{user[0]}-42"
    assert {repository: sorted(tags) for repository, tags in contents.items()} == {
        f"{namespace}/api": ["3.2", "latest"],
        f"{namespace}/web": ["1.0", "1.1", "latest"],
        f"{namespace}/worker": ["2024.11"],
    }
    web = contents[f"{namespace}/web"]
    assert web["1.1"] == web["latest"] != web["1.0"]
    index = httpx.get(
        f"{registry.url}/v2/{namespace}/api/manifests/latest",
        auth=user,
        headers={"Accept": "application/vnd.oci.image.index.v1+json"},
    ).json()
    assert [image["platform"]["architecture"] for image in index["manifests"]] == ["amd64", "arm64"]


def test_an_outage_keeps_users_and_images(user: tuple[str, str]) -> None:
    with Registry(require("registry")) as registry:
        registry.add_user(*user)
        contents = push_samples(registry.url, *user)
        address = registry.url
        registry.stop()
        with pytest.raises(httpx.ConnectError):
            login(registry, *user)
        registry.start()
        assert registry.url == address
        with Images(registry.url, *user) as images:
            assert images.contents() == contents


def test_a_registry_that_does_not_start_says_why(tmp_path: Path) -> None:
    program = tmp_path / "registry"
    program.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(ServerNotStartedError, match="no such flag"), Registry(program):
        pass
