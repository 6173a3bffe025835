"""What anybody may pull is seen however long the list is, and where not all was looked at it is said."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model import plan
from rekey.registries.open_repositories import MOST_PAGES, MOST_TRIED, open_to_anybody
from rekey.registries.session import Session
from tests.sandbox import faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.gitea import Gitea
from tests.sandbox.gitea_door import GiteaDoor
from tests.sandbox.images import push_samples
from tests.sandbox.wire import Response
from tests.servers.requirement import require
from tests.unit.gitea_user import User
from tests.unit.scripted_registry import API, USER, Scripted

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


@pytest.fixture
def user(aws: AwsSandbox, door: GiteaDoor) -> Iterator[User]:
    user = User(aws, door)
    user.registry = {"endpoint": door.url, "token_host": door.gitea.url}
    user.gitea.change_user(user.name, visibility="public")
    push_samples(user.gitea.url, user.name, user.password.reveal(), namespace=user.name)
    yield user
    door.clear_faults()


def is_list(request: Request) -> bool:
    return request.path == "/v2/_catalog"


def test_every_page_of_giteas_list_is_read(user: User, aws: AwsSandbox) -> None:
    """Those of other users before and after the user's own."""
    for _ in range(2):
        other = User(aws, user.door)
        user.gitea.change_user(other.name, visibility="public")
        push_samples(user.gitea.url, other.name, other.password.reveal(), namespace=other.name)

    def one_a_page(request: Request, _act: Act) -> Response:
        return user.door.handle(replace(request, query={**request.query, "n": "1"}))

    user.door.inject(one_a_page, when=lambda it: is_list(it) and it.query.get("n") != "1", times=None)
    before = len(user.door.requests())
    (said,) = user.adapter.warnings(user.password)
    first = next(one for one in user.door.requests()[before:] if is_list(one))
    assert first.query["last"] == f"{user.name}/", "a list may be long before the user's own"
    assert said.startswith(f"anybody may pull {user.name}/api, {user.name}/web, {user.name}/worker without")
    assert "not every" not in said


def test_a_list_without_an_end_is_not_read_for_ever(user: User) -> None:
    endless = {**API, "Link": '</v2/_catalog?n=1&last=a>; rel="next"'}
    page = Response.json({"repositories": [f"{user.name}/web"]}, 200, endless)
    user.door.inject(faults.answer(page), when=is_list, times=None)
    before = len(user.door.requests())
    (said,) = user.adapter.warnings(None)
    assert sum(map(is_list, user.door.requests()[before:])) == MOST_PAGES
    assert f"anybody may pull {user.name}/web" in said
    assert f"not every repository was looked at for being open to anybody: {MOST_PAGES} pages" in said
    assert "in the plan's `repositories`" in said


def test_one_far_back_in_the_plan_is_tried(user: User) -> None:
    names = [f"{user.name}/nothing-{number}" for number in range(40)]
    user.registry["repositories"] = [*names, f"{user.name}/web"]
    (said,) = user.adapter.warnings(user.password)
    assert said.startswith(f"anybody may pull {user.name}/web without")


def part_of(url: str, *repositories: str) -> plan.ManualRegistry:
    known = {"type": "manual", "name": "prod-images", "endpoint": url, "username": USER, "where": "there"}
    return plan.ManualRegistry.model_validate({**known, "repositories": repositories})


def test_how_many_were_tried_is_said() -> None:
    names = [f"shop/{number}" for number in range(MOST_TRIED + 2)]
    with (
        Scripted(lambda _: Response.json({"tags": []}, headers=API)) as server,
        Session(part_of(server.url, *names), timedelta(seconds=60)) as session,
    ):
        found = open_to_anybody(session, part_of(server.url, *names))
    assert list(found.names) == names[:MOST_TRIED]
    assert found.unseen == f"{MOST_TRIED} of {MOST_TRIED + 2} repositories were tried"


def own_of(url: str) -> plan.ManualRegistry:
    """Return a registry whose plan names no repositories."""
    return part_of(url).model_copy(update={"repositories": None})


@pytest.mark.parametrize("status", [429, 503])
def test_a_list_that_is_not_given_now_is_said(status: int) -> None:
    def answer(request: Request) -> Response:
        return Response(status) if is_list(request) else Response.json({"tags": []}, headers=API)

    with Scripted(answer) as server, Session(own_of(server.url), timedelta(seconds=5)) as session:
        found = open_to_anybody(session, own_of(server.url))
    assert (list(found.names), found.unseen) == ([], f"the registry answered {status} to who asked for its list")


def test_a_list_that_is_closed_hides_nothing() -> None:
    """What anybody may pull is listed to anybody."""

    def answer(request: Request) -> Response:
        return Response(401) if is_list(request) else Response.json({"tags": []}, headers=API)

    with Scripted(answer) as server, Session(own_of(server.url), timedelta(seconds=5)) as session:
        found = open_to_anybody(session, own_of(server.url))
    assert (list(found.names), found.unseen) == ([], "")


def test_a_repository_that_is_not_answered_for_is_said() -> None:
    def answer(request: Request) -> Response:
        return Response(503) if "shop/slow" in request.path else Response.json({"tags": []}, headers=API)

    with Scripted(answer) as server:
        part = part_of(server.url, "shop/slow", "shop/web")
        with Session(part, timedelta(seconds=5)) as session:
            found = open_to_anybody(session, part)
    assert list(found.names) == ["shop/web"]
    assert found.unseen == "the registry did not answer for 1 of 2 repositories"


def test_what_was_on_the_first_page_is_tried_before_the_next_is_read() -> None:
    """A list that goes on for ever, slowly, hides nothing that was seen."""
    over = threading.Event()

    def answer(request: Request) -> Response:
        if is_list(request) and request.query.get("last") == "zzz":
            over.wait(30)
        page = {**API, "Link": '</v2/_catalog?n=1&last=zzz>; rel="next"'} if is_list(request) else API
        return Response.json({"repositories": [f"{USER}/web", "zzz/other"], "tags": []}, 200, page)

    with Scripted(answer) as server:
        try:
            with Session(own_of(server.url), timedelta(seconds=1)) as session:
                found = open_to_anybody(session, own_of(server.url))
        finally:
            over.set()
    assert (list(found.names), found.unseen) == ([f"{USER}/web"], "there was time for 1 repositories")


def test_what_was_found_in_time_is_said() -> None:
    over = threading.Event()

    def answer(request: Request) -> Response:
        if "shop/slow" in request.path:
            over.wait(30)
        return Response.json({"tags": []}, headers=API)

    with Scripted(answer) as server:
        part = part_of(server.url, "shop/web", "shop/slow", "shop/api")
        try:
            with Session(part, timedelta(seconds=1)) as session:
                found = open_to_anybody(session, part)
        finally:
            over.set()
    assert list(found.names) == ["shop/web"]
    assert found.unseen == "there was time for 1 of 3 repositories"
