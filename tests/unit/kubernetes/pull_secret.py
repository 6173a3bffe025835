"""A pull secret in a cluster, and the consumer that keeps it: prepared, delivered, verified."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rekey.consumers.kubernetes_pull_secret import KubernetesPullSecretConsumer
from rekey.contracts import Prepared
from rekey.model.password import Password, docker_auth
from rekey.model.plan import KubernetesPullSecret, ServerCluster
from tests.contract.world import REGISTRY, World
from tests.sandbox.kubernetes_access import Rule

if TYPE_CHECKING:
    from rekey.contracts import Delivery
    from rekey.model.plan import Cluster
    from rekey.model.verdict import Receipt
    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import Json, JsonObject, Request

GENERATION = f"{REGISTRY.name}.rekey.dev/generation"
ROTATION = f"{REGISTRY.name}.rekey.dev/rotation"
OTHER = "other.example.net"
ALL = Rule.of("get update create")


def entry_of(world: World, username: str = REGISTRY.username) -> JsonObject:
    return {**docker_auth(username, Password(world.new_secret()))}


def cluster_with(world: World, server: KubernetesCluster, *rules: Rule) -> ServerCluster:
    token = server.access.create_token("system:serviceaccount:rekey:rekey", *rules)
    return ServerCluster(server=server.url, token=world.credential("cluster", server.url, token=token))


def part(cluster: Cluster, *places: str, create: bool = False) -> KubernetesPullSecret:
    return KubernetesPullSecret(
        name="prod",
        type="kubernetes-pull-secret",
        cluster=cluster,
        secrets=places or ("shop/pull",),
        create=create,
    )


def prepare(world: World, entry: KubernetesPullSecret) -> list[Prepared]:
    async def act() -> list[Prepared]:
        async with world.shard() as shard:
            return list(await KubernetesPullSecretConsumer(entry, shard).prepare())

    return asyncio.run(act())


def problem(world: World, entry: KubernetesPullSecret) -> str:
    (prepared,) = prepare(world, entry)
    return prepared.problem


def deliver(world: World, entry: KubernetesPullSecret, delivery: Delivery | None = None) -> Receipt:
    """Deliver to the entry's first secret, whatever preparing it would say."""

    async def act() -> Receipt:
        async with world.shard() as shard:
            prepared = Prepared(f"prod/{entry.secrets[0]}", {"secret": entry.secrets[0]})
            return await KubernetesPullSecretConsumer(entry, shard).deliver(delivery or world.delivery(), prepared)

    return asyncio.run(act())


def verify(world: World, entry: KubernetesPullSecret, delivery: Delivery, receipt: Receipt) -> Receipt:
    async def act() -> Receipt:
        async with world.shard() as shard:
            return await KubernetesPullSecretConsumer(entry, shard).verify(delivery, receipt)

    return asyncio.run(act())


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def marks(server: KubernetesCluster, name: str = "pull") -> Json:
    metadata = server.secret("shop", name)["metadata"]
    assert isinstance(metadata, dict)
    return metadata.get("annotations")
