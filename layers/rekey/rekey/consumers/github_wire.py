"""Requests to GitHub's REST API within its rate limits.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx

from rekey.consumers.shard import Shard, http_date, retry_after
from rekey.errors import Unreachable
from rekey.model.origin import Origin
from rekey.model.plan import GitHubSecret

POINTS: Final = 800
"""A minute. GitHub takes 900 of one credential; the rest is for whoever else uses it."""
_WINDOW = timedelta(minutes=1)
_READ, _WRITE = 1, 5
_TRIES = 5
_NO_HINT = timedelta(minutes=1)
"""How long GitHub wants to be left alone where it does not say."""
_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


class GitHubWire:
    """One GitHub as a shard reaches it. Requests wait for their turn, and again where GitHub says "not now"."""

    def __init__(self, part: GitHubSecret, shard: Shard) -> None:
        self.service = f"GitHub ({Origin.parse(part.api).netloc})"
        self._part = part
        self._shard = shard
        shard.limiter.allow(POINTS, _WINDOW)

    async def send(
        self, method: str, url: str, bearer: str, body: Mapping[str, object] | None = None
    ) -> httpx.Response:
        """Return GitHub's answer to one request, whatever its status. `url`: a path, or a link that GitHub gave.

        Raises Denied (a link to another server: nothing was sent), Held, Unreachable.
        """
        client = self._shard.client(self._part.api, self._part.ca)
        request = client.build_request(
            method, url, json=body, headers={**_HEADERS, "Authorization": f"Bearer {bearer}"}
        )
        for _ in range(_TRIES):
            response = await self._shard.send(client, request, self.service, cost=_READ if method == "GET" else _WRITE)
            wait = limited_for(response, self._shard.now())
            if wait is None:
                return response
            self._shard.limiter.hold(wait)
        raise Unreachable(f"{self.service} says again and again that its rate limit is reached")


def limited_for(response: httpx.Response, now: datetime) -> timedelta | None:
    """Return how long GitHub wants to be left alone, or None where the answer is no rate limit.

    Refused rights are 403 too. A limit shows in Retry-After, in a used up `x-ratelimit-remaining`, or, by GitHub's own
    page, in nothing but the message.
    """
    if response.status_code not in (403, 429):
        return None
    wait = retry_after(response, now)
    if wait is not None:
        return wait
    if response.headers.get("x-ratelimit-remaining") == "0":
        return _until_reset(response, now)
    return _NO_HINT if response.status_code == 429 or "secondary rate" in response.text.lower() else None  # noqa: PLR2004


def _until_reset(response: httpx.Response, now: datetime) -> timedelta:
    reset = response.headers.get("x-ratelimit-reset", "")
    if not (reset.isascii() and reset.isdigit()):
        return _NO_HINT
    # By GitHub's clock, which the same answer shows: ours may differ.
    clock = http_date(response.headers.get("date", "")) or now
    wait = datetime.fromtimestamp(int(reset), UTC) - clock
    return max(wait, timedelta(seconds=1))
