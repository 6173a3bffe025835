"""Contract case: image pull secrets of one cluster, each shared with another registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekey.model.password import Password, docker_auth
from rekey.model.plan import KubernetesPullSecret, ServerCluster
from rekey.model.verdict import ConsumerVerdict
from tests.contract.consumer_case import ConsumerCase
from tests.contract.world import REGISTRY
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.kubernetes_access import Rule

if TYPE_CHECKING:
    from rekey.contracts import Delivery
    from tests.contract.world import World
    from tests.sandbox.wire import JsonObject, Request

OTHER = "other.example.net"


class KubernetesCase(ConsumerCase[Kubernetes]):
    type = "kubernetes-pull-secret"
    verdict = ConsumerVerdict.MATCHES
    can_be_unchanged = True

    def __init__(self, world: World, server: Kubernetes, count: int) -> None:
        super().__init__(world, server, count)
        token = server.access.create_token("system:serviceaccount:rekey:rekey", Rule.of("get update", "shop"))
        self.token = world.credential("cluster", server.url, token=token)
        self.others = self.entry("somebody")
        server.add_namespace("shop")
        for number in range(count):
            server.add_pull_secret(
                "shop", f"pull-{number}", {REGISTRY.endpoint: self.entry(REGISTRY.username), OTHER: self.others}
            )

    def entry(self, username: str) -> JsonObject:
        """Return an entry with a password of its own."""
        return {**docker_auth(username, Password(self.world.new_secret()))}

    def parts(self) -> list[KubernetesPullSecret]:
        return [
            KubernetesPullSecret(
                name="cluster",
                type="kubernetes-pull-secret",
                cluster=ServerCluster(server=self.server.url, token=self.token),
                secrets=tuple(f"shop/pull-{number}" for number in range(self.count)),
            )
        ]

    def names(self) -> list[str]:
        return [f"cluster/shop/pull-{number}" for number in range(self.count)]

    def has(self, consumer: str, delivery: Delivery) -> bool:
        auths = self.server.auths("shop", consumer.removeprefix("cluster/shop/"))
        return auths == {REGISTRY.endpoint: docker_auth(REGISTRY.username, delivery.password), OTHER: self.others}

    def is_write(self, request: Request) -> bool:
        return request.method == "PUT"
