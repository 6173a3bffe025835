"""A receiver of Rekey's signed webhooks, as somebody with an automation tool of their own would write one.

It verifies what the Standard Webhooks specification signs (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and
the body, HMAC-SHA256 under a secret `whsec_…`, as `v1,BASE64` in `webhook-signature`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import NotJsonObjectError, RefusedError, Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.sandbox.wire import JsonObject

_PREFIX: Final = "whsec_"
_TOLERANCE = 300  # seconds


@dataclass(frozen=True)
class Delivery:
    """One message that was taken; `value` is what the store gave for the reference in it, None where nobody reads."""

    id: str
    order: int
    payload: JsonObject
    value: str | None


class WebhookReceiver(HttpServer):
    """Takes signed messages at any path.

    A bad signature or an old timestamp is answered 401; a message seen already 200, without being taken twice. `read`
    fetches what the payload refers to, and raises `LookupError` where it cannot: then 503, and it may come again.
    """

    def __init__(
        self,
        signing_secret: str,
        *,
        read: Callable[[JsonObject], str] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tls)
        self._clock = clock
        self._key = base64.b64decode(signing_secret.removeprefix(_PREFIX), validate=True)
        self._read = read
        self._deliveries: dict[str, Delivery] = {}

    @property
    def deliveries(self) -> list[Delivery]:
        """The messages taken so far, each once."""
        with self._acting:
            return list(self._deliveries.values())

    def act(self, request: Request) -> Response:
        """Take a message."""
        if request.method != "POST":
            return self.method_not_allowed(request)
        self._take(request)
        return Response.json({"taken": True})

    def _take(self, request: Request) -> None:
        message_id = self._verified_id(request)
        if message_id in self._deliveries:
            return
        try:
            payload = request.json_object()
        except NotJsonObjectError as error:
            raise _refused(400, str(error)) from None
        try:
            value = self._read(payload) if self._read else None
        except LookupError:
            raise _refused(503, "cannot read what the message refers to") from None
        self._deliveries[message_id] = Delivery(message_id, request.order, payload, value)

    def _verified_id(self, request: Request) -> str:
        message_id = request.headers.get("webhook-id", "")
        timestamp = request.headers.get("webhook-timestamp", "")
        if not message_id or not timestamp.isdecimal():
            raise _refused(401, "no webhook-id, or no webhook-timestamp in seconds")
        if abs(self._clock() - int(timestamp)) > _TOLERANCE:
            raise _refused(401, "the webhook-timestamp is too far from now")
        expected = sign(self._key, message_id, timestamp, request.body)
        given = request.headers.get("webhook-signature", "").split()
        if not any(hmac.compare_digest(signature.encode(), expected.encode()) for signature in given):
            raise _refused(401, "no webhook-signature that fits")
        return message_id


def new_secret() -> str:
    """Make a signing secret to be shared by sender and receiver."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message."""
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _refused(status: int, why: str) -> RefusedError:
    return RefusedError(Response.json({"error": why}, status))
