"""A door before the sandbox's registry: requests to it are numbered with all others, and faults strike here."""

from __future__ import annotations

import base64
from typing import Protocol, Self

import httpx

from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import DropConnectionError, Request, Response

_TIMEOUT = 10.0  # seconds
_OF_ONE_CONNECTION = frozenset({"connection", "content-length", "transfer-encoding"})


class Behind(Protocol):
    """What the door leads to."""

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""


class RegistryProxy(HttpServer):
    """Passes everything on to a registry, which sees the name of this door in `Host`."""

    def __init__(self, registry: Behind) -> None:
        super().__init__()
        self._registry = registry

    def start(self) -> Self:
        """Open the door."""
        self._client = httpx.Client(base_url=self._registry.url, timeout=_TIMEOUT)
        return super().start()

    def stop(self) -> None:
        """Close the door."""
        super().stop()
        self._client.close()

    def act(self, request: Request) -> Response:
        """Pass one request on; nobody answers here while nobody does there."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        try:
            answer = self._client.request(
                request.method, request.path, params=request.query, headers=headers, content=request.body
            )
        except httpx.TransportError:
            raise DropConnectionError from None
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        return Response(answer.status_code, answer.content, kept)


def shown(request: Request) -> tuple[str, str]:
    """Return the user and the password that a request shows; empty texts where it shows none."""
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    user, _, password = base64.b64decode(pair).decode().partition(":")
    return user, password
