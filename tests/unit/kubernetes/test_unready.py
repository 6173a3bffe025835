"""What cannot become a pull secret is said before the reset: its shape, its rights, its token."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from rekey.consumers.pull_secret import PullSecret
from rekey.errors import CredentialUnusable, Unfit
from rekey.model.plan import ServerCluster
from rekey.model.verdict import ConsumerOutcome
from tests.contract.world import REGISTRY, World
from tests.sandbox.kubernetes_access import Rule
from tests.unit.kubernetes.pull_secret import ALL, cluster_with, deliver, entry_of, part, prepare, problem

if TYPE_CHECKING:
    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import Json, JsonObject

OWNER: JsonObject = {"apiVersion": "example.test/v1", "name": "owner", "uid": "1"}


def test_an_immutable_secret_is_not_recreated(
    world: World, server: KubernetesCluster, cluster: ServerCluster, usual: JsonObject
) -> None:
    server.add_pull_secret("shop", "fixed", usual, immutable=True)
    assert "is immutable" in problem(world, part(cluster, "shop/fixed"))
    assert deliver(world, part(cluster, "shop/fixed")).outcome is ConsumerOutcome.FAILED
    assert server.auths("shop", "fixed") == usual
    assert server.requests("DELETE") == server.requests("PUT") == []


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {".dockerconfigjson": "%%%"},
        {".dockerconfigjson": base64.b64encode(b"{broken").decode()},
        {".dockerconfigjson": base64.b64encode(b"[]").decode()},
        {".dockerconfigjson": base64.b64encode(b'{"auths": []}').decode()},
    ],
)
def test_a_pull_secret_that_cannot_be_read_is_said_without_its_content(data: Json) -> None:
    with pytest.raises(Unfit, match="no JSON object of registries") as caught:
        PullSecret.read("shop/pull", {"type": "kubernetes.io/dockerconfigjson", "data": data})
    assert "broken" not in str(caught.value)


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ((), "answered 403 to: get the secret shop/pull"),
        ((Rule.of("get"),), "does not let us update the secret pull in shop"),
        ((Rule.of("get update", "shop", ["another"]),), "answered 403"),
        ((Rule.of("get update", "shop", ["pull"]),), ""),
    ],
)
def test_rights_are_proven_before_the_reset(
    world: World, server: KubernetesCluster, rules: tuple[Rule, ...], said: str
) -> None:
    found = problem(world, part(cluster_with(world, server, *rules)))
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("rules", "place", "said"),
    [
        ((ALL,), "shop/new", ""),
        ((Rule.of("get update"),), "shop/new", "does not let us create the secret that is missing in shop"),
        ((ALL,), "nowhere/new", "there is no namespace nowhere"),
    ],
)
def test_the_right_to_create_is_proven_where_it_is_needed(
    world: World, server: KubernetesCluster, rules: tuple[Rule, ...], place: str, said: str
) -> None:
    found = problem(world, part(cluster_with(world, server, *rules), place, create=True))
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize("slip", ["\n", " ", "\u201d", "\u00e9"])
def test_a_token_that_no_header_can_carry_is_said(world: World, server: KubernetesCluster, slip: str) -> None:
    """The error of the HTTP library would hold it."""
    token = world.new_secret().encode().hex() + slip
    entry = part(ServerCluster(server=server.url, token=world.credential("slipped", server.url, token=token)))
    with pytest.raises(CredentialUnusable, match="the field `token` of the secret rekey/slipped is no token"):
        problem(world, entry)


def test_a_token_that_is_not_known_is_said(world: World, server: KubernetesCluster) -> None:
    unknown = world.credential("unknown", server.url, token=world.new_secret().encode().hex())
    entry = part(ServerCluster(server=server.url, token=unknown))
    assert "put a token that is good into the secret rekey/unknown" in problem(world, entry)
    receipt = deliver(world, entry)
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "rekey/unknown" in receipt.reason


def test_a_credential_without_a_token_stops_the_entry(world: World, server: KubernetesCluster) -> None:
    entry = part(ServerCluster(server=server.url, token=world.credential("none", server.url)))
    with pytest.raises(CredentialUnusable, match="no field `token`"):
        prepare(world, entry)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "kept by Helm"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "kept by Helm"),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "kept by Argo CD"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop"}}, "kept by Argo CD"),
        (
            {"ownerReferences": [{**OWNER, "kind": "ExternalSecret", "controller": True}]},
            "its owner of kind ExternalSecret",
        ),
        ({"ownerReferences": [{**OWNER, "kind": "SealedSecret"}]}, "its owner of kind SealedSecret"),
        ({"ownerReferences": [{**OWNER, "kind": "Whatever", "controller": True}]}, "its owner of kind Whatever"),
        ({"ownerReferences": [{**OWNER, "kind": "ConfigMap"}]}, ""),
    ],
)
def test_who_may_write_the_old_password_back_is_a_warning(
    world: World, server: KubernetesCluster, cluster: ServerCluster, metadata: JsonObject, said: str
) -> None:
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world)}, metadata=metadata)
    (prepared,) = prepare(world, part(cluster))
    assert prepared.problem == ""
    assert said in prepared.warning
    assert bool(prepared.warning) == bool(said)
