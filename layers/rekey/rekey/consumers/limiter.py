"""One rate limiter a shard: a service counts what a credential does, not what one of our calls does."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from rekey.errors import Unreachable
from rekey.model.moment import render

_NOW = timedelta(0)


class Held(Unreachable):
    """The service lets nothing more through before this function's deadline. Nothing was sent."""


class Limiter:
    """Lets calls through in the order they ask, so many points in any window, and none before a moment that is held.

    `deadline` is when the last call must have left; None is never.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        deadline: datetime | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._now = now
        self._deadline = deadline
        self._sleep = sleep
        self._points: int | None = None
        self._window = timedelta(0)
        self._spent: deque[tuple[datetime, int]] = deque()
        self._held_until: datetime | None = None
        self._line = asyncio.Lock()

    def allow(self, points: int, window: timedelta) -> None:
        """Let at most so many points through in any window of this length. Without it there is no such limit."""
        self._points, self._window = points, window

    def hold(self, duration: timedelta) -> None:
        """Let nothing through for so long: the service asked for it. Never shortens an earlier hold."""
        until = self._now() + duration
        if self._held_until is None or until > self._held_until:
            self._held_until = until

    async def turn(self, cost: int = 1) -> None:
        """Wait until a call of this many points may leave.

        Raises Held, at once and with the time, where that would be after the deadline.
        """
        async with self._line:
            # Asked again after each sleep: the service may have named a later moment meanwhile.
            while (wait := self._wait(cost)) > _NOW:
                opens = self._now() + wait
                if self._deadline is not None and opens > self._deadline:
                    raise Held(f"no request may leave before {render(opens)}: tried again then")
                await self._sleep(wait.total_seconds())
            if self._points is not None:
                self._spent.append((self._now(), cost))

    def _wait(self, cost: int) -> timedelta:
        now = self._now()
        held = _NOW if self._held_until is None else self._held_until - now
        return max(held, self._wait_for_points(cost, now))

    def _wait_for_points(self, cost: int, now: datetime) -> timedelta:
        if self._points is None:
            return _NOW
        while self._spent and self._spent[0][0] + self._window <= now:
            self._spent.popleft()
        excess = sum(points for _, points in self._spent) + cost - self._points
        wait = _NOW
        for left_at, points in self._spent:
            if excess <= 0:
                break
            excess -= points
            wait = left_at + self._window - now
        return wait
