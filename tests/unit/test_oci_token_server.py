"""The distribution project's own token server, before its registry: what its tokens grant, and what they outlive."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.errors import Denied
from rekey.model.old_token import TokenKind
from rekey.model.verdict import LoginVerdict
from rekey.registries.claims import grants
from tests.sandbox.images import push_samples
from tests.sandbox.token_registry import TokenRegistry
from tests.servers.requirement import require
from tests.unit.scripted_registry import WITHIN, at, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.password import Password
    from rekey.registries.manual import ManualRegistry
    from tests.sandbox.images import Contents


@dataclass
class User:
    """A user with images, and adapters for it."""

    real: TokenRegistry
    name: str
    password: Password
    contents: Contents

    def at(self, *repositories: str) -> ManualRegistry:
        more = {"repositories": repositories} if repositories else {}
        return at(self.real.url, username=self.name, token_host=self.real.tokens.url, **more)

    def reset(self) -> Password:
        """Change the password, and return the new one."""
        new = fresh()
        self.real.set_password(self.name, new.reveal())
        return new


@pytest.fixture(scope="module")
def real() -> Iterator[TokenRegistry]:
    with TokenRegistry(require("registry"), require("token-server")) as real:
        yield real


@pytest.fixture
def user(real: TokenRegistry) -> User:
    name, password = f"user-{secrets.token_hex(4)}", fresh()
    real.add_user(name, password.reveal())
    contents = push_samples(real.url, name, password.reveal(), namespace=name)
    return User(real, name, password, contents)


def test_a_right_and_a_wrong_password(user: User) -> None:
    for adapter in (user.at(), user.at(*user.contents)):
        assert adapter.login(user.password).verdict is LoginVerdict.ACCEPTED
        assert adapter.login(fresh()).verdict is LoginVerdict.REFUSED


def test_what_its_token_grants_is_said(user: User) -> None:
    repository = next(iter(user.contents))
    assert user.at(repository).login(user.password).detail == f"the password grants pull, push of {repository}"


def test_a_token_without_rights_proves_nothing(user: User) -> None:
    """The server gives one for a repository of others, and grants nothing of it."""
    others = user.at("somebody-else/web")
    (bearer, _) = others.take_tokens(user.password, WITHIN)
    assert grants(bearer.text.reveal()) == frozenset()
    said = others.login(user.password)
    assert said.verdict is LoginVerdict.INCONCLUSIVE
    assert f"give {user.name} the right to pull from somebody-else/web" in said.detail
    assert others.login(fresh()).verdict is LoginVerdict.REFUSED, "which it says all the same"
    with pytest.raises(Denied, match="refuses its tags"):
        others.contents(user.password, WITHIN)


def test_one_repository_with_rights_is_enough(user: User) -> None:
    mine = next(iter(user.contents))
    said = user.at("somebody-else/web", mine).login(user.password)
    assert (said.verdict, said.detail) == (LoginVerdict.ACCEPTED, f"the password grants pull, push of {mine}")


def test_a_plan_without_repositories_says_that_nothing_was_read(user: User) -> None:
    said = user.at().login(user.password)
    assert said.verdict is LoginVerdict.ACCEPTED
    assert said.detail.endswith("What it grants was not read: the plan names no `repositories`")


def test_all_contents_are_read(user: User) -> None:
    assert user.at(*user.contents).contents(user.password, WITHIN).repositories == user.contents


def test_a_bearer_and_a_refresh_token_outlive_the_password(user: User) -> None:
    adapter, before = user.at(*user.contents), runtime.now()
    taken = adapter.take_tokens(user.password, WITHIN)
    assert [one.kind for one in taken] == [TokenKind.BEARER, TokenKind.REFRESH]
    ends = taken[0].ends_at
    assert ends is not None
    assert timedelta(minutes=14, seconds=50) < ends - before < timedelta(minutes=15, seconds=10)
    assert taken[1].ends_at is None
    new = user.reset()
    assert adapter.login(user.password).verdict is LoginVerdict.REFUSED
    said = adapter.try_tokens(taken, new, WITHIN)
    assert [one.verdict for one in said] == [LoginVerdict.ACCEPTED, LoginVerdict.ACCEPTED]


def test_a_refresh_token_that_was_revoked_is_refused(user: User) -> None:
    """The server keeps them in memory: one that starts anew knows none."""
    adapter = user.at(*user.contents)
    taken = adapter.take_tokens(user.password, WITHIN)
    new = user.reset()
    user.real.tokens.stop()
    user.real.tokens.start()
    said = adapter.try_tokens(taken, new, WITHIN)
    assert [one.verdict for one in said] == [LoginVerdict.ACCEPTED, LoginVerdict.REFUSED]


def test_without_its_token_server_nothing_is_known(user: User) -> None:
    adapter = user.at(*user.contents)
    taken = adapter.take_tokens(user.password, WITHIN)
    user.real.tokens.stop()
    try:
        assert adapter.login(user.password).verdict is LoginVerdict.UNREACHABLE
        assert adapter.healthy(), "the registry itself is well"
        said = adapter.try_tokens(taken, user.password, WITHIN)
        assert {one.verdict for one in said} == {LoginVerdict.UNREACHABLE}
    finally:
        user.real.tokens.start()
