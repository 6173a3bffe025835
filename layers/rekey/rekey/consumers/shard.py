"""What all consumers of one shard share: one credential at one host, its connections, its rate limit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeVar, cast

import aiohttp
import httpx

from rekey import http
from rekey.consumers.limiter import Held, Limiter
from rekey.errors import RekeyError
from rekey.model.plan import CredentialRef, RegistryPart
from rekey.secrets import Credential, Secrets

T = TypeVar("T")
AT_ONCE = 50
"""Requests under way at once: half of what GitHub takes from all users of one credential together."""


class Shard:
    """The surroundings of a shard's consumers, to be used as an asynchronous context manager: it closes what it opened.

    `deadline` is when the last request must have left.
    """

    def __init__(
        self, registry: RegistryPart, secrets: Secrets, now: Callable[[], datetime], deadline: datetime | None = None
    ) -> None:
        self.registry = registry
        self.now = now
        self.limiter = Limiter(now, deadline)
        self._secrets = secrets
        self._clients: dict[tuple[str, str | None], httpx.AsyncClient] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._memo: dict[str, object] = {}
        self._flights: dict[str, asyncio.Future[object]] = {}

    def credential(self, ref: CredentialRef, url: str) -> Credential:
        """Return a credential for use at the server of `url`. Raises as `Secrets.resolve` does.

        Blocks, the first time: every consumer of the shard waits for this credential anyway, and a thread for it could
        outlive the handler.
        """
        return self._secrets.resolve(ref, url)

    def client(self, url: str, ca: str | None = None) -> httpx.AsyncClient:
        """Return the shard's client for the server of `url`, bound to that server."""
        key = (url, ca)
        if key not in self._clients:
            self._clients[key] = http.async_client(url, ca=ca)
        return self._clients[key]

    async def send(
        self, client: httpx.AsyncClient, request: httpx.Request, service: str, *, cost: int = 1
    ) -> httpx.Response:
        """Send one request when it is its turn, and return the answer whatever its status.

        Raises Held where its turn would come too late, NotSent, Unreachable.
        """
        async with self._places:
            try:
                await self.limiter.turn(cost)
            except Held as error:
                raise Held(f"{service} limits how often it is asked: {error}") from None
            with http.answering(service), _honest_about_connecting():
                return await client.send(request)

    async def once(self, key: str, make: Callable[[], Awaitable[T]], good: Callable[[T], bool] = lambda _: True) -> T:
        """Return what `make` gives, made once for all who ask while it is `good`: an installation's token, say.

        Who waited for a `make` that failed gets the same error, so that an outage is met once and not by each in turn.
        A failure is not kept; if the maker is cancelled, the next one who waits makes it.
        """
        while True:
            known = cast("T", self._memo.get(key))
            if key in self._memo and good(known):
                return known
            flight = self._flights.get(key)
            if flight is None:
                return await self._make(key, make)
            await asyncio.wait([flight])  # unlike `await flight`, being cancelled here does not cancel the flight
            if not flight.cancelled():
                return cast("T", flight.result())

    async def _make(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            made = await make()
        except RekeyError as error:
            flight.set_exception(error)
            flight.exception()  # it is raised below, whether or not anybody waited
            raise
        else:
            self._memo[key] = made
            flight.set_result(made)
            return made
        finally:
            del self._flights[key]
            flight.cancel()  # does nothing where it has its result

    def forget(self, key: str, stale: object) -> None:
        """Let the next `once` make it anew: the service said that this value is no longer good.

        Does nothing where another one is there by now.
        """
        if self._memo.get(key) is stale:
            del self._memo[key]

    async def close(self) -> None:
        """Close every connection."""
        clients = list(self._clients.values())
        self._clients.clear()
        await asyncio.gather(*(client.aclose() for client in clients))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@contextmanager
def _honest_about_connecting() -> Iterator[None]:
    """Mend what httpx-aiohttp 0.2 makes of aiohttp's errors.

    It calls every failure of a connection a ConnectTimeout, also one under a request that may have arrived, and lets
    some errors through as they are.
    """
    try:
        yield
    except (httpx.ConnectTimeout, aiohttp.ClientError) as error:
        if isinstance(error.__cause__, aiohttp.ConnectionTimeoutError):
            raise
        if isinstance(error.__cause__, aiohttp.ClientConnectorError):
            raise httpx.ConnectError(str(error)) from None
        raise httpx.RemoteProtocolError("cut off") from None


def retry_after(response: httpx.Response, now: datetime) -> timedelta | None:
    """Return what the Retry-After header asks for, in seconds or as a date (RFC 9110, 10.2.3); None without one."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text), 24 * 3600))
    moment = http_date(text)
    return None if moment is None else max(moment - now, timedelta(0))


def http_date(text: str) -> datetime | None:
    """Return the moment that an HTTP header such as Date names, or None."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
