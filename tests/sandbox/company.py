"""One registry in the sandbox's world, with a plan, a password in the store and in every consumer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rekey.records.plans import plan_key, to_stored

if TYPE_CHECKING:
    from tests.sandbox.aws import Execution
    from tests.sandbox.company_store import CompanyStore
    from tests.sandbox.world import World

OTHER_REGISTRY = "ghcr.example"
"""Another registry in the same pull secrets: its password is none of Rekey's business."""

Kind = Literal["cloudraya", "harbor", "gitea", "manual"]


class ImageRegistry(Protocol):
    """Where a company's images are, and who is let in there."""

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""

    @property
    def host(self) -> str:
        """Its name in image references and `auths` keys."""

    def add_user(self, name: str, password: str) -> None:
        """Add a user."""

    def set_password(self, name: str, password: str) -> None:
        """Change a password."""

    def lets_in(self, name: str, password: str) -> bool:
        """Whether a login succeeds."""


@dataclass
class Company:
    """One registry, and everything that has its password."""

    world: World
    name: str
    kind: Kind
    username: str
    """The registry's name, or that of a robot account of Harbor."""
    document: dict[str, Any]
    registry: ImageRegistry
    first_password: str
    other_password: str
    admin_password: str
    github_token: str
    cluster_token: str
    repositories: list[str]
    pull_secrets: list[tuple[str, str]]
    store: CompanyStore
    topic: str = ""
    robot_id: int = 0
    """The robot account's number at Harbor."""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def secret_name(self) -> str:
        """Name of the secret, or path in Vault, that the password is stored in."""
        return f"registries/{self.name}"

    def push_plan(self) -> str:
        """Push the document as it is now; returns the version id."""
        answer = self.world.cloud.client("s3").put_object(
            Bucket=self.world.bucket, Key=plan_key(self.name), Body=to_stored(self.document)
        )
        return str(answer["VersionId"])

    def current(self) -> str:
        """Return the password that the store calls current."""
        return str(self.store.in_force()["password"])

    def github_secrets(self) -> dict[str, str]:
        """Return what a job of each repository would see."""
        return {name: self.world.github.secret(name, "REGISTRY_PASSWORD") for name in self.repositories}

    def pull_passwords(self) -> dict[str, str]:
        """Return what each pull secret has for this registry."""
        found: dict[str, str] = {}
        for namespace, name in self.pull_secrets:
            entry: Any = self.world.kubernetes.auths(namespace, name)[self.registry.host]
            found[f"{namespace}/{name}"] = str(entry["password"])
        return found

    def others_untouched(self) -> bool:
        """Whether the other registry's entry in every pull secret is as it was."""
        entries: list[Any] = [
            self.world.kubernetes.auths(namespace, name).get(OTHER_REGISTRY) for namespace, name in self.pull_secrets
        ]
        return all(entry and entry["password"] == self.other_password for entry in entries)

    def ask(self, reason: str = "compromised", source: str = "siem", **detail: str) -> str:
        """Put the event that asks for a rotation, and return its id."""
        return self.world.cloud.put_event(
            f"rekey.in/{source}", "Credential Compromised", {"registry": self.name, "reason": reason, **detail}
        )

    def executions(self) -> list[str]:
        """Return the ARNs of this registry's executions, oldest first."""
        client = self.world.cloud.client("stepfunctions")
        pages = client.get_paginator("list_executions").paginate(stateMachineArn=self.world.cloud.machine_arn)
        found = [item for page in pages for item in page["executions"]]
        mine = [item for item in found if self._is_mine(item["executionArn"])]
        return [item["executionArn"] for item in sorted(mine, key=lambda item: item["startDate"])]

    def _is_mine(self, arn: str) -> bool:
        found = self.world.cloud.client("stepfunctions").describe_execution(executionArn=arn)
        return bool(json.loads(found["input"]).get("registry") == self.name)

    def rotate(self, reason: str = "compromised", source: str = "siem", within: float = 60) -> Execution:
        """Ask, and return the execution that came of it once it has ended."""
        before = len(self.executions())
        self.ask(reason, source)
        self.world.cloud.settle()
        started = self.executions()[before:]
        if not started:
            raise LookupError("the event started no execution")
        return self.world.cloud.wait_for(started[0], within)

    def evidence(self, generation: int = 1) -> dict[str, Any]:
        """Return the evidence of a rotation."""
        key = f"rotations/{self.name}/{generation}/evidence.json"
        body = self.world.cloud.client("s3").get_object(Bucket=self.world.bucket, Key=key)["Body"].read()
        found: dict[str, Any] = json.loads(body)
        return found

    @property
    def made(self) -> list[str]:
        """Every password that was put in force at the control plane, in order."""
        match self.kind:
            case "harbor":
                return self.world.harbor.sets(self.robot_id)
            case "gitea":
                return self.world.gitea_api.sets(self.username)
            case _:
                return [reset.password for reset in self.world.cloudraya.resets(self.name)]

    @property
    def resets(self) -> int:
        """How many resets happened at the control plane."""
        return len(self.made)
