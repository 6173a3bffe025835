"""Repositories, tags and digests are read from registries that answer in their own ways, in the time there is."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from datetime import timedelta

import pytest

from rekey.errors import Denied, OutOfTime, Unfit, Unintelligible, Unreachable
from tests.sandbox import faults
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import JsonObject, Request, Response
from tests.unit.scripted_registry import API, BASIC, WITHIN, Scripted, asks_for_basic, at, fresh


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

    def test_without_digests_and_without_an_end(self) -> None:
        with Shelf({"acme/a": {"1.0": b"x" * (4 * 1024 * 1024 + 1)}}) as shelf:
            shelf.digests = False
            with pytest.raises(Unintelligible, match="larger than a manifest can be"):
                at(shelf.url).contents(fresh(), WITHIN)

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
