"""Consumer `kubernetes-pull-secret`: in place, nothing else touched, fenced, read back."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

import pytest

from rekey.consumers.kubernetes_pull_secret import KubernetesPullSecretConsumer
from rekey.contracts import Prepared
from rekey.model.password import docker_auth
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from tests.contract.world import REGISTRY, World
from tests.sandbox import faults
from tests.sandbox.kubernetes_secret import DOCKER_CFG
from tests.sandbox.wire import Response
from tests.unit.kubernetes.pull_secret import (
    GENERATION,
    OTHER,
    ROTATION,
    deliver,
    entry_of,
    is_put,
    marks,
    part,
    prepare,
    problem,
    verify,
)

if TYPE_CHECKING:
    from rekey.model.plan import ServerCluster
    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import JsonObject


def test_a_secret_is_called_with_its_place(
    world: World, server: KubernetesCluster, cluster: ServerCluster, usual: JsonObject
) -> None:
    """Also where there is one alone; what is in it does not stand in what prepare found."""
    server.add_pull_secret("shop", "jobs", usual)
    found = prepare(world, part(cluster, "shop/pull", "shop/jobs"))
    assert found == [
        Prepared("prod/shop/pull", {"secret": "shop/pull"}),
        Prepared("prod/shop/jobs", {"secret": "shop/jobs"}),
    ]


@pytest.mark.usefixtures("usual")
def test_only_this_registrys_entry_and_the_marks_change(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    """All else stays byte for byte: other entries, other keys, labels, owners, the object's very identity."""
    metadata: JsonObject = {
        "labels": {"team": "shop"},
        "annotations": {"note": "ours"},
        "finalizers": ["example.test/keep"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}],
    }
    auths: JsonObject = {REGISTRY.endpoint: entry_of(world), OTHER: entry_of(world, "somebody")}
    config: JsonObject = {"auths": auths, "HttpHeaders": {"X-Meta": "1"}}
    server.add_secret(
        "shop",
        "rich",
        {".dockerconfigjson": json.dumps(config), "notes": "more data"},
        of_type="kubernetes.io/dockerconfigjson",
        metadata=metadata,
    )
    before, delivery = server.secret("shop", "rich"), world.delivery()
    assert deliver(world, part(cluster, "shop/rich"), delivery).outcome is ConsumerOutcome.UPDATED
    after = server.secret("shop", "rich")

    def content(secret: JsonObject) -> JsonObject:
        data = secret["data"]
        assert isinstance(data, dict)
        found: JsonObject = json.loads(base64.b64decode(str(data.pop(".dockerconfigjson"))))
        return found

    expected = config | {"auths": auths | {REGISTRY.endpoint: docker_auth("robot", delivery.password)}}
    assert (content(before), content(after)) == (config, expected)
    for secret in (before, after):
        assert isinstance(secret["metadata"], dict)
        for servers_own in ("resourceVersion", "managedFields"):
            del secret["metadata"][servers_own]
    assert isinstance(after["metadata"], dict)
    assert after["metadata"].pop("annotations") == {"note": "ours", GENERATION: "7", ROTATION: "prod-images/7"}
    assert isinstance(before["metadata"], dict)
    del before["metadata"]["annotations"]
    assert before == after


def test_every_spelling_of_the_registry_is_found_and_kept(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    keys = [f"https://{REGISTRY.endpoint}/v2/", f"{REGISTRY.endpoint}:443", f"{REGISTRY.endpoint}/team"]
    server.add_pull_secret("shop", "pull", {key: entry_of(world) for key in keys})
    delivery = world.delivery()
    assert problem(world, part(cluster)) == ""
    assert deliver(world, part(cluster), delivery).outcome is ConsumerOutcome.UPDATED
    assert server.auths("shop", "pull") == dict.fromkeys(keys, docker_auth("robot", delivery.password))


def test_the_old_type_of_pull_secret(world: World, server: KubernetesCluster, cluster: ServerCluster) -> None:
    other = entry_of(world, "somebody")
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world), OTHER: other}, of_type=DOCKER_CFG)
    delivery = world.delivery()
    assert problem(world, part(cluster)) == ""
    receipt = deliver(world, part(cluster), delivery)
    assert server.auths("shop", "pull") == {REGISTRY.endpoint: docker_auth("robot", delivery.password), OTHER: other}
    assert verify(world, part(cluster), delivery, receipt).verdict is ConsumerVerdict.MATCHES


def test_a_missing_secret_is_created_only_if_the_plan_says_so(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    assert "there is no secret shop/pull" in problem(world, part(cluster))
    assert deliver(world, part(cluster)).outcome is ConsumerOutcome.FAILED
    entry, delivery = part(cluster, create=True), world.delivery()
    assert problem(world, entry) == ""
    receipt = deliver(world, entry, delivery)
    assert receipt.outcome is ConsumerOutcome.UPDATED
    assert server.auths("shop", "pull") == {REGISTRY.endpoint: docker_auth("robot", delivery.password)}
    assert marks(server) == {GENERATION: "7", ROTATION: "prod-images/7"}
    assert verify(world, entry, delivery, receipt).verdict is ConsumerVerdict.MATCHES


def test_a_secret_that_somebody_else_creates_meanwhile_is_kept(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    other = entry_of(world, "somebody")
    server.inject(
        faults.call(lambda _: server.add_pull_secret("shop", "pull", {OTHER: other})),
        when=lambda request: request.method == "POST",
    )
    delivery = world.delivery()
    assert deliver(world, part(cluster, create=True), delivery).outcome is ConsumerOutcome.UPDATED
    assert server.auths("shop", "pull") == {OTHER: other, REGISTRY.endpoint: docker_auth("robot", delivery.password)}


def test_a_secret_without_the_registry_gets_it_only_if_the_plan_says_so(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    """It must not hand the password to who never had it."""
    server.add_pull_secret("shop", "pull", {OTHER: entry_of(world)})
    assert "has no entry of robot for registry.example.com" in problem(world, part(cluster))
    receipt = deliver(world, part(cluster))
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "has no entry" in receipt.reason
    assert problem(world, part(cluster, create=True)) == ""
    assert deliver(world, part(cluster, create=True)).outcome is ConsumerOutcome.UPDATED
    assert list(server.auths("shop", "pull")) == [OTHER, REGISTRY.endpoint]


@pytest.mark.parametrize("create", [False, True])
def test_another_users_entry_is_left_alone(
    world: World, server: KubernetesCluster, cluster: ServerCluster, *, create: bool
) -> None:
    auths: JsonObject = {REGISTRY.endpoint: entry_of(world, "somebody")}
    server.add_pull_secret("shop", "pull", auths)
    assert "holds another user's password of registry.example.com" in problem(world, part(cluster, create=create))
    assert deliver(world, part(cluster, create=create)).outcome is ConsumerOutcome.FAILED
    assert server.auths("shop", "pull") == auths


def test_a_secret_of_another_type_is_no_pull_secret(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    server.add_secret("shop", "pull", {"password": "x"})
    assert "is no image pull secret" in problem(world, part(cluster))
    assert deliver(world, part(cluster)).outcome is ConsumerOutcome.FAILED


@pytest.mark.usefixtures("usual")
def test_an_older_generation_never_overwrites_a_newer(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    """A writer that comes too late finds the mark of the generation that overtook it."""
    newer, older = world.delivery(8), world.delivery(7)
    receipt = deliver(world, part(cluster), older)
    deliver(world, part(cluster), newer)
    late = deliver(world, part(cluster), older)
    assert late.outcome is ConsumerOutcome.SUPERSEDED
    assert "generation 8 already" in late.reason
    found = server.auths("shop", "pull")[REGISTRY.endpoint]
    assert found == docker_auth("robot", newer.password)
    assert len(server.requests("PUT")) == 2
    assert verify(world, part(cluster), older, receipt).outcome is ConsumerOutcome.SUPERSEDED


def test_registries_that_share_a_secret_have_marks_of_their_own(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    """The generations of one say nothing of the other's."""
    metadata: JsonObject = {"annotations": {"other-images.rekey.dev/generation": "99"}}
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world)}, metadata=metadata)
    assert deliver(world, part(cluster), world.delivery(1)).outcome is ConsumerOutcome.UPDATED
    assert marks(server) == {
        "other-images.rekey.dev/generation": "99",
        GENERATION: "1",
        ROTATION: "prod-images/1",
    }


def test_a_mark_that_is_no_number_fences_nobody(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    metadata: JsonObject = {"annotations": {GENERATION: "many"}}
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world)}, metadata=metadata)
    assert deliver(world, part(cluster)).outcome is ConsumerOutcome.UPDATED


@pytest.mark.usefixtures("usual")
def test_what_is_there_already_is_not_written(world: World, server: KubernetesCluster, cluster: ServerCluster) -> None:
    delivery = world.delivery()
    deliver(world, part(cluster), delivery)
    version = server.secret("shop", "pull")
    receipt = deliver(world, part(cluster), delivery)
    assert receipt.outcome is ConsumerOutcome.UNCHANGED
    assert server.secret("shop", "pull") == version
    assert verify(world, part(cluster), delivery, receipt).verdict is ConsumerVerdict.MATCHES


@pytest.mark.usefixtures("usual")
def test_a_password_without_its_mark_is_written_with_it(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    """A person may have brought the password already: without the mark a late older one could still replace it."""
    delivery = world.delivery()
    server.add_pull_secret("shop", "by-hand", {REGISTRY.endpoint: {**docker_auth("robot", delivery.password)}})
    assert deliver(world, part(cluster, "shop/by-hand"), delivery).outcome is ConsumerOutcome.UPDATED
    found = marks(server, "by-hand")
    assert isinstance(found, dict)
    assert found[GENERATION] == "7"


@pytest.mark.usefixtures("usual")
def test_a_password_that_was_written_back_differs(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    delivery = world.delivery()
    receipt = deliver(world, part(cluster), delivery)
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world)})
    found = verify(world, part(cluster), delivery, receipt)
    assert found.verdict is ConsumerVerdict.DIFFERS
    assert "holds another password by now" in found.reason


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Response(404), (ConsumerVerdict.DIFFERS, "is gone since it was written")),
        (Response(403), (ConsumerVerdict.UNKNOWN, "could not be read back")),
        (Response(200, b"[]"), (ConsumerVerdict.UNKNOWN, "no JSON object")),
        (Response.json({"type": "Opaque"}), (ConsumerVerdict.DIFFERS, "no image pull secret")),
    ],
)
def test_what_cannot_be_read_back_is_said(
    world: World,
    server: KubernetesCluster,
    cluster: ServerCluster,
    answer: Response,
    found: tuple[ConsumerVerdict, str],
) -> None:
    delivery = world.delivery()
    receipt = deliver(world, part(cluster), delivery)
    server.inject(faults.answer(answer))
    verified = verify(world, part(cluster), delivery, receipt)
    assert (verified.outcome, verified.verdict) == (ConsumerOutcome.UPDATED, found[0])
    assert found[1] in verified.reason


def test_no_error_quotes_the_secret(
    world: World, server: KubernetesCluster, cluster: ServerCluster, usual: JsonObject
) -> None:
    """A refusal may quote the object with all its registries' passwords."""
    for status in (400, 401, 403, 404, 409, 422, 500):
        server.inject(faults.answer(Response.json(usual, status)), when=is_put, times=None)
        receipt = deliver(world, part(cluster))
        assert receipt.reason
        world.assert_nothing_said([repr(receipt)])
        server.clear_faults()


@pytest.mark.usefixtures("usual")
def test_a_cluster_that_has_too_many_requests_is_asked_again(
    world: World, server: KubernetesCluster, cluster: ServerCluster
) -> None:
    server.inject(faults.answer(Response(429, b"", {"Retry-After": "0"})), when=is_put, times=2)
    assert deliver(world, part(cluster)).outcome is ConsumerOutcome.UPDATED
    server.inject(faults.answer(Response(429, b"", {"Retry-After": "0"})), times=None)
    assert deliver(world, part(cluster)).outcome is ConsumerOutcome.UNREACHABLE


def test_an_entry_that_could_not_be_prepared_is_not_written(world: World, cluster: ServerCluster) -> None:
    async def act() -> Receipt:
        async with world.shard() as shard:
            consumer = KubernetesPullSecretConsumer(part(cluster), shard)
            return await consumer.deliver(world.delivery(), Prepared("prod", problem="no such thing"))

    receipt = asyncio.run(act())
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "no such thing" in receipt.reason
