"""What the store contract needs of each adapter: a fresh place, a reader's view, an outage."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from rekey.contracts import Candidate
from rekey.model import plan
from rekey.model.names import Generation
from rekey.model.password import Password
from rekey.secrets import Secrets
from rekey.stores.secrets_manager import SecretsManagerStore
from rekey.stores.vault import VaultStore
from tests.sandbox import aws_faults, faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.company_store import is_unproven
from tests.sandbox.vault_policy import least_policy, without
from tests.sandbox.vault_service import VaultService
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rekey.contracts import Store

REGISTRY = plan.ManualRegistry(
    type="manual", name="prod-images", endpoint="registry.example.com:8443", username="prod", where="the console"
)

MADE_AT = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)


def token() -> str:
    """Return a token under which nothing was staged yet."""
    return secrets.token_hex(32)


def candidate(generation: int = 1, password: str | None = None, made_at: datetime = MADE_AT) -> Candidate:
    """Return a candidate for `REGISTRY`. Its password holds what JSON and shells take for something else."""
    return Candidate(
        registry=REGISTRY.name,
        endpoint=REGISTRY.endpoint,
        username=REGISTRY.username,
        password=Password(password or 'a"\\b$ <é>' + secrets.token_urlsafe(12)),
        generation=Generation(generation),
        made_at=made_at,
    )


class Surroundings:
    """What the cases share; a context manager. Vault is started for the first case that wants it."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self.aws = self._exit.enter_context(AwsSandbox())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    @cached_property
    def vault(self) -> VaultService:
        """A real Vault; without one the test is skipped."""
        return self._exit.enter_context(VaultService(require("vault")))


class StoreCase(ABC):
    """One adapter with a place of its own that holds nothing yet."""

    store: Store
    elsewhere: Store
    """The same adapter, aimed at a place that does not exist."""

    @abstractmethod
    def reader_sees(self) -> Mapping[str, object] | None:
        """Return the fields that somebody sees who reads the password, or None where there is nothing to read."""

    @abstractmethod
    def reader_is_warned(self) -> bool:
        """Whether somebody who reads the password sees that nobody has tried it."""

    @abstractmethod
    def put_by_hand(self, username: str, password: str) -> None:
        """Do what a person does who keeps the password there today."""

    @abstractmethod
    def go_down(self) -> None:
        """Let nothing answer any more."""

    @abstractmethod
    def deny_writing(self) -> None:
        """Take the right to write away."""

    @abstractmethod
    def deny_promoting(self) -> None:
        """Take only the right away that promoting needs."""

    @abstractmethod
    def restore(self) -> None:
        """Lift what the others shall not meet."""


class SecretsManagerCase(StoreCase):
    """A secret without a value, as whoever prepares the place makes it."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._aws = aws = surroundings.aws
        self._client = aws.client("secretsmanager")
        self.name = f"registries/{secrets.token_hex(4)}"
        self._client.create_secret(Name=self.name)
        self.store = self._at(self.name)
        self.elsewhere = self._at(f"{self.name}-not-there")

    def _at(self, name: str) -> SecretsManagerStore:
        return SecretsManagerStore(plan.SecretsManagerStore(type="secrets-manager", name=name), REGISTRY, self._client)

    def reader_sees(self) -> Mapping[str, object] | None:
        try:
            text = self._client.get_secret_value(SecretId=self.name)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            return None
        found: Mapping[str, object] = json.loads(text)
        return found

    def reader_is_warned(self) -> bool:
        return is_unproven(self._client, self.name)

    def put_by_hand(self, username: str, password: str) -> None:
        text = json.dumps({"username": username, "password": password})
        self._client.put_secret_value(SecretId=self.name, SecretString=text)

    def go_down(self) -> None:
        for action in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"):
            self._aws.faults.add(f"secretsmanager:{action}", aws_faults.drop_before(), times=None)

    def deny_writing(self) -> None:
        self._aws.faults.add("secretsmanager:PutSecretValue", aws_faults.refuse(), times=None)

    def deny_promoting(self) -> None:
        self._aws.faults.add("secretsmanager:UpdateSecretVersionStage", aws_faults.refuse(), times=None)

    def restore(self) -> None:
        self._aws.faults.clear()


class VaultCase(StoreCase):
    """A path where nothing is, and an AppRole that may do what the README's policy allows and nothing else."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.vault, self._aws = surroundings.vault, surroundings.aws
        self.id = secrets.token_hex(4)
        self.path = f"registries/{self.id}"
        self.policy = least_policy(self.vault.mount, self.path)
        self.login = self.vault.admit(self.id, self.path, self.policy + least_policy("nowhere", self.path))
        self._reader = self.vault.reader(self.path)
        self.keep({**self.login})
        self.store = self.at()
        self.elsewhere = self.at(mount="nowhere")

    def keep(self, fields: Mapping[str, str]) -> None:
        """Write the credential."""
        client = self._aws.client("secretsmanager")
        text = json.dumps({"registries": [REGISTRY.name], "hosts": [self.vault.door.host, "127.0.0.1:*"], **fields})
        try:
            client.create_secret(Name=f"rekey/vault-{self.id}", SecretString=text)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=f"rekey/vault-{self.id}", SecretString=text)

    def at(self, **changes: Any) -> VaultStore:  # noqa: ANN401 (values of a plan)
        """Return the adapter; `changes` are of the plan's `store`."""
        part = {
            "type": "vault",
            "address": self.vault.url,
            "mount": self.vault.mount,
            "path": self.path,
            "auth": {"approle": {"secret": f"rekey/vault-{self.id}"}},
            **changes,
        }
        secrets_of = Secrets(REGISTRY.name, self._aws.client("secretsmanager"))
        return VaultStore(plan.VaultStore.model_validate(part), REGISTRY, secrets_of)

    def reader_sees(self) -> Mapping[str, object] | None:
        try:
            return self.vault.fields(self.path, token=self._reader)
        except LookupError:
            return None

    def reader_is_warned(self) -> bool:
        return self.vault.is_unproven(self.path, token=self._reader)

    def put_by_hand(self, username: str, password: str) -> None:
        self.put({"username": username, "password": password})

    def put(self, fields: Mapping[str, object]) -> int:
        """Write a version as a person does, and return its number."""
        made = self.vault.call("POST", f"{self.vault.mount}/data/{self.path}", {"data": dict(fields)})
        return int(made["data"]["version"])

    def allow(self, policy: str) -> None:
        """Let the login do this and nothing else."""
        self.vault.server.write_policy(self.id, policy)

    def go_down(self) -> None:
        self.vault.door.inject(faults.drop(), times=None)

    def deny_writing(self) -> None:
        self.allow(without(self.policy, "/data/rekey/", "create", "update"))

    def deny_promoting(self) -> None:
        self.allow(without(self.policy, "/data/registries/", "create", "update"))

    def restore(self) -> None:
        self.vault.door.clear_faults()


CASES: Mapping[str, Callable[[Surroundings], StoreCase]] = {"secrets-manager": SecretsManagerCase, "vault": VaultCase}
"""The type of the plan → how its case is made."""
