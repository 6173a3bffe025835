"""Everything that a run leaves or says, to be searched for secrets, and where which secret has its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.e2e import rotating
from tests.e2e.canaries import Canary, Search
from tests.sandbox.vault_company import InVault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.e2e.front import Front
    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.company import Company
    from tests.sandbox.http_server import HttpServer

OLD, NEW, OTHER = "old password", "new password", "other registry's password"
ADMIN, BEARER, TOKEN = "control plane's password", "control plane's bearer", "token that a password gave"
GITHUB, CLUSTER, SIGNING = "GitHub credential", "cluster token", "webhook signing key"
VAULT = "Vault credential"
PERSON = "SANDBOXPERSON"
"""Who signs the requests of the tests themselves."""
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    """A text, and the secrets that may be in it."""

    name: str
    text: bytes
    allowed: frozenset[str] = _NOTHING


class Run:
    """What a company's rotations leave from now on, in a world that others used before."""

    def __init__(self, company: Company, front: Front) -> None:
        self._company, self._front = company, front
        cloud = company.world.cloud
        self._lines = {name: len(lines) for name, lines in cloud.lambdas.logs.items()}
        self._requests, self._events = len(cloud.requests), len(cloud.events)
        self._exchanges = {server: len(server.exchanges) for server, _ in self._servers().values()}
        self._known = set(self._arns())
        self.more: list[Canary] = []
        """Secrets of this run beside those of every run."""

    def canaries(self) -> list[Canary]:
        """Return every secret that this run had to do with."""
        company = self._company
        found = [
            Canary(OLD, company.first_password),
            Canary(OTHER, company.other_password),
            Canary(ADMIN, company.admin_password),
            Canary(GITHUB, company.github_token),
            Canary(CLUSTER, company.cluster_token),
            Canary(SIGNING, company.world.webhook_key.removeprefix("whsec_")),
            *self.more,
        ]
        found += [Canary(NEW, password) for password in company.made]
        of_world = company.world
        for server, name in [(of_world.cloudraya, BEARER), (self._front, TOKEN), (of_world.github, GITHUB)]:
            tokens = {exchange.request.bearer() for exchange in server.exchanges[self._exchanges[server] :]}
            found += [Canary(name, token) for token in sorted(filter(None, tokens))]
        if isinstance(company.store, InVault):
            door = company.world.vault.door
            shown = {one.request.headers.get("x-vault-token", "") for one in door.exchanges[self._exchanges[door] :]}
            found += [Canary(VAULT, secret) for secret in sorted({company.store.login["secret_id"], *shown} - {""})]
        return found

    def leaks(self) -> set[tuple[str, str]]:
        """Return where a secret is that has no place there: name of the place, name of the secret."""
        search = Search(self.canaries())
        return {(place.name, name) for place in self.places() for name in search.found_in(place.text) - place.allowed}

    def places(self) -> Iterator[Place]:
        """Yield everything."""
        yield from self._logs()
        yield from self._executions()
        yield from self._items()
        yield from self._objects()
        yield from self._processes()
        yield from self._queues()
        yield from self._stored()
        yield from self._said_to_aws()
        for passed in self._company.world.cloud.events[self._events :]:
            yield Place("event", json.dumps(passed.event).encode())
        for name, (server, allowed) in self._servers().items():
            for exchange in server.exchanges[self._exchanges[server] :]:
                request = exchange.request
                said = [request.method, request.path, dict(request.query), dict(request.headers)]
                yield Place(f"request to the {name}", repr(said).encode() + request.body, allowed)

    def _servers(self) -> Mapping[str, tuple[HttpServer, frozenset[str]]]:
        world = self._company.world
        vault: dict[str, tuple[HttpServer, frozenset[str]]] = {}
        if isinstance(self._company.store, InVault):
            vault = {"Vault": (world.vault.door, frozenset({NEW, VAULT}))}
        at_registry = frozenset({OLD, NEW, TOKEN})
        if self._company.kind == "gitea":  # it resets too
            at_registry |= {ADMIN}
        return {
            **vault,
            "registry": (self._front, at_registry),
            "control plane": (world.cloudraya, frozenset({ADMIN, BEARER})),
            "GitHub": (world.github, frozenset({GITHUB})),
            "cluster": (world.kubernetes, frozenset({CLUSTER, NEW, OTHER})),
            "webhook": (world.receiver, _NOTHING),
        }

    def _logs(self) -> Iterator[Place]:
        for name, lines in self._company.world.cloud.lambdas.logs.items():
            yield Place("log", "\n".join(lines[self._lines.get(name, 0) :]).encode())

    def _executions(self) -> Iterator[Place]:
        cloud = self._company.world.cloud
        for execution in (cloud.execution(arn) for arn in self._arns() if arn not in self._known):
            ends = [execution.input, execution.output, execution.error, execution.cause]
            yield Place("execution", json.dumps([ends, execution.history], default=str).encode())

    def _arns(self) -> Iterator[str]:
        cloud = self._company.world.cloud
        pages = (
            cloud.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=cloud.machine_arn)
        )
        return (found["executionArn"] for page in pages for found in page["executions"])

    def _items(self) -> Iterator[Place]:
        cloud = self._company.world.cloud
        for which in ("LEDGER", "ESCROW"):
            pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=rotating.table(cloud, which).name)
            for item in (item for page in pages for item in page["Items"]):
                binaries = [value["B"] for value in item.values() if "B" in value]
                yield Place(f"{which.lower()} item", json.dumps(item, default=repr).encode() + b"\n".join(binaries))

    def _objects(self) -> Iterator[Place]:
        world, client = self._company.world, self._company.world.cloud.client("s3")
        pages = client.get_paginator("list_object_versions").paginate(Bucket=world.bucket)
        for version in (version for page in pages for version in page.get("Versions", [])):
            key, number = version["Key"], version["VersionId"]
            if self._company.name in key:
                body = client.get_object(Bucket=world.bucket, Key=key, VersionId=number)["Body"].read()
                yield Place("object", key.encode() + b"\n" + body)

    def _processes(self) -> Iterator[Place]:
        """Yield what the functions were started with, and what the machine shows of those that live."""
        for process in self._company.world.cloud.lambdas.processes:
            yield Place("process", repr([process.command, process.environment]).encode())
            folder = Path(f"/proc/{process.pid}")
            for shown in (folder / "cmdline", folder / "environ"):
                if shown.exists():
                    yield Place("process", shown.read_bytes().replace(b"\0", b"\n"))

    def _queues(self) -> Iterator[Place]:
        cloud = self._company.world.cloud
        client = cloud.client("sqs")
        for queue in cloud.stack.queues:
            url = client.get_queue_url(QueueName=queue.name)["QueueUrl"]
            answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
            yield Place("queue", json.dumps(answer.get("Messages", []), default=str).encode())

    def _stored(self) -> Iterator[Place]:
        """Yield the store: it holds this registry's passwords, and no other secret."""
        for text in self._company.store.everything():
            yield Place("store", text.encode(), frozenset({OLD, NEW}))

    def _said_to_aws(self) -> Iterator[Place]:
        """Yield every request but those of the tests themselves to Secrets Manager: they set the secrets up."""
        for request in self._company.world.cloud.requests[self._requests :]:
            if request.service == "secretsmanager" and request.caller == PERSON:
                continue
            said = [request.path, dict(request.headers), *_fields(request)]
            yield Place("request to AWS", repr(said).encode() + request.body, self._allowed(request))

    def _allowed(self, request: AwsRequest) -> frozenset[str]:
        if request.operation != "secretsmanager:PutSecretValue":
            return _NOTHING
        body: dict[str, Any] = json.loads(request.body)
        return frozenset({NEW}) if body["SecretId"] == self._company.secret_name else _NOTHING


def _fields(request: AwsRequest) -> Sequence[tuple[str, str]]:
    """Return the fields of a form, as SNS and SQS take them, decoded."""
    if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return []
    return parse_qsl(request.body.decode())
