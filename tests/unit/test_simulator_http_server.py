"""What every simulator of the sandbox has from its base: a log in one order, faults at the nth request, no leaks."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response, next_order

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counter(HttpServer):
    """Counts what is posted to `/count/{name}`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.counts: dict[str, int] = {}
        self.route("POST", "/count/{name}", self._count)
        self.route("GET", "/broken", self._broken)

    def _count(self, request: Request) -> Response:
        name = request.params["name"]
        self.counts[name] = self.counts.get(name, 0) + 1
        return Response.json({"count": self.counts[name]})

    def _broken(self, _request: Request) -> Response:
        raise LookupError("a bug in the simulator")


@pytest.fixture
def counter() -> Iterator[Counter]:
    with Counter() as server:
        yield server


@pytest.fixture
def client(counter: Counter) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=counter.url, timeout=5) as client:
        yield client


def test_routes(counter: Counter, client: httpx.Client) -> None:
    """A placeholder takes one decoded segment; a path without a route is 404, a method without one 405."""
    assert client.post("/count/a%2Fb").json() == {"count": 1}
    assert counter.counts == {"a/b": 1}
    assert client.post("/count/a/b").status_code == 404
    assert client.get("/count/a").status_code == 405


def test_a_body_without_a_length_is_refused(counter: Counter, client: httpx.Client) -> None:
    assert client.post("/count/a", content=iter([b"body"])).status_code == 411
    assert counter.exchanges == []


def test_the_log_holds_what_came(counter: Counter, client: httpx.Client) -> None:
    client.post("/count/a?x=1", content=b"body", headers={"Authorization": "Bearer abc"})
    (request,) = counter.requests("POST", "/count/.*")
    assert (request.method, request.path, request.query["x"], request.body) == ("POST", "/count/a", "1", b"body")
    assert request.bearer() == "abc"
    assert counter.exchanges[0].status == 200


def test_one_order_over_all_servers(counter: Counter, client: httpx.Client) -> None:
    """What happened earlier has a smaller number, whichever server of the process it happened at."""
    with Counter() as other:
        client.post("/count/a")
        httpx.post(f"{other.url}/count/a")
        between = next_order()
        client.post("/count/a")
        first, last = counter.exchanges
        assert first.answered is not None
        assert first.request.order < first.answered < other.exchanges[0].request.order < between < last.request.order


def test_handlers_of_one_server_run_one_at_a_time(counter: Counter, client: httpx.Client) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(lambda _: client.post("/count/a").status_code, range(100))
        assert set(answers) == {200}
    assert counter.counts == {"a": 100}


@pytest.mark.parametrize(("acted", "count"), [(False, {}), (True, {"a": 1})])
def test_dropped_before_or_after_acting(
    counter: Counter, client: httpx.Client, *, acted: bool, count: dict[str, int]
) -> None:
    counter.inject(faults.drop(acted=acted))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/count/a")
    assert counter.counts == count
    assert counter.exchanges[0].status is None


def test_a_fault_strikes_at_the_nth_request_that_fits(counter: Counter, client: httpx.Client) -> None:
    counter.inject(faults.gateway_page(503), nth=2, when=lambda request: request.path == "/count/a", times=2)
    statuses = [client.post(f"/count/{name}").status_code for name in "abaaa"]
    assert statuses == [200, 200, 503, 503, 200]
    assert counter.counts == {"a": 2, "b": 1}


def test_a_fault_without_end_is_lifted(counter: Counter, client: httpx.Client) -> None:
    counter.inject(faults.answer(Response.text("no", 500), acted=True), times=None)
    assert [client.post("/count/a").status_code for _ in range(3)] == [500, 500, 500]
    counter.clear_faults()
    assert client.post("/count/a").json() == {"count": 4}


@pytest.mark.parametrize(("acted", "meanwhile"), [(False, {"b": 1}), (True, {"a": 1, "b": 1})])
def test_a_held_request_holds_nobody_else(
    counter: Counter, client: httpx.Client, *, acted: bool, meanwhile: dict[str, int]
) -> None:
    hold = counter.hold(when=lambda request: request.path == "/count/a", acted=acted)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(httpx.post, f"{counter.url}/count/a", timeout=10)
        hold.wait_until_reached()
        client.post("/count/b")
        assert counter.counts == meanwhile
        hold.release()
        assert held.result().status_code == 200
    assert counter.counts == {"a": 1, "b": 1}


def test_a_held_request_goes_on_after_its_time(counter: Counter, client: httpx.Client) -> None:
    counter.hold(seconds=0.05)
    assert client.post("/count/a").elapsed.total_seconds() >= 0.05


def test_a_callback_sees_the_request_before_its_answer(counter: Counter, client: httpx.Client) -> None:
    seen: list[tuple[str, dict[str, int]]] = []

    def look(request: Request) -> None:
        seen.append((request.path, dict(counter.counts)))

    counter.inject(faults.call(look))
    counter.inject(faults.call(look, acted=True))
    client.post("/count/a")
    assert seen == [("/count/a", {}), ("/count/a", {"a": 1})]


def test_an_outage_refuses_and_ends(counter: Counter, client: httpx.Client) -> None:
    """Stopped, a server refuses connections; started again it has its address, its log and its state."""
    client.post("/count/a")
    address = counter.url
    counter.stop()
    with pytest.raises(httpx.ConnectError):
        client.post("/count/a")
    counter.start()
    assert counter.url == address
    assert client.post("/count/a").json() == {"count": 2}
    assert len(counter.requests()) == 2


def test_stopping_ends_every_thread() -> None:
    """Idle connections, held requests and clients that went away leave no thread behind."""
    before = threading.active_count()
    server = Counter().start()
    hold = server.hold(when=lambda request: request.path == "/count/held")
    with httpx.Client(base_url=server.url) as idle, ThreadPoolExecutor(1) as pool:
        idle.post("/count/a")
        held = pool.submit(httpx.post, f"{server.url}/count/held", timeout=10)
        hold.wait_until_reached()
        server.stop()
        assert isinstance(held.exception(), httpx.HTTPError) or held.result().status_code == 200
    assert threading.active_count() == before


def test_a_caller_that_is_gone_does_no_harm(counter: Counter) -> None:
    hold = counter.hold(acted=True)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{counter.url}/count/a", timeout=0.1)
    hold.release()
    counter.wait_for(1, answered=True)
    assert counter.counts == {"a": 1}


def test_an_error_inside_a_simulator_is_not_passed_over() -> None:
    server = Counter().start()
    assert httpx.get(f"{server.url}/broken").status_code == 500
    with pytest.raises(ExceptionGroup) as caught:
        server.stop()
    assert caught.group_contains(LookupError)


def test_waiting_for_requests_ends(counter: Counter) -> None:
    with pytest.raises(TimeoutError):
        counter.wait_for(1, within=0.01)


def test_tls_is_checked_against_a_private_authority() -> None:
    """Who trusts the authority gets through; who does not is refused by its own TLS library."""
    authority = Authority()
    with Counter(authority.server_context()) as server:
        trusting = ssl.create_default_context(cadata=authority.pem)
        assert httpx.post(f"{server.url}/count/a", verify=trusting).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.post(f"{server.url}/count/a", verify=ssl.create_default_context())
        assert server.counts == {"a": 1}
