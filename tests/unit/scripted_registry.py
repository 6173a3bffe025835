"""Adapters for a registry at any address, and registries that answer as a test says."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from rekey.model import plan
from rekey.model.password import Password
from rekey.registries.manual import ManualRegistry
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response
from tests.unit.registry_api import NoCredentials

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

USER = "prod-images"
WITHIN = timedelta(seconds=10)
API = {"Docker-Distribution-Api-Version": "registry/2.0"}
BASIC = {"WWW-Authenticate": 'Basic realm="here"'}


def at(url: str, **more: object) -> ManualRegistry:
    """Return an adapter for a registry. The manual one adds nothing to what all have in common."""
    part = plan.ManualRegistry.model_validate(
        {"type": "manual", "name": "prod-images", "endpoint": url, "username": USER, "where": "there", **more}
    )
    return ManualRegistry(part, NoCredentials())


def fresh() -> Password:
    return Password(secrets.token_urlsafe(16))


class Scripted(HttpServer):
    """Answers as a test says; counts who shows a credential."""

    def __init__(self, answer: Callable[[Request], Response], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.answer = answer

    def handle(self, request: Request) -> Response:
        return self.answer(request)

    def got_credentials(self) -> bool:
        return any("authorization" in request.headers for request in self.requests())


def asks_for_basic(then: Response) -> Callable[[Request], Response]:
    """Answer as a registry that wants Basic, and to a password with `then`."""
    return lambda request: then if "authorization" in request.headers else Response.json({}, 401, BASIC)


def asks_for_token(realm: str) -> Callable[[Request], Response]:
    return lambda _: Response.json({}, 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="registry"'})
