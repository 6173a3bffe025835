"""A door before a real server: requests to it are numbered with all others, and faults strike here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import httpx

from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import DropConnectionError, Request, Response

if TYPE_CHECKING:
    import ssl

_TIMEOUT = 10.0  # seconds
_OF_ONE_CONNECTION = frozenset({"connection", "content-length", "transfer-encoding"})


class Serving(Protocol):
    """A server that can be passed on to."""

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""


class Proxy(HttpServer):
    """Passes everything on to a server, which sees the name of this door in `Host`. Where that one is away, so is this.

    `trust`: how the server's own certificate is checked, where it has one.
    """

    def __init__(self, target: Serving, trust: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._target = target
        self._trust = trust

    def start(self) -> Self:
        """Open the door."""
        self._client = httpx.Client(base_url=self._target.url, timeout=_TIMEOUT, verify=self._trust or False)
        return super().start()

    def stop(self) -> None:
        """Close the door."""
        try:
            super().stop()
        finally:
            self._client.close()

    def act(self, request: Request) -> Response:
        """Pass one request on."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        try:
            answer = self._client.request(
                request.method, request.path, params=request.query, headers=headers, content=request.body
            )
        except httpx.TransportError:
            raise DropConnectionError from None
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        return Response(answer.status_code, answer.content, kept)
