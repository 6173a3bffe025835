"""What every consumer of the adapter table promises, at its simulator (rekey.contracts.Consumer).

Image pull secrets are tried at the real API server too.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from rekey.adapters import ADAPTERS
from rekey.consumers.shard import AT_ONCE
from rekey.errors import RekeyError
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from tests.contract.cancelling import cancelled_at, others
from tests.contract.github_case import GitHubCase
from tests.contract.kubernetes_case import KubernetesCase
from tests.contract.rounds import Round
from tests.contract.webhook_case import WebhookCase
from tests.contract.world import World, new_world
from tests.sandbox import faults
from tests.sandbox.github import GitHub
from tests.sandbox.http_server import HttpServer
from tests.sandbox.kube_api import KubeApi
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.sandbox.webhook_receiver import WebhookReceiver, new_secret
from tests.sandbox.wire import Response
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rekey.contracts import Prepared
    from tests.contract.consumer_case import ConsumerCase
    from tests.sandbox.wire import Exchange, Fault

    Case = ConsumerCase[HttpServer]


def _github(world: World, count: int) -> Case:
    return GitHubCase(world, GitHub().start(), count)


def _kubernetes(world: World, count: int) -> Case:
    return KubernetesCase(world, Kubernetes().start(), count)


def _webhook(world: World, count: int) -> Case:
    key = new_secret()
    return WebhookCase(world, WebhookReceiver(key).start(), count, key)


ON_KUBE_APISERVER = "kubernetes-pull-secret at kube-apiserver"
CASES = {"github-secret": _github, "kubernetes-pull-secret": _kubernetes, "webhook": _webhook}


def test_every_consumer_of_the_table_is_tried() -> None:
    assert {name for kind, name in ADAPTERS if kind == "consumer"} == CASES.keys()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with new_world(monkeypatch) as world:
        yield world


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    with KubeApi(require("kube-apiserver"), require("etcd")) as api:
        yield api


@pytest.fixture(params=[*sorted(CASES), ON_KUBE_APISERVER])
def make(
    request: pytest.FixtureRequest, world: World, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[int], Case]]:
    """Return what makes the case of one adapter; afterwards no log record may hold a secret."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "botocore")  # at DEBUG it writes whole answers of Secrets Manager
    made: list[Case] = []
    real = request.getfixturevalue("api") if request.param == ON_KUBE_APISERVER else None

    def make(count: int) -> Case:
        made.append(
            KubernetesCase(world, KubernetesDoor(real).start(), count) if real else CASES[request.param](world, count)
        )
        return made[-1]

    yield make
    for case in made:
        case.server.stop()
        case.hear()
    world.assert_nothing_said(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


@pytest.fixture
def case(make: Callable[[int], Case]) -> Case:
    return make(2)


def outcomes(receipts: list[Receipt]) -> list[ConsumerOutcome]:
    return [receipt.outcome for receipt in receipts]


def assert_done(round_: Round, receipts: list[Receipt]) -> None:
    assert all(receipt.outcome.done for receipt in receipts)
    assert all(round_.case.has(receipt.consumer, round_.delivery) for receipt in receipts)


def test_prepare_finds_every_place_and_brings_nothing(case: Case) -> None:
    """What `prepare` gives are the places by name, ready, and no request that brings a password was sent."""
    round_ = Round(case)
    prepared = round_.prepare()
    assert [one.consumer for one in prepared] == case.names()
    assert [one.problem for one in prepared] == ["", ""]
    assert not any(case.is_write(request) for request in case.server.requests())


def test_a_delivery_arrives_and_is_verified(case: Case) -> None:
    round_ = Round(case)
    receipts = round_.deliver(round_.prepare())
    assert [(receipt.consumer, receipt.type) for receipt in receipts] == [(name, case.type) for name in case.names()]
    assert outcomes(receipts) == [ConsumerOutcome.UPDATED] * 2
    assert all(receipt.answered_at and not receipt.reason for receipt in receipts)
    assert_done(round_, receipts)
    verified = round_.verify(receipts)
    assert [(receipt.verdict, receipt.reason) for receipt in verified] == [(case.verdict, "")] * 2


def test_delivered_again_nothing_is_lost(case: Case) -> None:
    """After a crash a delivery comes twice: the place has the password then as before."""
    round_ = Round(case)
    prepared = round_.prepare()
    round_.deliver(prepared)
    receipts = round_.deliver(prepared)
    assert_done(round_, receipts)
    expected = ConsumerOutcome.UNCHANGED if case.can_be_unchanged else ConsumerOutcome.UPDATED
    assert outcomes(receipts) == [expected] * 2


def test_an_outage_before_is_said_by_prepare(case: Case) -> None:
    case.server.stop()
    round_ = Round(case)
    try:
        problems = [one.problem for one in round_.prepare()]
    except RekeyError as error:
        problems = [str(error)]
    assert problems
    assert all("no connection" in problem for problem in problems)


def test_an_outage_is_unreachable_until_it_ends(case: Case) -> None:
    round_ = Round(case)
    prepared = round_.prepare()
    case.server.stop()
    receipts = round_.deliver(prepared)
    assert outcomes(receipts) == [ConsumerOutcome.UNREACHABLE] * 2
    assert all("no connection" in receipt.reason for receipt in receipts)
    assert round_.verify(receipts) == receipts
    case.server.start()
    assert_done(round_, round_.deliver(prepared))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.gateway_page(502), id="gateway"),
        pytest.param(faults.gateway_page(503, acted=True), id="gateway after the act"),
        pytest.param(faults.drop(), id="dropped"),
        pytest.param(faults.drop(acted=True), id="dropped after the act"),
        pytest.param(faults.answer(Response(429, b"not now", {"Retry-After": "1"})), id="too many"),
    ],
)
def test_a_write_that_fails_in_passing_is_done_by_the_next_pass(case: Case, fault: Fault) -> None:
    """It is never called updated without a good answer, never failed, and the other place is not held up."""
    case.server.inject(fault, when=case.is_write, times=2 if "drop" in fault.__qualname__ else 1)
    round_ = Round(case)
    prepared = round_.prepare()
    receipts = round_.deliver(prepared)
    left = [one for one, receipt in zip(prepared, receipts, strict=True) if not receipt.outcome.done]
    assert ConsumerOutcome.FAILED not in outcomes(receipts)
    assert all(receipt.reason for receipt in receipts if not receipt.outcome.done)
    assert_done(round_, round_.deliver(left or prepared))
    assert all(case.has(name, round_.delivery) for name in case.names())


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 422])
def test_a_write_that_is_refused_fails_and_says_why(case: Case, status: int) -> None:
    """It fails with where and what; the place beside it is written."""
    moved = {"Location": "http://127.0.0.1:9/elsewhere"}
    mine = case.names()[0].rpartition("/")[2]
    case.server.inject(
        faults.answer(Response(status, b"{}", moved)),
        when=lambda request: case.is_write(request) and mine in request.path.split("/"),
        times=None,
    )
    round_ = Round(case)
    receipts = round_.deliver(round_.prepare())
    assert outcomes(receipts) == [ConsumerOutcome.FAILED, ConsumerOutcome.UPDATED]
    assert str(status) in receipts[0].reason
    assert case.server.host in receipts[0].reason
    assert round_.verify(receipts[:1]) == receipts[:1]
    assert case.has(receipts[1].consumer, round_.delivery)


def test_nothing_is_sent_where_a_redirect_leads(case: Case) -> None:
    """Neither the credential nor what is delivered follows a redirect to another server."""
    with HttpServer() as elsewhere:
        moved = Response(307, b"", {"Location": f"{elsewhere.url}/here"})
        round_ = Round(case)
        prepared = round_.prepare()
        case.server.inject(faults.answer(moved), times=None)
        assert outcomes(round_.deliver(prepared)) == [ConsumerOutcome.FAILED] * 2
        assert elsewhere.requests() == []


def test_a_credential_bound_to_another_host_goes_nowhere(case: Case) -> None:
    for secret in case.world.secrets_manager.list_secrets()["SecretList"]:
        case.world.rebind(secret["Name"], "elsewhere.example.com")
    with pytest.raises(RekeyError, match="is not for"):
        Round(case).prepare()
    assert case.server.requests() == []


def test_a_place_whose_preparing_failed_gets_a_receipt(case: Case) -> None:
    """Where a rotation goes on without a consumer that is not ready, it is tried, or its receipt says why not."""
    case.server.stop()
    round_ = Round(case)
    try:
        prepared = round_.prepare()
    except RekeyError as error:
        prepared = round_.unprepared(str(error))
    case.server.start()
    for receipt in round_.deliver(prepared):
        assert receipt.outcome.done or receipt.reason


def test_cancelled_at_any_await_nothing_goes_on(make: Callable[[int], Case]) -> None:
    """Cancelled wherever it waits, a delivery leaves no task, no connection and no half a write behind."""
    case = make(1)
    round_ = Round(case)
    (prepared,) = round_.prepare()
    number = 1
    while not asyncio.run(_delivered_but_cancelled_at(number, round_, prepared)):
        number += 1
        assert number < 200
    assert number > 3
    assert_done(round_, round_.deliver([prepared]))


async def _delivered_but_cancelled_at(number: int, round_: Round, prepared: Prepared) -> bool:
    async with round_.case.world.shard() as shard:
        (consumer,) = round_.case.consumers(shard)

        async def deliver() -> Receipt:
            return await cancelled_at(number, consumer.deliver(round_.delivery, prepared))

        task = asyncio.create_task(deliver())
        await asyncio.wait([task])
        assert await others() == set()
    assert await others() == set()
    gc.collect()  # an unclosed connection warns now, and a warning is an error
    if task.cancelled():
        return False
    assert task.result().outcome.done
    return True


@pytest.mark.parametrize("beat", ["prepare", "verify"])
def test_looking_may_be_cancelled_at_any_await(make: Callable[[int], Case], beat: str) -> None:
    case = make(2)
    round_ = Round(case)
    receipts = round_.deliver(round_.prepare())

    async def looked(number: int) -> bool:
        async with case.world.shard() as shard:
            consumer = case.consumers(shard)[0]
            look = consumer.prepare() if beat == "prepare" else consumer.verify(round_.delivery, receipts[0])

            async def act() -> object:
                return await cancelled_at(number, look)

            task = asyncio.create_task(act())
            await asyncio.wait([task])
            assert await others() == set()
        gc.collect()
        return not task.cancelled() and task.exception() is None

    number = 1
    while not asyncio.run(looked(number)):
        number += 1
        assert number < 200


def test_a_hundred_at_once(make: Callable[[int], Case]) -> None:
    """A shard of a hundred places is served together, over few connections and without a thread for each."""
    case = make(100)
    round_ = Round(case)
    prepared = round_.prepare()
    receipts = round_.deliver(prepared)
    assert_done(round_, receipts)
    assert len(receipts) == 100
    assert most_at_once(case.server.exchanges) <= AT_ONCE
    assert not any(thread.name.startswith("asyncio") for thread in threading.enumerate())


def most_at_once(exchanges: list[Exchange]) -> int:
    """Return how many requests were under way at most."""
    moments = [(exchange.request.order, 1) for exchange in exchanges]
    moments += [(exchange.answered, -1) for exchange in exchanges if exchange.answered is not None]
    most = under_way = 0
    for _, change in sorted(moments):
        under_way += change
        most = max(most, under_way)
    return most


def test_verdicts_are_honest_where_nothing_can_be_asked(case: Case) -> None:
    """Where the service is away, verifying says `unknown` (or `written`, where nobody could ever be asked)."""
    round_ = Round(case)
    receipts = round_.deliver(round_.prepare())
    case.server.stop()
    for receipt in round_.verify(receipts):
        if case.type == "webhook":
            assert receipt.verdict is ConsumerVerdict.WRITTEN
        else:
            assert receipt.verdict is ConsumerVerdict.UNKNOWN
            assert "no connection" in receipt.reason
