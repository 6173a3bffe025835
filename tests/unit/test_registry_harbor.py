"""The Harbor adapter: what its check finds, what it never sends, and what an answer says."""

from __future__ import annotations

import json
import secrets
import string
from typing import TYPE_CHECKING

import pytest

from rekey.contracts import Answer
from rekey.errors import CredentialUnusable, Denied, NotFound, NotSent, RekeyError, Unfit, Unintelligible
from rekey.model import plan
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from rekey.registries.harbor import HarborRegistry
from tests.sandbox import faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.harbor import API, Harbor
from tests.sandbox.harbor_robots import made_up
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Response
from tests.unit.registry_api import Passwords, credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.wire import JsonObject

NAME = "prod-images"


class Robot:
    """One robot account, and the adapter for it."""

    def __init__(self, aws: AwsSandbox, harbor: Harbor, project: str = "shop") -> None:
        self.aws, self.harbor = aws, harbor
        self.secret = made_up()
        self.robot = harbor.add_robot("ci", self.secret, project=project, accounts=Passwords())
        self.credential = {"username": "admin", "password": harbor.admin}
        self.registry: JsonObject = {}
        self.api: JsonObject = {}
        self.path = f"{API}/robots/{self.robot.id}"

    @property
    def adapter(self) -> HarborRegistry:
        """The adapter for the plan as it is now."""
        resolver, secret = credentials(self.aws, NAME, self.harbor.host, **self.credential)
        api = {"url": self.harbor.url, "login": {"secret": secret}, "robot_id": self.robot.id, "timeout": "5s"}
        document = {
            "name": NAME,
            "type": "harbor",
            "endpoint": self.harbor.url,
            "username": self.robot.name,
            "api": api | self.api,
            **self.registry,
        }
        return HarborRegistry(plan.HarborRegistry.model_validate(document), resolver)

    def user(self, name: str, *actions: str) -> None:
        """Let Rekey's own credential be that of a user who may do this with robots."""
        self.credential = {"username": name, "password": secrets.token_urlsafe(8)}
        self.harbor.add_user(name, self.credential["password"], actions)

    def problem(self, error: type[RekeyError] = Unfit) -> str:
        """Return what the check finds, and see that it changed nothing."""
        with pytest.raises(error) as caught:
            self.adapter.check()
        assert self.harbor.sets(self.robot.id) == []
        assert self.harbor.requests("PATCH") == []
        return str(caught.value)


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as aws:
        yield aws


@pytest.fixture(params=["shop", ""], ids=["project", "system"])
def robot(request: pytest.FixtureRequest, aws: AwsSandbox) -> Iterator[Robot]:
    """Make a robot of a project, and one of the system."""
    with Harbor() as harbor:
        yield Robot(aws, harbor, request.param)


@pytest.fixture
def one(aws: AwsSandbox) -> Iterator[Robot]:
    with Harbor() as harbor:
        yield Robot(aws, harbor)


def test_its_check_passes_and_only_reads(robot: Robot) -> None:
    robot.adapter.check()
    assert {request.method for request in robot.harbor.requests()} == {"GET"}
    assert robot.harbor.sets(robot.robot.id) == []


class TestCheck:
    """Everything that would make a new secret useless or the call vain is said before anything happens."""

    def test_another_robot(self, robot: Robot) -> None:
        robot.registry = {"username": "robot$shop+other"}
        assert "another name than the plan's `username` (robot$shop+other)" in robot.problem()

    def test_no_such_robot(self, robot: Robot) -> None:
        robot.api = {"robot_id": 9999}
        assert "`robot_id`" in robot.problem(NotFound)

    def test_a_disabled_robot(self, robot: Robot) -> None:
        robot.harbor.disable(robot.robot.id)
        assert "is disabled" in robot.problem()

    def test_an_expired_robot(self, robot: Robot) -> None:
        robot.harbor.expire(robot.robot.id)
        assert "is expired" in robot.problem()

    def test_read_only_mode(self, robot: Robot) -> None:
        robot.harbor.read_only = True
        assert "read-only mode" in robot.problem()

    def test_a_wrong_credential(self, robot: Robot) -> None:
        robot.credential["password"] = "wrong"  # noqa: S105
        assert "is the credential rekey/" in robot.problem(Denied)

    def test_a_credential_that_may_not_read(self, robot: Robot) -> None:
        robot.user("stranger")
        robot.problem(Denied)

    def test_a_credential_that_may_read_and_not_update(self, robot: Robot) -> None:
        robot.user("reader", "read", "list")
        assert "may read robot accounts and not update them" in robot.problem()

    def test_a_credential_that_may_do_no_more_than_it_must(self, robot: Robot) -> None:
        robot.user("rekey", "read", "update")
        robot.adapter.check()

    def test_rights_that_harbor_does_not_tell_stop_nothing(self, robot: Robot) -> None:
        """A right that cannot be seen is no reason to leave a leaked password alive: a refused call changes nothing."""
        robot.user("reader", "read")
        robot.harbor.inject(faults.answer(Response.json(None)), when=lambda it: it.path.endswith("/permissions"))
        robot.adapter.check()

    def test_the_robot_itself(self, robot: Robot) -> None:
        robot.credential = {"username": robot.robot.name, "password": robot.secret}
        assert "cannot set its own secret" in robot.problem()

    def test_a_credential_without_a_password(self, robot: Robot) -> None:
        del robot.credential["password"]
        assert "`password`" in robot.problem(CredentialUnusable)

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"name": 5}', b'{"name": "ci", "disable": "no"}'])
    def test_an_answer_that_is_no_robot(self, one: Robot, body: bytes) -> None:
        one.harbor.inject(faults.answer(Response(200, body)))
        one.problem(Unintelligible)

    @pytest.mark.parametrize(
        "alphabet",
        [
            {"characters": string.ascii_lowercase + string.digits},
            {"characters": string.ascii_letters},
            {"characters": string.ascii_letters + string.digits + "é"},
            {"characters": string.ascii_letters + string.digits + " "},
            {"max_length": 7},
            {"min_length": 129},
        ],
    )
    def test_an_alphabet_without_a_possible_secret(self, one: Robot, alphabet: JsonObject) -> None:
        one.registry = {"alphabet": alphabet}
        assert "allows no secret that Harbor takes" in one.problem()
        with pytest.raises(Unfit):
            one.adapter.candidate()


class TestCandidate:
    def test_harbor_takes_it(self, robot: Robot) -> None:
        adapter = robot.adapter
        adapter.prepare_reset()
        for _ in range(20):
            assert adapter.took(adapter.set(adapter.candidate()))

    @pytest.mark.parametrize(
        ("alphabet", "length"),
        [
            ({}, 40),
            ({"min_length": 64}, 64),
            ({"max_length": 16}, 16),
            ({"min_length": 100, "max_length": 4096}, 100),
            ({"characters": "Aa1", "max_length": 8}, 8),
        ],
    )
    def test_it_is_of_the_plans_alphabet(self, one: Robot, alphabet: JsonObject, length: int) -> None:
        one.registry = {"alphabet": alphabet}
        adapter = one.adapter
        assert (adapter.alphabet.min_length, adapter.alphabet.max_length) == (length, length)
        for _ in range(50):
            text = adapter.candidate().reveal()
            assert len(text) == length
            assert set(text) <= set(adapter.alphabet.characters or "")
            assert all(
                set(text) & set(each) for each in (string.ascii_uppercase, string.ascii_lowercase, string.digits)
            )


class TestSet:
    def test_the_body_is_the_secret_and_nothing_else(self, robot: Robot) -> None:
        adapter, ours = robot.adapter, robot.adapter.candidate()
        adapter.prepare_reset()
        adapter.set(ours)
        (sent,) = robot.harbor.requests("PATCH")
        assert (sent.path, sent.headers["content-type"]) == (robot.path, "application/json")
        assert json.loads(sent.body) == {"secret": ours.reveal()}

    @pytest.mark.parametrize("secret", ["", "short1A", "nouppercase1", "NOLOWERCASE1", "NoDigitAtAll", "Aa1" * 43])
    def test_what_would_rotate_to_another_secret_or_be_refused_is_never_sent(self, one: Robot, secret: str) -> None:
        adapter = one.adapter
        adapter.prepare_reset()
        with pytest.raises(NotSent):
            adapter.set(Password(secret))
        assert one.harbor.requests("PATCH") == []

    def test_a_redirect_is_not_followed(self, one: Robot) -> None:
        """Neither the credential nor the new secret goes to another host."""
        adapter = one.adapter
        adapter.prepare_reset()
        with HttpServer() as elsewhere:
            there = Response(307, b"", {"Location": f"{elsewhere.url}{one.path}"})
            one.harbor.inject(faults.answer(there))
            answer = adapter.set(adapter.candidate())
            assert elsewhere.requests() == []
        assert answer.status == 307
        assert not adapter.took(answer)
        assert adapter.refusal(answer) is None

    def test_a_disabled_robot_takes_it_and_stays_out(self, robot: Robot) -> None:
        adapter, ours = robot.adapter, robot.adapter.candidate()
        adapter.prepare_reset()
        robot.harbor.disable(robot.robot.id)
        assert adapter.took(adapter.set(ours))
        assert adapter.login(ours).verdict is LoginVerdict.REFUSED
        assert not adapter.healthy(), "so no refusal counts"


class TestAnswers:
    """200 and `{}` is the one good answer; Harbor's own errors the definite bad ones."""

    @pytest.mark.parametrize(
        ("status", "body", "took"),
        [
            (200, b"{}", True),
            (200, b" {}\n", True),
            (200, b"", False),
            (200, b"null", False),
            (200, b"[]", False),
            (200, b"<html>", False),
            (200, b'{"secret": ""}', False),
            (200, b'{"secret": "Xy345678"}', False),
            (201, b"{}", False),
            (204, b"", False),
            (500, b"{}", False),
        ],
    )
    def test_took(self, one: Robot, status: int, body: bytes, *, took: bool) -> None:
        answer = Answer(status, body)
        assert one.adapter.took(answer) is took
        assert one.adapter.refusal(answer) is None

    @pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"errors": []}', b'{"errors": [{"message": "no"}]}'])
    def test_what_is_not_harbors_own_no_refuses_nothing(self, one: Robot, body: bytes) -> None:
        assert one.adapter.refusal(Answer(403, body)) is None

    def test_in_read_only_mode_the_refusal_says_so(self, robot: Robot) -> None:
        adapter = robot.adapter
        adapter.prepare_reset()
        robot.harbor.read_only = True
        refusal = adapter.refusal(adapter.set(adapter.candidate()))
        assert refusal == f"HTTP 403 from PATCH {robot.path}: Harbor is in read-only mode"
        assert robot.harbor.sets(robot.robot.id) == []

    @pytest.mark.parametrize(("gone", "status"), [("robot", 404), ("right", 403), ("user", 401)])
    def test_what_changed_since_the_check_is_a_refusal(self, robot: Robot, gone: str, status: int) -> None:
        robot.user("rekey", "read", "update")
        adapter = robot.adapter
        adapter.check()
        adapter.prepare_reset()
        if gone == "robot":
            robot.harbor.robots.delete(robot.robot)
        else:
            password = robot.credential["password"] if gone == "right" else made_up()
            robot.harbor.add_user("rekey", password, [])
        refusal = adapter.refusal(adapter.set(adapter.candidate()))
        assert refusal == f"HTTP {status} from PATCH {robot.path}"


class TestMark:
    def test_it_moves_with_the_secret_alone(self, robot: Robot) -> None:
        adapter = robot.adapter
        before = adapter.change_mark()
        adapter.login(Password(robot.secret))
        adapter.check()
        adapter.prepare_reset()
        assert adapter.change_mark() == before
        adapter.set(adapter.candidate())
        assert adapter.change_mark() != before

    def test_none_where_harbor_shows_none(self, one: Robot) -> None:
        shown: JsonObject = {key: value for key, value in one.robot.as_json().items() if key != "update_time"}
        one.harbor.inject(faults.answer(Response.json(shown)))
        assert one.adapter.change_mark() is None


class TestLogin:
    """Harbor itself is asked, over its token service."""

    def test_right_and_wrong(self, robot: Robot) -> None:
        assert robot.adapter.login(Password(robot.secret)).verdict is LoginVerdict.ACCEPTED
        assert robot.adapter.login(Password(made_up())).verdict is LoginVerdict.REFUSED

    def test_a_wrong_secret_locks_nobody_out(self, robot: Robot) -> None:
        for _ in range(10):
            robot.adapter.login(Password(made_up()))
        assert robot.adapter.login(Password(robot.secret)).verdict is LoginVerdict.ACCEPTED

    @pytest.mark.parametrize("what", ["disabled", "expired", "api"])
    def test_a_refusal_counts_only_where_the_robot_would_be_let_in(self, robot: Robot, what: str) -> None:
        assert robot.adapter.healthy()
        if what == "disabled":
            robot.harbor.disable(robot.robot.id)
        elif what == "expired":
            robot.harbor.expire(robot.robot.id)
        else:
            robot.harbor.inject(faults.gateway_page(), when=lambda it: it.path.startswith(API))
        assert not robot.adapter.healthy()


def test_more_wrong_logins_are_allowed_than_where_accounts_are_locked(one: Robot) -> None:
    """Two refusals each of a candidate and of the old password, before and after, are more than the usual three."""
    document = {
        "name": NAME,
        "type": "harbor",
        "endpoint": one.harbor.url,
        "username": one.robot.name,
        "api": {"url": one.harbor.url, "login": {"secret": "rekey/x"}, "robot_id": 1},
    }
    assert plan.HarborRegistry.model_validate(document).max_wrong_logins > 6
