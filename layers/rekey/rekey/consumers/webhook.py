"""Consumer: a signed message to any automation tool. It carries a reference to the store, never the password.

Signed by Standard Webhooks (https://www.standardwebhooks.com). The path of such an address is often what keeps it
secret: messages name the host alone.
"""

import asyncio
import hashlib
import json
import ssl
from collections.abc import Sequence

import httpx

from rekey import http, standard_webhooks
from rekey.consumers.outcome import ServiceErrors, receipt_for
from rekey.consumers.shard import Shard, retry_after
from rekey.contracts import Delivery, Prepared
from rekey.errors import Denied, NotFound, NotSent, Unfit, Unintelligible, Unreachable
from rekey.model.moment import render
from rekey.model.origin import Origin
from rekey.model.plan import WebhookConsumer as WebhookPart
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt

_TYPE = "rekey.password.rotated"
_CONNECT_SECONDS = 5


class WebhookConsumer:
    """One entry of type `webhook`; its consumer is called as the entry."""

    def __init__(self, part: WebhookPart, shard: Shard) -> None:
        self._part = part
        self._shard = shard
        self._origin = Origin.parse(part.url)
        self._service = f"the webhook at {self._origin.netloc}"

    async def prepare(self) -> Sequence[Prepared]:
        """Check the signing key, connect, and say nothing.

        No request is sent, not even a HEAD: it might set the automation going. What the receiver makes of a message is
        known only when it gets one.

        Raises CredentialUnusable (the key), Unreachable (no connection, or its certificate is not trusted).
        """
        self._signing_key()
        await self._connect()
        return [Prepared(self._part.name)]

    async def deliver(self, delivery: Delivery, prepared: Prepared) -> Receipt:
        """Send the message. Sent again it has the same id, so that a receiver that took it can drop it."""
        try:
            await self._send(delivery)
        except ServiceErrors as error:
            return receipt_for(error, prepared.consumer, self._part.type, self._shard.now())
        return Receipt(prepared.consumer, self._part.type, ConsumerOutcome.UPDATED, answered_at=self._shard.now())

    async def verify(self, delivery: Delivery, receipt: Receipt) -> Receipt:  # noqa: ARG002 (nobody can be asked)
        """Return `written` for a message that was taken: a receiver cannot be asked what it did."""
        return receipt.with_verdict(ConsumerVerdict.WRITTEN) if receipt.outcome.done else receipt

    async def _connect(self) -> None:
        tls = http.ssl_context(self._part.ca) if self._origin.scheme == "https" else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(self._origin.host, self._origin.port, ssl=tls)
        except TimeoutError:
            raise NotSent(f"{self._service}: no connection within {_CONNECT_SECONDS} s") from None
        except ssl.SSLCertVerificationError:
            raise NotSent(
                f"{self._service}: its TLS certificate is not trusted: give the plan's `ca` if it is a private one"
            ) from None
        except OSError as error:
            raise NotSent(f"{self._service}: no connection ({type(error).__name__})") from None
        writer.transport.abort()  # nothing was said that would have to be finished

    async def _send(self, delivery: Delivery) -> None:
        client = self._shard.client(self._origin.base, self._part.ca)
        body = self._body(delivery)
        again = f"\n{render(delivery.again_at)}" if delivery.again_at else ""  # else who has it would drop it
        told = f"{delivery.rotation}\n{self._part.name}{again}".encode()
        message = f"msg_{hashlib.sha256(told).hexdigest()[:32]}"
        signed = standard_webhooks.headers(self._signing_key(), message, self._shard.now(), body.encode())
        headers = {"Content-Type": "application/json", **signed}
        request = client.build_request("POST", self._part.url, content=body, headers=headers)
        self._check(await self._shard.send(client, request, self._service))

    def _body(self, delivery: Delivery) -> str:
        message = {
            "type": _TYPE,
            "timestamp": render(delivery.rotated_at),
            "data": {
                "registry": delivery.registry,
                "endpoint": delivery.endpoint,
                "username": delivery.username,
                "generation": delivery.generation,
                "rotation": delivery.rotation,
                "store": dict(delivery.store),
            },
        }
        return json.dumps(message, separators=(",", ":"))

    def _signing_key(self) -> bytes:
        return standard_webhooks.signing_key(self._shard.credential(self._part.signing_key, self._part.url))

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        said = f"{self._service} answered {response.status_code}"
        match response.status_code:
            case 401 | 403:
                raise Denied(
                    f"{said}: it refuses the signature or us: compare its key with {self._part.signing_key.secret}"
                )
            case 404 | 410:
                raise NotFound(f"{said}: there is no receiver any more: mend its address, or take it out of the plan")
            case 408 | 425 | 429:
                wait = retry_after(response, self._shard.now())
                self._shard.limiter.hold(http.DEFAULT_TIMEOUT if wait is None else wait)
                raise Unreachable(f"{said}: not now")
            case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise Unreachable(f"{said}: it is not well")
        if response.is_redirect:
            raise Unintelligible(f"{said}: a redirect, which is not followed: write where it leads to into the plan")
        raise Unfit(f"{said}: it does not take the message: see its own log")
