"""Where a registry takes tokens, a token proves a password only if nobody gets the like without it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from rekey.errors import Denied
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import challenges
from tests.sandbox import faults
from tests.sandbox.http_server import HttpServer
from tests.sandbox.images import push_samples
from tests.sandbox.wire import Request, Response
from tests.servers.requirement import require
from tests.unit.scripted_registry import API, USER, WITHIN, Scripted, at, fresh
from tests.unit.token_auth import Manners, TokenRegistry, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.password import Password
    from rekey.registries.manual import ManualRegistry
    from tests.sandbox.images import Contents
    from tests.sandbox.wire import Json


@dataclass(frozen=True)
class Behind:
    """A real registry behind a token server, with one user and images."""

    registry: TokenRegistry
    tokens: TokenServer
    password: Password
    contents: Contents

    def at(self, *repositories: str) -> ManualRegistry:
        """Return an adapter whose plan names the token server, and these repositories where there are any."""
        more = {"repositories": repositories} if repositories else {}
        return at(self.registry.url, token_host=self.tokens.url, **more)

    def login(self, password: Password, *repositories: str) -> LoginVerdict:
        return self.at(*repositories).login(password).verdict


@pytest.fixture(scope="module")
def filled() -> Iterator[Behind]:
    password = fresh()
    with TokenServer(Manners()) as tokens, TokenRegistry(require("registry"), tokens) as registry:
        tokens.users[USER] = password.reveal()
        registry.add_user(USER, password.reveal())
        contents = push_samples(registry.url, USER, password.reveal())
        registry.hand_over()
        yield Behind(registry, tokens, password, contents)


@pytest.fixture
def behind(filled: Behind) -> Iterator[Behind]:
    filled.tokens.manners = Manners()
    yield filled
    filled.tokens.clear_faults()


class TestToken:
    """A real registry that takes the tokens of a server elsewhere, which the plan names."""

    def test_the_right_password_is_accepted(self, behind: Behind) -> None:
        assert behind.login(behind.password) is LoginVerdict.ACCEPTED

    def test_a_wrong_one_is_refused_and_shown_once(self, behind: Behind) -> None:
        before = behind.tokens.attempts()
        assert behind.login(fresh()) is LoginVerdict.REFUSED
        assert behind.tokens.attempts() == before + 1

    def test_a_server_that_refuses_only_without_a_scope_is_asked_without(self, behind: Behind) -> None:
        """Harbor gives a wrong password 200 and a token without rights where a scope is asked for."""
        behind.tokens.manners = Manners(strict=False)
        assert behind.login(behind.password) is LoginVerdict.ACCEPTED
        assert behind.login(fresh()) is LoginVerdict.REFUSED

    def test_a_token_that_anybody_gets_proves_nothing(self, behind: Behind) -> None:
        behind.tokens.manners = Manners(strict=False, strict_without_scope=False)
        assert behind.login(behind.password) is LoginVerdict.INCONCLUSIVE
        assert behind.login(fresh()) is LoginVerdict.INCONCLUSIVE

    @pytest.mark.parametrize("public", [True, False])
    def test_what_a_token_grants_beyond_anybodys_proves_it(self, behind: Behind, *, public: bool) -> None:
        """Even of a public repository, where the password may push; a wrong one is never taken for right."""
        name = next(iter(behind.contents))
        behind.tokens.manners = Manners(strict=False, strict_without_scope=False, public=(name,) if public else ())
        assert behind.login(behind.password, name) is LoginVerdict.ACCEPTED
        assert behind.login(fresh(), name) is LoginVerdict.INCONCLUSIVE

    def test_silence_of_the_token_server_is_no_proof(self, behind: Behind) -> None:
        """Where it does not say what anybody gets, a token may be anybody's."""
        name = next(iter(behind.contents))
        behind.tokens.manners = Manners(strict=False, strict_without_scope=False, public=(name,))
        for status, verdict in ((503, LoginVerdict.UNREACHABLE), (429, LoginVerdict.LOCKED)):
            behind.tokens.inject(
                faults.answer(Response(status)),
                when=lambda request: "authorization" not in request.headers and "scope" in request.query,
            )
            assert behind.login(behind.password, name) is verdict

    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (Response(500), LoginVerdict.UNREACHABLE),
            (Response(429), LoginVerdict.LOCKED),
            (Response(403), LoginVerdict.INCONCLUSIVE),
            (Response.json({}), LoginVerdict.INCONCLUSIVE),
            (Response.json({"token": "two words"}), LoginVerdict.INCONCLUSIVE),
            (Response.json({"token": "made-up"}), LoginVerdict.INCONCLUSIVE),
            (Response.text("<html>", 200, "text/html"), LoginVerdict.INCONCLUSIVE),
        ],
    )
    def test_a_token_server_that_says_neither(
        self,
        behind: Behind,
        answer: Response,
        verdict: LoginVerdict,
    ) -> None:
        behind.tokens.inject(faults.answer(answer), when=lambda request: "authorization" in request.headers)
        assert behind.login(behind.password) is verdict

    def test_contents_are_read_with_one_token_a_scope(self, behind: Behind) -> None:
        before = len(behind.tokens.requests())
        found = behind.at().contents(behind.password, WITHIN)
        assert found.repositories == behind.contents
        asked = [request.query["scope"] for request in behind.tokens.requests()[before:]]
        assert sorted(asked) == sorted(
            ["registry:catalog:*", *(f"repository:{repository}:pull" for repository in behind.contents)]
        )

    def test_contents_with_a_wrong_password_are_denied(self, behind: Behind) -> None:
        with pytest.raises(Denied, match="refuses the password"):
            behind.at().contents(fresh(), WITHIN)
        behind.tokens.manners = Manners(strict=False)
        with pytest.raises(Denied, match="refuses its tags"):
            behind.at(*behind.contents).contents(fresh(), WITHIN)

    def test_the_token_server_gets_no_token_and_the_registry_no_password(self, behind: Behind) -> None:
        behind.at().contents(behind.password, WITHIN)
        sent = [request.headers.get("authorization", "Basic") for request in behind.tokens.requests()]
        assert {value.partition(" ")[0] for value in sent} == {"Basic"}


class OpaqueRegistry(HttpServer):
    """A registry that knows what its token server's opaque tokens are good for."""

    def __init__(self, tokens: TokenServer, repository: str) -> None:
        super().__init__()
        self._tokens = tokens
        self.repository = repository

    def handle(self, request: Request) -> Response:
        access = self._tokens.opaque.get(request.bearer() or "")
        known = access is not None and (
            request.path == "/v2/" or any(isinstance(entry, dict) and entry["actions"] for entry in access)
        )
        if known:
            return Response.json({"name": self.repository, "tags": ["1"]}, headers=API)
        realm = f'Bearer realm="{self._tokens.url}/token",service="registry"'
        return Response.json({}, 401, {"WWW-Authenticate": realm})


@pytest.mark.parametrize(
    ("strict", "public", "right", "wrong"),
    [
        (True, False, LoginVerdict.ACCEPTED, LoginVerdict.REFUSED),
        (False, False, LoginVerdict.ACCEPTED, LoginVerdict.INCONCLUSIVE),
        (False, True, LoginVerdict.INCONCLUSIVE, LoginVerdict.INCONCLUSIVE),
    ],
)
def test_a_token_that_says_nothing_is_tried(
    *, strict: bool, public: bool, right: LoginVerdict, wrong: LoginVerdict
) -> None:
    manners = Manners(strict, strict_without_scope=False, public=("shop/web",) if public else (), opaque=True)
    with TokenServer(manners) as tokens, OpaqueRegistry(tokens, "shop/web") as registry:
        password = fresh()
        tokens.users[USER] = password.reveal()
        adapter = at(registry.url, token_host=tokens.url, repositories=["shop/web"])
        assert adapter.login(password).verdict is right
        assert adapter.login(fresh()).verdict is wrong


def test_a_public_repository_is_passed_over() -> None:
    """It proves nothing, and the next one of the plan may."""
    manners = Manners(strict=False, strict_without_scope=False, public=("shop/open",), opaque=True)
    with TokenServer(manners) as tokens, OpaqueRegistry(tokens, "shop/web") as registry:
        password = fresh()
        tokens.users[USER] = password.reveal()
        adapter = at(registry.url, token_host=tokens.url, repositories=["shop/open", "shop/web"])
        login = adapter.login(password)
        assert (login.verdict, "shop/web" in login.detail) == (LoginVerdict.ACCEPTED, True)
        assert adapter.login(fresh()).verdict is LoginVerdict.INCONCLUSIVE


def test_a_right_of_pushing_into_a_public_repository_is_one(behind: Behind) -> None:
    """A token may grant more than anybody's where everything may be pulled."""
    names = list(behind.contents)
    behind.tokens.manners = Manners(strict=False, strict_without_scope=False, public=tuple(names))
    assert behind.login(behind.password, *names) is LoginVerdict.ACCEPTED


def test_an_opaque_token_that_opens_nothing_proves_nothing() -> None:
    """Though nobody is given one without a password: what it grants cannot be read, and it opens nothing."""

    def answer(request: Request) -> Response:
        if request.path == "/token":
            return Response.json({"token": "opaque"}) if "authorization" in request.headers else Response.json({}, 401)
        realm = f'Bearer realm="{server.url}/token",service="registry"'
        let_in = request.bearer() and request.path == "/v2/"
        return Response.json({}, 200 if let_in else 401, {**API, "WWW-Authenticate": realm})

    with Scripted(answer) as server:
        said = at(server.url, repositories=["shop/web"]).login(fresh())
        assert said.verdict is LoginVerdict.INCONCLUSIVE
        assert f"give {USER} the right to pull from shop/web" in said.detail
        assert at(server.url).login(fresh()).verdict is LoginVerdict.ACCEPTED, "there is nothing that it could open"


def test_public_ones_and_ones_without_rights_are_told_apart(behind: Behind) -> None:
    """And of which is said what to mend."""
    name = next(iter(behind.contents))
    behind.tokens.manners = Manners(strict=False, strict_without_scope=False, public=(name,))
    said = behind.at(name, "shop/closed").login(fresh())
    assert said.verdict is LoginVerdict.INCONCLUSIVE
    assert "the password gives no right in shop/closed, and anybody may do as much in " + name in said.detail


def test_a_repository_for_which_no_token_is_given_is_passed_over(behind: Behind) -> None:
    """Some servers answer 403 to who lacks the right."""
    name = next(iter(behind.contents))
    refuses = faults.answer(Response.json({}, 403))
    behind.tokens.inject(refuses, when=lambda it: "shop/closed" in it.query.get("scope", ""), times=None)
    assert behind.login(behind.password, "shop/closed", name) is LoginVerdict.ACCEPTED
    said = behind.at("shop/closed").login(behind.password)
    assert said.verdict is LoginVerdict.INCONCLUSIVE
    assert f"give {USER} the right to pull from shop/closed" in said.detail


@pytest.mark.parametrize("status", [503, 429])
def test_silence_about_nobodys_token_is_no_proof_without_repositories(behind: Behind, status: int) -> None:
    behind.tokens.inject(faults.answer(Response(status)), when=lambda it: "authorization" not in it.headers)
    wanted = {503: LoginVerdict.UNREACHABLE, 429: LoginVerdict.LOCKED}[status]
    assert behind.login(behind.password) is wanted


def test_a_grant_in_another_repository_proves_nothing_of_this_one() -> None:
    """Where nobody is asked for none: what the password may elsewhere is not what was asked about."""
    token = jwt.encode(
        {"access": [{"type": "repository", "name": "shop/other", "actions": ["pull"]}]}, secrets.token_bytes(32)
    )

    def answer(request: Request) -> Response:
        if request.path == "/token":
            shown = "authorization" in request.headers
            return Response.json({"token": token if shown else jwt.encode({"access": []}, secrets.token_bytes(32))})
        realm = f'Bearer realm="{server.url}/token",service="registry"'
        let_in = request.bearer() and request.path == "/v2/"
        return Response.json({}, 200 if let_in else 401, {**API, "WWW-Authenticate": realm})

    with Scripted(answer) as server:
        said = at(server.url, repositories=["shop/web"]).login(fresh())
        assert said.verdict is LoginVerdict.INCONCLUSIVE
        assert f"give {USER} the right to pull from shop/web" in said.detail


@pytest.mark.parametrize("repositories", [(), ("shop/web",)])
@pytest.mark.parametrize(
    ("access", "verdict"),
    [
        ([], LoginVerdict.INCONCLUSIVE),
        ([{"type": "repository", "name": "a", "actions": ["pull"]}], LoginVerdict.ACCEPTED),
    ],
)
def test_a_token_without_the_rights_that_were_asked_for_proves_nothing(
    access: list[Json], verdict: LoginVerdict, repositories: tuple[str, ...]
) -> None:
    """A server may give one to a wrong password, and still none without any."""
    token = jwt.encode({"access": access}, secrets.token_bytes(32))

    def answer(request: Request) -> Response:
        if request.path == "/token":
            return Response.json({"token": token}) if "authorization" in request.headers else Response.json({}, 401)
        realm = f'Bearer realm="{server.url}/token",scope="repository:a:pull"'
        return Response.json({}, 200 if request.bearer() else 401, {"WWW-Authenticate": realm})

    with Scripted(answer) as server:
        more = {"repositories": repositories} if repositories else {}
        said = at(server.url, **more).login(fresh())
        assert said.verdict is verdict
        assert "anybody" not in said.detail, "who gets none without a password"


def test_challenges_are_read_as_they_are_written() -> None:
    """Several in one header or in several; quoted commas; spaces; what is malformed is left out."""
    headers = [
        ("WWW-Authenticate", 'Bearer realm="https://auth.example.com/t",service="a, b",scope="repository:a:pull,push"'),
        ("WWW-Authenticate", "Negotiate, BASIC realm=here, charset = UTF-8, =, ???"),
    ]
    found = challenges(httpx.Response(401, headers=headers))
    assert [(one.scheme, dict(one.parameters)) for one in found] == [
        ("bearer", {"realm": "https://auth.example.com/t", "service": "a, b", "scope": "repository:a:pull,push"}),
        ("negotiate", {}),
        ("basic", {"realm": "here", "charset": "UTF-8"}),
    ]
