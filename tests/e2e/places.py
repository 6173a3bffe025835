"""Everything that a run leaves or says, to be searched for secrets, and where which secret has its place."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.e2e import rotating
from tests.e2e.canaries import Canary, Search
from tests.sandbox.gitea_door import GiteaDoor
from tests.sandbox.vault_company import InVault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.e2e.front import Front
    from tests.sandbox.aws_executions import PlayedExecution
    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.company import Company
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.wire import Request
    from tests.sandbox.world import World

OLD, NEW, OTHER = "old password", "new password", "other registry's password"
ADMIN, BEARER, TOKEN = "control plane's password", "control plane's bearer", "token that a password gave"
GITHUB, CLUSTER, SIGNING = "GitHub credential", "cluster token", "webhook signing key"
VAULT = "Vault credential"
PERSON = "SANDBOXPERSON"
"""Who signs the requests of the tests themselves."""
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    """A text, and the secrets that may be in it: those of its owner, or of whichever registry where it has none."""

    name: str
    text: bytes
    allowed: frozenset[str] = _NOTHING
    owner: str = ""

    def allows(self, canary: Canary) -> bool:
        """Whether a secret has its place here."""
        return canary.name in self.allowed and (not self.owner or canary.owner in ("", self.owner))


@dataclass(frozen=True)
class Door:
    """A server that is asked for some registries, or for one."""

    name: str
    server: HttpServer
    allowed: frozenset[str]
    owner: str = ""


class Run:
    """What the rotations of some companies leave from now on, in a world that others used before."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._companies: list[tuple[Company, Front]] = []
        self._lines = {name: len(lines) for name, lines in world.cloud.lambdas.logs.items()}
        self._requests, self._events = len(world.cloud.requests), len(world.cloud.events)
        self._exchanges: dict[HttpServer, int] = {}
        self._known = set(self._arns())
        self.more: list[Canary] = []
        """Secrets of this run beside those of every run."""
        self.forgotten: list[PlayedExecution] = []
        """Executions that do not exist any more."""

    @classmethod
    def of(cls, company: Company, front: Front) -> Run:
        """Return what one company's rotations leave from now on; `front` is the door to its registry."""
        run = cls(company.world)
        run.add(company, front)
        return run

    def add(self, company: Company, front: Front) -> None:
        """Look at a company too, from now on."""
        self._companies.append((company, front))
        for door in self._doors():
            self._exchanges.setdefault(door.server, len(door.server.exchanges))

    def canaries(self) -> list[Canary]:
        """Return every secret that this run had to do with."""
        world = self.world
        found = [Canary(SIGNING, world.webhook_key.removeprefix("whsec_")), *self.more]
        for company, front in self._companies:
            mine = [
                (OLD, company.first_password),
                (OTHER, company.other_password),
                (ADMIN, company.admin_password),
                (GITHUB, company.github_token),
                (CLUSTER, company.cluster_token),
                *((NEW, password) for password in company.made),
                *((TOKEN, token) for token in map(_bearer, self._asked(front)) if not _is_nobodys(token)),
            ]
            if isinstance(company.store, InVault):
                mine.append((VAULT, company.store.login["secret_id"]))
            found += [Canary(name, text, company.name) for name, text in dict.fromkeys(mine) if text]
        for server, name in [(world.cloudraya, BEARER), (world.github, GITHUB)]:
            tokens = {(_bearer(request), self._owner(request.path)) for request in self._asked(server)}
            found += [Canary(name, token, owner) for token, owner in tokens if token]
        if any(isinstance(company.store, InVault) for company, _ in self._companies):
            shown = {request.headers.get("x-vault-token", "") for request in self._asked(world.vault.door)}
            found += [Canary(VAULT, token) for token in shown - {""}]
        return found

    def leaks(self) -> set[tuple[str, str]]:
        """Return where a secret is that has no place there: name of the place, name of the secret."""
        return {(where, canary.name) for where, canary in self.leaked()}

    def leaked(self) -> set[tuple[str, Canary]]:
        """Return where which secret is that has no place there."""
        search = Search(self.canaries())
        return {
            (place.name, canary)
            for place in self.places()
            for canary in search.found_in(place.text)
            if not place.allows(canary)
        }

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
        for passed in self.world.cloud.events[self._events :]:
            yield Place("event", json.dumps(passed.event).encode())
        for door in self._doors():
            for request in self._asked(door.server):
                said = [request.method, request.path, dict(request.query), dict(request.headers)]
                text = repr(said).encode() + request.body
                yield Place(f"request to the {door.name}", text, door.allowed, door.owner)

    def _asked(self, server: HttpServer) -> list[Request]:
        return [exchange.request for exchange in server.exchanges[self._exchanges.get(server, 0) :]]

    def _owner(self, text: str) -> str:
        """Return the registry that a text names, or "" where it names none."""
        return next((company.name for company, _ in self._companies if company.name in text), "")

    def _doors(self) -> list[Door]:
        world, kinds = self.world, {company.kind for company, _ in self._companies}
        doors = [
            Door("control plane", world.cloudraya, frozenset({ADMIN, BEARER})),
            Door("GitHub", world.github, frozenset({GITHUB})),
            Door("cluster", world.kubernetes, frozenset({CLUSTER, NEW, OTHER})),
            Door("webhook", world.receiver, _NOTHING),
        ]
        if any(isinstance(company.store, InVault) for company, _ in self._companies):
            doors.append(Door("Vault", world.vault.door, frozenset({NEW, VAULT})))
        if "harbor" in kinds:
            doors.append(Door("control plane", world.harbor, frozenset({ADMIN, NEW})))
        names: dict[Front, list[str]] = {}
        for company, front in self._companies:
            names.setdefault(front, []).append(company.name)
        if "gitea" in kinds and world.gitea_api not in names:
            doors.append(Door("control plane", world.gitea_api, frozenset({ADMIN, OLD, NEW})))
        for front, those in names.items():
            at_registry = frozenset({OLD, NEW, TOKEN})
            if isinstance(front, GiteaDoor):  # it resets too
                at_registry |= {ADMIN}
            doors.append(Door("registry", front, at_registry, those[0] if len(those) == 1 else ""))
        return doors

    def _logs(self) -> Iterator[Place]:
        for name, lines in self.world.cloud.lambdas.logs.items():
            yield Place("log", "\n".join(lines[self._lines.get(name, 0) :]).encode())

    def _executions(self) -> Iterator[Place]:
        cloud = self.world.cloud
        for execution in (cloud.execution(arn) for arn in self._arns() if arn not in self._known):
            ends = [execution.input, execution.output, execution.error, execution.cause]
            yield Place("execution", json.dumps([ends, execution.history], default=str).encode())
        for gone in self.forgotten:
            yield Place("execution", json.dumps([gone.execution_input, gone.history()], default=str).encode())

    def _arns(self) -> Iterator[str]:
        cloud = self.world.cloud
        pages = (
            cloud.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=cloud.machine_arn)
        )
        return (found["executionArn"] for page in pages for found in page["executions"])

    def _items(self) -> Iterator[Place]:
        cloud = self.world.cloud
        for which in ("LEDGER", "ESCROW"):
            pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=rotating.table(cloud, which).name)
            for item in (item for page in pages for item in page["Items"]):
                binaries = [value["B"] for value in item.values() if "B" in value]
                yield Place(f"{which.lower()} item", json.dumps(item, default=repr).encode() + b"\n".join(binaries))

    def _objects(self) -> Iterator[Place]:
        client, bucket = self.world.cloud.client("s3"), self.world.bucket
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for version in (version for page in pages for version in page.get("Versions", [])):
            key, number = version["Key"], version["VersionId"]
            if self._owner(key):
                body = client.get_object(Bucket=bucket, Key=key, VersionId=number)["Body"].read()
                yield Place("object", key.encode() + b"\n" + body)

    def _processes(self) -> Iterator[Place]:
        """Yield what the functions were started with, and what the machine shows of those that live."""
        for process in self.world.cloud.lambdas.processes:
            yield Place("process", repr([process.command, process.environment]).encode())
            folder = Path(f"/proc/{process.pid}")
            for shown in (folder / "cmdline", folder / "environ"):
                if shown.exists():
                    yield Place("process", shown.read_bytes().replace(b"\0", b"\n"))

    def _queues(self) -> Iterator[Place]:
        cloud = self.world.cloud
        client = cloud.client("sqs")
        for queue in cloud.stack.queues:
            url = client.get_queue_url(QueueName=queue.name)["QueueUrl"]
            answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
            yield Place("queue", json.dumps(answer.get("Messages", []), default=str).encode())

    def _stored(self) -> Iterator[Place]:
        """Yield the store: it holds a registry's passwords, and no other secret."""
        for company, _ in self._companies:
            for text in company.store.everything():
                yield Place("store", text.encode(), frozenset({OLD, NEW}), company.name)

    def _said_to_aws(self) -> Iterator[Place]:
        """Yield every request but those of the tests themselves to Secrets Manager: they set the secrets up."""
        for request in self.world.cloud.requests[self._requests :]:
            if request.service == "secretsmanager" and request.caller == PERSON:
                continue
            said = [request.path, dict(request.headers), *_fields(request)]
            owner = self._whose_password(request)
            allowed = frozenset({NEW}) if owner else _NOTHING
            yield Place("request to AWS", repr(said).encode() + request.body, allowed, owner)

    def _whose_password(self, request: AwsRequest) -> str:
        """Return the registry whose password a request puts into the store, or ""."""
        if request.operation != "secretsmanager:PutSecretValue":
            return ""
        body: dict[str, Any] = json.loads(request.body)
        names = {company.secret_name: company.name for company, _ in self._companies}
        return names.get(body["SecretId"], "")


def _bearer(request: Request) -> str:
    return request.bearer() or ""


def _is_nobodys(token: str) -> bool:
    """Whether Gitea gave a token to who showed no password: whoever asks in the same second gets the same."""
    claims = b""
    with suppress(ValueError):  # no base64: not Gitea's
        claims = base64.urlsafe_b64decode("".join(token.split(".")[1:2]) + "==")
    return b'"UserID":-1,' in claims


def _fields(request: AwsRequest) -> Sequence[tuple[str, str]]:
    """Return the fields of a form, as SNS and SQS take them, decoded."""
    if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return []
    return parse_qsl(request.body.decode())
