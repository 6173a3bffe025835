"""Fixtures of the tests of `kubernetes-pull-secret`: at the simulator and at the real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.world import REGISTRY, World, new_world
from tests.sandbox.kube_api import KubeApi
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.servers.requirement import require
from tests.unit.kubernetes.pull_secret import ALL, OTHER, cluster_with, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.plan import ServerCluster
    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import JsonObject


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with new_world(monkeypatch) as world:
        yield world


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    with KubeApi(require("kube-apiserver"), require("etcd")) as api:
        yield api


@pytest.fixture(params=["simulator", "kube-apiserver"])
def server(request: pytest.FixtureRequest) -> Iterator[KubernetesCluster]:
    real = request.param == "kube-apiserver"
    with KubernetesDoor(request.getfixturevalue("api")) if real else Kubernetes() as server:
        server.add_namespace("shop")
        yield server


@pytest.fixture
def usual(world: World, server: KubernetesCluster) -> JsonObject:
    """Put the pull secret that most tests change; return its entries."""
    auths: JsonObject = {REGISTRY.endpoint: entry_of(world), OTHER: entry_of(world, "somebody")}
    server.add_pull_secret("shop", "pull", auths)
    return auths


@pytest.fixture
def cluster(world: World, server: KubernetesCluster) -> ServerCluster:
    return cluster_with(world, server, ALL)
