"""What a token server gives for a password, and whether it outlives it: nothing counts that anybody may do."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import jwt
import pytest

from rekey import runtime
from rekey.contracts import Token
from rekey.errors import Denied, OutOfTime, Unfit, Unintelligible
from rekey.model.old_token import TokenKind
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from rekey.registries.claims import end_of, grants
from tests.sandbox import faults
from tests.sandbox.images import push_samples
from tests.sandbox.registry import Registry
from tests.sandbox.wire import Response
from tests.servers.requirement import require
from tests.unit.scripted_registry import API, BASIC, USER, WITHIN, Scripted, at, fresh
from tests.unit.test_oci_token import OpaqueRegistry
from tests.unit.token_auth import Manners, TokenRegistry, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rekey.contracts import Login
    from rekey.registries.manual import ManualRegistry

KEY = secrets.token_bytes(32)


@dataclass
class Behind:
    """A real registry behind a token server whose manners a test chooses."""

    registry: TokenRegistry
    tokens: TokenServer
    old: Password
    repositories: Sequence[str]

    def at(self, *repositories: str) -> ManualRegistry:
        more = {"repositories": repositories} if repositories else {}
        return at(self.registry.url, token_host=self.tokens.url, **more)

    def after_reset(self, taken: Sequence[Token], *repositories: str) -> list[Login]:
        """Change the password, and return what is said of tokens that were taken with the old one."""
        new = fresh()
        self.tokens.users[USER] = new.reveal()
        return list(self.at(*repositories).try_tokens(taken, new, WITHIN))


@pytest.fixture(scope="module")
def filled() -> Iterator[Behind]:
    password = fresh()
    with TokenServer(Manners()) as tokens, TokenRegistry(require("registry"), tokens) as registry:
        registry.add_user(USER, password.reveal())
        contents = push_samples(registry.url, USER, password.reveal())
        registry.hand_over()
        yield Behind(registry, tokens, password, sorted(contents))


@pytest.fixture
def behind(filled: Behind) -> Iterator[Behind]:
    filled.tokens.manners = Manners()
    filled.tokens.users[USER] = filled.old.reveal()
    filled.tokens.refreshing.clear()
    yield filled
    filled.tokens.clear_faults()


def verdicts(logins: Sequence[Login]) -> list[LoginVerdict]:
    return [one.verdict for one in logins]


def bearer(text: str) -> Token:
    return Token(TokenKind.BEARER, Password(text), None)


class TestTaking:
    def test_a_bearer_with_its_end_and_a_refresh_token_without_one(self, behind: Behind) -> None:
        before = runtime.now()
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        assert [one.kind for one in taken] == [TokenKind.BEARER, TokenKind.REFRESH]
        assert taken[0].ends_at is not None
        assert timedelta(seconds=890) < taken[0].ends_at - before < timedelta(seconds=930)
        assert taken[1].ends_at is None

    def test_it_asks_for_what_the_plan_names(self, behind: Behind) -> None:
        """The rights to pull those repositories are what a thief would want."""
        (taken, _) = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        wanted = frozenset(("repository", name, "pull") for name in behind.repositories)
        assert grants(taken.text.reveal()) == wanted

    def test_no_text_of_one_is_shown(self, behind: Behind) -> None:
        for one in behind.at().take_tokens(behind.old, WITHIN):
            assert one.text.reveal() not in repr(one)

    def test_a_wrong_password_gets_none(self, behind: Behind) -> None:
        with pytest.raises(Denied, match="answered 401 and gave no token"):
            behind.at().take_tokens(fresh(), WITHIN)

    @pytest.mark.parametrize("answer", [Response(500), Response.json({}), Response.text("<html>"), Response(302)])
    def test_an_answer_without_one(self, behind: Behind, answer: Response) -> None:
        behind.tokens.inject(faults.answer(answer))
        with pytest.raises(Unintelligible, match="gave no token"):
            behind.at().take_tokens(behind.old, WITHIN)

    def test_its_time_is_kept(self, behind: Behind) -> None:
        with pytest.raises(OutOfTime):
            behind.at().take_tokens(behind.old, timedelta(0))

    def test_another_host_gets_no_password(self, behind: Behind) -> None:
        before = len(behind.tokens.requests())
        with pytest.raises(Unfit, match="token_host"):
            at(behind.registry.url).take_tokens(behind.old, WITHIN)
        assert len(behind.tokens.requests()) == before

    def test_an_opaque_one_ends_when_the_answer_says(self, behind: Behind) -> None:
        behind.tokens.manners = Manners(opaque=True, says_lifetime=True)
        before = runtime.now()
        ends = behind.at().take_tokens(behind.old, WITHIN)[0].ends_at
        assert ends is not None
        assert timedelta(seconds=299) < ends - before < timedelta(seconds=330)
        behind.tokens.manners = Manners(opaque=True)
        assert behind.at().take_tokens(behind.old, WITHIN)[0].ends_at is None

    def test_a_registry_with_users_of_its_own_gives_none(self) -> None:
        with Registry(require("registry")) as registry:
            password = fresh()
            registry.add_user(USER, password.reveal())
            assert at(registry.url).take_tokens(password, WITHIN) == ()

    def test_an_open_registry_is_asked_where_it_is_closed(self) -> None:
        """GET /v2/ lets anybody in; a repository of the plan asks for a token."""
        with Scripted(lambda _: Response(500)) as server:
            realm = {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
            answers = {
                "/v2/": Response.json({}, headers=API),
                "/token": Response.json({"token": "opaque"}),
                "/v2/acme/closed/tags/list": Response.json({}, 401, realm),
                "/v2/acme/open/tags/list": Response.json({"tags": []}, headers=API),
            }
            server.answer = lambda request: answers[request.path]
            taken = at(server.url, repositories=["acme/open", "acme/closed"]).take_tokens(fresh(), WITHIN)
            assert [one.text.reveal() for one in taken] == ["opaque"]
            assert at(server.url, repositories=["acme/open"]).take_tokens(fresh(), WITHIN) == ()


class TestTrying:
    """After the reset, on what nobody opens without a password."""

    def test_both_outlive_the_password(self, behind: Behind) -> None:
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        said = behind.after_reset(taken, *behind.repositories)
        assert verdicts(said) == [LoginVerdict.ACCEPTED, LoginVerdict.ACCEPTED]
        assert behind.at().login(behind.old).verdict is LoginVerdict.REFUSED
        assert all(f"/v2/{behind.repositories[0]}/tags/list" in one.detail for one in said)

    def test_what_is_dead_is_refused(self, behind: Behind) -> None:
        """The new password's own token opens the same thing at the same moment."""
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        behind.tokens.refreshing.clear()
        said = behind.after_reset([bearer(jwt.encode({"exp": 1}, KEY)), taken[1]], *behind.repositories)
        assert verdicts(said) == [LoginVerdict.REFUSED, LoginVerdict.REFUSED]

    def test_a_refusal_of_a_registry_that_refuses_everybody_is_none(self, behind: Behind) -> None:
        (taken, _) = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        behind.tokens.refreshing.clear()
        dead = [bearer(jwt.encode({"exp": 1}, KEY)), Token(TokenKind.REFRESH, Password("gone"), None)]
        said = behind.at(*behind.repositories).try_tokens(dead, fresh(), WITHIN)  # not the password in force
        assert verdicts(said) == [LoginVerdict.INCONCLUSIVE, LoginVerdict.INCONCLUSIVE]
        assert taken.text.reveal() not in repr(said)

    def test_a_refusal_that_meets_the_new_password_too_is_none(self, behind: Behind) -> None:
        """A repository that is not there opens to nobody: that says nothing of a token."""
        taken = behind.at("shop/missing").take_tokens(behind.old, WITHIN)
        said = behind.after_reset(taken, "shop/missing")
        assert verdicts(said) == [LoginVerdict.INCONCLUSIVE, LoginVerdict.INCONCLUSIVE]
        assert "so it is with a token of the new password" in said[0].detail

    def test_a_bearer_without_rights_is_not_said_to_live(self, behind: Behind) -> None:
        """It is valid, and opens nothing: what it grants counts, not that it exists."""
        (taken, _) = behind.at("shop/other").take_tokens(behind.old, WITHIN)
        assert taken.text.reveal()
        assert verdicts(behind.after_reset([taken], *behind.repositories)) == [LoginVerdict.REFUSED]

    def test_a_public_repository_is_passed_over(self, behind: Behind) -> None:
        public, closed, *_ = behind.repositories
        behind.tokens.manners = Manners(strict=False, public=(public,))
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        said = behind.after_reset(taken, *behind.repositories)
        assert verdicts(said) == [LoginVerdict.ACCEPTED, LoginVerdict.ACCEPTED]
        assert all(f"/v2/{closed}/tags/list" in one.detail for one in said)

    def test_what_anybody_opens_proves_nothing(self, behind: Behind) -> None:
        """A public repository, and a /v2/ that takes anybody's token."""
        public = behind.repositories[0]
        behind.tokens.manners = Manners(strict=False, strict_without_scope=False, public=(public,))
        taken = behind.at(public).take_tokens(behind.old, WITHIN)
        said = behind.after_reset(taken, public)
        assert verdicts(said) == [LoginVerdict.INCONCLUSIVE, LoginVerdict.INCONCLUSIVE]
        assert "anybody" in said[0].detail

    def test_without_a_repository_it_is_tried_where_one_logs_in(self, behind: Behind) -> None:
        taken = behind.at().take_tokens(behind.old, WITHIN)
        said = behind.after_reset(taken)
        assert verdicts(said) == [LoginVerdict.ACCEPTED, LoginVerdict.ACCEPTED]
        assert "GET /v2/" in said[0].detail

    def test_opaque_ones_are_tried_all_the_same(self) -> None:
        with TokenServer(Manners(opaque=True)) as tokens, OpaqueRegistry(tokens, "shop/web") as registry:
            old, new = fresh(), fresh()
            adapter = at(registry.url, token_host=tokens.url, repositories=["shop/web"])
            tokens.users[USER] = old.reveal()
            taken = adapter.take_tokens(old, WITHIN)
            tokens.users[USER] = new.reveal()
            assert verdicts(adapter.try_tokens(taken, new, WITHIN)) == [LoginVerdict.ACCEPTED, LoginVerdict.ACCEPTED]
            tokens.opaque.clear()
            tokens.refreshing.clear()
            assert verdicts(adapter.try_tokens(taken, new, WITHIN)) == [LoginVerdict.REFUSED, LoginVerdict.REFUSED]

    @pytest.mark.parametrize(
        ("status", "verdict"),
        [(503, LoginVerdict.UNREACHABLE), (429, LoginVerdict.LOCKED), (302, LoginVerdict.INCONCLUSIVE)],
    )
    def test_a_token_server_that_does_not_answer_decides_nothing(
        self, behind: Behind, status: int, verdict: LoginVerdict
    ) -> None:
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        behind.tokens.inject(faults.answer(Response(status)), when=lambda request: request.method == "POST")
        said = behind.after_reset(taken, *behind.repositories)
        assert verdicts(said) == [LoginVerdict.ACCEPTED, verdict]

    def test_a_refresh_that_breaks_says_nothing_of_the_bearer(self, behind: Behind) -> None:
        """Which is tried in this invocation or never."""
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        behind.tokens.inject(faults.drop(), when=lambda request: request.method == "POST")
        said = behind.after_reset(taken, *behind.repositories)
        assert verdicts(said) == [LoginVerdict.ACCEPTED, LoginVerdict.UNREACHABLE]

    def test_a_registry_that_is_away_decides_nothing(self) -> None:
        with Scripted(lambda _: Response(503)) as server:
            assert verdicts(at(server.url).try_tokens([bearer("x")], fresh(), WITHIN)) == [LoginVerdict.INCONCLUSIVE]
            server.stop()
            assert verdicts(at(server.url).try_tokens([bearer("x")], fresh(), WITHIN)) == [LoginVerdict.UNREACHABLE]
            assert verdicts(at(server.url).try_tokens([bearer("x")], fresh(), timedelta(0))) == [
                LoginVerdict.UNREACHABLE
            ]

    def test_a_realm_that_moved_to_another_host_gets_nothing(self, behind: Behind) -> None:
        taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
        before = len(behind.tokens.requests())
        said = at(behind.registry.url).try_tokens(taken, fresh(), WITHIN)
        assert verdicts(said) == [LoginVerdict.INCONCLUSIVE, LoginVerdict.INCONCLUSIVE]
        assert len(behind.tokens.requests()) == before

    def test_a_registry_that_asks_for_no_token_any_more(self) -> None:
        with Scripted(lambda _: Response.json({}, 401, BASIC)) as server:
            said = at(server.url).try_tokens([bearer("x")], fresh(), WITHIN)
            assert verdicts(said) == [LoginVerdict.INCONCLUSIVE]
            assert "no token any more" in said[0].detail


class TestClaims:
    def test_the_end(self) -> None:
        end = int(time.time()) + 60
        assert end_of(jwt.encode({"exp": end}, KEY)) == end

    @pytest.mark.parametrize(
        "token",
        ["opaque", "a.b.c", jwt.encode({}, KEY), jwt.encode({"access": "all"}, KEY)],
        ids=["opaque", "no JWT", "nothing", "another shape"],
    )
    def test_what_is_not_said_is_not_known(self, token: str) -> None:
        assert end_of(token) is None
        assert grants(token) is None

    @pytest.mark.parametrize("actions", [True, "pull", 7, {"pull": 1}])
    def test_actions_in_another_shape_grant_nothing(self, actions: object) -> None:
        access = [{"type": "repository", "name": "a", "actions": actions}]
        assert grants(jwt.encode({"access": access}, KEY)) == frozenset()

    @pytest.mark.parametrize("end", [10**18, 10**400], ids=["of time", "of numbers"])
    def test_an_end_beyond_all_time_is_none(self, end: int) -> None:
        with Scripted(lambda _: Response(500)) as server:
            token = jwt.encode({"exp": end}, KEY)
            realm = {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}
            server.answer = lambda request: (
                Response.json({"token": token}) if request.path == "/token" else Response.json({}, 401, realm)
            )
            (taken,) = at(server.url).take_tokens(fresh(), WITHIN)
            assert taken.ends_at is None


def test_a_repository_where_the_user_has_no_right_says_nothing_of_a_token(behind: Behind) -> None:
    """The next one of the plan does: there the tokens work on, and there they end."""
    barred, other, *_ = behind.repositories
    behind.tokens.manners = Manners(barred=(barred,))
    adapter = behind.at(barred, other)
    taken = adapter.take_tokens(behind.old, WITHIN)
    said = behind.after_reset(taken, barred, other)
    assert verdicts(said) == [LoginVerdict.ACCEPTED] * 2
    assert f"opens GET /v2/{other}/tags/list" in said[0].detail
    behind.tokens.refreshing.clear()
    dead = Token(TokenKind.BEARER, Password(secrets.token_urlsafe(12)), None)
    said = behind.after_reset([dead, taken[1]], barred, other)
    assert verdicts(said) == [LoginVerdict.REFUSED] * 2


def test_where_the_new_password_has_no_right_either_nothing_is_said(behind: Behind) -> None:
    behind.tokens.manners = Manners(barred=tuple(behind.repositories))
    taken = behind.at(*behind.repositories).take_tokens(behind.old, WITHIN)
    said = behind.after_reset(taken, *behind.repositories)
    assert verdicts(said) == [LoginVerdict.INCONCLUSIVE] * 2
    assert "and so it is with a token of the new password" in said[0].detail
