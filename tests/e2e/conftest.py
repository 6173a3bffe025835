"""One world for all tests of this folder: a stack, a registry, its control plane and consumers, all of them running."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.e2e import companies
from tests.e2e.front import Front
from tests.sandbox import iam
from tests.sandbox.cloudraya import documented_answer
from tests.sandbox.http_server import HttpServer
from tests.sandbox.lambdas import HostSettings
from tests.sandbox.webhook_receiver import new_secret
from tests.sandbox.world import World
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.company import Company, Kind
    from tests.sandbox.company_store import StoreKind
    from tests.sandbox.wire import Json

HERE = Path(__file__).parent
LONGEST = ("test_campaign.py", "test_demo.py", "test_sealed.py")
OVERRIDES = {
    "DistributeTimeout": "13",  # so short that a consumer which never answers meets it before its own limit of 10 s
    "ResetTimeout": "60",
    "PassBudget": "3",
    "WebhookSources": '{"soc": {"secret": "rekey/webhook-soc"}}',
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that use this world last: it stays open, and there is one sandbox a process at a time.

    Of each part the longest first: a worker that begins one when the others are done keeps everybody waiting.
    """
    last = {item.path for item in items if HERE in item.path.parents and "world" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path in last, item.path.name not in LONGEST))


class NewCompany(Protocol):
    """Sets a company up that no other test knows; `policy` is that of its plan."""

    def __call__(
        self, kind: Kind = "cloudraya", *, adopted: bool = True, store: StoreKind | None = None, **policy: Json
    ) -> Company: ...


@pytest.fixture(scope="session")
def webhook_key() -> str:
    """Return the key that the webhook source `soc` signs with."""
    return new_secret()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, webhook_key: str) -> Iterator[World]:
    """Open the world; in the end, see that AWS would have allowed every call that a function made in any test."""
    if companies.STORE == "vault":
        require("vault")
    if companies.CLUSTER == "kube-apiserver":
        require("kube-apiserver")
        require("etcd")
    # Starting a process costs more than half a second: four of a function race as well as ten.
    settings = HostSettings(concurrency=4, fork=True)
    with World(
        tmp_path_factory.mktemp("world"), OVERRIDES, settings, store=companies.STORE, cluster=companies.CLUSTER
    ) as world:
        world.put_credential("rekey/webhook-soc", "*", "*", key=webhook_key)
        yield world
        denied = iam.forbidden(iam.rights_of(world.cloud.template), iam.made_in(world.cloud, world.cloud.requests))
        assert not denied, "\n".join(denied)


@pytest.fixture(scope="session")
def front(world: World) -> Iterator[Front]:
    """Open the door to the registry that all companies' plans name."""
    with Front(world.registry) as front:
        yield front


@pytest.fixture
def new_company(world: World, front: Front) -> Iterator[NewCompany]:
    """Set companies up; afterwards every fault is lifted, and nothing of them is left open."""
    made: list[Company] = []

    def make(
        kind: Kind = "cloudraya", *, adopted: bool = True, store: StoreKind | None = None, **policy: Json
    ) -> Company:
        if store == "vault":
            require("vault")
        made.append(companies.new(world, front, kind, adopted=adopted, store=store, **policy))
        return made[-1]

    yield make
    front.clear_faults()
    world.clear_faults()
    world.cloudraya.reset_answer = documented_answer
    for company in made:
        companies.close(company)


@pytest.fixture
def company(new_company: NewCompany) -> Company:
    """Set one up whose store holds the password already."""
    return new_company()


@pytest.fixture
def elsewhere() -> Iterator[HttpServer]:
    """Start a server that nobody has any business with."""
    with HttpServer() as server:
        yield server
