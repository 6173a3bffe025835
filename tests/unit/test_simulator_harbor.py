"""The Harbor simulator answers as a real Harbor 2.16 did, and somebody else's client (harborapi) works against it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harborapi
import httpx
import jwt
import pytest
from harborapi.exceptions import BadRequest, NotFound
from harborapi.models import Access, RobotCreate, RobotPermission
from harborapi.models import Robot as RobotModel

from rekey.model import plan
from rekey.model.password import Password
from rekey.registries.harbor import HarborRegistry
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.harbor import API, Harbor
from tests.sandbox.harbor_robots import allowed, made_up
from tests.unit.registry_api import Passwords, credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

RECORDED = Path(__file__).parents[1] / "sandbox" / "data" / "harbor-2.16-robots.jsonl"
EXCHANGES: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
MATTER = ("content-type", "location", "x-total-count", "www-authenticate")
MASKED = re.compile(r"<([0-9]+) characters>")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")


@pytest.fixture
def harbor() -> Iterator[Harbor]:
    with Harbor() as harbor:
        yield harbor


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as aws:
        yield aws


class Replay:
    """Sends the recorded requests. What is masked is made anew, with the length and the rule that the note names."""

    def __init__(self, harbor: Harbor) -> None:
        self._harbor = harbor
        self._client = httpx.Client(base_url=harbor.url, timeout=5)
        self._robot = ""
        harbor.refused_for = 0  # the recording waited
        harbor.add_robot("ci", made_up(), project="library")
        for number in range(2, 7):  # what was there before the recording began
            harbor.robots.delete(harbor.add_robot(f"gone-{number}", made_up()))
        harbor.add_project("priv")

    def close(self) -> None:
        self._client.close()

    def send(self, exchange: dict[str, Any]) -> httpx.Response:
        asked, note = exchange["request"], exchange["note"]
        body, headers = asked["body"], {"Content-Type": "text/plain" if "text/plain" in note else "application/json"}
        if isinstance(body, dict):
            body = {key: self._unmasked(value, note) for key, value in body.items()}
        content = body if isinstance(body, str) else json.dumps(body)
        answer = self._client.request(
            asked["method"],
            asked["path"],
            content=None if asked["body"] is None else content,
            headers=headers,
            auth=self._auth(asked["user"], wrong="wrong" in note),
        )
        if asked["method"] == "PATCH" and answer.status_code == 200:
            self._robot = self._harbor.sets(7)[-1]
        return answer

    def _unmasked(self, value: object, note: str) -> object:
        found = MASKED.fullmatch(value) if isinstance(value, str) else None
        if not found:
            return value
        made = ("Aa1" + "x" * 200)[: int(found[1])]
        return made.lower() if "no upper" in note else made

    def _auth(self, user: str | None, *, wrong: bool) -> tuple[str, str] | None:
        if user is None:
            return None
        right = self._harbor.admin if user == "admin" else self._robot
        return user, right + ("x" if wrong else "")


@pytest.fixture(scope="module")
def replayed() -> Iterator[list[tuple[dict[str, Any], httpx.Response]]]:
    """Every recorded exchange in order, with what the simulator answered."""
    with Harbor() as harbor:
        replay = Replay(harbor)
        yield [(exchange, replay.send(exchange)) for exchange in EXCHANGES]
        replay.close()


@pytest.mark.parametrize("number", range(len(EXCHANGES)), ids=[exchange["note"] for exchange in EXCHANGES])
def test_it_answers_as_recorded(replayed: list[tuple[dict[str, Any], httpx.Response]], number: int) -> None:
    exchange, answer = replayed[number]
    expected = exchange["response"]
    assert answer.status_code == expected["status"]
    recorded = {name.lower(): value for name, value in expected["headers"].items()}
    shown = {name: answer.headers[name] for name in MATTER if name in answer.headers}
    here = f"127.0.0.1:{answer.url.port}"
    assert shown == {
        name: re.sub(r"127\.0\.0\.1:[0-9]+", here, value) for name, value in recorded.items() if name in MATTER
    }
    body: Any = answer.json() if "json" in recorded.get("content-type", "") else answer.text
    if exchange["note"] == "health":  # parts of the recorded one were not running
        assert {one["name"] for one in body["components"]} == {one["name"] for one in expected["body"]["components"]}
        assert body.keys() == expected["body"].keys()
        return
    assert_like(body, expected["body"])


def assert_like(value: object, recorded: object) -> None:
    """Assert that a value is as recorded, but for what is masked and for moments."""
    if isinstance(recorded, dict):
        assert isinstance(value, dict)
        assert value.keys() == recorded.keys()
        for key, part in recorded.items():
            if key == "expires_at" and part != -1:
                assert abs(value[key] - time.time() - 30 * 86_400) < 60
            else:
                assert_like(value[key], part)
    elif isinstance(recorded, list):
        assert isinstance(value, list)
        assert len(value) == len(recorded)
        for one, other in zip(value, recorded, strict=True):
            assert_like(one, other)
    elif isinstance(recorded, str) and (masked := MASKED.fullmatch(recorded)):
        assert isinstance(value, str)
        assert len(value) == int(masked[1]) if int(masked[1]) < 100 else len(value) > 100
    elif isinstance(recorded, str) and MOMENT.fullmatch(recorded):
        assert isinstance(value, str)
        assert MOMENT.fullmatch(value)
    else:
        assert value == recorded


def test_all_of_the_recording_is_replayed() -> None:
    assert len(EXCHANGES) == 49


class Place:
    """A Harbor with one project robot, and who may change it."""

    def __init__(self, harbor: Harbor, name: str = "ci") -> None:
        self.harbor = harbor
        self.wanted = made_up()
        self.behind = Passwords()
        self.secret = made_up()
        self.robot = harbor.add_robot(name, self.secret, project="shop", accounts=self.behind)
        self.path = f"{API}/robots/{self.robot.id}"
        self.admin = ("admin", harbor.admin)

    def patch(self, body: object) -> httpx.Response:
        return httpx.patch(self.harbor.url + self.path, json=body, auth=self.admin)

    def seen(self) -> dict[str, Any]:
        shown: dict[str, Any] = httpx.get(self.harbor.url + self.path, auth=self.admin).json()
        return shown

    def lets_in(self, secret: str) -> bool:
        return httpx.get(f"{self.harbor.url}/v2/", auth=(self.robot.name, secret)).status_code == 200


@pytest.fixture
def place(harbor: Harbor) -> Place:
    return Place(harbor)


def test_a_new_secret_kills_the_old_one_and_moves_update_time(place: Place) -> None:
    before, new = place.seen()["update_time"], made_up()
    assert place.patch({"secret": new}).json() == {}
    assert place.seen()["update_time"] > before
    assert place.lets_in(new)
    assert not place.lets_in(place.secret)
    assert place.behind.known == {place.robot.name: new}


def test_a_refused_secret_moves_nothing(place: Place) -> None:
    before = place.seen()
    assert place.patch({"secret": "weak"}).status_code == 400
    assert place.seen() == before
    assert place.lets_in(place.secret)


def test_a_login_moves_nothing(place: Place) -> None:
    before = place.seen()
    assert place.lets_in(place.secret)
    assert place.seen() == before


@pytest.mark.parametrize("body", [{}, {"secret": ""}, {"sekret": "Aa345678"}])
def test_anything_but_a_secret_is_a_rotation(place: Place, body: dict[str, str]) -> None:
    made = place.patch(body).json()["secret"]
    assert place.lets_in(made)
    assert not place.lets_in(place.secret)
    assert place.harbor.sets(place.robot.id) == [made]


def test_a_disabled_robot_can_be_changed_and_stays_out(place: Place) -> None:
    place.harbor.disable(place.robot.id)
    new = made_up()
    assert place.patch({"secret": new}).status_code == 200
    assert place.seen()["disable"] is True
    assert not place.lets_in(new)
    assert place.behind.known[place.robot.name] != new
    place.harbor.disable(place.robot.id, disabled=False)
    assert place.lets_in(new)
    assert place.behind.known[place.robot.name] == new


def test_an_expired_robot_stays_out(place: Place) -> None:
    place.harbor.expire(place.robot.id)
    assert not place.lets_in(place.secret)
    assert place.behind.known[place.robot.name] != place.secret


def test_of_two_racing_calls_both_are_answered_200_and_one_wins(place: Place) -> None:
    made = [made_up(), made_up()]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda secret: place.patch({"secret": secret}), made))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {}), (200, {})]
    assert [place.lets_in(secret) for secret in made].count(True) == 1
    assert sorted(place.harbor.sets(place.robot.id)) == sorted(made)


def test_in_read_only_mode_nothing_changes_and_it_says_so_to_whom_it_knows(place: Place) -> None:
    place.harbor.read_only = True
    refused = place.patch({"secret": made_up()})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "DENIED")
    assert place.lets_in(place.secret)
    info = f"{place.harbor.url}{API}/systeminfo"
    assert httpx.get(info, auth=place.admin).json()["read_only"] is True
    assert "read_only" not in httpx.get(info).json()


def test_a_wrong_login_of_a_user_refuses_the_right_one_for_a_while_and_of_a_robot_does_not(place: Place) -> None:
    wrong = httpx.get(place.harbor.url + place.path, auth=("admin", "wrong"))
    assert wrong.status_code == 401
    assert httpx.get(place.harbor.url + place.path, auth=place.admin).status_code == 401
    assert not place.lets_in("wrong")
    assert place.lets_in(place.secret)


def test_a_user_without_the_right_is_refused(place: Place) -> None:
    place.harbor.add_user("reader", "pw", {"read"})
    url, auth = place.harbor.url + place.path, ("reader", "pw")
    assert httpx.get(url, auth=auth).status_code == 200
    assert httpx.patch(url, json={"secret": made_up()}, auth=auth).status_code == 403
    assert httpx.delete(url, auth=auth).status_code == 403


@pytest.mark.parametrize("length", [7, 8, 128, 129])
def test_the_rules_count_characters(length: int) -> None:
    assert allowed(("Aa1" + "x" * 200)[:length]) is (8 <= length <= 128)


def test_a_token_of_a_wrong_secret_grants_nothing(place: Place) -> None:
    for secret, actions in ((place.secret, ["pull", "push"]), ("wrong", [])):
        answer = httpx.get(
            f"{place.harbor.url}/service/token?service=harbor-registry&scope=repository:shop/web:pull,push",
            auth=(place.robot.name, secret),
        )
        claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
        assert claims["access"] == [{"type": "repository", "name": "shop/web", "actions": actions}]


class TestHarborapi:
    """The same act through somebody else's client and through our adapter leaves the same state."""

    def test_it_creates_lists_changes_and_deletes(self, harbor: Harbor) -> None:
        async def act(client: harborapi.HarborAsyncClient) -> None:
            access = [Access(resource="repository", action="pull")]
            permission = RobotPermission(kind="project", namespace="library", access=access)
            created = await client.create_robot(
                RobotCreate(name="theirs", level="project", duration=30, permissions=[permission])
            )
            number = created.id or 0
            assert created.secret
            assert [robot.id for robot in await client.get_robots("Level=project,ProjectID=1")] == [number]
            robot = await client.get_robot(number)
            assert (robot.name, robot.disable) == (created.name, False)
            robot.disable = True
            await client.update_robot(number, robot)
            assert (await client.get_robot(number)).disable is True
            await client.delete_robot(number)
            with pytest.raises(NotFound):
                await client.get_robot(number)

        theirs(harbor, act)

    def test_the_same_act_leaves_the_same_state(self, harbor: Harbor, aws: AwsSandbox) -> None:
        first, second = Place(harbor, "first"), Place(harbor, "second")
        for place in (first, second):
            harbor.disable(place.robot.id)
        theirs(harbor, lambda client: client.refresh_robot_secret(first.robot.id, first.wanted))
        ours = adapter(second, aws)
        ours.prepare_reset()
        assert ours.took(ours.set(Password(second.wanted)))
        sent = [(one.method, one.json_object(), one.headers["content-type"]) for one in harbor.requests("PATCH")]
        assert sent == [("PATCH", {"secret": place.wanted}, "application/json") for place in (first, second)]
        for place in (first, second):
            harbor.disable(place.robot.id, disabled=False)
            assert place.lets_in(place.wanted)
            assert not place.lets_in(place.secret)
            assert place.behind.known == {place.robot.name: place.wanted}
        unlike = ("id", "name", "creation_time", "update_time")
        left = [{key: value for key, value in place.seen().items() if key not in unlike} for place in (first, second)]
        assert left[0] == left[1]

    def test_both_see_the_same_robot(self, place: Place, aws: AwsSandbox) -> None:
        seen: list[RobotModel] = []

        async def act(client: harborapi.HarborAsyncClient) -> None:
            seen.append(await client.get_robot(place.robot.id))

        theirs(place.harbor, act)
        mark = adapter(place, aws).change_mark()
        assert mark is not None
        assert seen[0].update_time == datetime.fromisoformat(mark)

    def test_both_are_refused_what_the_rules_do_not_allow(self, place: Place) -> None:
        with pytest.raises(BadRequest):
            theirs(place.harbor, lambda client: client.refresh_robot_secret(place.robot.id, "weak"))
        assert place.lets_in(place.secret)


def theirs(harbor: Harbor, act: Callable[[harborapi.HarborAsyncClient], Coroutine[Any, Any, object]]) -> None:
    """Let their client act. It takes the credential that ours takes, and tries nothing twice."""

    async def run() -> None:
        client = harborapi.HarborAsyncClient(
            url=harbor.url + API, username="admin", secret=harbor.admin, retry=None, timeout=5
        )
        async with client.client:
            await act(client)

    asyncio.run(run())


def adapter(place: Place, aws: AwsSandbox) -> HarborRegistry:
    """Return our adapter for the place's robot."""
    resolver, secret = credentials(aws, "ours", place.harbor.host, username="admin", password=place.harbor.admin)
    part = plan.HarborRegistry.model_validate(
        {
            "name": "ours",
            "type": "harbor",
            "endpoint": place.harbor.url,
            "username": place.robot.name,
            "api": {"url": place.harbor.url, "login": {"secret": secret}, "robot_id": place.robot.id},
        }
    )
    return HarborRegistry(part, resolver)
