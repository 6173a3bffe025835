"""Who writes a pull secret at the same time, deletes it, or takes the right to it away: nothing of theirs is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rekey.model.password import docker_auth
from rekey.model.verdict import ConsumerOutcome
from tests.contract.world import REGISTRY, World
from tests.sandbox import faults
from tests.sandbox.kubernetes_access import Rule
from tests.sandbox.wire import Request, Response
from tests.unit.kubernetes.pull_secret import (
    ALL,
    GENERATION,
    ROTATION,
    cluster_with,
    deliver,
    is_put,
    marks,
    part,
    problem,
)

if TYPE_CHECKING:
    from rekey.model.plan import ServerCluster
    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import Act, JsonObject


@pytest.mark.usefixtures("usual")
def test_a_write_of_somebody_else_is_not_lost(world: World, server: KubernetesCluster, cluster: ServerCluster) -> None:
    """Who was faster keeps what they wrote: the secret is read again."""
    server.inject(faults.call(lambda _: server.touch("shop", "pull")), when=is_put, times=2)
    delivery = world.delivery()
    assert deliver(world, part(cluster), delivery).outcome is ConsumerOutcome.UPDATED
    found = marks(server)
    assert isinstance(found, dict)
    assert found.keys() == {"example.test/touched", GENERATION, ROTATION}
    assert len(server.requests("PUT")) == 3


@pytest.mark.usefixtures("usual")
def test_a_secret_that_is_deleted_meanwhile_is_created_if_the_plan_says_so(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    server.inject(faults.call(lambda _: server.remove_secret("shop", "pull")), when=is_put)
    delivery = world.delivery()
    assert deliver(world, part(cluster, create=True), delivery).outcome is ConsumerOutcome.UPDATED
    assert server.auths("shop", "pull") == {REGISTRY.endpoint: docker_auth("robot", delivery.password)}


@pytest.mark.usefixtures("usual")
def test_a_secret_that_is_deleted_meanwhile_is_said_to_be_gone(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    server.inject(faults.call(lambda _: server.remove_secret("shop", "pull")), when=is_put)
    receipt = deliver(world, part(cluster))
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "the secret shop/pull is gone: create it, then deliver again" in receipt.reason


@pytest.mark.usefixtures("usual")
def test_a_write_that_is_answered_404_while_the_secret_is_there_fails(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    """Something else is missing there: writing again would find the same."""
    missing = Response.json({"kind": "Status", "reason": "NotFound", "code": 404}, 404)
    server.inject(faults.answer(missing), when=is_put, times=None)
    before = server.auths("shop", "pull")
    receipt = deliver(world, part(cluster))
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "answered 404 to: update the secret shop/pull" in receipt.reason
    assert server.auths("shop", "pull") == before


def test_a_secret_made_immutable_meanwhile_stays_as_it_is(
    world: World, server: KubernetesCluster, cluster: ServerCluster, usual: JsonObject
) -> None:
    """The write meets another object of that name; read again, it is immutable."""
    server.add_pull_secret("shop", "fixed", usual)
    server.inject(faults.call(lambda _: server.add_pull_secret("shop", "fixed", usual, immutable=True)), when=is_put)
    receipt = deliver(world, part(cluster, "shop/fixed"))
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "is immutable" in receipt.reason
    assert server.auths("shop", "fixed") == usual


def test_an_immutable_secret_is_refused_by_the_server_too(
    world: World, server: KubernetesCluster, usual: JsonObject
) -> None:
    """Where the adapter reads that it is not: what is sent then is 422."""
    server.add_pull_secret("shop", "fixed", usual, immutable=True)
    cluster = cluster_with(world, server, ALL)
    seen: list[Response] = []

    def unmarked(_request: Request, act: Act) -> Response:
        answer = json.loads(act().body)
        del answer["immutable"]
        seen.append(Response.json(answer))
        return seen[-1]

    server.inject(unmarked, when=lambda request: request.method == "GET")
    receipt = deliver(world, part(cluster, "shop/fixed"))
    assert seen
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "answered 422 to: update the secret shop/fixed" in receipt.reason
    assert server.auths("shop", "fixed") == usual


@pytest.mark.usefixtures("usual")
def test_a_right_that_is_missing_at_the_write_is_said(world: World, server: KubernetesCluster) -> None:
    """Whatever preparing found: the secret is as it was, and the receipt names what was refused."""
    before = server.auths("shop", "pull")
    receipt = deliver(world, part(cluster_with(world, server, Rule.of("get", "shop", ["pull"]))))
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "answered 403 to: update the secret shop/pull: allow it by a Role" in receipt.reason
    assert server.auths("shop", "pull") == before


def test_a_namespace_that_is_missing_is_said_before_and_at_the_write(world: World, server: KubernetesCluster) -> None:
    entry = part(cluster_with(world, server, ALL), "nowhere/pull", create=True)
    assert "there is no namespace nowhere" in problem(world, entry)
    receipt = deliver(world, entry)
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "answered 404 to: create a secret in nowhere: it does not exist" in receipt.reason


def test_a_secret_that_never_stands_still_is_pending(
    world: World, server: KubernetesCluster, cluster: ServerCluster, usual: JsonObject
) -> None:
    server.inject(faults.call(lambda _: server.touch("shop", "pull")), when=is_put, times=None)
    receipt = deliver(world, part(cluster))
    assert receipt.outcome is ConsumerOutcome.PENDING
    assert "changed by something else" in receipt.reason
    assert len(server.requests("PUT")) == 5
    assert server.auths("shop", "pull") == usual
