"""One short conversation with a registry and its token server. A password goes to these two and nowhere else."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

import httpx

from rekey import http
from rekey.errors import OutOfTime, Unfit, Unreachable
from rekey.model.origin import Origin
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.registries.challenge import Challenge, Grants, grants

_REQUEST_LIMIT = http.DEFAULT_TIMEOUT.total_seconds()


@dataclass(frozen=True)
class TokenAnswer:
    """What a token server answered."""

    status: int
    token: str | None = field(repr=False)
    """None where it gave none that could be sent."""

    @property
    def authorization(self) -> str | None:
        """The header that shows the token."""
        return None if self.token is None else http.bearer(self.token)

    @property
    def grants(self) -> Grants | None:
        """What the token says it grants; None where it does not say."""
        return None if self.token is None else grants(self.token)


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
        return self._send(self._endpoint, self.service, method, path, _headers(accept, authorization))

    def token(self, challenge: Challenge, scope: str | None, password: Password | None) -> TokenAnswer:
        """Ask the token server that a challenge names for a token, with the password or as anybody.

        Raises Unfit where it is not the plan's: nothing is sent to that one.
        """
        realm = challenge.parameters.get("realm", "")
        server, path, query = self._token_server(realm)
        if service := challenge.parameters.get("service"):
            query = query.set("service", service)
        for one in (scope or "").split():
            query = query.add("scope", one)
        authorization = None
        if password is not None:
            query = query.set("account", self._part.username)
            authorization = http.basic(self._part.username, password)
        name = f"the token server {server.netloc}"
        response = self._send(server, name, "GET", f"{path}?{query}", _headers("application/json", authorization))
        return TokenAnswer(response.status_code, _token_in(response))

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

    def _token_server(self, realm: str) -> tuple[Origin, str, httpx.QueryParams]:
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
        return server, parts.path or "/", httpx.QueryParams(parts.query)

    def _send(self, server: Origin, service: str, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        left = self._end - time.monotonic()
        if left <= 0:
            raise OutOfTime(f"{service}: the time for it is up")
        try:
            with http.answering(service):
                return self._client(server).request(method, path, headers=headers, timeout=min(left, _REQUEST_LIMIT))
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


def _token_in(response: httpx.Response) -> str | None:
    """Return the token of an answer, or None. `access_token` is OAuth2's name for the same."""
    if response.status_code != httpx.codes.OK:
        return None
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    found = document.get("token") or document.get("access_token")
    return found if isinstance(found, str) and http.bearer(found) else None
