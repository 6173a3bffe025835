"""Whole rotations with image pull secrets in a real API server, with the rights that README.md gives and no more."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import companies, rotating
from tests.e2e.conftest import OVERRIDES
from tests.e2e.front import Front
from tests.sandbox import faults
from tests.sandbox.kubernetes_access import Rule
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.sandbox.lambdas import HostSettings
from tests.sandbox.world import World
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.company import Company
    from tests.sandbox.wire import Request


@pytest.fixture(scope="module")
def real_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for name in ("registry", "kube-apiserver", "etcd"):
        require(name)
    settings = HostSettings(concurrency=4, fork=True)
    with World(tmp_path_factory.mktemp("world"), OVERRIDES, settings, cluster="kube-apiserver") as world:
        yield world


@pytest.fixture(scope="module")
def door(real_world: World) -> Iterator[Front]:
    with Front(real_world.registry) as door:
        yield door


@pytest.fixture
def company(real_world: World, door: Front) -> Iterator[Company]:
    company = companies.new(real_world, door)
    yield company
    real_world.kubernetes.clear_faults()
    companies.close(company)


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def asked_of_the_cluster(company: Company) -> list[tuple[str, int | None]]:
    """Return what the functions asked the cluster with this company's token, and what it answered."""
    mine = f"Bearer {company.cluster_token}"
    return [
        (exchange.request.method, exchange.status)
        for exchange in company.world.kubernetes.exchanges
        if exchange.request.headers.get("authorization") == mine
    ]


def marks(company: Company, namespace: str, name: str) -> dict[str, str]:
    metadata: Any = company.world.kubernetes.secret(namespace, name)["metadata"]
    return dict(metadata.get("annotations", {}))


def test_a_rotation(company: Company) -> None:
    """Every pull secret has the new password and its mark, and nothing asked for was refused."""
    assert rotating.request(company).status == "SUCCEEDED"
    new = company.current()
    assert rotating.logs_in(company, new)
    assert not rotating.logs_in(company, company.first_password)
    assert set(rotating.held_by_consumers(company).values()) == {new}
    assert company.others_untouched()
    for place in company.pull_secrets:
        assert marks(company, *place)[f"{company.name}.rekey.dev/generation"] == "1"
    verdicts = [one["verdict"] for one in company.evidence()["consumers"] if one["type"] == "kubernetes-pull-secret"]
    assert verdicts == ["matches", "matches"]
    asked = asked_of_the_cluster(company)
    assert {method for method, _ in asked} == {"GET", "PUT", "POST"}
    assert {status for _, status in asked} <= {200, 201}


def test_another_writer_is_not_overwritten(company: Company) -> None:
    """Who writes between our GET and our PUT keeps what they wrote: the real 409 makes us read again."""
    kubernetes, places = company.world.kubernetes, company.pull_secrets

    def touch_all(_: Request) -> None:
        for place in places:
            kubernetes.touch(*place)

    kubernetes.inject(faults.call(touch_all), when=is_put)
    assert rotating.request(company).status == "SUCCEEDED"
    assert ("PUT", 409) in asked_of_the_cluster(company)
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    for place in places:
        assert "example.test/touched" in marks(company, *place)


def test_a_right_that_is_missing_stops_before_the_reset(company: Company) -> None:
    world = company.world
    reads = [Rule.of("get", namespace, [name]) for namespace, name in company.pull_secrets]
    fields = {"registries": [company.name], "hosts": [world.kubernetes.host]}
    token = world.kubernetes.access.create_token(f"reader-{company.name}", *reads)
    world.cloud.client("secretsmanager").put_secret_value(
        SecretId=f"rekey/{company.name}-cluster", SecretString=json.dumps({**fields, "token": token})
    )
    execution = rotating.request(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "add the verb `update` on `secrets` to a Role" in rotating.problems(company)
    assert rotating.reset_calls(company) == []


def test_an_immutable_secret_stops_before_the_reset(company: Company) -> None:
    namespace, name = company.pull_secrets[0]
    kubernetes = company.world.kubernetes
    kubernetes.add_pull_secret(namespace, name, kubernetes.auths(namespace, name), immutable=True)
    execution = rotating.request(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "is immutable" in rotating.problems(company)
    assert rotating.reset_calls(company) == []


def test_a_namespace_that_is_missing_stops_before_the_reset(company: Company) -> None:
    """README's role knows nothing of it, so the real server does not even say that it is missing."""
    company.document["consumers"][2]["secrets"].append("nowhere/registry")
    company.push_plan()
    execution = rotating.request(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "get the secret nowhere/registry" in rotating.problems(company)
    assert rotating.reset_calls(company) == []


def test_rights_that_are_taken_away_at_the_reset_fail_these_consumers_alone(company: Company) -> None:
    """The real 403 comes after the old password is dead: the others have the new one, and the outcome says so."""
    world = company.world
    assert isinstance(world.kubernetes, KubernetesDoor)
    access = world.kubernetes.access
    world.cloudraya.inject(
        faults.call(lambda _: access.take_away(company.cluster_token)), when=rotating.is_reset(company)
    )
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "ConsumersFailed")
    assert Counter(rotating.outcomes(company).values()) == {"failed": 2, "updated": 4}
    failed = [one["reason"] for one in company.evidence()["consumers"] if one["outcome"] == "failed"]
    assert all("answered 403" in reason and "allow it by a Role" in reason for reason in failed)
    held = rotating.held_by_consumers(company)
    assert [held[f"{namespace}/{name}"] for namespace, name in company.pull_secrets] == [company.first_password] * 2
    assert set(company.github_secrets().values()) == {company.current()}
