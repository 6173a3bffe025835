"""Sets companies up for these tests: behind the door, with a reset call that is given up after seconds.

REKEY_STORE=vault in the environment has all of them keep their passwords in Vault, REKEY_CLUSTER=kube-apiserver all of
them have their pull secrets in a real cluster.
"""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.e2e import rotating
from tests.sandbox.aws_stepfunctions import status_of
from tests.sandbox.cloudraya import RESET_PATH
from tests.sandbox.company import OTHER_REGISTRY

if TYPE_CHECKING:
    from tests.e2e.front import Front
    from tests.sandbox.company import Company, ImageRegistry, Kind
    from tests.sandbox.company_store import StoreKind
    from tests.sandbox.wire import Json, JsonObject
    from tests.sandbox.world import ClusterKind, World

STORE: StoreKind = "vault" if os.environ.get("REKEY_STORE") == "vault" else "secrets-manager"
CLUSTER: ClusterKind = "kube-apiserver" if os.environ.get("REKEY_CLUSTER") == "kube-apiserver" else "simulator"
about_secrets_manager = pytest.mark.skipif(STORE != "secrets-manager", reason="it is about Secrets Manager")
_numbers = itertools.count(1)


def new(  # noqa: PLR0913 (what a company may differ in)
    world: World,
    front: Front,
    kind: Kind = "cloudraya",
    registry: ImageRegistry | None = None,
    /,
    *,
    adopted: bool = True,
    store: StoreKind | None = None,
    **policy: Json,
) -> Company:
    """Return a company that no other test knows; `policy` is that of its plan.

    `registry`: where its images are, if not where most are; `front` is its door. Gitea has one of its own.
    """
    company = world.company(f"company-{next(_numbers)}", kind, adopted=adopted, registry=registry, store=store)
    door = world.gitea_api if kind == "gitea" else front
    company.document["registry"]["endpoint"] = door.url
    for namespace, name in company.pull_secrets:
        entries: JsonObject = {
            door.host: {"username": company.username, "password": company.first_password},
            OTHER_REGISTRY: {"username": "robot", "password": company.other_password},
        }
        world.kubernetes.add_pull_secret(namespace, name, entries)
    if kind == "cloudraya":
        company.document["registry"]["api"]["reset"] = {
            "method": "PATCH",
            "path": RESET_PATH.format(id=company.name),
            "password_at": "/data/password",
            "timeout": "5s",
            "settle": "1s",
        }
    company.document["policy"] = policy
    company.push_plan()
    return company


def close(company: Company) -> None:
    """End what still runs, and leave nothing open that another test's tick would take up."""
    cloud = company.world.cloud
    for arn in rotating.executions(company):
        with suppress(KeyError):  # it was deleted
            if status_of(arn) == "RUNNING":
                cloud.client("stepfunctions").stop_execution(executionArn=arn)
    cloud.settle()
    ledger = rotating.table(cloud)
    for key in rotating.open_things(company):
        cloud.client("dynamodb").delete_item(TableName=ledger.name, Key={"pk": {"S": "open"}, "sk": {"S": key}})
