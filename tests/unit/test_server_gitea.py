"""The sandbox's Gitea is the real one: its registry, its rules for passwords, and what outlives one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox.gitea import Gitea, GiteaRefusedError
from tests.sandbox.images import Images, push_samples
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def gitea() -> Iterator[Gitea]:
    with Gitea(require("gitea"), least_length=12, complexity="lower,upper,digit") as gitea:
        yield gitea


def new_password() -> str:
    return f"aA1{secrets.token_urlsafe(16)}"


@pytest.fixture
def user(gitea: Gitea) -> tuple[str, str]:
    name, password = f"user-{secrets.token_hex(4)}", new_password()
    gitea.add_user(name, password)
    return name, password


def login(gitea: Gitea, name: str, password: str) -> int:
    return httpx.get(f"{gitea.url}/v2/token", auth=(name, password)).status_code


def test_only_users_get_in(gitea: Gitea, user: tuple[str, str]) -> None:
    name, password = user
    challenge = httpx.get(f"{gitea.url}/v2/").headers["www-authenticate"]
    assert f'Bearer realm="{gitea.url}/v2/token"' in challenge
    assert login(gitea, name, password) == 200
    assert login(gitea, name, new_password()) == 401
    assert name in gitea.users


def test_the_old_password_dies_at_once(gitea: Gitea, user: tuple[str, str]) -> None:
    name, old = user
    for _ in range(5):
        new = new_password()
        gitea.set_password(name, new)
        assert (login(gitea, name, new), login(gitea, name, old)) == (200, 401)
        old = new


@pytest.mark.parametrize(
    ("password", "says"), [("aA1" * 3, "at least 12 characters"), ("a" * 20, "password not complex enough")]
)
def test_rules_for_passwords_are_its_own(gitea: Gitea, user: tuple[str, str], password: str, says: str) -> None:
    with pytest.raises(GiteaRefusedError, match=f"^400: .*{says}"):
        gitea.set_password(user[0], password)
    assert login(gitea, *user) == 200


def test_images_are_pushed_and_read_back(gitea: Gitea, user: tuple[str, str]) -> None:
    contents = push_samples(gitea.url, *user, namespace=user[0])
    with Images(gitea.url, *user) as images:
        assert images.contents(f"{user[0]}/") == contents
        assert len(contents) == 3


@pytest.mark.parametrize(("visibility", "status"), [("private", 401), ("public", 200)])
def test_a_public_users_images_are_anybodys(gitea: Gitea, visibility: str, status: int) -> None:
    name, password = f"user-{secrets.token_hex(4)}", new_password()
    gitea.add_user(name, password, visibility="public" if visibility == "public" else "private")
    push_samples(gitea.url, name, password, namespace=name)
    given = httpx.get(f"{gitea.url}/v2/token").raise_for_status().json()["token"]
    anybody = {"Authorization": f"Bearer {given}"}
    assert httpx.get(f"{gitea.url}/v2/{name}/web/tags/list", headers=anybody).status_code == status


def test_a_personal_token_outlives_the_password(gitea: Gitea, user: tuple[str, str]) -> None:
    name, old = user
    token = gitea.token(name, old, ["read:package"])
    gitea.set_password(name, new_password())
    assert login(gitea, name, old) == 401
    assert login(gitea, name, token) == 200


def test_a_bearer_outlives_the_password(gitea: Gitea, user: tuple[str, str]) -> None:
    name, old = user
    push_samples(gitea.url, name, old, namespace=name)
    bearer = httpx.get(f"{gitea.url}/v2/token", auth=(name, old)).json()["token"]
    gitea.set_password(name, new_password())
    asked = httpx.get(f"{gitea.url}/v2/{name}/web/tags/list", headers={"Authorization": f"Bearer {bearer}"})
    assert asked.status_code == 200


def test_who_must_change_the_password_still_gets_images(gitea: Gitea, user: tuple[str, str]) -> None:
    gitea.change_user(user[0], must_change_password=True)
    assert login(gitea, *user) == 200


def test_an_outage_keeps_users_and_images(gitea: Gitea, user: tuple[str, str]) -> None:
    contents = push_samples(gitea.url, *user, namespace=user[0])
    gitea.stop()
    with pytest.raises(httpx.ConnectError):
        login(gitea, *user)
    gitea.start()
    with Images(gitea.url, *user) as images:
        assert images.contents(f"{user[0]}/") == contents
