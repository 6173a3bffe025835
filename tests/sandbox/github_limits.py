"""GitHub's rate limits: the primary one by the hour, the secondary ones by points a minute and by requests at once.

Source: docs.github.com, "Rate limits for the REST API".
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from tests.sandbox.wire import Json, RefusedError, Response

_POINTS = {"GET": 1, "HEAD": 1}
_POINTS_OF_A_WRITE = 5


@dataclass
class Limits:
    """What one credential may do; seconds, so that a test can make an hour short."""

    requests: int = 5000
    requests_window: float = 3600.0
    points: int = 900
    points_window: float = 60.0
    at_once: int = 100
    status: int = 403
    """GitHub answers 403 or 429."""
    retry_after: bool = True
    """GitHub does not always send Retry-After with the secondary limit."""


class RateLimiter:
    """Counts what each credential has done."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests: defaultdict[str, deque[float]] = defaultdict(deque)
        self._points: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)

    def refusal(self, who: str, method: str, in_flight: int) -> Response | None:
        """Count a request; return GitHub's refusal where it is one too many, else None."""
        now = time.time()
        requests, points = self._requests[who], self._points[who]
        while requests and requests[0] <= now - self.limits.requests_window:
            requests.popleft()
        while points and points[0][0] <= now - self.limits.points_window:
            points.popleft()
        if len(requests) >= self.limits.requests:
            return self._refuse(f"API rate limit exceeded for {who}.", {})
        requests.append(now)
        points.append((now, _POINTS.get(method, _POINTS_OF_A_WRITE)))
        if sum(cost for _, cost in points) > self.limits.points:
            return self._secondary(points[0][0] + self.limits.points_window - now)
        if in_flight > self.limits.at_once:
            return self._secondary(self.limits.points_window)
        return None

    def headers(self, who: str) -> dict[str, str]:
        """Return the headers that every answer carries."""
        used = len(self._requests[who])
        begun = self._requests[who][0] if used else time.time()
        return {
            "x-ratelimit-limit": str(self.limits.requests),
            "x-ratelimit-remaining": str(self.limits.requests - used),
            "x-ratelimit-used": str(used),
            "x-ratelimit-reset": str(math.ceil(begun + self.limits.requests_window)),
            "x-ratelimit-resource": "core",
        }

    def _secondary(self, wait: float) -> Response:
        headers = {"Retry-After": str(math.ceil(wait))} if self.limits.retry_after else {}
        return self._refuse(
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", headers
        )

    def _refuse(self, message: str, headers: dict[str, str]) -> Response:
        return error(self.limits.status, message, headers)


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error in GitHub's shape."""
    body: dict[str, Json] = {
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": str(status),
    }
    return Response.json(body, status, headers)


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> RefusedError:
    """Return such an error to be raised."""
    return RefusedError(error(status, message, headers))
