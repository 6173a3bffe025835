"""What a registry says of a password is reported as it is, and the password goes to that registry alone."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey.errors import Denied, NotFound, OutOfTime, RekeyError, Unfit, Unintelligible, Unreachable
from rekey.model import plan
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import challenges
from rekey.registries.manual import ManualRegistry
from rekey.secrets import Secrets
from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.images import Images, push_samples
from tests.sandbox.registry import Registry
from tests.sandbox.wire import JsonObject, Request, Response
from tests.servers.requirement import require
from tests.unit.token_auth import Manners, TokenRegistry, TokenServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from tests.sandbox.images import Contents

USER = "prod-images"
WITHIN = timedelta(seconds=10)
API = {"Docker-Distribution-Api-Version": "registry/2.0"}
BASIC = {"WWW-Authenticate": 'Basic realm="here"'}


class NoCredentials(Secrets):
    """None of these tests needs a credential of Rekey's own."""

    def __init__(self) -> None:
        """Know nothing."""


def at(url: str, **more: object) -> ManualRegistry:
    """Return an adapter for a registry. The manual one adds nothing to what all have in common."""
    part = plan.ManualRegistry.model_validate(
        {"type": "manual", "name": "prod-images", "endpoint": url, "username": USER, "where": "there", **more}
    )
    return ManualRegistry(part, NoCredentials())


def fresh() -> Password:
    return Password(secrets.token_urlsafe(16))


class Scripted(HttpServer):
    """Answers as a test says; counts who shows a credential."""

    def __init__(self, answer: Callable[[Request], Response], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.answer = answer

    def handle(self, request: Request) -> Response:
        return self.answer(request)

    def got_credentials(self) -> bool:
        return any("authorization" in request.headers for request in self.requests())


def asks_for_basic(then: Response) -> Callable[[Request], Response]:
    """Answer as a registry that wants Basic, and to a password with `then`."""
    return lambda request: then if "authorization" in request.headers else Response.json({}, 401, BASIC)


def asks_for_token(realm: str) -> Callable[[Request], Response]:
    return lambda _: Response.json({}, 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="registry"'})


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry(require("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def password(registry: Registry) -> Password:
    password = fresh()
    registry.add_user(USER, password.reveal())
    return password


@pytest.fixture(scope="module")
def pushed(registry: Registry, password: Password) -> Contents:
    return push_samples(registry.url, USER, password.reveal())


class TestBasic:
    """A real registry with users of its own."""

    def test_the_right_password_is_accepted(self, registry: Registry, password: Password) -> None:
        assert at(registry.url).login(password).verdict is LoginVerdict.ACCEPTED

    @pytest.mark.usefixtures("password")
    def test_a_wrong_one_is_refused(self, registry: Registry) -> None:
        wrong = fresh()
        login = at(registry.url).login(wrong)
        assert login.verdict is LoginVerdict.REFUSED
        assert wrong.reveal() not in repr(login)

    def test_a_registry_that_is_down_has_refused_nothing(self, password: Password) -> None:
        with Registry(require("registry")) as registry:
            adapter = at(registry.url)
            assert adapter.healthy()
            registry.stop()
            assert adapter.login(password).verdict is LoginVerdict.UNREACHABLE
            assert not adapter.healthy()
            with pytest.raises(Unreachable):
                adapter.contents(password, WITHIN)

    def test_all_contents_are_read(self, registry: Registry, password: Password, pushed: Contents) -> None:
        """Indexes too, by their own digest."""
        assert at(registry.url).contents(password, WITHIN).repositories == pushed

    def test_the_plans_repositories_alone_are_read(
        self, registry: Registry, password: Password, pushed: Contents
    ) -> None:
        name = next(iter(pushed))
        assert at(registry.url, repositories=[name]).contents(password, WITHIN).repositories == {name: pushed[name]}

    def test_a_repository_of_the_plan_that_is_not_there_is_named(self, registry: Registry, password: Password) -> None:
        with pytest.raises(NotFound, match="no repository acme/typo"):
            at(registry.url, repositories=["acme/typo"]).contents(password, WITHIN)

    def test_a_listed_repository_without_images_is_there_empty(self) -> None:
        password = fresh()
        with Registry(require("registry")) as registry:
            registry.add_user(USER, password.reveal())
            with Images(registry.url, USER, password.reveal()) as images:
                digest = images.push("acme/gone", ["1.0"])
            auth = (USER, password.reveal())
            httpx.delete(f"{registry.url}/v2/acme/gone/manifests/{digest}", auth=auth).raise_for_status()
            assert at(registry.url).contents(password, WITHIN).repositories == {"acme/gone": {}}

    @pytest.mark.usefixtures("password")
    def test_contents_with_a_wrong_password_are_denied(self, registry: Registry) -> None:
        with pytest.raises(Denied, match="refuses the password"):
            at(registry.url).contents(fresh(), WITHIN)

    @pytest.mark.usefixtures("pushed")
    def test_no_thread_stays(self, registry: Registry, password: Password) -> None:
        before = threading.active_count()
        adapter = at(registry.url)
        adapter.login(password)
        adapter.contents(password, WITHIN)
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Response.json({}, headers=API), LoginVerdict.ACCEPTED),
        (Response.json({}), LoginVerdict.ACCEPTED),
        (Response.text("<html>Welcome</html>", 200, "text/html"), LoginVerdict.INCONCLUSIVE),
        (Response.text("{}", 200, "text/html"), LoginVerdict.INCONCLUSIVE),
        (Response(204), LoginVerdict.INCONCLUSIVE),
        (Response(302, headers={"Location": "/login"}), LoginVerdict.INCONCLUSIVE),
        (Response.json({"errors": [{"code": "UNAUTHORIZED"}]}, 401), LoginVerdict.REFUSED),
        (Response(401, headers=BASIC), LoginVerdict.REFUSED),
        (Response.text("<html>Log in</html>", 401, "text/html"), LoginVerdict.INCONCLUSIVE),
        (Response.json({"errors": [{"code": "DENIED"}]}, 403), LoginVerdict.INCONCLUSIVE),
        (Response.json({}, 404), LoginVerdict.INCONCLUSIVE),
        (Response(408), LoginVerdict.UNREACHABLE),
        (Response(423), LoginVerdict.LOCKED),
        (Response(425), LoginVerdict.UNREACHABLE),
        (Response.json({"errors": [{"code": "TOOMANYREQUESTS"}]}, 429), LoginVerdict.LOCKED),
        (Response(500), LoginVerdict.UNREACHABLE),
        (Response.text("<html>502 Bad Gateway</html>", 502, "text/html"), LoginVerdict.UNREACHABLE),
    ],
)
def test_only_a_clear_yes_or_no_is_one(answer: Response, verdict: LoginVerdict) -> None:
    """And one login shows the password once: wrong ones lock accounts."""
    with Scripted(asks_for_basic(answer)) as server:
        assert at(server.url).login(fresh()).verdict is verdict
        assert sum("authorization" in request.headers for request in server.requests()) == 1


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Response.text("<html>Welcome</html>", 200, "text/html"), LoginVerdict.INCONCLUSIVE),
        (Response.json({}, 401), LoginVerdict.INCONCLUSIVE),
        (Response.json({}, 401, {"WWW-Authenticate": "Negotiate"}), LoginVerdict.INCONCLUSIVE),
        (Response(301, headers={"Location": "https://registry.example.com/v2/"}), LoginVerdict.INCONCLUSIVE),
        (Response(403), LoginVerdict.INCONCLUSIVE),
        (Response(429), LoginVerdict.LOCKED),
        (Response(503), LoginVerdict.UNREACHABLE),
    ],
)
def test_what_does_not_ask_for_a_password_gets_none(answer: Response, verdict: LoginVerdict) -> None:
    with Scripted(lambda _: answer) as server:
        adapter = at(server.url)
        assert adapter.login(fresh()).verdict is verdict
        assert not adapter.healthy()
        with pytest.raises(RekeyError):
            adapter.contents(fresh(), WITHIN)
        assert not server.got_credentials()


def test_an_untrusted_certificate_gets_no_password() -> None:
    authority = Authority()
    with Scripted(asks_for_basic(Response.json({})), authority.server_context()) as server:
        login = at(server.url).login(fresh())
        assert login.verdict is LoginVerdict.UNREACHABLE
        assert "`ca`" in login.detail
        assert not server.requests()
        assert at(server.url, ca=authority.pem).login(fresh()).verdict is LoginVerdict.ACCEPTED


class TestAnotherHost:
    """Gets nothing: no password, no token, no request at all."""

    @pytest.fixture
    def other(self) -> Iterator[Scripted]:
        with Scripted(lambda _: Response.json({"token": "x"})) as other:
            yield other

    def test_by_a_redirect(self, other: Scripted) -> None:
        to_other = Response(307, headers={"Location": f"{other.url}/v2/"})
        for answer in (lambda _: to_other, asks_for_basic(to_other)):
            with Scripted(answer) as server:
                assert at(server.url).login(fresh()).verdict is LoginVerdict.INCONCLUSIVE
                with pytest.raises(Unintelligible, match="redirect"):
                    at(server.url).contents(fresh(), WITHIN)
        assert not other.requests()

    def test_by_a_token_realm(self, other: Scripted) -> None:
        with Scripted(asks_for_token(f"{other.url}/token")) as server:
            login = at(server.url).login(fresh())
            assert login.verdict is LoginVerdict.INCONCLUSIVE
            assert login.detail.startswith("the token realm is on another host: nothing was sent there")
            assert f"{other.host} is the registry's token server, say so in the plan: `token_host`" in login.detail
            with pytest.raises(Unfit, match="another host"):
                at(server.url).contents(fresh(), WITHIN)
            assert not server.got_credentials()
        assert not other.requests()

    @pytest.mark.parametrize(
        "realm",
        [
            "http://169.254.169.254/token",
            "http://registry.example.com/token",
            "https://user:word@registry.example.com/token",
            "ftp://registry.example.com/token",
            "//registry.example.com/token",
            "/token",
            "",
            "https://registry.example.com:99999/token",
        ],
    )
    def test_by_a_realm_that_cannot_be_used(self, realm: str) -> None:
        with Scripted(asks_for_token(realm)) as server:
            login = at(server.url).login(fresh())
            assert login.verdict is LoginVerdict.INCONCLUSIVE
            assert "nothing was sent" in login.detail
            assert not server.got_credentials()

    @pytest.mark.parametrize("page", ["_catalog", "tags/list"])
    def test_by_a_next_page(self, other: Scripted, page: str) -> None:
        listing = Response.json({"repositories": ["a/b"], "tags": ["1"]}, headers=API)
        next_page = {"Link": f'<{other.url}/v2/{page}?last=x>; rel="next"'}

        def answer(request: Request) -> Response:
            if request.method == "HEAD":
                return Response(200, headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"})
            headers = next_page if request.path.endswith(page) else {}
            return Response(listing.status, listing.body, {**listing.headers, **headers})

        with (
            Scripted(lambda request: asks_for_basic(answer(request))(request)) as server,
            pytest.raises(Unfit, match="next page on another host: nothing was sent there"),
        ):
            at(server.url).contents(fresh(), WITHIN)
        assert not other.requests()


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
        return Response.json({}, 401, {"WWW-Authenticate": f'Bearer realm="{self._tokens.url}/token"'})


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


class TestPublic:
    """A registry that lets anybody in at /v2/: only a closed repository can tell."""

    @staticmethod
    def answer(request: Request, password: Password) -> Response:
        if request.path == "/v2/":
            return Response.json({}, headers=API)
        expected = httpx.BasicAuth(USER, password.reveal())._auth_header  # noqa: SLF001 (what httpx itself would send)
        if "closed" in request.path and request.headers.get("authorization") != expected:
            return Response.json({}, 401, BASIC)
        return Response.json({"tags": ["1"]}, headers=API)

    def test_proves_nothing_without_a_closed_repository(self) -> None:
        password = fresh()
        with Scripted(lambda request: self.answer(request, password)) as server:
            for adapter in (at(server.url), at(server.url, repositories=["acme/open"])):
                login = adapter.login(password)
                assert login.verdict is LoginVerdict.INCONCLUSIVE
                assert "private repository" in login.detail
            assert at(server.url).healthy()
            assert not server.got_credentials()

    def test_is_proven_by_a_closed_one(self) -> None:
        password = fresh()
        with Scripted(lambda request: self.answer(request, password)) as server:
            adapter = at(server.url, repositories=["acme/closed"])
            assert adapter.login(password).verdict is LoginVerdict.ACCEPTED
            assert adapter.login(fresh()).verdict is LoginVerdict.REFUSED


class Shelf(HttpServer):
    """A registry of a few names that answers page by page, and can forget its manners."""

    def __init__(self, contents: dict[str, dict[str, bytes]], page: int = 2) -> None:
        super().__init__()
        self.contents = contents
        self.page = page
        self.digests = True
        self.null_for_none = False

    def handle(self, request: Request) -> Response:
        if "authorization" not in request.headers:
            return Response.json({}, 401, BASIC)
        if request.path == "/v2/_catalog":
            return self._listed(request, "repositories", list(self.contents))
        if request.path.endswith("/tags/list"):
            name = request.path.removeprefix("/v2/").removesuffix("/tags/list")
            return self._listed(request, "tags", list(self.contents[name]))
        if "/manifests/" in request.path:
            name, _, tag = request.path.removeprefix("/v2/").partition("/manifests/")
            body = self.contents[name][tag]
            digest = {"Docker-Content-Digest": f"sha256:{hashlib.sha256(body).hexdigest()}"} if self.digests else {}
            return Response(200, body, {"Content-Type": "application/json", **digest})
        return Response.json({}, headers=API)

    def _listed(self, request: Request, field: str, names: list[str]) -> Response:
        start = names.index(request.query["last"]) + 1 if "last" in request.query else 0
        page = names[start : start + self.page]
        body: JsonObject = {field: [*page] if page or not self.null_for_none else None}
        more = start + self.page < len(names)
        link = {"Link": f'<{request.path}?last={page[-1]}&n=2>; rel="next"'} if more else {}
        return Response.json(body, headers=link)


SHELF = {f"acme/{name}": {f"{n}.0": f"{name}{n}".encode() for n in range(5)} for name in "abcde"}
SHELVED = {
    repository: {tag: f"sha256:{hashlib.sha256(body).hexdigest()}" for tag, body in tags.items()}
    for repository, tags in SHELF.items()
}


class TestContents:
    """Of registries that answer in their own ways."""

    def test_page_after_page(self) -> None:
        with Shelf(SHELF) as shelf:
            assert at(shelf.url).contents(fresh(), WITHIN).repositories == SHELVED

    def test_without_digests_in_the_headers(self) -> None:
        with Shelf(SHELF) as shelf:
            shelf.digests = False
            assert at(shelf.url).contents(fresh(), WITHIN).repositories == SHELVED

    @pytest.mark.parametrize("null_for_none", [True, False])
    def test_null_is_none(self, *, null_for_none: bool) -> None:
        with Shelf({"acme/empty": {}}) as shelf:
            shelf.null_for_none = null_for_none
            assert at(shelf.url).contents(fresh(), WITHIN).repositories == {"acme/empty": {}}
            shelf.contents = {}
            assert at(shelf.url).contents(fresh(), WITHIN).repositories == {}

    def test_a_tag_that_points_to_nothing_is_not_there(self) -> None:
        with Shelf(SHELF) as shelf:
            shelf.inject(faults.answer(Response(404)), when=lambda request: request.path == "/v2/acme/a/manifests/1.0")
            found = at(shelf.url).contents(fresh(), WITHIN).repositories
            assert list(found["acme/a"]) == ["0.0", "2.0", "3.0", "4.0"]

    def test_every_kind_of_manifest_is_asked_for(self) -> None:
        """Asked for one kind alone, a registry answers with another image's digest."""
        with Shelf(SHELF) as shelf:
            at(shelf.url).contents(fresh(), WITHIN)
            accepted = next(request for request in shelf.requests("HEAD")).headers["accept"]
        for kind in ("oci.image.index.v1", "oci.image.manifest.v1", "manifest.list.v2", "distribution.manifest.v2"):
            assert kind in accepted

    def test_a_pull_can_be_refused_where_a_login_is_not(self) -> None:
        with Shelf(SHELF) as shelf:
            shelf.inject(faults.answer(Response(403)), when=lambda request: request.method == "HEAD")
            with pytest.raises(Denied, match="takes the password and refuses a manifest of acme/a"):
                at(shelf.url).contents(fresh(), WITHIN)

    @pytest.mark.parametrize("status", [401, 403, 404, 405])
    def test_a_catalogue_that_is_closed_asks_for_names_in_the_plan(self, status: int) -> None:
        with Shelf(SHELF) as shelf:
            shelf.inject(
                faults.answer(Response(status)), when=lambda request: request.path == "/v2/_catalog", times=None
            )
            with pytest.raises(Unfit, match=r"name them in the plan \(`registry.repositories`\)"):
                at(shelf.url).contents(fresh(), WITHIN)
            found = at(shelf.url, repositories=["acme/a"]).contents(fresh(), WITHIN).repositories
            assert found == {"acme/a": SHELVED["acme/a"]}

    @pytest.mark.parametrize("field", ["repositories", "tags"])
    @pytest.mark.parametrize("names", ["a", {"a": 1}, [1], ["../a"], ["a?b=c"], [""]])
    def test_names_that_cannot_be_names_are_not_asked_for(self, field: str, names: object) -> None:
        def answer(request: Request) -> Response:
            wanted = "_catalog" if field == "repositories" else "list"
            if request.path.endswith(wanted):
                return Response(200, json.dumps({field: names}).encode(), {"Content-Type": "application/json"})
            return Response.json({"repositories": ["acme/a"]}, headers=API)

        with Scripted(lambda request: asks_for_basic(answer(request))(request)) as server:
            with pytest.raises(Unintelligible):
                at(server.url).contents(fresh(), WITHIN)
            assert not [request for request in server.requests() if "manifests" in request.path]

    def test_a_digest_that_is_none_is_not_noted(self) -> None:
        with Shelf(SHELF) as shelf:
            made_up = Response(200, headers={"Docker-Content-Digest": "latest"})
            shelf.inject(faults.answer(made_up), when=lambda request: request.method == "HEAD")
            with pytest.raises(Unintelligible, match="digest"):
                at(shelf.url).contents(fresh(), WITHIN)

    def test_a_busy_registry_is_unreachable(self) -> None:
        with Shelf(SHELF) as shelf:
            shelf.inject(faults.answer(Response(429)), when=lambda request: request.method == "HEAD")
            with pytest.raises(Unreachable):
                at(shelf.url).contents(fresh(), WITHIN)

    def test_time_that_is_up_ends_it(self) -> None:
        """In the middle of a request, too: nothing waits longer, and no thread stays."""
        before = threading.active_count()
        with Shelf(SHELF) as shelf:
            shelf.hold(when=lambda request: request.method == "HEAD")
            began = time.monotonic()
            with pytest.raises(OutOfTime):
                at(shelf.url).contents(fresh(), timedelta(seconds=0.4))
            assert time.monotonic() - began < 2
            shelf.clear_faults()
            with pytest.raises(OutOfTime):
                at(shelf.url).contents(fresh(), timedelta(0))
        assert threading.active_count() == before


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
