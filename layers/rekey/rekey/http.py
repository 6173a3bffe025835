"""HTTP clients that a credential cannot leak through.

A client is bound to one server (scheme, host, port). A request to any other raises before it is sent, redirects are
never followed, nothing is retried, no cookie is kept (a session must not stand in for a password), and the environment
(proxies, .netrc) is not read. httpx's own log lines hold full URLs and are silenced.
"""

import base64
import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import certifi
import httpx

from rekey.errors import Denied, NotFound, NotSent, Unfit, Unintelligible, Unreachable
from rekey.http_limit import LimitedTransport
from rekey.model.origin import Origin
from rekey.model.password import Password

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

DEFAULT_TIMEOUT = timedelta(seconds=10)
_CONNECT_SECONDS = 5.0
_BUSY = frozenset({408, 425, 429})
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_UNTRUSTED = re.compile(r"certificate verify failed: ([^(]+?) \(")


@lru_cache(maxsize=8)
def ssl_context(ca: str | None = None) -> ssl.SSLContext:
    """Return the shared TLS context for the public authorities, or for one private authority (PEM).

    Shared, because making one costs some 20 ms. Raises Unfit where the PEM is none.
    """
    if ca is None:
        return ssl.create_default_context(cafile=certifi.where())
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, TypeError, ValueError):  # TypeError: not ASCII
        raise Unfit("the plan's `ca` is not a PEM certificate") from None


def _timeout(limit: timedelta) -> httpx.Timeout:
    seconds = limit.total_seconds()
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _refuse_other_server(origin: Origin, request: httpx.Request) -> None:
    target = Origin(request.url.scheme, request.url.host, request.url.port or origin_port(request.url.scheme))
    if not origin.same_server(target):
        raise Denied(f"nothing was sent: {target.base} is not {origin.base}, the server this credential is for")


def origin_port(scheme: str) -> int:
    """Return the port a scheme means where a URL names none."""
    return 80 if scheme == "http" else 443


def client(url: str, *, ca: str | None = None, timeout: timedelta = DEFAULT_TIMEOUT) -> httpx.Client:
    """Return a client that talks to the server of `url` and to no other, for one thread.

    `timeout` is for a whole request, its answer included. One that takes longer is cut off.
    """
    origin = Origin.parse(url)
    return httpx.Client(
        base_url=origin.base + origin.path,
        transport=LimitedTransport(httpx.HTTPTransport(verify=ssl_context(ca), trust_env=False)),
        timeout=_timeout(timeout),
        cookies=_no_cookies(),
        follow_redirects=False,
        trust_env=False,
        event_hooks={"request": [lambda request: _refuse_other_server(origin, request)]},
        headers={"User-Agent": "rekey"},
    )


def async_client(
    url: str, *, ca: str | None = None, timeout: timedelta = DEFAULT_TIMEOUT, connections: int = 100
) -> httpx.AsyncClient:
    """Return an asynchronous client bound as `client` is, over a transport that scales to hundreds of requests.

    httpx's own pool costs time quadratic in its connections.
    """
    from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415 (130 ms that only `distribute` needs)

    origin = Origin.parse(url)

    async def refuse_other_server(request: httpx.Request) -> None:
        _refuse_other_server(origin, request)

    return httpx.AsyncClient(
        base_url=origin.base + origin.path,
        transport=AiohttpTransport(
            verify=ssl_context(ca), trust_env=False, limits=httpx.Limits(max_connections=connections)
        ),
        timeout=_timeout(timeout),
        cookies=_no_cookies(),
        follow_redirects=False,
        trust_env=False,
        event_hooks={"request": [refuse_other_server]},
        headers={"User-Agent": "rekey"},
    )


def _no_cookies() -> CookieJar:
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def basic(username: str, password: Password) -> str:
    """Return the `Authorization` of a user name and password (RFC 7617, UTF-8)."""
    return "Basic " + base64.b64encode(f"{username}:{password.reveal()}".encode()).decode()


def bearer(token: str) -> str | None:
    """Return the `Authorization` of a token, or None where the text cannot be one.

    Checked here, because an error of the HTTP library for a header it cannot send would hold the token.
    """
    return f"Bearer {token}" if _TOKEN.fullmatch(token) else None


@contextmanager
def answering(service: str) -> Iterator[None]:
    """Turn what httpx raises into errors of ours that name the service and nothing of the request.

    Raises NotSent where no connection could be made, Unreachable for everything else that goes wrong on the wire.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotSent(f"{service}: no connection ({_cause(error)})") from None
    except httpx.TimeoutException:
        raise Unreachable(f"{service}: no answer in time") from None
    except httpx.HTTPError as error:
        raise Unreachable(f"{service}: the connection broke ({type(error).__name__})") from None


def _cause(error: httpx.HTTPError) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        found = _UNTRUSTED.search(text)
        why = f" ({found[1]})" if found else ""
        return f"its TLS certificate is not trusted{why}: give the plan's `ca` if it is of a private authority"
    return "timed out" if isinstance(error, httpx.TimeoutException) else "refused, or the name is unknown"


def expect(response: httpx.Response, service: str, doing: str) -> httpx.Response:
    """Return the response if it is a success; else raise what its status says, without a word of its body.

    Raises Denied (401, 403), NotFound (404), Unreachable (408, 425, 429, 5xx), Unintelligible (the rest).
    """
    status = response.status_code
    if response.is_success:
        return response
    said = f"{service} answered {status} to {doing}"
    if status in (401, 403):
        raise Denied(said)
    if status == 404:  # noqa: PLR2004
        raise NotFound(said)
    if status in _BUSY or status >= 500:  # noqa: PLR2004
        raise Unreachable(said)
    if response.is_redirect:
        raise Unintelligible(f"{said}: a redirect, which is not followed")
    raise Unintelligible(said)


def json_object(response: httpx.Response, service: str, doing: str) -> dict[str, object]:
    """Return the JSON object of a response. Raises Unintelligible, without the text, where it is none."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Unintelligible(f"{service} answered {doing} with something that is no JSON object")
    return document
