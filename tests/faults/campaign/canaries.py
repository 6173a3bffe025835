"""Looks for every secret of a rotation, in every form, in everything that is written down anywhere."""

from __future__ import annotations

import base64
import json
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sandbox.aws_executions import PlayedExecution
from tests.sandbox.aws_stepfunctions import all_executions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.faults.campaign.setting import Setting
    from tests.sandbox.world import World


@dataclass(frozen=True)
class Known:
    """The secrets of a company, and the registry's user."""

    user: str
    secrets: tuple[str, ...]


def secrets_of(setting: Setting) -> Known:
    """Return what must not be found anywhere: passwords, credentials, and the tokens that were taken with them."""
    company = setting.company
    seen = [request for server in setting.servers.values() for request in server.requests()]
    mine = [*setting.proxy.requests(), *(request for request in seen if company.name in request.path)]
    tokens = [request.bearer() or request.headers.get("x-vault-token") for request in mine]
    found = (
        company.first_password,
        *company.made,
        company.other_password,
        company.admin_password,
        company.github_token,
        company.cluster_token,
        *company.store.credentials,
        *{token for token in tokens if token},
    )
    return Known(company.username, found)


def forms(user: str, secret: str) -> set[str]:
    """Return a secret as it is and as it may be written: JSON, URL, base64, and base64 of `user:password`."""
    plain = [secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)]
    encoded = [base64.b64encode(text.encode()).decode().rstrip("=") for text in (secret, f"{user}:{secret}")]
    return {*plain, *encoded}


def everything_written(world: World) -> str:
    """Return logs, events, histories, the items of all tables, the objects of all buckets, and what was published."""
    parts: list[str] = [line for lines in world.cloud.lambdas.logs.values() for line in lines]
    parts += [json.dumps(passed.event) for passed in world.cloud.events]
    histories = [execution.history() for execution in all_executions() if isinstance(execution, PlayedExecution)]
    parts += [json.dumps(history, default=str) for history in histories]
    parts += _items(world)
    parts += _objects(world)
    parts += [" ".join(process.command) for process in world.cloud.lambdas.processes]
    return "\n".join(parts)


def leaks(written: str, secrets: Mapping[str, Known]) -> dict[str, int]:
    """Return how many secrets of each company are found; `secrets` are by its name."""
    found = {
        name: sum(any(form in written for form in forms(known.user, secret)) for secret in known.secrets)
        for name, known in secrets.items()
    }
    return {name: count for name, count in found.items() if count}


def _items(world: World) -> Iterator[str]:
    client = world.cloud.client("dynamodb")
    for name in client.list_tables()["TableNames"]:
        for page in client.get_paginator("scan").paginate(TableName=name):
            for item in page["Items"]:
                yield json.dumps(item, default=lambda value: bytes(value).decode("latin-1"))


def _objects(world: World) -> Iterator[str]:
    client = world.cloud.client("s3")
    for page in client.get_paginator("list_object_versions").paginate(Bucket=world.bucket):
        for version in page.get("Versions", []):
            found = client.get_object(Bucket=world.bucket, Key=version["Key"], VersionId=version["VersionId"])
            yield found["Body"].read().decode("utf-8", "replace")
