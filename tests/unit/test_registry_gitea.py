"""A user of a real Gitea: everything that would make the call vain is said before it, and nothing is taken for more."""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey.contracts import Answer
from rekey.errors import CredentialUnusable, Denied, NotFound, NotSent, Unfit, Unintelligible
from rekey.model import plan
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from rekey.registries.candidates import SPECIAL
from tests.sandbox import faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.gitea import ADMIN, Gitea
from tests.sandbox.gitea_door import GiteaDoor, set_in
from tests.sandbox.http_server import HttpServer
from tests.sandbox.images import push_samples
from tests.sandbox.wire import Response
from tests.servers.requirement import require
from tests.unit.gitea_user import NAME, User
from tests.unit.scripted_registry import WITHIN, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.sandbox.wire import Act, Json, JsonObject, Request

LONG = 50
KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.digits, SPECIAL)


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as aws:
        yield aws


@pytest.fixture(scope="module")
def door() -> Iterator[GiteaDoor]:
    with Gitea(require("gitea")) as gitea, GiteaDoor(gitea) as door:
        yield door


@pytest.fixture(scope="module")
def strict() -> Iterator[GiteaDoor]:
    """Start one whose rules for passwords are stricter than those it comes with."""
    rules = "lower,upper,digit,spec"
    with Gitea(require("gitea"), least_length=LONG, complexity=rules) as gitea, GiteaDoor(gitea) as door:
        yield door


@pytest.fixture
def user(aws: AwsSandbox, door: GiteaDoor) -> Iterator[User]:
    yield User(aws, door)
    door.clear_faults()


class TestCheck:
    def test_it_passes_and_changes_nothing(self, user: User) -> None:
        before = user.gitea.call("GET", f"users/{user.name}")
        user.adapter.check()
        assert user.gitea.call("GET", f"users/{user.name}") == before
        assert user.gitea.lets_in(user.name, user.password.reveal())
        assert user.door.sets(user.name) == []

    def test_the_rights_it_needs_are_enough(self, user: User) -> None:
        user.administrator("write:admin", "read:user")
        adapter = user.adapter
        adapter.check()
        adapter.prepare_reset()
        assert adapter.took(adapter.set(adapter.candidate()))

    def test_a_password_of_an_administrator_will_do(self, user: User) -> None:
        name, password = f"admin-{secrets.token_hex(4)}", fresh().reveal()
        user.gitea.add_user(name, password)
        user.gitea.change_user(name, admin=True)
        user.credential = {"username": name, "password": password}
        user.adapter.check()

    def test_a_token_that_may_read_and_not_write(self, user: User) -> None:
        """Found without trying: Gitea looks at the rights before it looks at what is asked."""
        user.administrator("read:admin", "read:user")
        said = user.problem(Denied)
        assert "403" in said
        assert "write:admin" in said

    def test_a_token_that_may_not_read_users(self, user: User) -> None:
        user.administrator("write:admin")
        assert "does its token have read:user" in user.problem(Denied)

    def test_a_token_of_nobodys(self, user: User) -> None:
        user.credential = {"token": secrets.token_hex(20)}
        assert "is the credential rekey/" in user.problem(Denied)

    def test_a_token_of_somebody_who_is_no_administrator(self, user: User) -> None:
        """To whom every user looks as if it were not active."""
        name, password = f"user-{secrets.token_hex(4)}", fresh().reveal()
        user.gitea.add_user(name, password)
        user.gitea.change_user(user.name, visibility="limited")
        user.credential = {"token": user.gitea.token(name, password)}
        assert "must be a site administrator's" in user.problem(Denied)

    @pytest.mark.parametrize("credential", [{}, {"token": "two words"}, {"username": "x"}])
    def test_a_credential_without_what_is_shown(self, user: User, credential: dict[str, str]) -> None:
        user.credential = credential
        user.problem(CredentialUnusable)

    def test_the_very_password_that_rotates(self, user: User) -> None:
        user.credential = {"username": user.name.upper(), "password": user.password.reveal()}
        assert "is the password that rotates" in user.problem()

    def test_no_such_user(self, user: User) -> None:
        user.name = "nobody-at-all"
        assert "`username`" in user.problem(NotFound)

    def test_a_user_that_was_renamed(self, user: User) -> None:
        user.gitea.call("POST", f"admin/users/{user.name}/rename", {"new_username": f"{user.name}-new"})
        assert "renamed" in user.problem()

    def test_a_name_in_other_letters_is_the_same_user(self, user: User) -> None:
        user.name = user.name.upper()
        adapter = user.adapter
        adapter.check()
        adapter.prepare_reset()
        assert adapter.took(adapter.set(adapter.candidate()))

    def test_a_user_that_may_not_sign_in(self, user: User) -> None:
        user.gitea.change_user(user.name, prohibit_login=True)
        assert "is prohibited from signing in" in user.problem()

    def test_a_user_that_is_not_active(self, user: User) -> None:
        user.gitea.change_user(user.name, active=False)
        assert "is not active" in user.problem()

    def test_a_user_of_another_source(self, user: User) -> None:
        """Gitea would answer 200, and set nothing."""
        shown: JsonObject = {
            "login": user.name,
            "login_name": "cn=x",
            "source_id": 3,
            "active": True,
            "prohibit_login": False,
        }
        user.door.inject(faults.answer(Response.json(shown)), when=user.is_asked_about)
        assert "authentication source" in user.problem()

    def test_a_gitea_that_does_not_say_who_keeps_the_password(self, user: User) -> None:
        """As before 1.22."""
        shown: dict[str, Json] = {"login": user.name, "login_name": "", "active": True, "prohibit_login": False}
        user.door.inject(faults.answer(Response.json(shown)), when=lambda one: one.path.endswith(f"/users/{user.name}"))
        assert "from 1.22 on" in user.problem()

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"login": 5}', b'{"login": "x", "source_id": 0}'])
    def test_an_answer_that_is_no_user(self, user: User, body: bytes) -> None:
        user.door.inject(faults.answer(Response(200, body)), when=user.is_asked_about)
        user.problem(Unintelligible)

    def test_what_answers_the_try_as_no_gitea_does(self, user: User) -> None:
        user.door.inject(faults.answer(Response.json({})), when=lambda it: it.method == "PATCH")
        assert "is it a Gitea?" in user.problem(Unintelligible)

    @pytest.mark.parametrize(
        "alphabet",
        [{"characters": "abcé"}, {"characters": "abc "}, {"max_length": 7}, {"min_length": 73}, {"max_length": 3}],
    )
    def test_an_alphabet_without_a_possible_password(self, user: User, alphabet: JsonObject) -> None:
        user.registry = {"alphabet": alphabet}
        assert "allows no password that Gitea takes" in user.problem()
        with pytest.raises(Unfit):
            user.adapter.candidate()


class TestCandidate:
    def test_it_has_every_kind_of_character(self, user: User) -> None:
        for _ in range(50):
            text = user.adapter.candidate().reveal()
            assert len(text) == 40
            assert all(set(text) & set(kind) for kind in KINDS)

    def test_the_strictest_rules_take_it(self, aws: AwsSandbox, strict: GiteaDoor) -> None:
        user = _with_a_long_password(aws, strict)
        user.registry = {"alphabet": {"min_length": LONG}}
        adapter = user.adapter
        adapter.prepare_reset()
        ours = adapter.candidate()
        assert adapter.took(adapter.set(ours))
        assert adapter.login(ours).verdict is LoginVerdict.ACCEPTED

    @pytest.mark.parametrize(
        ("alphabet", "length", "kinds"),
        [
            ({}, 40, KINDS),
            ({"min_length": 64}, 64, KINDS),
            ({"max_length": 16}, 16, KINDS),
            ({"characters": "abc123"}, 40, (string.ascii_lowercase, string.digits)),
            ({"characters": string.ascii_uppercase, "max_length": 8}, 8, (string.ascii_uppercase,)),
        ],
    )
    def test_it_is_of_the_plans_alphabet(
        self, user: User, alphabet: JsonObject, length: int, kinds: Sequence[str]
    ) -> None:
        user.registry = {"alphabet": alphabet}
        adapter = user.adapter
        for _ in range(20):
            text = adapter.candidate().reveal()
            assert len(text) == length
            assert set(text) <= set(adapter.alphabet.characters or "")
            assert all(set(text) & set(kind) for kind in kinds)


class TestSet:
    def test_the_body_is_what_gitea_asks_for_and_nothing_else(self, user: User) -> None:
        adapter, ours = user.adapter, user.adapter.candidate()
        adapter.prepare_reset()
        adapter.set(ours)
        (sent,) = [one for one in user.door.requests("PATCH", user.path) if set_in(one)]
        known = {"login_name": user.name, "source_id": 0, "must_change_password": False}
        assert json.loads(sent.body) == {**known, "password": ours.reveal()}

    def test_what_gitea_has_as_login_name_is_kept(self, user: User) -> None:
        """It must be given, and is written: what stands there is given back."""
        user.gitea.call("PATCH", f"admin/users/{user.name}", {"login_name": "kept-as-it-is", "source_id": 0})
        adapter = user.adapter
        adapter.prepare_reset()
        assert adapter.took(adapter.set(adapter.candidate()))
        assert user.gitea.call("GET", f"users/{user.name}")["login_name"] == "kept-as-it-is"

    def test_nothing_else_of_the_user_changes(self, user: User) -> None:
        before = user.gitea.call("GET", f"users/{user.name}")
        adapter = user.adapter
        adapter.prepare_reset()
        adapter.set(adapter.candidate())
        after = user.gitea.call("GET", f"users/{user.name}")
        assert {**after, "login_name": ""} == before

    @pytest.mark.parametrize("password", ["", "short12", "x" * 73])
    def test_what_does_nothing_or_would_be_refused_is_never_sent(self, user: User, password: str) -> None:
        adapter = user.adapter
        adapter.prepare_reset()
        with pytest.raises(NotSent):
            adapter.set(Password(password))
        assert user.door.requests("PATCH", user.path) == []

    def test_an_empty_password_is_answered_200_and_does_nothing(self, user: User) -> None:
        """Which is why none is ever sent."""
        user.gitea.call("PATCH", f"admin/users/{user.name}", {"login_name": user.name, "source_id": 0, "password": ""})
        assert user.gitea.lets_in(user.name, user.password.reveal())

    def test_a_redirect_is_not_followed(self, user: User) -> None:
        adapter = user.adapter
        adapter.prepare_reset()
        with HttpServer() as elsewhere:
            user.door.inject(faults.answer(Response(307, b"", {"Location": f"{elsewhere.url}{user.path}"})))
            answer = adapter.set(adapter.candidate())
            assert elsewhere.requests() == []
        assert not adapter.took(answer)
        assert adapter.refusal(answer) is None

    def test_the_old_password_is_dead_at_once_everywhere(self, user: User) -> None:
        adapter, ours = user.adapter, user.adapter.candidate()
        adapter.prepare_reset()
        adapter.set(ours)
        old, new = (user.name, user.password.reveal()), (user.name, ours.reveal())
        for path in ("/v2/", "/v2/token", "/api/v1/user"):
            assert httpx.get(user.gitea.url + path, auth=old).status_code == 401
            assert httpx.get(user.gitea.url + path, auth=new).status_code == 200

    def test_nothing_that_gitea_shows_moves_with_it(self, user: User) -> None:
        """So there is no mark of a change, and a lost answer is settled by a login with the candidate."""
        adapter = user.adapter
        adapter.prepare_reset()
        adapter.set(adapter.candidate())
        first = user.gitea.call("GET", f"users/{user.name}")
        adapter.set(adapter.candidate())
        assert user.gitea.call("GET", f"users/{user.name}") == first
        assert adapter.change_mark() is None


class TestRefusals:
    """Gitea's own no is definite, and says what to change."""

    def test_a_password_that_is_too_short(self, aws: AwsSandbox, strict: GiteaDoor) -> None:
        user = _with_a_long_password(aws, strict)
        said = user.refusal("aB3-" * 5)
        assert said.startswith(f"HTTP 400 from PATCH {user.path}: ")
        assert "set the plan's `alphabet.min_length` to that" in said
        assert f"{LONG} characters" in said

    def test_a_password_that_is_not_complex_enough(self, aws: AwsSandbox, strict: GiteaDoor) -> None:
        said = _with_a_long_password(aws, strict).refusal("a" * 60)
        assert "PASSWORD_COMPLEXITY" in said
        assert "`alphabet.characters`" in said

    @pytest.mark.parametrize(
        ("message", "hint"),
        [
            ("password has been pwned", "list of leaked ones"),
            ("using Have-I-Been-Pwned service failed: dial tcp: no such host", "does not reach"),
        ],
    )
    def test_a_password_that_is_looked_up_elsewhere(self, user: User, message: str, hint: str) -> None:
        said = user.adapter.refusal(Answer(400, json.dumps({"message": message, "url": "x"}).encode()))
        assert said is not None
        assert hint in said
        assert "dial tcp" not in said

    @pytest.mark.parametrize(("gone", "status"), [("user", 404), ("right", 403), ("token", 401)])
    def test_what_changed_since_the_check(self, user: User, gone: str, status: int) -> None:
        name, password = f"admin-{secrets.token_hex(4)}", fresh().reveal()
        user.gitea.add_user(name, password)
        user.gitea.change_user(name, admin=True)
        user.credential = {"username": name, "password": password}
        adapter = user.adapter
        adapter.check()
        adapter.prepare_reset()
        if gone == "user":
            user.gitea.call("DELETE", f"admin/users/{user.name}")
        elif gone == "right":
            user.gitea.change_user(name, admin=False)
        else:
            user.gitea.set_password(name, fresh().reveal())
        answer = adapter.set(adapter.candidate())
        assert adapter.refusal(answer) == f"HTTP {status} from PATCH {user.path}"

    @pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"message": "Forbidden"}', b'{"url": "x"}', b"[]"])
    def test_what_is_not_giteas_own_no_refuses_nothing(self, user: User, body: bytes) -> None:
        assert user.adapter.refusal(Answer(403, body)) is None

    @pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"[]", b'{"login": "somebody-else"}', b'{"login": 5}'])
    def test_what_does_not_show_the_user_took_nothing(self, user: User, body: bytes) -> None:
        assert not user.adapter.took(Answer(200, body))
        assert user.adapter.refusal(Answer(200, body)) is None


def _with_a_long_password(aws: AwsSandbox, door: GiteaDoor) -> User:
    """Return a user of the strict Gitea, whose first password had to be as long as it asks."""
    return User(aws, door, Password(f"aB3-{secrets.token_hex(LONG)}"))


class TestWarnings:
    """What stops nothing, and a person should know before the password changes."""

    def test_there_are_none_where_all_is_well(self, user: User) -> None:
        push_samples(user.gitea.url, user.name, user.password.reveal(), namespace=user.name)
        assert list(user.adapter.warnings(user.password)) == []
        assert list(user.adapter.warnings(None)) == []

    @pytest.mark.parametrize("named", [True, False])
    def test_what_anybody_may_pull(self, user: User, *, named: bool) -> None:
        contents = push_samples(user.gitea.url, user.name, user.password.reveal(), namespace=user.name)
        user.gitea.change_user(user.name, visibility="public")
        user.registry = {"repositories": [*sorted(contents)]} if named else {}
        (said,) = user.adapter.warnings(user.password)
        assert said.startswith(f"anybody may pull {user.name}/api, {user.name}/web, {user.name}/worker without")

    def test_of_many_some_are_named(self, user: User) -> None:
        user.gitea.change_user(user.name, visibility="public")
        user.registry = {"repositories": [f"{user.name}/r{number}" for number in range(7)]}
        tags = faults.answer(Response.json({"tags": []}))
        user.door.inject(tags, when=lambda it: it.path.startswith("/v2/"), times=None)
        user.registry["endpoint"] = user.door.url
        assert f"{user.name}/r4 and 2 more" in user.adapter.warnings(None)[0]

    def test_a_repository_of_others_is_none_of_this_plans(self, user: User, aws: AwsSandbox) -> None:
        other = User(aws, user.door)
        push_samples(user.gitea.url, other.name, other.password.reveal(), namespace=other.name)
        user.gitea.change_user(other.name, visibility="public")
        assert list(user.adapter.warnings(user.password)) == []

    @pytest.mark.parametrize("known", [True, False])
    def test_a_personal_access_token_that_survives(self, user: User, *, known: bool) -> None:
        """It opens the registry in the password's place; one that may do other things is none of it."""
        token = user.gitea.token(user.name, user.password.reveal(), ["read:package"])
        user.gitea.token(user.name, user.password.reveal(), ["read:repository"])
        (said,) = user.adapter.warnings(user.password if known else None)
        assert said.count("token-") == 1
        assert "outlive the password" in said
        assert token not in said
        adapter, ours = user.adapter, user.adapter.candidate()
        adapter.prepare_reset()
        adapter.set(ours)
        assert user.gitea.lets_in(user.name, token), "so it does"

    def test_tokens_are_seen_however_few_a_page_shows(self, user: User) -> None:
        """As with `[api] MAX_RESPONSE_ITEMS = 1`."""
        for scope in ("read:user", "read:package", "write:package"):
            user.gitea.token(user.name, user.password.reveal(), [scope])

        def one_a_page(request: Request, _act: Act) -> Response:
            return user.door.handle(replace(request, query={**request.query, "limit": "1"}))

        user.door.inject(one_a_page, when=lambda it: it.path.endswith("/tokens"), times=None)
        (said,) = user.adapter.warnings(user.password)
        assert said.count("token-") == 2

    def test_tokens_are_listed_with_the_users_own_password_where_the_credential_may_not(self, user: User) -> None:
        user.gitea.token(user.name, user.password.reveal(), ["all"])
        user.administrator("write:admin")
        (said,) = user.adapter.warnings(user.password)
        assert "token-" in said
        (said,) = user.adapter.warnings(None)
        assert "could not be seen" in said
        assert "read:user" in said

    def test_tokens_that_show_no_scopes_are_taken_to_open_it(self, user: User) -> None:
        """Before 1.20 Gitea shows none."""
        user.gitea.token(user.name, user.password.reveal(), ["read:user"])

        def without_scopes(request: Request, _act: Act) -> Response:
            answer = user.door.handle(request)
            tokens = [{key: value for key, value in one.items() if key != "scopes"} for one in json.loads(answer.body)]
            return replace(answer, body=json.dumps(tokens).encode())

        assert list(user.adapter.warnings(user.password)) == []
        user.door.inject(without_scopes, when=lambda it: it.path.endswith("/tokens"), times=None)
        (said,) = user.adapter.warnings(user.password)
        assert "outlive the password" in said

    @pytest.mark.parametrize("known", [True, False])
    def test_a_password_that_must_be_changed(self, user: User, *, known: bool) -> None:
        """The registry lets it in all the same. Only the password shows it, and the reset lifts it in any case."""
        user.gitea.change_user(user.name, must_change_password=True)
        user.adapter.check()
        assert user.adapter.login(user.password).verdict is LoginVerdict.ACCEPTED
        said = user.adapter.warnings(user.password if known else None)
        assert ["`must_change_password`" in one and "the reset lifts that" in one for one in said] == [True] * known
        adapter, ours = user.adapter, user.adapter.candidate()
        adapter.prepare_reset()
        assert adapter.took(adapter.set(ours))
        assert adapter.login(ours).verdict is LoginVerdict.ACCEPTED
        assert list(adapter.warnings(ours)) == []
        assert httpx.get(f"{user.gitea.url}/api/v1/user", auth=(user.name, ours.reveal())).status_code == 200

    def test_what_cannot_be_looked_at_hides_nothing_else(self, user: User) -> None:
        user.gitea.change_user(user.name, must_change_password=True)
        user.door.inject(faults.gateway_page(), when=lambda it: it.path.endswith("/tokens"))
        unseen, must_change = user.adapter.warnings(user.password)
        assert unseen.startswith("not all could be looked at: ")
        assert "must_change_password" in must_change

    def test_all_of_it_at_once(self, user: User) -> None:
        push_samples(user.gitea.url, user.name, user.password.reveal(), namespace=user.name)
        user.gitea.token(user.name, user.password.reveal(), ["all"])
        user.gitea.change_user(user.name, visibility="public", must_change_password=True)
        assert len(user.adapter.warnings(user.password)) == 3


class TestLogin:
    """The registry itself is asked: with Basic, which it offers beside its tokens."""

    def test_right_and_wrong(self, user: User) -> None:
        assert user.adapter.login(user.password).verdict is LoginVerdict.ACCEPTED
        assert user.adapter.login(fresh()).verdict is LoginVerdict.REFUSED

    def test_wrong_passwords_lock_nobody_out(self, user: User) -> None:
        for _ in range(10):
            user.adapter.login(fresh())
        assert user.adapter.login(user.password).verdict is LoginVerdict.ACCEPTED

    def test_a_public_repository_does_not_count(self, user: User) -> None:
        contents = push_samples(user.gitea.url, user.name, user.password.reveal(), namespace=user.name)
        user.gitea.change_user(user.name, visibility="public")
        user.registry = {"repositories": [*sorted(contents)]}
        assert user.adapter.login(fresh()).verdict is LoginVerdict.REFUSED

    @pytest.mark.parametrize("what", ["prohibited", "inactive", "api"])
    def test_a_refusal_counts_only_where_the_user_would_be_let_in(self, user: User, what: str) -> None:
        assert user.adapter.healthy()
        if what == "api":
            user.door.inject(faults.gateway_page())
        else:
            user.gitea.change_user(user.name, **({"active": False} if what == "inactive" else {"prohibit_login": True}))
        assert not user.adapter.healthy()


class TestOldTokens:
    """A bearer lives for 24 hours, whatever becomes of the password; there is no refresh token."""

    @pytest.mark.parametrize("public", [True, False])
    def test_a_bearer_outlives_the_password(self, user: User, *, public: bool) -> None:
        contents = push_samples(user.gitea.url, user.name, user.password.reveal(), namespace=user.name)
        user.registry = {"repositories": [*sorted(contents)]}
        adapter, ours = user.adapter, user.adapter.candidate()
        (bearer,) = adapter.take_tokens(user.password, WITHIN)
        assert bearer.ends_at is not None
        adapter.prepare_reset()
        adapter.set(ours)
        if public:
            user.gitea.change_user(user.name, visibility="public")
        (said,) = adapter.try_tokens([bearer], ours, WITHIN)
        wanted = LoginVerdict.INCONCLUSIVE if public else LoginVerdict.ACCEPTED
        assert said.verdict is wanted, "anybody opens what is public, and is let in at /v2/"

    def test_without_a_repository_it_cannot_be_told_from_anybodys(self, user: User) -> None:
        adapter = user.adapter
        (bearer,) = adapter.take_tokens(user.password, WITHIN)
        (said,) = adapter.try_tokens([bearer], user.password, WITHIN)
        assert said.verdict is LoginVerdict.INCONCLUSIVE
        assert "`repositories`" in said.detail


def test_more_wrong_logins_are_allowed_than_where_accounts_are_locked(user: User) -> None:
    assert user.adapter.settle.total_seconds() > 0
    api = {"url": "https://gitea.example.com", "login": {"secret": "rekey/x"}}
    document = {"name": NAME, "type": "gitea", "endpoint": "gitea.example.com", "username": "bot", "api": api}
    assert plan.GiteaRegistry.model_validate(document).max_wrong_logins > 6


def test_the_administrator_is_another_one(door: GiteaDoor) -> None:
    """These tests' credential is not one of the users that rotate."""
    assert ADMIN not in door.gitea.users
