"""What the consumers of a shard share: turns at a limited service, things made once, connections that end."""

from __future__ import annotations

import asyncio
import gc
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey.consumers.limiter import Held, Limiter
from rekey.consumers.outcome import ServiceErrors, receipt_for
from rekey.consumers.shard import AT_ONCE, retry_after
from rekey.errors import (
    Conflict,
    Defect,
    Denied,
    NotFound,
    NotSent,
    OutOfTime,
    RekeyError,
    Superseded,
    Unreachable,
)
from rekey.model.verdict import ConsumerOutcome
from tests.contract.world import World, new_world
from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 3, 7, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = START
        self.slept: list[float] = []
        self.sleeping = asyncio.Event()

    def read(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.sleeping.set()
        await asyncio.sleep(0)
        self.now += timedelta(seconds=seconds)

    @property
    def seconds(self) -> float:
        return (self.now - START).total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(clock: Clock, deadline: datetime | None = None) -> Limiter:
    return Limiter(clock.read, deadline, clock.sleep)


async def turns(limited: Limiter, clock: Clock, costs: list[int]) -> list[float]:
    """Ask for a turn for each cost at once; return at which second each came."""

    async def one(cost: int) -> float:
        await limited.turn(cost)
        return clock.seconds

    return await asyncio.gather(*(one(cost) for cost in costs))


def test_without_a_limit_nobody_waits(clock: Clock) -> None:
    assert asyncio.run(turns(limiter(clock), clock, [1] * 50)) == [0.0] * 50
    assert clock.slept == []


def test_the_first_are_let_through_at_once_and_the_rest_as_the_window_moves(clock: Clock) -> None:
    limited = limiter(clock)
    limited.allow(3, timedelta(seconds=10))
    assert asyncio.run(turns(limited, clock, [1] * 7)) == [0, 0, 0, 10, 10, 10, 20]


@pytest.mark.parametrize("seed", range(5))
def test_no_window_ever_has_more_points_than_allowed(clock: Clock, seed: int) -> None:
    """Whatever the calls cost and whenever they ask, in the order in which they ask."""
    dice = random.Random(seed)  # noqa: S311
    limited = limiter(clock)
    limited.allow(20, MINUTE)
    left: list[tuple[float, int]] = []

    async def ask() -> None:
        for _ in range(200):
            cost = dice.choice([1, 1, 1, 5])
            await limited.turn(cost)
            left.append((clock.seconds, cost))
            clock.now += timedelta(seconds=dice.choice([0, 0, 0, 1, 7]))

    asyncio.run(ask())
    for begin, _ in left:
        assert sum(cost for at, cost in left if begin <= at < begin + 60) <= 20


def test_a_held_limiter_holds_also_who_waits_already(clock: Clock) -> None:
    """A Retry-After that comes while calls wait for their turn counts for them too."""
    limited = limiter(clock)
    limited.allow(1, timedelta(seconds=10))

    async def scenario() -> list[float]:
        waiting = asyncio.create_task(turns(limited, clock, [1, 1, 1]))
        await clock.sleeping.wait()
        limited.hold(timedelta(seconds=25))
        return await waiting

    assert asyncio.run(scenario()) == [0, 25, 35]


def test_a_shorter_hold_shortens_nothing(clock: Clock) -> None:
    limited = limiter(clock)
    limited.hold(timedelta(seconds=30))
    limited.hold(timedelta(seconds=1))
    assert asyncio.run(turns(limited, clock, [1])) == [30]


def test_a_turn_after_the_deadline_is_refused_at_once(clock: Clock) -> None:
    """It says when it would be, and nobody sleeps for it; what still fits goes through."""
    limited = limiter(clock, START + timedelta(seconds=29))
    limited.hold(timedelta(seconds=30))
    with pytest.raises(Held, match=r"before 2026-03-07T02:00:30.000Z"):
        asyncio.run(limited.turn())
    assert clock.slept == []
    clock.now += timedelta(seconds=30)
    asyncio.run(limited.turn())


def test_who_is_cancelled_holds_up_nobody_and_costs_nothing(clock: Clock) -> None:
    limited = limiter(clock)
    limited.allow(1, timedelta(seconds=10))

    async def scenario() -> float:
        await limited.turn()
        gives_up = asyncio.create_task(limited.turn())
        goes_on = asyncio.create_task(limited.turn())
        await asyncio.sleep(0)
        gives_up.cancel()
        await asyncio.wait([gives_up, goes_on])
        assert gives_up.cancelled()
        return clock.seconds

    assert asyncio.run(scenario()) == 10


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with new_world(monkeypatch) as world:
        yield world


class Echo(HttpServer):
    """Answers every GET, and knows how many were under way at once."""

    def act(self, request: Request) -> Response:
        return Response.json({"path": request.path})


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def test_a_client_is_bound_to_its_server(world: World, echo: Echo) -> None:
    """One a server; a request to any other is not sent."""

    async def scenario() -> None:
        async with world.shard() as shard:
            client = shard.client(echo.url)
            assert shard.client(echo.url) is client
            with pytest.raises(Denied, match="nothing was sent"):
                await shard.send(client, client.build_request("GET", "http://127.0.0.1:9/"), "the service")
            assert (await shard.send(client, client.build_request("GET", "/x"), "the service")).json()["path"] == "/x"

    asyncio.run(scenario())
    assert len(echo.requests()) == 1


def test_requests_wait_for_a_place(world: World, echo: Echo) -> None:
    """However many are asked for at once, no more than AT_ONCE are under way, and all are answered."""
    holds = [echo.hold(nth=number + 1) for number in range(AT_ONCE)]

    async def scenario() -> int:
        async with world.shard() as shard, asyncio.TaskGroup() as group:
            client = shard.client(echo.url)
            for number in range(AT_ONCE + 20):
                group.create_task(shard.send(client, client.build_request("GET", f"/{number}"), "the service"))
            await asyncio.to_thread(holds[-1].wait_until_reached)
            await asyncio.sleep(0.05)  # as long as others would take to come, if they could
            under_way = len(echo.requests())
            echo.clear_faults()
        return under_way

    assert asyncio.run(scenario()) == AT_ONCE
    assert len(echo.requests()) == AT_ONCE + 20


async def asked(world: World, url: str, ca: str | None = None, deadline: datetime | None = None) -> httpx.Response:
    async with world.shard(deadline) as shard:
        client = shard.client(url, ca)
        return await shard.send(client, client.build_request("POST", "/"), "the service")


def test_a_connection_that_broke_is_not_called_one_that_never_was(world: World, echo: Echo) -> None:
    """`NotSent` is said only where the request surely never left."""
    echo.inject(faults.drop())
    with pytest.raises(Unreachable, match="the connection broke") as broken:
        asyncio.run(asked(world, echo.url))
    assert not isinstance(broken.value, NotSent)
    echo.stop()
    with pytest.raises(NotSent, match="no connection"):
        asyncio.run(asked(world, echo.url))


def test_a_certificate_that_is_not_trusted_is_called_so(world: World) -> None:
    authority = Authority()
    with Echo(authority.server_context()) as server:
        with pytest.raises(NotSent, match="certificate is not trusted"):
            asyncio.run(asked(world, server.url))
        assert asyncio.run(asked(world, server.url, authority.pem)).is_success


def test_an_answer_that_is_no_http_is_unreachable(world: World) -> None:
    """Also what the transport does not translate: its text quotes what was received."""

    async def scenario() -> None:
        async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SECRET babble\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unreachable) as caught:
                await asked(world, f"http://127.0.0.1:{port}")
            assert "SECRET" not in str(caught.value)

    asyncio.run(scenario())


def test_a_held_request_names_its_service(world: World, echo: Echo) -> None:
    async def scenario() -> None:
        async with world.shard(datetime.now(UTC)) as shard:
            shard.limiter.hold(MINUTE)
            client = shard.client(echo.url)
            await shard.send(client, client.build_request("GET", "/"), "the service")

    with pytest.raises(Held, match="the service limits how often it is asked: no request may leave before 20"):
        asyncio.run(scenario())
    assert echo.requests() == []


def test_leaving_a_shard_closes_its_connections(world: World, echo: Echo) -> None:
    """Also where it is left by an error; an open connection would warn, and a warning is an error here."""

    async def scenario() -> None:
        async with world.shard() as shard:
            client = shard.client(echo.url)
            await shard.send(client, client.build_request("GET", "/"), "the service")
            raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(scenario())
    gc.collect()


class Maker:
    """Makes values, one after the other, each after a moment."""

    def __init__(self, *failing: int) -> None:
        self.made = 0
        self.failing = failing
        self.go_on = asyncio.Event()

    async def __call__(self) -> str:
        self.made += 1
        number = self.made
        await self.go_on.wait()
        if number in self.failing:
            raise Unreachable(f"outage {number}")
        return f"value {number}"


def test_once_makes_one_for_all(world: World) -> None:
    async def scenario() -> None:
        async with world.shard() as shard:
            make = Maker()
            asking = [asyncio.create_task(shard.once("token", make)) for _ in range(100)]
            await asyncio.sleep(0)
            make.go_on.set()
            assert set(await asyncio.gather(*asking)) == {"value 1"}
            assert await shard.once("token", make) == "value 1"
            assert await shard.once("another", make) == "value 2"

    asyncio.run(scenario())


def test_an_outage_is_met_once_by_all_who_wait(world: World) -> None:
    """A hundred do not try in turn what has just failed; who asks later does."""

    async def scenario() -> None:
        async with world.shard() as shard:
            make = Maker(1)
            asking = [asyncio.create_task(shard.once("token", make)) for _ in range(100)]
            await asyncio.sleep(0)
            make.go_on.set()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            assert {str(answer) for answer in answers} == {"outage 1"}
            assert await shard.once("token", make) == "value 2"

    asyncio.run(scenario())


@pytest.mark.parametrize("cancelled", [0, 1])
def test_who_is_cancelled_takes_nobody_along(world: World, cancelled: int) -> None:
    """If it was the maker, the next one makes it."""

    async def scenario() -> None:
        async with world.shard() as shard:
            make = Maker()
            asking = [asyncio.create_task(shard.once("token", make)) for _ in range(3)]
            await asyncio.sleep(0)
            asking[cancelled].cancel()
            await asyncio.wait([asking[cancelled]])
            make.go_on.set()
            others = [task for task in asking if task is not asking[cancelled]]
            assert len(set(await asyncio.gather(*others))) == 1
            assert make.made == 2 - cancelled

    asyncio.run(scenario())


def test_what_is_no_longer_good_is_made_anew(world: World) -> None:
    async def scenario() -> None:
        async with world.shard() as shard:
            make = Maker()
            make.go_on.set()
            first = await shard.once("token", make)
            assert await shard.once("token", make, lambda value: value != "value 1") == "value 2"
            shard.forget("token", first)  # it was replaced already: what is there stays
            assert await shard.once("token", make) == "value 2"
            shard.forget("token", await shard.once("token", make))
            assert await shard.once("token", make) == "value 3"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("Sat, 07 Mar 2026 02:01:00 GMT", 60),
        ("Sat, 07 Mar 2026 01:00:00 GMT", 0),
        ("999999999999", 24 * 3600),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str, seconds: int | None) -> None:
    waited = retry_after(httpx.Response(429, headers={"Retry-After": header}), START)
    assert waited == (None if seconds is None else timedelta(seconds=seconds))
    assert retry_after(httpx.Response(429), START) is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Held("x"), ConsumerOutcome.PENDING),
        (Conflict("x"), ConsumerOutcome.PENDING),
        (Unreachable("x"), ConsumerOutcome.UNREACHABLE),
        (NotSent("x"), ConsumerOutcome.UNREACHABLE),
        (Superseded("x"), ConsumerOutcome.SUPERSEDED),
        (Denied("x"), ConsumerOutcome.FAILED),
        (NotFound("x"), ConsumerOutcome.FAILED),
    ],
)
def test_an_error_becomes_the_receipt_that_says_it(error: RekeyError, outcome: ConsumerOutcome) -> None:
    receipt = receipt_for(error, "web-ci", "github-secret", START)
    assert (receipt.outcome, receipt.reason, receipt.answered_at) == (outcome, "x", START)
    assert isinstance(error, ServiceErrors)


@pytest.mark.parametrize("error", [OutOfTime("x"), Defect("x")])
def test_an_interrupted_handler_is_no_answer_of_a_service(error: RekeyError) -> None:
    """The function's own deadline must get through an adapter, and a defect must not pass for an outage."""
    assert not isinstance(error, ServiceErrors)
