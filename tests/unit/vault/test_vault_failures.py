"""What can be wrong with a Vault, told apart: each against the real server, and each sentence says what to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from rekey.errors import CredentialUnusable, Denied, NotFound, NotSent, Unfit, Unintelligible, Unreachable
from tests.contract.store_cases import VaultCase, candidate, token
from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.server_process import free_port
from tests.sandbox.vault import Vault, VaultRefusedError
from tests.sandbox.wire import Response
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rekey.contracts import Store
    from tests.sandbox.wire import Act, Request

SERVICE = r"Vault at 127\.0\.0\.1:\d+"


@pytest.fixture
def elsewhere() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


WAYS: list[Callable[[Store], object]] = [
    lambda store: store.check(token()),
    lambda store: store.current(),
    lambda store: store.stage(candidate(), token()),
]


class TestSealed:
    @pytest.fixture
    def sealed(self, case: VaultCase) -> Iterator[VaultCase]:
        case.vault.server.seal()
        yield case
        case.vault.server.unseal()

    @pytest.mark.parametrize("ask", WAYS)
    def test_it_can_wait(self, sealed: VaultCase, ask: Callable[[Store], object]) -> None:
        with pytest.raises(Unreachable, match=rf"{SERVICE} is sealed: unseal it \(`vault operator unseal`\)"):
            ask(sealed.store)

    def test_it_goes_on_where_it_was(self, case: VaultCase) -> None:
        """The same object, after the seal: its token is still good."""
        version = case.store.stage(candidate(), token())
        case.vault.server.seal()
        with pytest.raises(Unreachable, match="is sealed"):
            case.store.promote(version, None)
        case.vault.server.unseal()
        case.store.promote(version, None)
        assert (case.reader_sees() or {})["version"] == version

    def test_health_is_asked_without_a_token(self, sealed: VaultCase) -> None:
        with pytest.raises(Unreachable):
            sealed.at(namespace="team-a").current()
        (asked, *_) = sealed.vault.door.requests("GET", "/v1/sys/health")[-1:]
        assert not {name for name in asked.headers if name.lower().startswith("x-vault-")}


@pytest.fixture
def active() -> Iterator[Vault]:
    with Vault(require("vault"), storage="raft") as active:
        active.mount_kv("secret")
        yield active


class TestStandby:
    def test_one_that_reaches_the_active_server_serves(self, active: Vault, case: VaultCase) -> None:
        with active.standby() as standby:
            case.keep({"token": active.token(["root"])})
            store = case.at(address=standby.url, auth={"token": {"secret": f"rekey/vault-{case.id}"}})
            store.check(token())

    def test_one_that_does_not_can_wait(self, active: Vault, case: VaultCase) -> None:
        with active.standby() as standby:
            case.keep({"token": active.token(["root"])})
            store = case.at(address=standby.url, auth={"token": {"secret": f"rekey/vault-{case.id}"}})
            active.stop()
            with pytest.raises(Unreachable, match=rf"{SERVICE} is a standby that reaches no active server: let the"):
                store.current()

    def test_one_that_points_elsewhere_is_not_followed(self, case: VaultCase, elsewhere: HttpServer) -> None:
        """A token goes to the host it is for."""
        away = faults.answer(Response(307, b"", {"Location": f"{elsewhere.url}/v1/secret/data/x"}))
        case.vault.door.inject(away, times=None)
        with pytest.raises(Unreachable, match="is a standby that sends its callers to another address"):
            case.store.current()
        assert elsewhere.requests() == []


class TestTokens:
    def test_a_login_is_repeated_when_its_token_has_ended(self, case: VaultCase) -> None:
        case.vault.call("POST", f"auth/approle/role/{case.id}", {"token_ttl": "1s", "token_max_ttl": "1s"})
        case.store.current()
        ended(case)
        case.store.current()
        assert len(case.vault.door.requests("POST", "/v1/auth/approle/login")) == logins_before(case) + 2

    def test_also_in_the_middle_of_promoting(self, case: VaultCase) -> None:
        version = case.store.stage(candidate(), token())
        revoke = faults.call(lambda request: case.vault.call("POST", "auth/token/revoke", {"token": token_of(request)}))
        case.vault.door.inject(revoke, when=lambda one: one.method == "POST" and one.path.endswith(case.path))
        case.store.promote(version, None)
        assert (case.reader_sees() or {})["version"] == version

    def test_one_as_it_is_cannot_be_made_anew(self, case: VaultCase) -> None:
        """Told apart from one that lives and may not."""
        given = case.vault.server.token([case.id], no_default_policy=False)
        case.keep({"token": given})
        store = case.at(auth={"token": {"secret": f"rekey/vault-{case.id}"}})
        store.current()
        case.allow(case.policy.replace('"read"', '"list"'))
        with pytest.raises(Denied, match='refuses "read" on'):
            store.current()
        case.vault.call("POST", "auth/token/revoke", {"token": given})
        with pytest.raises(CredentialUnusable, match=f"refuses the token in the secret rekey/vault-{case.id}: it has"):
            store.current()

    @pytest.mark.parametrize("given", ["", "two words", "t\n", "é"])
    def test_what_is_no_token_is_not_sent(self, case: VaultCase, given: str) -> None:
        case.keep({"token": given})
        with pytest.raises(CredentialUnusable, match="is no token"):
            case.at(auth={"token": {"secret": f"rekey/vault-{case.id}"}}).current()


class TestTheWire:
    def test_nothing_listens(self, case: VaultCase) -> None:
        with pytest.raises(NotSent, match="no connection"):
            case.at(address=f"http://127.0.0.1:{free_port()}").current()

    def test_an_authority_nobody_trusts(self, case: VaultCase) -> None:
        authority = Authority()
        with Vault(require("vault"), authority=authority) as server:
            server.mount_kv("secret")
            case.keep({"token": server.root_token})
            auth = {"token": {"secret": f"rekey/vault-{case.id}"}}
            with pytest.raises(NotSent, match=r"its TLS certificate is not trusted .*: give the plan's `ca`"):
                case.at(address=server.url, auth=auth).current()
            case.at(address=server.url, auth=auth, ca=authority.pem).check(token())

    def test_a_rate_limit_quota(self, case: VaultCase) -> None:
        case.store.current()
        case.vault.server.limit_rate("few", case.vault.mount, rate=1, interval="1h")
        try:
            case.store.current()
            with pytest.raises(Unreachable, match=r"a rate-limit quota is used up.*raise the quota"):
                case.store.current()
        finally:
            case.vault.server.lift_rate("few")

    @pytest.mark.parametrize("broken", [faults.drop(), faults.drop(acted=True), faults.gateway_page()])
    def test_one_answer_that_is_lost_is_asked_for_again(
        self, case: VaultCase, broken: Callable[[Request, Act], Response]
    ) -> None:
        """Every request may be made twice: reads, writes over a version, logins."""
        for nth in range(1, 8):
            case.vault.door.inject(broken, nth=nth)
            version = case.at().stage(candidate(), token())
            case.restore()
            case.vault.door.inject(broken, nth=nth)
            case.at().promote(version, None)
            case.restore()

    @pytest.mark.parametrize(
        "said",
        [
            "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period",
            "Waiting for the primary to upgrade from non-versioned to versioned data.",
        ],
    )
    def test_an_engine_that_is_being_upgraded_can_wait(self, case: VaultCase, said: str) -> None:
        case.vault.door.inject(
            faults.answer(Response.json({"errors": [said]}, 400)), when=lambda one: "/data/" in one.path, times=None
        )
        for ask in WAYS:
            with pytest.raises(Unreachable, match="upgrading its key-value engine"):
                ask(case.store)

    def test_what_goes_on_can_wait(self, case: VaultCase) -> None:
        case.vault.door.inject(faults.gateway_page(), times=None)
        with pytest.raises(Unreachable, match="answered 502 to POST auth/approle/login"):
            case.store.current()

    @pytest.mark.parametrize(
        ("response", "error"),
        [
            (Response.text("no such page", 404), Unfit),
            (Response.text("<html>welcome", 200), Unintelligible),
            (Response.json({"auth": None}), Unintelligible),
            (Response.json({"auth": {"client_token": "two words"}}), Unintelligible),
            (Response.text("teapot", 418), Unintelligible),
        ],
    )
    def test_something_else_than_vault(self, case: VaultCase, response: Response, error: type[Exception]) -> None:
        case.vault.door.inject(faults.answer(response), times=None)
        with pytest.raises(error) as caught:
            case.store.current()
        assert "two words" not in str(caught.value)


def test_no_engine_at_the_mount_says_how_to_make_one(case: VaultCase) -> None:
    with pytest.raises(NotFound, match="`vault secrets enable -path=nowhere -version=2 kv`, or name another `mount`"):
        case.elsewhere.check(token())


def test_a_mount_that_the_policy_does_not_know_is_denied_and_both_reasons_are_named(case: VaultCase) -> None:
    """Vault does not say which: whoever may not use a path is not told whether it exists."""
    with pytest.raises(Denied, match=r'"read" on `other/config`.*a mount or namespace that does not exist'):
        case.at(mount="other").check(token())


def test_no_error_says_a_secret(case: VaultCase) -> None:
    made = candidate()
    secret_id = case.login["secret_id"]
    case.keep({"role_id": case.id, "secret_id": secret_id + "x"})
    with pytest.raises(CredentialUnusable) as refused:
        case.at().current()
    case.keep(case.login)
    version = case.store.stage(made, token())
    said = [str(refused.value)]

    def promote(store: Store) -> None:
        store.promote(version, None)

    for status in (302, 400, 403, 404, 405, 412, 429, 500, 503):
        echo = _echoing(status)
        for is_meant in (lambda _: True, lambda one: not one.path.endswith("/login")):
            case.vault.door.inject(echo, when=is_meant, times=None)
            for ask in (*WAYS, promote):
                with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever it is)
                    ask(case.at())
                said += [str(caught.value), repr(caught.value)]
            case.restore()
    tokens = {token_of(one) for one in case.vault.door.requests()}
    for secret in {secret_id, made.password.reveal(), *filter(None, tokens)}:
        assert not [text for text in said if secret in text]


def _echoing(status: int) -> Callable[[Request, Act], Response]:
    """Answer with everything that was sent."""

    def fault(request: Request, _act: Act) -> Response:
        return Response.json({"errors": [repr(request.headers) + request.body.decode()]}, status)

    return fault


def token_of(request: Request) -> str:
    return request.headers.get("x-vault-token", "")


def logins_before(case: VaultCase) -> int:
    """Return how many logins there were of others."""
    requests = case.vault.door.requests("POST", "/v1/auth/approle/login")
    return len([one for one in requests if case.id.encode() not in one.body])


def ended(case: VaultCase) -> None:
    """Return once the token that was shown last lives no more."""
    shown = token_of(case.vault.door.requests()[-1])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            case.vault.call("POST", "auth/token/lookup", {"token": shown})
        except VaultRefusedError:
            return
        time.sleep(0.05)
    raise TimeoutError("the token does not end")
