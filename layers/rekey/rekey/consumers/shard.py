"""What all consumers of one shard share: one credential at one host, one client, one rate limiter."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import httpx

from rekey import http
from rekey.secrets import Secrets

T = TypeVar("T")


class Limiter:
    """Lets calls through at a steady rate, and none before a moment the service named (Retry-After).

    `rate` is calls a second; None is no limit.
    """

    def __init__(self, rate: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._clock = clock
        self._next = clock()

    async def turn(self) -> None:
        """Wait until it is this call's turn."""
        now = self._clock()
        mine = max(self._next, now)
        self._next = mine + self._gap
        if mine > now:
            await asyncio.sleep(mine - now)

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: the service asked for it."""
        self._next = max(self._next, self._clock() + seconds)


@dataclass
class Shard:
    """The surroundings of a shard's consumers. `close` it where it was made."""

    registry: str
    secrets: Secrets
    limiter: Limiter = field(default_factory=Limiter)
    _clients: dict[tuple[str, str | None], httpx.AsyncClient] = field(default_factory=dict)
    _memo: dict[str, object] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def client(self, url: str, ca: str | None = None) -> httpx.AsyncClient:
        """Return the shard's client for the server of `url`, bound to that server."""
        key = (url, ca)
        if key not in self._clients:
            self._clients[key] = http.async_client(url, ca=ca)
        return self._clients[key]

    async def once(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make` gives, made once a shard: an installation's token, say. A failure is not kept."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._memo:
                self._memo[key] = await make()
            return cast("T", self._memo[key])

    def forget(self, key: str) -> None:
        """Let the next `once` make it anew: the service said that it is no longer good."""
        self._memo.pop(key, None)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()
