"""What the store contract needs of each adapter: a fresh place, a reader's view, an outage."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from rekey.model import plan
from rekey.stores.secrets_manager import SecretsManagerStore
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rekey.contracts import Store
    from tests.sandbox.aws import AwsSandbox

REGISTRY = plan.ManualRegistry(
    type="manual", name="prod-images", endpoint="registry.example.com", username="prod", where="the console"
)


class StoreCase(ABC):
    """One adapter with a place of its own that holds nothing yet."""

    store: Store
    elsewhere: Store
    """The same adapter, aimed at a place that does not exist."""

    @abstractmethod
    def reader_sees(self) -> Mapping[str, object] | None:
        """Return the fields that somebody sees who reads the password, or None where there is nothing to read."""

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


class SecretsManagerCase(StoreCase):
    """A secret without a value, as whoever prepares the place makes it."""

    def __init__(self, aws: AwsSandbox) -> None:
        self._aws = aws
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


CASES: Mapping[str, Callable[[AwsSandbox], StoreCase]] = {"secrets-manager": SecretsManagerCase}
"""The type of the plan → how its case is made."""
