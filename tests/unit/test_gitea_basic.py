"""A Gitea that takes a user's right password from no client: said before the reset, as far as Gitea shows it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rekey.model.verdict import LoginVerdict
from tests.sandbox import faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.gitea import ADMIN, Gitea
from tests.sandbox.gitea_door import GiteaDoor
from tests.sandbox.wire import Response
from tests.servers.requirement import require
from tests.unit.gitea_user import User
from tests.unit.scripted_registry import fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.wire import Act, Request


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as aws:
        yield aws


@pytest.fixture(scope="module")
def door() -> Iterator[GiteaDoor]:
    with Gitea(require("gitea")) as gitea, GiteaDoor(gitea) as door:
        yield door


@pytest.fixture(scope="module")
def closed() -> Iterator[GiteaDoor]:
    """Start one with Basic off."""
    with Gitea(require("gitea")) as gitea, GiteaDoor(gitea) as door:
        gitea.allow_basic(allowed=False)
        yield door


@pytest.fixture
def user(aws: AwsSandbox, door: GiteaDoor) -> Iterator[User]:
    yield User(aws, door)
    door.clear_faults()


def asks_as_a_user(request: Request) -> bool:
    return request.path == "/api/v1/user"


class TestOneTimePassword:
    """To a right password without one Gitea 1.26 says what it says to a wrong one; an administrator sees who has it."""

    def test_it_is_said_before_the_reset(self, user: User) -> None:
        assert user.adapter.healthy()
        user.gitea.enrol_totp(user.name, user.password.reveal())
        assert not user.gitea.lets_in(user.name, user.password.reveal()), "so it is"
        said = user.problem()
        assert f"the user {user.name} has two-factor login" in said
        assert "turn two-factor login off" in said

    def test_no_refusal_counts_then(self, user: User) -> None:
        user.gitea.enrol_totp(user.name, user.password.reveal())
        assert not user.adapter.healthy()

    def test_it_is_seen_whoever_else_has_such_a_name(self, user: User, aws: AwsSandbox) -> None:
        """The search finds parts of names, too."""
        longer = User(aws, user.door)
        user.gitea.call("POST", f"admin/users/{longer.name}/rename", {"new_username": f"{user.name}-more"})
        longer.name = f"{user.name}-more"
        user.gitea.enrol_totp(user.name, user.password.reveal())
        longer.adapter.check()
        assert "has two-factor login" in user.problem()

    def test_a_server_that_does_not_show_it_is_not_taken_to(self, user: User) -> None:
        """Gitea before 1.26, and Forgejo: the filter is nothing to them, and everybody is in either list."""

        def without_filter(request: Request, _act: Act) -> Response:
            query = {key: value for key, value in request.query.items() if key != "is_2fa_enabled"}
            return user.door.handle(replace(request, query=query))

        user.door.inject(without_filter, when=lambda it: "is_2fa_enabled" in it.query, times=None)
        user.adapter.check()

    def test_a_server_that_says_it_to_the_right_password_is_believed(self, user: User) -> None:
        """As these do."""
        user.gitea.enrol_totp(user.name, user.password.reveal())
        said = {"message": "invalid provided OTP", "url": "https://gitea.test/api/swagger"}
        user.door.inject(faults.answer(Response.json({**said}, 401)), when=asks_as_a_user)
        login = user.adapter.login(user.password)
        assert login.verdict is LoginVerdict.INCONCLUSIVE
        assert "the password is right" in login.detail
        assert "turn two-factor login off" in login.detail


class TestSecurityKey:
    """Nothing but the right password shows it."""

    def test_a_right_password_is_not_called_wrong(self, user: User) -> None:
        user.gitea.register_webauthn(user.name)
        assert not user.gitea.lets_in(user.name, user.password.reveal()), "so it is"
        login = user.adapter.login(user.password)
        assert login.verdict is LoginVerdict.INCONCLUSIVE
        assert f"the password is right, and the user {user.name} has two-factor login" in login.detail

    def test_a_wrong_one_is(self, user: User) -> None:
        user.gitea.register_webauthn(user.name)
        assert user.adapter.login(fresh()).verdict is LoginVerdict.REFUSED

    def test_an_api_that_is_away_takes_no_refusal_back(self, user: User) -> None:
        user.door.inject(faults.drop(), when=asks_as_a_user)
        assert user.adapter.login(fresh()).verdict is LoginVerdict.REFUSED


class TestBasicIsOff:
    """`[service] ENABLE_BASIC_AUTHENTICATION = false`."""

    @pytest.mark.parametrize("kind", ["token", "password"])
    def test_it_is_said_before_the_reset(self, aws: AwsSandbox, closed: GiteaDoor, kind: str) -> None:
        """Whatever Rekey's own credential is: a token of an administrator's works on."""
        user = User(aws, closed)
        if kind == "password":
            user.credential = {"username": ADMIN, "password": secrets.token_urlsafe(12)}
        assert not user.gitea.lets_in(user.name, user.password.reveal()), "so it is"
        assert "`ENABLE_BASIC_AUTHENTICATION = true`" in user.problem()

    def test_nobodys_password_is_what_is_shown(self, user: User) -> None:
        """A wrong one of the user's might lock an account, where another source keeps it."""
        before = len(user.door.requests())
        user.adapter.check()
        shown = [one for one in user.door.requests()[before:] if asks_as_a_user(one)]
        assert len(shown) == 1
        assert user.password.reveal() not in repr(shown)

    def test_it_is_asked_before_the_reset_alone(self, user: User) -> None:
        """Each time is a failed login in Gitea's log, and there is who bans addresses for those."""
        before = len(user.door.requests())
        assert user.adapter.healthy()
        assert [one for one in user.door.requests()[before:] if asks_as_a_user(one)] == []

    def test_where_only_who_signs_in_may_look(self, user: User) -> None:
        """REQUIRE_SIGNIN_VIEW has words of its own for it."""
        said = {"message": "Only signed in user is allowed to call APIs."}
        user.door.inject(faults.answer(Response.json({**said}, 403)), when=asks_as_a_user)
        assert "`ENABLE_BASIC_AUTHENTICATION = true`" in user.problem()
