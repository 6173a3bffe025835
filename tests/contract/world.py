"""What a consumer or notifier is tried in: a registry, Rekey's credentials in (simulated) Secrets Manager, a clock."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import boto3
from moto import mock_aws

from rekey.consumers.shard import Shard
from rekey.contracts import Delivery
from rekey.model.names import Generation
from rekey.model.origin import Origin
from rekey.model.password import Password
from rekey.model.plan import CredentialRef, ManualRegistry
from rekey.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest
    from types_boto3_secretsmanager import SecretsManagerClient

REGISTRY = ManualRegistry(
    name="prod-images", type="manual", endpoint="registry.example.com", username="robot", where="the console"
)
ROTATED_AT = datetime(2026, 3, 7, 2, 0, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class World:
    """Makes shards and deliveries, and remembers every secret it has made: none of them may ever be said."""

    secrets_manager: SecretsManagerClient
    canaries: set[str] = field(default_factory=set)

    def new_secret(self) -> str:
        """Make a secret text with characters that encodings change."""
        return self.never_to_be_said(f"{secrets.token_urlsafe(18)}+/\"'&é")

    def never_to_be_said(self, text: str) -> str:
        """Remember a secret and return it."""
        self.canaries.add(text)
        return text

    def credential(self, name: str, url: str, **fields: str) -> CredentialRef:
        """Keep a credential in Secrets Manager, bound to the registry and the server of `url`."""
        document = {"registries": [REGISTRY.name], "hosts": [Origin.parse(url).netloc], **fields}
        self.canaries.update(fields[name] for name in fields.keys() & {"token", "private_key", "key"})
        self.secrets_manager.create_secret(Name=f"rekey/{name}", SecretString=json.dumps(document))
        return CredentialRef(secret=f"rekey/{name}")

    def rebind(self, name: str, host: str) -> None:
        """Bind a credential to another host."""
        text = self.secrets_manager.get_secret_value(SecretId=name)["SecretString"]
        bound = json.dumps({**json.loads(text), "hosts": [host]})
        self.secrets_manager.put_secret_value(SecretId=name, SecretString=bound)

    def shard(self, deadline: datetime | None = None) -> Shard:
        """Return the surroundings of one invocation."""
        return Shard(REGISTRY, Secrets(REGISTRY.name, self.secrets_manager), now, deadline)

    def delivery(self, generation: int = 7) -> Delivery:
        """Return a fresh password to be delivered."""
        return Delivery(
            registry=REGISTRY.name,
            endpoint=REGISTRY.endpoint,
            username=REGISTRY.username,
            password=Password(self.new_secret()),
            generation=Generation(generation),
            rotation=f"{REGISTRY.name}/{generation}",
            store={"type": "secrets-manager", "name": "registries/prod-images", "version": secrets.token_hex(16)},
            rotated_at=ROTATED_AT,
        )

    def assert_nothing_said(self, said: Iterable[str]) -> None:
        """Fail where a text holds a secret in any encoding; the message does not repeat it."""
        text = "\n".join(said)
        for number, canary in enumerate(sorted(self.canaries)):
            for form, needle in _forms(canary).items():
                assert needle not in text, f"secret number {number} was said ({form})"


def _forms(secret: str) -> dict[str, str]:
    pair = f"{REGISTRY.username}:{secret}".encode()
    return {
        "plain": secret,
        "base64": base64.b64encode(secret.encode()).decode().rstrip("="),
        "user:password": base64.b64encode(pair).decode().rstrip("="),
        "URL": urllib.parse.quote(secret, safe=""),
        "JSON": json.dumps(secret)[1:-1],
        "repr": repr(secret)[1:-1],
    }


@contextmanager
def new_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Simulate AWS with credentials that open nothing."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield World(_secrets_manager())


@cache
def _secrets_manager() -> SecretsManagerClient:
    """Return a client for all simulations of a process: making one takes a tenth of a second."""
    return boto3.client("secretsmanager")
