"""The CloudRaya simulator keeps what is public of the real one: shapes, refusals, and a reset that really resets."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from tests.sandbox import cloudraya, faults
from tests.sandbox.cloudraya import BUSY, CloudRaya
from tests.sandbox.registry import Registry
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sandbox.cloudraya import Reset
    from tests.sandbox.wire import Response

RESET = "/image-registry/v1/registries/781/reset-password"


class Passwords(dict[str, str]):
    """Accounts without a registry behind them."""

    def set_password(self, name: str, password: str) -> None:
        """Change a password."""
        self[name] = password


class Account:
    """What a client of the account has."""

    def __init__(self, server: CloudRaya, client: httpx.Client) -> None:
        self.server = server
        self.client = client
        self.email = f"{secrets.token_hex(4)}@example.test"
        self.password = secrets.token_urlsafe(12)
        self.passwords = Passwords({"prod-images": "first"})
        server.add_login(self.email, self.password)
        server.add_registry("781", "prod-images", self.passwords)

    def bearer(self) -> dict[str, str]:
        answer = self.client.post("/core/v1/auth/login", json={"email": self.email, "password": self.password})
        return {"Authorization": f"Bearer {answer.json()['data']['token']}"}

    def reset(self) -> httpx.Response:
        return self.client.patch(RESET, headers=self.bearer())


@pytest.fixture
def account() -> Iterator[Account]:
    with CloudRaya() as server, httpx.Client(base_url=server.url, timeout=5) as client:
        yield Account(server, client)


def test_login_gives_a_token_that_says_when_it_expires(account: Account) -> None:
    token = account.bearer()["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert 3590 < claims["exp"] - time.time() <= 3600


def test_a_wrong_login_is_refused(account: Account) -> None:
    answer = account.client.post("/core/v1/auth/login", json={"email": account.email, "password": "wrong"})
    assert answer.status_code == answer.json()["code"] == 401
    assert answer.json()["message"]


def test_a_login_without_its_fields_names_them(account: Account) -> None:
    answer = account.client.post("/core/v1/auth/login", json={"email": ""})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["error"]] == ["email", "password"]
    broken = account.client.post("/core/v1/auth/login", content=b"{")
    assert broken.status_code == 400
    assert isinstance(broken.json()["error"], str)


def test_a_reset_makes_a_new_password_and_shows_it_once(account: Account) -> None:
    answer = account.reset()
    body = answer.json()
    assert (answer.status_code, body["code"], bool(body["message"])) == (200, 200, True)
    assert body["data"] == {"id": "781", "username": "prod-images", "password": account.passwords["prod-images"]}
    assert len(body["data"]["password"]) == 24
    status = account.client.get("/image-registry/v1/registries/781", headers=account.bearer()).json()["data"]
    assert status == {"id": "781", "name": "prod-images", "username": "prod-images", "status": "active"}


def test_every_reset_is_counted_and_makes_another_password(account: Account) -> None:
    passwords = [account.reset().json()["data"]["password"] for _ in range(3)]
    assert len(set(passwords)) == 3
    assert [reset.password for reset in account.server.resets("781")] == passwords
    assert account.server.resets("782") == []


def test_no_reset_without_a_token_that_is_ours_and_lives(account: Account) -> None:
    forged = jwt.encode({"sub": account.email, "exp": time.time() + 60}, secrets.token_bytes(32), algorithm="HS256")
    account.server.token_lifetime = -1
    for headers in ({}, {"Authorization": f"Bearer {forged}"}, account.bearer()):
        answer = account.client.patch(RESET, headers=headers)
        assert answer.status_code == answer.json()["code"] == 401
    assert account.passwords == {"prod-images": "first"}


def test_unknown_registries_paths_and_methods_are_refused(account: Account) -> None:
    headers = account.bearer()
    assert account.client.patch(RESET.replace("781", "782"), headers=headers).status_code == 404
    assert account.client.patch(f"{RESET}-now", headers=headers).json()["code"] == 404
    assert account.client.post(RESET, headers=headers).json()["code"] == 405
    assert account.passwords == {"prod-images": "first"}


def test_a_busy_registry_says_so_and_resets_nothing(account: Account) -> None:
    account.server.set_busy("781")
    answer = account.reset()
    assert (answer.status_code, answer.json()["message"]) == (400, BUSY)
    assert account.passwords == {"prod-images": "first"}
    assert account.reset().status_code == 200


def test_a_gateway_may_answer_in_front_of_it(account: Account) -> None:
    headers = account.bearer()
    account.server.inject(faults.gateway_page(), when=lambda request: request.method == "PATCH")
    answer = account.client.patch(RESET, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert account.server.resets("781") == []


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (cloudraya.password_under("secret"), '"secret": "'),
        (cloudraya.empty_answer, ""),
        (cloudraya.html_answer, "<html>"),
        (cloudraya.html_with_password, "<code>"),
        (cloudraya.huge_answer(100_000), "x" * 100_000),
    ],
)
def test_a_bad_answer_comes_after_a_reset_that_happened(
    account: Account, shape: Callable[[Reset], Response], found: str
) -> None:
    account.server.reset_answer = shape
    answer = account.reset()
    assert answer.status_code == 200
    assert found in answer.text
    assert account.passwords["prod-images"] == account.server.resets("781")[0].password != "first"


def test_passwords_are_of_the_alphabet() -> None:
    with CloudRaya(alphabet="ab", length=40) as server:
        server.add_registry("1", "images", Passwords())
        assert set(server.click_reset("1")) == {"a", "b"}


def test_the_reset_call_can_be_another() -> None:
    """The vendor's real path is not public: method and path are settings."""
    with (
        CloudRaya(reset_method="POST", reset_path="/v2/registry/{id}/password") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        headers = Account(server, client).bearer()
        assert client.post("/v2/registry/781/password", headers=headers).status_code == 200
        assert client.patch(RESET, headers=headers).status_code == 404


def test_a_person_clicks_in_the_dashboard_or_with_curl(account: Account) -> None:
    shown = account.server.click_reset("781")
    assert account.passwords["prod-images"] == shown
    printed = account.client.post("/dashboard/registries/781/change-password")
    assert printed.headers["content-type"].startswith("text/plain")
    assert printed.text == f"{account.passwords['prod-images']}\n"
    assert len(account.server.resets("781")) == 2
    assert account.client.post("/dashboard/registries/782/change-password").status_code == 404


def test_a_reset_kills_the_real_registrys_password(account: Account) -> None:
    """With the real registry behind it, the old password is refused and the new one taken, whatever its characters."""
    with Registry(require("registry")) as registry, httpx.Client(base_url=registry.url) as docker:
        old = secrets.token_urlsafe(16)
        registry.add_user("prod-images", old)
        account.server.add_registry("781", "prod-images", registry)
        account.server.alphabet = cloudraya.SYMBOLS
        assert docker.get("/v2/", auth=("prod-images", old)).status_code == 200
        new = account.reset().json()["data"]["password"]
        assert docker.get("/v2/", auth=("prod-images", old)).status_code == 401
        assert docker.get("/v2/", auth=("prod-images", new)).status_code == 200
