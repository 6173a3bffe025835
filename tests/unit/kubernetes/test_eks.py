"""EKS clusters: entered with the function's own role."""

from __future__ import annotations

import asyncio
import base64
import urllib.parse
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey import aws
from rekey.consumers.kubernetes_access import ClusterAccess
from rekey.consumers.kubernetes_pull_secret import KubernetesPullSecretConsumer
from rekey.errors import NotFound, Unfit
from rekey.model.plan import EksCluster
from rekey.model.verdict import ConsumerVerdict
from tests.contract.world import REGISTRY, World
from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.kubernetes import Kubernetes
from tests.sandbox.wire import Request, Response
from tests.unit.kubernetes.pull_secret import ALL, deliver, entry_of, part, prepare, problem, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.wire import JsonObject


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
