"""Contract case: image pull secrets of one cluster, each shared with another registry.

The cluster is the simulator or the real one; who writes has the rights that README.md gives, and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekey.model.password import Password, docker_auth
from rekey.model.plan import KubernetesPullSecret, ServerCluster
from rekey.model.verdict import ConsumerVerdict
from tests.contract.consumer_case import ConsumerCase
from tests.contract.world import REGISTRY
from tests.sandbox.kubernetes_cluster import KubernetesCluster
from tests.sandbox.readme_role import readme_rule

if TYPE_CHECKING:
    from rekey.contracts import Delivery
    from tests.contract.world import World
    from tests.sandbox.wire import JsonObject, Request

OTHER = "other.example.net"


class KubernetesCase(ConsumerCase[KubernetesCluster]):
    type = "kubernetes-pull-secret"
    verdict = ConsumerVerdict.MATCHES
    can_be_unchanged = True

    def __init__(self, world: World, server: KubernetesCluster, count: int) -> None:
        super().__init__(world, server, count)
        server.add_namespace("shop")
        self.token = world.credential("cluster", server.url, token=self.bearer())
        self.others = self.entry("somebody")
        for name in self.secrets():
            server.add_pull_secret("shop", name, {REGISTRY.endpoint: self.entry(REGISTRY.username), OTHER: self.others})

    def bearer(self) -> str:
        """Return a token of somebody with README's rights to these secrets, and no more."""
        return self.server.access.create_token("system:serviceaccount:rekey:rekey", readme_rule("shop", self.secrets()))

    def secrets(self) -> list[str]:
        """Return the names of the secrets."""
        return [f"pull-{number}" for number in range(self.count)]

    def entry(self, username: str) -> JsonObject:
        """Return an entry with a password of its own."""
        return {**docker_auth(username, Password(self.world.new_secret()))}

    def parts(self) -> list[KubernetesPullSecret]:
        return [
            KubernetesPullSecret(
                name="cluster",
                type="kubernetes-pull-secret",
                cluster=ServerCluster(server=self.server.url, token=self.token),
                secrets=tuple(f"shop/{name}" for name in self.secrets()),
            )
        ]

    def names(self) -> list[str]:
        return [f"cluster/shop/{name}" for name in self.secrets()]

    def has(self, consumer: str, delivery: Delivery) -> bool:
        auths = self.server.auths("shop", consumer.removeprefix("cluster/shop/"))
        return auths == {REGISTRY.endpoint: docker_auth(REGISTRY.username, delivery.password), OTHER: self.others}

    def is_write(self, request: Request) -> bool:
        return request.method == "PUT"
