"""A control plane as small as one can be, and credentials of Rekey's own for one."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rekey.model import plan
from rekey.secrets import Secrets
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.aws import AwsSandbox
    from tests.sandbox.cloudraya import Accounts


NAME = "prod-images"


class SmallApi(HttpServer):
    """One user, one credential in a header, one call: `POST /users/NAME/rotate` → `{"result": [{"secret": …}]}`."""

    def __init__(self, user: str, accounts: Accounts) -> None:
        super().__init__()
        self._user = user
        self._accounts = accounts
        self.key = secrets.token_urlsafe(16)
        self.made: list[str] = []
        self.route("GET", "/status", lambda request: self._allowed(request) or Response.json({"status": "ok"}))
        self.route("POST", f"/users/{user}/rotate", lambda request: self._allowed(request) or self._rotate())

    def _allowed(self, request: Request) -> Response | None:
        """Return the refusal of a request that does not show the key."""
        return None if request.bearer() == self.key else Response.json({"error": "who are you?"}, 401)

    def _rotate(self) -> Response:
        password = secrets.token_urlsafe(24)
        self._accounts.set_password(self._user, password)
        self.made.append(password)
        return Response.json({"result": [{"secret": password}]})


@dataclass
class Passwords:
    """Accounts without a registry behind them."""

    known: dict[str, str] = field(default_factory=dict)

    def set_password(self, name: str, password: str) -> None:
        """Change a password."""
        self.known[name] = password


class NoCredentials(Secrets):
    """For what never asks for one."""

    def __init__(self) -> None:
        """Know nothing, and ask nobody."""


def credentials(aws: AwsSandbox, registry: str, host: str, **fields: str) -> tuple[Secrets, str]:
    """Keep a credential that is bound to this registry and host; return who resolves it, and its name."""
    client = aws.client("secretsmanager")
    name = f"rekey/{secrets.token_hex(4)}"
    document = {"registries": [registry], "hosts": [host], **fields}
    client.create_secret(Name=name, SecretString=json.dumps(document))
    return Secrets(registry, client), name


def cloudraya_part(api: Mapping[str, object]) -> plan.CloudRayaRegistry:
    """Return the plan of a registry at CloudRaya."""
    return plan.CloudRayaRegistry.model_validate(
        {"type": "cloudraya", "name": NAME, "endpoint": "registry.example.com", "username": NAME, "api": api}
    )


def http_part(api: Mapping[str, object], **more: object) -> plan.HttpRegistry:
    """Return the plan of a registry whose API this describes."""
    return plan.HttpRegistry.model_validate(
        {"type": "http", "name": NAME, "endpoint": "registry.example.com", "username": NAME, "api": api, **more}
    )
