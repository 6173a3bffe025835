"""A cluster of the sandbox refuses as the API server does: rights first, then conflicts and validation.

Each test runs at the simulator and at the real one: what keeps the simulator honest.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox import faults
from tests.sandbox.kube_api import KubeApi
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.kubernetes_access import Rule
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.sandbox.kubernetes_secret import DOCKER_CFG, DOCKER_CONFIG_JSON
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import JsonObject

SECRETS = "/api/v1/namespaces/shop/secrets"
REGISTRY = f"{SECRETS}/registry"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
REVIEW = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
AUTHS: JsonObject = {"registry.example.test": {"auth": "b2xk"}, "https://other.example.test/v1/": {"auth": "eA=="}}
OWNED: JsonObject = {
    "labels": {"team": "shop"},
    "annotations": {"note": "kept"},
    "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"}],
}


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    with KubeApi(require("kube-apiserver"), require("etcd")) as api:
        yield api


@pytest.fixture(params=["simulator", "kube-apiserver"])
def server(request: pytest.FixtureRequest) -> Iterator[KubernetesCluster]:
    real = request.param == "kube-apiserver"
    with KubernetesDoor(request.getfixturevalue("api")) if real else Kubernetes() as server:
        server.add_namespace("shop")
        server.add_pull_secret("shop", "registry", AUTHS, metadata=OWNED)
        yield server


def connect(server: KubernetesCluster, *rules: Rule) -> httpx.Client:
    token = server.access.create_token("system:serviceaccount:rekey:rekey", *rules)
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=5)


@pytest.fixture
def client(server: KubernetesCluster) -> Iterator[httpx.Client]:
    everywhere = Rule.of("get list create update delete")
    with connect(server, everywhere, Rule.of("get list", resource="namespaces")) as client:
        yield client


def changed(secret: dict[str, JsonObject], auths: JsonObject) -> dict[str, JsonObject]:
    encoded = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return secret | {"data": {".dockerconfigjson": encoded}}


def test_a_secret_is_replaced_in_place(server: KubernetesCluster, client: httpx.Client) -> None:
    """What a client sends is what stands there; identity is the server's, and the version moves."""
    before = client.get(REGISTRY).json()
    answer = client.put(REGISTRY, json=changed(before, {"registry.example.test": {"auth": "bmV3"}}))
    after = client.get(REGISTRY).json()
    assert answer.status_code == 200
    assert answer.json() == after
    assert server.auths("shop", "registry") == {"registry.example.test": {"auth": "bmV3"}}
    for field in ("uid", "creationTimestamp", "labels", "annotations", "ownerReferences"):
        assert after["metadata"][field] == before["metadata"][field]
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    managers = [entry["manager"] for entry in after["metadata"]["managedFields"]]
    assert managers == ["kubectl-create", "python-httpx"]


def test_what_a_client_leaves_out_is_gone(server: KubernetesCluster, client: httpx.Client) -> None:
    """A PUT replaces: labels and owners that are not sent are lost, as on the real one."""
    secret = client.get(REGISTRY).json()
    client.put(REGISTRY, json=secret | {"metadata": {"name": "registry"}})
    assert "labels" not in client.get(REGISTRY).json()["metadata"]
    assert server.auths("shop", "registry") == AUTHS


def test_the_same_again_makes_no_new_version(client: httpx.Client) -> None:
    secret = client.get(REGISTRY).json()
    assert client.put(REGISTRY, json=secret).json() == secret


def test_a_stale_version_is_a_conflict(server: KubernetesCluster, client: httpx.Client) -> None:
    secret = client.get(REGISTRY).json()
    server.inject(faults.call(lambda _: server.touch("shop", "registry")), when=lambda request: request.method == "PUT")
    answer = client.put(REGISTRY, json=changed(secret, {}))
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer.json()["message"]
    assert server.auths("shop", "registry") == AUTHS
    del secret["metadata"]["resourceVersion"]
    assert client.put(REGISTRY, json=changed(secret, {})).status_code == 200


def test_another_object_of_that_name_is_a_conflict(client: httpx.Client) -> None:
    """Deleted and made anew in between, it has another uid."""
    secret = client.get(REGISTRY).json()
    assert client.delete(REGISTRY).json()["status"] == "Success"
    assert client.get(REGISTRY).json()["reason"] == "NotFound"
    fresh = {key: value for key, value in secret.items() if key != "metadata"} | {"metadata": {"name": "registry"}}
    assert client.post(SECRETS, json=fresh).status_code == 201
    del secret["metadata"]["resourceVersion"]
    answer = client.put(REGISTRY, json=secret)
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert "UID" in answer.json()["message"]


def test_a_dry_run_checks_and_changes_nothing(server: KubernetesCluster, client: httpx.Client) -> None:
    secret = client.get(REGISTRY).json()
    assert client.put(f"{REGISTRY}?dryRun=All", json=changed(secret, {})).status_code == 200
    assert client.get(REGISTRY).json() == secret
    assert client.put(f"{REGISTRY}?dryRun=All", json=secret | {"type": "Opaque"}).status_code == 422
    assert client.put(f"{REGISTRY}?dryRun=Some", json=secret).status_code == 422
    server.touch("shop", "registry")
    assert client.put(f"{REGISTRY}?dryRun=All", json=changed(secret, {})).status_code == 409


def test_an_immutable_secret_keeps_its_data(server: KubernetesCluster, client: httpx.Client) -> None:
    server.add_pull_secret("shop", "registry", AUTHS, immutable=True)
    secret = client.get(REGISTRY).json()
    for new in (changed(secret, {}), secret | {"immutable": False}):
        answer = client.put(REGISTRY, json=new)
        assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
        assert "field is immutable when `immutable` is set" in answer.json()["message"]
    secret["metadata"]["labels"] = {"team": "other"}
    assert client.put(REGISTRY, json=secret).status_code == 200


def test_the_type_is_immutable(client: httpx.Client) -> None:
    answer = client.put(REGISTRY, json=client.get(REGISTRY).json() | {"type": "Opaque"})
    assert (answer.status_code, answer.json()["details"]["causes"][0]["field"]) == (422, "type")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({}, 422),
        ({".dockerconfigjson": ""}, 422),
        ({".dockerconfigjson": base64.b64encode(b"{").decode()}, 422),
        ({".dockerconfigjson": base64.b64encode(b"[]").decode()}, 422),
        ({".dockerconfigjson": "not base64"}, 400),
        ({".dockerconfigjson": base64.b64encode(b"{}").decode(), "a b": ""}, 422),
        ({".dockerconfigjson": base64.b64encode(b"{}").decode(), "big": "AAAA" * 400_000}, 422),
    ],
)
def test_a_pull_secret_holds_a_docker_config(client: httpx.Client, data: dict[str, str], status: int) -> None:
    answer = client.put(REGISTRY, json=client.get(REGISTRY).json() | {"data": data})
    assert answer.status_code == answer.json()["code"] == status
    assert answer.json()["status"] == "Failure"


@pytest.mark.parametrize(
    "change",
    [
        {"apiVersion": "v2"},
        {"spec": {}},
        {"metadata": {"name": "registry", "label": {}}},
        {"metadata": {"name": "other"}},
        {"metadata": {"name": "registry", "namespace": "other"}},
        {"metadata": []},
    ],
)
def test_an_object_that_is_not_this_secret_is_refused(client: httpx.Client, change: dict[str, object]) -> None:
    answer = client.put(f"{REGISTRY}?fieldValidation=Strict", json=client.get(REGISTRY).json() | change)
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


def test_a_body_that_is_no_json_is_refused(client: httpx.Client) -> None:
    assert client.put(REGISTRY, content=b"{").status_code == 400
    assert client.put(REGISTRY, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_the_old_type_and_plain_strings(server: KubernetesCluster, client: httpx.Client) -> None:
    """`stringData` is written and never read back; dockercfg has its entries at the top."""
    server.add_pull_secret("shop", "old", AUTHS, of_type=DOCKER_CFG)
    assert server.auths("shop", "old") == AUTHS
    secret: JsonObject = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "new"},
        "type": DOCKER_CONFIG_JSON,
        "stringData": {".dockerconfigjson": '{"auths": {}}'},
    }
    assert "stringData" not in client.post(SECRETS, json=secret).json()
    assert server.auths("shop", "new") == {}
    assert client.post(SECRETS, json=secret).json()["reason"] == "AlreadyExists"
    assert [item["metadata"]["name"] for item in client.get(SECRETS).json()["items"]] == ["new", "old", "registry"]


def test_what_is_not_there_is_not_found(client: httpx.Client) -> None:
    missing = client.get(f"{SECRETS}/none").json()
    assert (missing["code"], missing["message"]) == (404, 'secrets "none" not found')
    assert client.get("/api/v1/namespaces/gone/secrets/registry").status_code == 404
    assert client.get("/api/v1/namespaces/gone").json()["message"] == 'namespaces "gone" not found'
    secret: JsonObject = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    created = client.post("/api/v1/namespaces/gone/secrets", json=secret)
    assert (created.status_code, created.json()["message"]) == (404, 'namespaces "gone" not found')
    assert "shop" in [item["metadata"]["name"] for item in client.get("/api/v1/namespaces").json()["items"]]
    assert client.get("/api/v1/namespaces/shop").json()["status"] == {"phase": "Active"}


def test_what_is_not_simulated_is_refused() -> None:
    """Other resources, methods and options, a misspelt field of a secret without being asked, and of a review."""
    with Kubernetes() as server, connect(server, Rule.of("get list update")) as client:
        server.add_namespace("shop")
        server.add_pull_secret("shop", "registry", AUTHS)
        assert client.get("/api/v1/pods").status_code == 404
        assert client.patch(REGISTRY, json={}).status_code == 405
        assert client.get(f"{SECRETS}?labelSelector=a").status_code == 400
        assert client.put(REGISTRY, json=client.get(REGISTRY).json() | {"spec": {}}).status_code == 400
        misspelt = {**REVIEW, "spec": {"resourceAttributes": {"verbs": "get"}}}
        assert client.post(REVIEWS, json=misspelt).status_code == 400


def test_rights_are_by_verb_namespace_and_name(server: KubernetesCluster) -> None:
    """What is not allowed is 403 before anything is looked up, in the API server's words."""
    with connect(server, Rule.of("get update", "shop", ["registry"])) as client:
        secret = client.get(REGISTRY).json()
        assert client.put(REGISTRY, json=secret).status_code == 200
        refusal = client.get(f"{SECRETS}/none")
        assert refusal.status_code == 403
        assert re.fullmatch(
            'secrets "none" is forbidden: User "system:serviceaccount:rekey:rekey[-0-9a-f]*" '
            'cannot get resource "secrets" in API group "" in the namespace "shop"',
            refusal.json()["message"],
        )
        assert client.get(SECRETS).status_code == 403
        assert client.post(SECRETS, json=secret).status_code == 403
        assert client.delete(REGISTRY).status_code == 403
        assert client.get(REGISTRY.replace("shop", "gone")).status_code == 403
        assert client.get("/api/v1/namespaces").status_code == 403


def test_a_token_is_needed_and_may_be_revoked(server: KubernetesCluster, client: httpx.Client) -> None:
    server.access.revoke(client.headers["Authorization"].removeprefix("Bearer "))
    for answer in (client.get(REGISTRY), client.get("/none")):
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
    anybody = httpx.get(f"{server.url}{REGISTRY}")
    assert (anybody.status_code, anybody.json()["reason"]) == (403, "Forbidden")
    assert 'User "system:anonymous" cannot' in anybody.json()["message"]


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ({"verb": "update", "resource": "secrets", "namespace": "shop", "name": "registry"}, True),
        ({"verb": "update", "resource": "secrets", "namespace": "shop", "name": "other"}, False),
        ({"verb": "update", "resource": "secrets", "namespace": "shop"}, False),
        ({"verb": "update", "resource": "secrets", "name": "registry"}, False),
        ({"verb": "delete", "resource": "secrets", "namespace": "shop", "name": "registry"}, False),
        ({"verb": "update", "resource": "secrets", "namespace": "shop", "name": "registry", "group": "apps"}, False),
    ],
)
def test_an_access_review_says_what_would_be_allowed(
    server: KubernetesCluster, wanted: dict[str, str], *, allowed: bool
) -> None:
    with connect(server, Rule.of("update", "shop", ["registry"])) as client:
        answer = client.post(REVIEWS, json=REVIEW | {"spec": {"resourceAttributes": wanted}})
        assert (answer.status_code, answer.json()["status"]["allowed"]) == (201, allowed)
        assert client.post(REVIEWS, json={"spec": {}}).status_code == 422
        assert client.post(REVIEWS, json={**REVIEW, "kind": "Secret"}).status_code == 400
        assert client.post(REVIEWS, content=b"{").status_code == 400
