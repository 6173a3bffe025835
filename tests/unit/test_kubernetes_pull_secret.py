"""Consumer `kubernetes-pull-secret`: in place, nothing else touched, fenced, read back.

At the simulator and at the real API server, whose rights, conflicts and validation are its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.parse
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey import aws
from rekey.consumers.kubernetes_access import ClusterAccess
from rekey.consumers.kubernetes_pull_secret import KubernetesPullSecretConsumer
from rekey.consumers.pull_secret import PullSecret
from rekey.contracts import Prepared
from rekey.errors import CredentialUnusable, NotFound, Unfit
from rekey.model.password import Password, docker_auth
from rekey.model.plan import EksCluster, KubernetesPullSecret, ServerCluster
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from tests.contract.world import REGISTRY, World, new_world
from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.kube_api import KubeApi
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.kubernetes_access import Rule
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.sandbox.kubernetes_secret import DOCKER_CFG
from tests.sandbox.wire import Request, Response
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.contracts import Delivery
    from rekey.model.plan import Cluster
    from tests.sandbox.kubernetes_cluster import KubernetesCluster
    from tests.sandbox.wire import Act, Json, JsonObject

GENERATION = f"{REGISTRY.name}.rekey.dev/generation"
ROTATION = f"{REGISTRY.name}.rekey.dev/rotation"
OTHER = "other.example.net"
ALL = Rule.of("get update create")
OWNER: JsonObject = {"apiVersion": "example.test/v1", "name": "owner", "uid": "1"}


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


def entry_of(world: World, username: str = REGISTRY.username) -> JsonObject:
    return {**docker_auth(username, Password(world.new_secret()))}


@pytest.fixture
def usual(world: World, server: KubernetesCluster) -> JsonObject:
    """Put the pull secret that most tests change; return its entries."""
    auths: JsonObject = {REGISTRY.endpoint: entry_of(world), OTHER: entry_of(world, "somebody")}
    server.add_pull_secret("shop", "pull", auths)
    return auths


@pytest.fixture
def cluster(world: World, server: KubernetesCluster) -> ServerCluster:
    return cluster_with(world, server, ALL)


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
        ((ALL, Rule.of("get", resource="namespaces")), "nowhere/new", "there is no namespace nowhere"),
    ],
)
def test_the_right_to_create_is_proven_where_it_is_needed(
    world: World, server: KubernetesCluster, rules: tuple[Rule, ...], place: str, said: str
) -> None:
    found = problem(world, part(cluster_with(world, server, *rules), place, create=True))
    assert said in found
    assert bool(found) == bool(said)


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


def test_a_namespace_that_is_missing_at_the_write_is_said(world: World, server: KubernetesCluster) -> None:
    """Where this identity may not look at namespaces, the write tells."""
    entry = part(cluster_with(world, server, ALL), "nowhere/pull", create=True)
    assert problem(world, entry) == ""
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


class Eks(HttpServer):
    """Amazon EKS, as far as describing one cluster goes."""

    def __init__(self, endpoint: str, ca: str) -> None:
        super().__init__()
        data = base64.b64encode(ca.encode()).decode()
        self.cluster: JsonObject = {"name": "prod", "endpoint": endpoint, "certificateAuthority": {"data": data}}

    def act(self, request: Request) -> Response:
        if request.path == "/clusters/prod":
            return Response.json({"cluster": self.cluster})
        missing: JsonObject = {"message": "No cluster found"}
        return Response.json(missing, 404, {"x-amzn-ErrorType": "ResourceNotFoundException"})


class EksKubernetes(Kubernetes):
    """The API server of that cluster: knows who asks by the presigned URL in the token, as the authenticator does."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(authority.server_context())
        self._known = self.access.create_token("system:node", ALL)
        self.urls: list[str] = []

    def act(self, request: Request) -> Response:
        token = (request.bearer() or "").removeprefix("k8s-aws-v1.")
        self.urls.append(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
        return super().act(replace(request, headers=httpx.Headers({"Authorization": f"Bearer {self._known}"})))


@pytest.fixture
def eks(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[EksKubernetes, Eks]]:
    authority = Authority()
    with EksKubernetes(authority) as server, Eks(server.url, authority.pem) as control:
        server.add_namespace("shop")
        monkeypatch.setenv("AWS_ENDPOINT_URL_EKS", control.url)
        aws.client.cache_clear()
        yield server, control
        aws.client.cache_clear()


def test_an_eks_cluster_is_entered_with_our_own_role(world: World, eks: tuple[EksKubernetes, Eks]) -> None:
    """The token is a presigned GetCallerIdentity that names the cluster; the cluster's own authority is trusted."""
    server, _ = eks
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world)})
    entry, delivery = part(EksCluster(eks="prod")), world.delivery()
    assert problem(world, entry) == ""
    receipt = deliver(world, entry, delivery)
    assert verify(world, entry, delivery, receipt).verdict is ConsumerVerdict.MATCHES
    url = urllib.parse.urlsplit(server.urls[0])
    query = urllib.parse.parse_qs(url.query)
    assert url.hostname == "sts.eu-central-1.amazonaws.com"
    assert query["Action"] == ["GetCallerIdentity"]
    assert query["X-Amz-Expires"] == ["60"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-k8s-aws-id"]
    assert query["X-Amz-Credential"][0].startswith(("testing/", "FOOBARKEY/"))


def test_an_eks_token_is_made_anew_in_time_and_when_refused(world: World, eks: tuple[EksKubernetes, Eks]) -> None:
    server, control = eks
    server.add_pull_secret("shop", "pull", {REGISTRY.endpoint: entry_of(world)})
    entry = part(EksCluster(eks="prod"))

    async def scenario() -> None:
        async with world.shard() as shard:
            access = ClusterAccess(entry, shard)
            first = await access.current()
            assert await access.current() is first
            shard.now = lambda: datetime.now(UTC) + timedelta(minutes=11)
            assert (second := await access.current()) is not first
            assert access.renew(second)
            assert await access.current() is not second
            server.inject(faults.answer(Response(401)))
            assert (await KubernetesPullSecretConsumer(entry, shard).prepare())[0].problem == ""

    asyncio.run(scenario())
    assert len(control.requests()) == 4


def test_an_eks_cluster_that_does_not_know_us_says_how_to_let_us_in(
    world: World, eks: tuple[EksKubernetes, Eks]
) -> None:
    server, _ = eks
    server.inject(faults.answer(Response(401)), times=None)
    assert "give this function's role an access entry" in problem(world, part(EksCluster(eks="prod")))


def test_an_eks_cluster_that_is_not_there_is_named(world: World, eks: tuple[EksKubernetes, Eks]) -> None:
    with pytest.raises(NotFound, match=r"the EKS cluster another does not exist in eu-central-1: mend `cluster\.eks`"):
        prepare(world, part(EksCluster(eks="another")))
    _, control = eks
    control.cluster = {"name": "prod"}
    with pytest.raises(Unfit, match="has no endpoint yet"):
        prepare(world, part(EksCluster(eks="prod")))
