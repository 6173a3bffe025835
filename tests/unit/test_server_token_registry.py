"""The sandbox's registry behind the real token server: what its tokens grant, and what outlives a password."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from tests.sandbox.images import Images, push_samples
from tests.sandbox.token_registry import SERVICE, TokenRegistry
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def registry() -> Iterator[TokenRegistry]:
    with TokenRegistry(require("registry"), require("token-server")) as registry:
        yield registry


@pytest.fixture
def user(registry: TokenRegistry) -> tuple[str, str]:
    name, password = f"user-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    registry.add_user(name, password)
    return name, password


def granted(answer: dict[str, object]) -> list[object]:
    claims = jwt.decode(str(answer["access_token"]), options={"verify_signature": False})
    return [(entry["name"], sorted(entry["actions"])) for entry in claims["access"] or []]


def pull(registry: TokenRegistry, token: object, repository: str) -> int:
    return httpx.get(
        f"{registry.url}/v2/{repository}/tags/list", headers={"Authorization": f"Bearer {token}"}
    ).status_code


def refreshed(registry: TokenRegistry, refresh_token: object, scope: str) -> httpx.Response:
    sent = {"grant_type": "refresh_token", "service": SERVICE, "client_id": "test", "scope": scope}
    return httpx.post(registry.tokens.realm, data={**sent, "refresh_token": str(refresh_token)})


def test_it_asks_for_a_token(registry: TokenRegistry) -> None:
    challenge = httpx.get(f"{registry.url}/v2/").headers["www-authenticate"]
    assert challenge == f'Bearer realm="{registry.tokens.realm}",service="{SERVICE}"'


def test_images_are_pushed_below_the_users_name(registry: TokenRegistry, user: tuple[str, str]) -> None:
    contents = push_samples(registry.url, *user, namespace=user[0])
    with Images(registry.url, *user) as images:
        assert images.contents(f"{user[0]}/") == contents
        assert len(contents) == 3


def test_a_token_grants_nothing_elsewhere(registry: TokenRegistry, user: tuple[str, str]) -> None:
    """It is given all the same: that there is a token says little."""
    name, password = user
    mine = registry.token(name, password, f"repository:{name}/web:pull,push")
    assert granted(mine) == [(f"{name}/web", ["pull", "push"])]
    assert granted(registry.token(name, password, "repository:other/web:pull")) == []
    assert mine["expires_in"] == 900


def test_the_old_password_gets_no_token_any_more(registry: TokenRegistry, user: tuple[str, str]) -> None:
    name, old = user
    new = secrets.token_urlsafe(16)
    registry.set_password(name, new)
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        registry.token(name, old)
    assert registry.token(name, new)


def test_tokens_outlive_the_password(registry: TokenRegistry, user: tuple[str, str]) -> None:
    """What was taken with the old one still pulls after the reset, and its refresh token still gets new ones."""
    name, old = user
    scope = f"repository:{name}/web:pull"
    push_samples(registry.url, *user, namespace=name)
    taken = registry.token(name, old, scope, offline=True)
    registry.set_password(name, secrets.token_urlsafe(16))
    assert pull(registry, taken["access_token"], f"{name}/web") == 200
    again = refreshed(registry, taken["refresh_token"], scope)
    assert again.status_code == 200
    assert pull(registry, again.json()["access_token"], f"{name}/web") == 200
    assert refreshed(registry, "made-up", scope).status_code == 401


def test_an_outage_of_the_token_server_is_one(registry: TokenRegistry, user: tuple[str, str]) -> None:
    registry.tokens.stop()
    try:
        with pytest.raises(httpx.ConnectError):
            registry.token(*user)
    finally:
        registry.tokens.start()
    assert registry.token(*user)
