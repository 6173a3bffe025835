"""What a registry says of a password is reported as it is, and the password goes to that registry alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey.errors import Denied, NotFound, RekeyError, Unfit, Unintelligible, Unreachable
from rekey.model.verdict import LoginVerdict
from tests.sandbox.certificates import Authority
from tests.sandbox.images import Images, push_samples
from tests.sandbox.registry import Registry
from tests.sandbox.wire import Request, Response
from tests.servers.requirement import require
from tests.unit.scripted_registry import API, BASIC, USER, WITHIN, Scripted, asks_for_basic, asks_for_token, at, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.password import Password
    from tests.sandbox.images import Contents


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

    def test_by_a_realm_that_is_too_long_for_a_url(self) -> None:
        with Scripted(lambda _: Response(500)) as server:
            server.answer = asks_for_token(f"{server.url}/{'x' * 70_000}")
            login = at(server.url).login(fresh())
            assert (login.verdict, "nothing was sent" in login.detail) == (LoginVerdict.INCONCLUSIVE, True)

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

    @pytest.mark.parametrize(("anybody", "user"), [(404, 404), (401, 403), (401, 404)])
    def test_one_that_is_closed_to_the_user_too_is_passed_over(self, anybody: int, user: int) -> None:
        """The next one may prove it; where none does, it is said who needs which right."""
        password = fresh()

        def answer(request: Request) -> Response:
            if "barred" in request.path:
                shown = "authorization" in request.headers
                return Response.json({}, user if shown else anybody, BASIC)
            return self.answer(request, password)

        with Scripted(answer) as server:
            both = at(server.url, repositories=["acme/barred", "acme/closed"])
            assert both.login(password).verdict is LoginVerdict.ACCEPTED
            said = at(server.url, repositories=["acme/barred"]).login(password)
            assert said.verdict is LoginVerdict.INCONCLUSIVE
            assert f"give {USER} the right to pull from acme/barred" in said.detail

    def test_is_proven_by_a_closed_one(self) -> None:
        password = fresh()
        with Scripted(lambda request: self.answer(request, password)) as server:
            for named in (["acme/closed"], ["acme/open", "acme/closed"]):
                adapter = at(server.url, repositories=named)
                assert adapter.login(password).verdict is LoginVerdict.ACCEPTED
                assert adapter.login(fresh()).verdict is LoginVerdict.REFUSED
