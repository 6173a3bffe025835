"""One short conversation with a registry and its token server. A password goes to these two and nowhere else."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import urlsplit

import httpx

from rekey import http
from rekey.errors import OutOfTime, Unfit, Unreachable
from rekey.model.origin import Origin
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.registries.challenge import Challenge
from rekey.registries.claims import Grants, end_of, grants

_REQUEST_LIMIT = http.DEFAULT_TIMEOUT.total_seconds()
_CLIENT = "rekey"
"""How it calls itself to a token server."""


@dataclass(frozen=True)
class TokenAnswer:
    """What a token server answered."""

    status: int
    token: str | None = field(repr=False)
    """None where it gave none that could be sent."""
    refresh: str | None = field(default=None, repr=False)
    """What gets new tokens without the password; None where it gave none."""
    lifetime: float | None = None
    """Seconds for which it says that the token is good, where the token itself does not say until when."""

    @property
    def authorization(self) -> str | None:
        """The header that shows the token."""
        return None if self.token is None else http.bearer(self.token)

    @property
    def grants(self) -> Grants | None:
        """What the token says it grants; None where it does not say."""
        return None if self.token is None else grants(self.token)

    def ends_at(self, now: datetime) -> datetime | None:
        """Return until when the token is good, or None where nothing says so."""
        end = None if self.token is None else end_of(self.token)
        if end is not None:
            return moment_of(end)
        return None if self.lifetime is None else moment_of(now.timestamp() + self.lifetime)


class Session:
    """Requests to one registry, all within one time. To be used as a context manager.

    Every method raises OutOfTime once the time is up, and Unreachable (NotSent) where there is no answer.
    """

    def __init__(self, part: RegistryPart, within: timedelta) -> None:
        self._part = part
        self._end = time.monotonic() + within.total_seconds()
        self._endpoint = Origin.parse(part.endpoint)
        self._exit = ExitStack()
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def service(self) -> str:
        """The registry, for a person."""
        return f"the registry {self._endpoint.netloc}"

    def ask(
        self, path: str, *, method: str = "GET", authorization: str | None = None, accept: str = "application/json"
    ) -> httpx.Response:
        """Send one request to the registry, and return whatever it answers."""
        return self._send(self._endpoint, self.service, method, path, headers=_headers(accept, authorization))

    def token(
        self, challenge: Challenge, scope: str | None, password: Password | None, *, offline: bool = False
    ) -> TokenAnswer:
        """Ask the token server that a challenge names for a token, with the password or as anybody.

        `offline`: for a refresh token beside it, as `docker login` does. Raises Unfit where the server is not the
        plan's: nothing is sent to that one.
        """
        server, path, query = self._token_server(challenge)
        for one in (scope or "").split():
            query = query.add("scope", one)
        authorization = None
        if password is not None:
            query = query.set("account", self._part.username)
            authorization = http.basic(self._part.username, password)
        if offline:
            query = query.set("offline_token", "true").set("client_id", _CLIENT)
        headers = _headers("application/json", authorization)
        return _token_in(self._send(server, _name_of(server), "GET", f"{path}?{query}", headers=headers))

    def refreshed(self, challenge: Challenge, scope: str | None, refresh: Password) -> TokenAnswer:
        """Ask the token server for a token with a refresh token, without the password. Raises as `token` does.

        https://distribution.github.io/distribution/spec/auth/oauth/
        """
        server, path, query = self._token_server(challenge)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh.reveal(),
            "service": query.get("service", ""),
            "client_id": _CLIENT,
            "scope": scope or "",
        }
        headers = _headers("application/json", None)
        return _token_in(self._send(server, _name_of(server), "POST", f"{path}?{query}", headers=headers, form=form))

    def next_page(self, response: httpx.Response) -> str | None:
        """Return the path of the next page that an answer links to, or None.

        Raises Unfit where it is at another server: nothing is sent there.
        """
        link = response.links.get("next", {}).get("url")
        if link is None:
            return None
        try:
            url = response.url.join(link)
        except (httpx.InvalidURL, ValueError):
            raise Unfit(f"{self.service} links to a next page that is no URL") from None
        target = Origin(url.scheme, url.host, url.port or http.origin_port(url.scheme))
        if not self._endpoint.same_server(target):
            raise Unfit(f"{self.service} links to a next page on another host: nothing was sent there")
        return url.raw_path.decode("ascii")

    def _token_server(self, challenge: Challenge) -> tuple[Origin, str, httpx.QueryParams]:
        realm = challenge.parameters.get("realm", "")
        try:
            parts = urlsplit(realm)
            server = Origin.parse(f"{parts.scheme}://{parts.netloc}")
        except ValueError as error:
            raise Unfit(f"{self.service} names a token realm that cannot be used ({error}): nothing was sent") from None
        allowed = [self._endpoint]
        if self._part.token_host is not None:
            allowed.append(Origin.parse(self._part.token_host))
        if not any(server.same_server(one) for one in allowed):
            raise Unfit(
                f"the token realm is on another host: nothing was sent there. "
                f"If {server.netloc} is the registry's token server, say so in the plan: `token_host`"
            )
        query = httpx.QueryParams(parts.query)
        if service := challenge.parameters.get("service"):
            query = query.set("service", service)
        return server, parts.path or "/", query

    def _send(  # noqa: PLR0913 (a whole request)
        self,
        server: Origin,
        service: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime(f"{service}: the time for it is up")
        try:
            with http.answering(service):
                return self._client(server).request(
                    method, path, headers=headers, data=form, timeout=min(left, _REQUEST_LIMIT)
                )
        except httpx.InvalidURL:
            raise Unfit(f"{self.service} names an address that is none: nothing was sent") from None
        except Unreachable:
            if time.monotonic() >= self._end:
                raise OutOfTime(f"{service}: the time for it is up") from None
            raise

    def _client(self, server: Origin) -> httpx.Client:
        if server.base not in self._clients:
            self._clients[server.base] = self._exit.enter_context(http.client(server.base, ca=self._part.ca))
        return self._clients[server.base]


def _headers(accept: str, authorization: str | None) -> Mapping[str, str]:
    return {"Accept": accept} | ({"Authorization": authorization} if authorization else {})


def _name_of(server: Origin) -> str:
    return f"the token server {server.netloc}"


def _token_in(response: httpx.Response) -> TokenAnswer:
    """Return what an answer holds. `access_token` is OAuth2's name for the token."""
    nothing = TokenAnswer(response.status_code, None)
    if response.status_code != httpx.codes.OK:
        return nothing
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return nothing
    if not isinstance(document, dict):
        return nothing
    refresh, lifetime = document.get("refresh_token"), document.get("expires_in")
    return TokenAnswer(
        response.status_code,
        _sendable(document.get("token") or document.get("access_token")),
        refresh if isinstance(refresh, str) and refresh else None,
        float(lifetime) if isinstance(lifetime, (int, float)) and not isinstance(lifetime, bool) else None,
    )


def _sendable(token: object) -> str | None:
    return token if isinstance(token, str) and http.bearer(token) else None


def moment_of(seconds: float | None) -> datetime | None:
    """Return a moment of the epoch; None for nothing, and for a number that names none."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
