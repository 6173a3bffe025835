"""The one reset call is sent once; whatever is answered to it is kept whole and read without quoting it."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.contracts import Answer
from rekey.errors import (
    CredentialUnusable,
    Denied,
    NotFound,
    NotSent,
    RekeyError,
    Unintelligible,
    Unreachable,
)
from rekey.model import plan
from rekey.model.password import ESCROW_LIMIT, Password
from rekey.registries.cloudraya import CloudRayaRegistry, described
from rekey.registries.http import HttpRegistry
from tests.sandbox import cloudraya, faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.cloudraya import CloudRaya
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Json, Request, Response
from tests.unit.raw_server import raw_server
from tests.unit.registry_api import NAME, Passwords, SmallApi, cloudraya_part, credentials, http_part

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Iterator

LOGIN = "/core/v1/auth/login"
RESET = "/image-registry/v1/registries/781/reset-password"
HEALTH = "/image-registry/v1/registries/781"


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as aws:
        yield aws


class Account:
    """An account at CloudRaya with one registry, and the adapter for it."""

    def __init__(self, server: CloudRaya, aws: AwsSandbox) -> None:
        self.server = server
        self.passwords = Passwords({NAME: "old"})
        server.add_registry("781", NAME, self.passwords)
        self.email, self.secret = "robot@example.test", secrets.token_urlsafe(12)
        server.add_login(self.email, self.secret)
        self.resolver, self.ref = credentials(aws, NAME, server.host, email=self.email, password=self.secret)

    def adapter(self, **reset: object) -> CloudRayaRegistry:
        """Return a fresh adapter; `reset` overrides the vendor's convention."""
        call = {"method": "PATCH", "path": RESET, "password_at": "/data/password", **reset}
        api = {"url": self.server.url, "login": {"secret": self.ref}, "registry_id": "781", "reset": call}
        return CloudRayaRegistry(cloudraya_part(api), self.resolver)

    def sign_ins(self) -> int:
        return len(self.server.requests(path=LOGIN))

    def resets(self) -> int:
        return len(self.server.requests(path=RESET))


@pytest.fixture
def account(aws: AwsSandbox) -> Iterator[Account]:
    with CloudRaya() as server:
        yield Account(server, aws)


class TestSigningIn:
    """The token is taken once, kept in memory alone, and renewed in time."""

    def test_one_token_serves_for_everything(self, account: Account) -> None:
        adapter = account.adapter()
        adapter.check()
        adapter.check()
        adapter.prepare_reset()
        adapter.reset()
        assert account.sign_ins() == 1

    def test_a_token_about_to_end_is_renewed(self, account: Account) -> None:
        """60 s early; before the reset, by as much more as the call may take."""
        adapter = account.adapter(timeout="30s")
        account.server.token_lifetime = 60
        adapter.check()
        adapter.check()
        assert account.sign_ins() == 2
        account.server.token_lifetime = 85
        adapter.check()
        adapter.check()
        assert account.sign_ins() == 3
        adapter.prepare_reset()
        assert account.sign_ins() == 4
        account.server.token_lifetime = 3600
        adapter.prepare_reset()
        adapter.prepare_reset()
        assert account.sign_ins() == 5

    def test_a_token_ended_on_the_other_side_is_renewed_once(self, account: Account) -> None:
        adapter = account.adapter()
        adapter.check()
        account.server.inject(faults.answer(Response(401)), when=lambda request: request.path == HEALTH)
        adapter.check()
        assert account.sign_ins() == 2
        account.server.inject(faults.answer(Response(401)), when=lambda request: request.path == HEALTH, times=None)
        with pytest.raises(Denied, match=f"answered 401 to GET {HEALTH}: see what the credential {account.ref} may do"):
            adapter.check()
        assert account.sign_ins() == 3

    def test_a_credential_that_is_refused_is_named(self, account: Account) -> None:
        account.server.add_login(account.email, "another")
        for ask in (account.adapter().check, account.adapter().prepare_reset):
            with pytest.raises(
                Denied, match=f"401 to the sign-in .*is the credential {account.ref} still right"
            ) as caught:
                ask()
            assert account.secret not in str(caught.value)

    @pytest.mark.parametrize(
        "token", [None, 5, "", "two words", "line\nend", {"token": "s3cret"}, "ünprintable", "x" * 9000]
    )
    def test_what_is_no_token_is_not_sent(self, account: Account, token: Json) -> None:
        """And not quoted."""
        answer = Response.json({"data": {"token": token}})
        account.server.inject(faults.answer(answer), when=lambda request: request.path == LOGIN)
        with pytest.raises(Unintelligible, match=r"without a token at /data/token$") as caught:
            account.adapter().check()
        assert "s3cret" not in str(caught.value)

    def test_what_is_no_json_has_no_token(self, account: Account) -> None:
        account.server.inject(faults.gateway_page(200), when=lambda request: request.path == LOGIN)
        with pytest.raises(Unintelligible, match="no JSON object"):
            account.adapter().check()

    def test_a_missing_field_is_named(self, account: Account, aws: AwsSandbox) -> None:
        resolver, ref = credentials(aws, NAME, account.server.host, email=account.email)
        api: dict[str, object] = {"url": account.server.url, "login": {"secret": ref}, "registry_id": "781"}
        with pytest.raises(CredentialUnusable, match=f"the secret {ref} has no field `password`"):
            CloudRayaRegistry(cloudraya_part(api), resolver).check()
        assert not account.server.requests()

    def test_a_credential_for_another_host_stays_here(self, account: Account, aws: AwsSandbox) -> None:
        resolver, ref = credentials(aws, NAME, "api-v2.cloudraya.com", email=account.email, password=account.secret)
        api: dict[str, object] = {"url": account.server.url, "login": {"secret": ref}, "registry_id": "781"}
        for ask in ("check", "prepare_reset"):
            with pytest.raises(CredentialUnusable, match="its `hosts` do not name it"):
                getattr(CloudRayaRegistry(cloudraya_part(api), resolver), ask)()
        assert not account.server.requests()

    def test_nothing_is_fetched_before_it_is_needed(self, account: Account) -> None:
        """A function that may not read the credential can still ask what a registry says of a password."""
        part = account.adapter()
        assert part.reset_timeout == timedelta(seconds=30)
        assert not account.server.requests()


class Recorder(HttpServer):
    """Says yes to everything."""

    def handle(self, _request: Request) -> Response:
        return Response.json({"session": {"key": "opened-by-" + str(len(self.requests()))}})


class TestHowAPlanDescribesIt:
    """Sign-in, header, method, path, body: all from the plan."""

    def api(self, url: str, ref: str, **more: object) -> dict[str, object]:
        reset = {"path": "/reset", "password_at": ""}
        return {"url": url, "login": {"secret": ref}, "health": "/health", "reset": reset, **more}

    def sent(self, server: Recorder) -> list[tuple[str, str, str, bytes]]:
        return [
            (request.method, request.path, request.headers.get("authorization", ""), request.body)
            for request in server.requests()
        ]

    def test_a_token_as_it_is(self, aws: AwsSandbox) -> None:
        token = secrets.token_hex(8)
        with Recorder() as server:
            resolver, ref = credentials(aws, NAME, server.host, token=token)
            adapter = HttpRegistry(http_part(self.api(server.url, ref)), resolver)
            adapter.check()
            adapter.prepare_reset()
            adapter.reset()
            assert self.sent(server) == [
                ("GET", "/health", f"Bearer {token}", b""),
                ("POST", "/reset", f"Bearer {token}", b""),
            ]

    def test_basic(self, aws: AwsSandbox) -> None:
        with Recorder() as server:
            resolver, ref = credentials(aws, NAME, server.host, username="Aladdin", password="open sesame")  # noqa: S106
            HttpRegistry(http_part(self.api(server.url, ref)), resolver).check()
            # RFC 7617, section 2
            assert self.sent(server)[0][2] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="

    def test_a_sign_in_of_its_own_shape(self, aws: AwsSandbox) -> None:
        """A value that is one placeholder is filled; every other is sent as it is written."""
        with Recorder() as server:
            resolver, ref = credentials(aws, NAME, server.host, app_key="k", app_secret="s")  # noqa: S106
            body = {
                "key": "{app_key}",
                "secret": "{app_secret}",
                "grant": "client",
                "note": "x {app_key}",
                "odd": "{ }",
            }
            sign_in = {"method": "PUT", "path": "/sessions", "body": body, "token_at": "/session/key"}
            reset = {"method": "DELETE", "path": "/password", "body": {"confirm": True}, "password_at": ""}
            api = self.api(f"{server.url}/base", ref, sign_in=sign_in, reset=reset)
            adapter = HttpRegistry(http_part(api), resolver)
            adapter.prepare_reset()
            adapter.reset()
            (put, path, shown, filled), (delete, where, bearer, confirmed) = self.sent(server)
            assert (put, path, shown, json.loads(filled)) == (
                "PUT",
                "/base/sessions",
                "",
                {**body, "key": "k", "secret": "s"},
            )
            assert (delete, where, bearer) == ("DELETE", "/base/password", "Bearer opened-by-1")
            assert json.loads(confirmed) == {"confirm": True}

    def test_a_token_that_cannot_be_one_is_named(self, aws: AwsSandbox) -> None:
        with Recorder() as server:
            resolver, ref = credentials(aws, NAME, server.host, token="line\nend")  # noqa: S106
            with pytest.raises(CredentialUnusable, match=f"`token` of the secret {ref} is no token$"):
                HttpRegistry(http_part(self.api(server.url, ref)), resolver).check()
            assert not server.requests()

    def test_cloudraya_is_described_by_its_id(self) -> None:
        api = described(plan.CloudRayaApi.model_validate({"login": {"secret": "rekey/c"}, "registry_id": "781"}))
        assert api.url == "https://api-v2.cloudraya.com"
        assert api.sign_in is not None
        assert (api.sign_in.method, api.sign_in.path, api.sign_in.token_at) == ("POST", LOGIN, "/data/token")
        assert api.sign_in.body == {"email": "{email}", "password": "{password}"}
        assert api.health == HEALTH
        assert (api.reset.method, api.reset.path, api.reset.password_at) == ("PATCH", RESET, "/data/password")

    def test_cloudrayas_reset_can_be_another(self, aws: AwsSandbox) -> None:
        with CloudRaya(reset_method="POST", reset_path="/image-registry/v2/{id}/new") as server:
            account = Account(server, aws)
            adapter = account.adapter(method="POST", path="/image-registry/v2/781/new")
            adapter.prepare_reset()
            assert adapter.password_in(adapter.reset()) == Password(account.passwords.known[NAME])


class TestHealth:
    """Is asked before the reset, and between two refusals."""

    @pytest.mark.parametrize(
        ("status", "error"),
        [(403, Denied), (404, NotFound), (302, Unintelligible), (400, Unintelligible), (503, Unreachable)],
    )
    def test_anything_but_success_says_what_to_mend(
        self, account: Account, status: int, error: type[RekeyError]
    ) -> None:
        fault = faults.answer(Response(status, b"s3cret"))
        account.server.inject(fault, when=lambda request: request.path == HEALTH)
        with pytest.raises(error, match=f"{account.server.host} answered {status} to GET {HEALTH}") as caught:
            account.adapter().check()
        assert type(caught.value) is error
        assert "s3cret" not in str(caught.value)

    def test_a_registry_without_its_api_is_not_healthy(self, aws: AwsSandbox) -> None:
        """Its user database may be down: then it refuses the right password as it would a wrong one."""
        with Recorder() as registry, SmallApi(NAME, Passwords()) as server:
            resolver, ref = credentials(aws, NAME, server.host, token=server.key)
            reset = {"path": "/reset", "password_at": ""}
            api = {"url": server.url, "login": {"secret": ref}, "health": "/status", "reset": reset}
            adapter = HttpRegistry(http_part(api, endpoint=registry.url), resolver)
            assert adapter.healthy()
            server.inject(faults.answer(Response(500)))
            assert not adapter.healthy()
            registry.inject(faults.answer(Response(500)))
            assert not adapter.healthy()


class TestTheCall:
    """Is one request, whatever comes of it."""

    def test_is_not_repeated_after_401(self, account: Account) -> None:
        adapter = account.adapter()
        adapter.prepare_reset()
        account.server.inject(faults.answer(Response(401)), when=lambda request: request.path == RESET)
        answer = adapter.reset()
        assert adapter.refusal(answer) == f"HTTP 401 from PATCH {RESET}"
        assert (account.resets(), account.sign_ins()) == (1, 1)

    def test_a_busy_registry_has_refused(self, account: Account) -> None:
        account.server.set_busy("781")
        adapter = account.adapter()
        adapter.prepare_reset()
        answer = adapter.reset()
        assert adapter.refusal(answer) == f"HTTP 400 from PATCH {RESET}"
        assert account.passwords.known == {NAME: "old"}

    def test_the_plan_says_which_statuses_refuse(self, account: Account) -> None:
        adapter = account.adapter(refused_status=[409])
        assert adapter.refusal(Answer(409, b"")) == f"HTTP 409 from PATCH {RESET}"
        for status in (200, 400, 401, 404, 422, 500):
            assert adapter.refusal(Answer(status, b"")) is None

    def test_a_redirect_is_an_answer_and_is_not_followed(self, account: Account) -> None:
        with Recorder() as other:
            adapter = account.adapter()
            adapter.prepare_reset()
            fault = faults.answer(Response(307, headers={"Location": f"{other.url}/x"}))
            account.server.inject(fault, when=lambda request: request.path == RESET)
            answer = adapter.reset()
            assert (answer.status, adapter.refusal(answer)) == (307, None)
            assert not other.requests()

    def test_a_slow_answer_is_given_up_in_time(self, account: Account) -> None:
        """And nobody knows then whether the password has changed."""
        adapter = account.adapter(timeout="1s")
        adapter.prepare_reset()
        hold = account.server.hold(when=lambda request: request.path == RESET)
        with pytest.raises(Unreachable, match="no answer in time") as caught:
            adapter.reset()
        assert not isinstance(caught.value, NotSent)
        hold.release()
        account.server.wait_for(2, answered=True)
        assert account.resets() == 1

    def test_a_body_cut_off_is_no_answer(self, aws: AwsSandbox) -> None:
        def cut(connection: socket.socket, _: threading.Event) -> None:
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"password": "half-of-i')

        with raw_server(cut) as url, pytest.raises(Unreachable, match="the connection broke") as caught:
            reset_at(url, aws)
        assert "half" not in str(caught.value)

    def test_no_more_is_read_than_is_kept(self, aws: AwsSandbox) -> None:
        """An answer without an end does not fill the memory."""

        def never_end(connection: socket.socket, over: threading.Event) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            while not over.is_set():
                connection.sendall(chunk)

        with raw_server(never_end) as url:
            answer = reset_at(url, aws)
        assert len(answer.body) == ESCROW_LIMIT + 1

    def test_it_asks_for_no_compression(self, account: Account) -> None:
        adapter = account.adapter()
        adapter.prepare_reset()
        adapter.reset()
        (call,) = account.server.requests(path=RESET)
        assert call.headers["accept-encoding"] == "identity"

    def test_the_simulators_bad_answers(self, account: Account) -> None:
        """None is guessed at, and none is lost."""
        for answer in (
            cloudraya.password_under("new_password"),
            cloudraya.empty_answer,
            cloudraya.html_answer,
            cloudraya.html_with_password,
            cloudraya.huge_answer(ESCROW_LIMIT),
        ):
            account.server.reset_answer = answer
            adapter = account.adapter()
            adapter.prepare_reset()
            kept = adapter.reset()
            assert adapter.refusal(kept) is None
            with pytest.raises(Unintelligible) as caught:
                adapter.password_in(kept)
            assert account.passwords.known[NAME] not in str(caught.value)


def reset_at(url: str, aws: AwsSandbox) -> Answer:
    resolver, ref = credentials(aws, NAME, url.removeprefix("http://"), token="x")  # noqa: S106
    reset = {"path": "/reset", "password_at": "/password"}
    adapter = HttpRegistry(
        http_part({"url": url, "login": {"secret": ref}, "health": "/health", "reset": reset}), resolver
    )
    adapter.prepare_reset()
    return adapter.reset()
