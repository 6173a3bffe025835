"""A client talks to one server, follows nothing, keeps nothing, and never waits longer than it was told."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from rekey import http
from rekey.errors import Denied, NotFound, NotSent, RekeyError, Unfit, Unintelligible, Unreachable
from rekey.model.password import Password
from tests.sandbox.certificates import Authority
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response
from tests.unit.raw_server import raw_server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator


class Echo(HttpServer):
    """Answers everything with what it is told to."""

    answer: Callable[[Request], Response] = staticmethod(lambda _: Response.json({}))

    def handle(self, request: Request) -> Response:
        return self.answer(request)


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Echo]:
    with Echo() as other:
        yield other


def drip(connection: socket.socket, over: threading.Event) -> None:
    """Send a byte every 20 ms: no single wait is ever long."""
    while not over.wait(0.02):
        connection.sendall(b"x")


def drip_head(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    drip(connection, over)


def drip_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    drip(connection, over)


def drip_body_without_length(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    drip(connection, over)


def cut_body(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"data": {"pass')


def test_another_server_gets_nothing(server: Echo, other: Echo) -> None:
    """Neither an absolute URL nor a redirect takes a credential elsewhere; another port is another server."""
    with http.client(server.url) as client:
        for url in (f"{other.url}/x", server.url.replace("127.0.0.1", "localhost") + "/x"):
            with pytest.raises(Denied, match="nothing was sent"):
                client.get(url, headers={"Authorization": "Bearer x"})
        server.answer = lambda _: Response(307, headers={"Location": f"{other.url}/x"})
        assert client.post("/start", headers={"Authorization": "Bearer x"}).status_code == 307
    assert not other.requests()
    assert [request.path for request in server.requests()] == ["/start"]


def test_another_server_gets_nothing_from_the_asynchronous_client(server: Echo, other: Echo) -> None:
    async def ask() -> int:
        async with http.async_client(server.url) as client:
            with pytest.raises(Denied, match="nothing was sent"):
                await client.get(f"{other.url}/x")
            server.answer = lambda _: Response(307, headers={"Location": f"{other.url}/x"})
            return (await client.get("/start")).status_code

    assert asyncio.run(ask()) == 307
    assert not other.requests()


def test_no_cookie_is_kept(server: Echo) -> None:
    """A session that a right password opened would let a wrong one in."""
    server.answer = lambda _: Response(200, headers={"Set-Cookie": "sid=1; Path=/"})
    with http.client(server.url) as client:
        client.get("/")
        client.get("/")

    async def twice() -> None:
        async with http.async_client(server.url) as client:
            await client.get("/")
            await client.get("/")

    asyncio.run(twice())
    assert len(server.requests()) == 4
    assert not [request for request in server.requests() if "cookie" in request.headers]


def test_the_environment_is_not_read(server: Echo, other: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with http.client(server.url) as client:
        assert client.get("/").status_code == 200
    assert not other.requests()


def test_urls_are_not_logged(server: Echo, caplog: pytest.LogCaptureFixture) -> None:
    secret = secrets.token_hex(8)
    with caplog.at_level(logging.INFO), http.client(server.url) as client:
        client.get("/hook", params={"key": secret})
    assert secret not in caplog.text


@pytest.mark.parametrize("speak", [drip, drip_head, drip_body, drip_body_without_length])
def test_the_timeout_is_for_the_whole_answer(speak: Callable[[socket.socket, threading.Event], None]) -> None:
    """A server that keeps sending a little is cut off; nothing of the watch stays alive."""
    threads = threading.active_count()
    with raw_server(speak) as url, http.client(url, timeout=timedelta(seconds=0.3)) as client:
        began = time.monotonic()
        with pytest.raises(Unreachable) as caught, http.answering("it"):
            client.get("/")
        assert 0.2 < time.monotonic() - began < 3
    assert not isinstance(caught.value, NotSent)
    assert threading.active_count() == threads


def test_the_timeout_is_for_the_whole_answer_over_tls() -> None:
    authority = Authority()
    with Echo(tls=authority.server_context()) as server:
        server.hold()
        with (
            http.client(server.url, ca=authority.pem, timeout=timedelta(seconds=0.3)) as client,
            pytest.raises(Unreachable, match="no answer in time"),
            http.answering("it"),
        ):
            client.get("/")
        assert len(server.requests()) == 1


def test_a_kept_connection_is_watched_too(server: Echo) -> None:
    with http.client(server.url, timeout=timedelta(seconds=0.3)) as client:
        assert client.get("/").status_code == 200
        server.hold()
        with pytest.raises(Unreachable), http.answering("it"):
            client.get("/")
        server.clear_faults()
        assert client.get("/").status_code == 200


def test_an_answer_that_is_there_is_not_waited_for(server: Echo) -> None:
    began = time.monotonic()
    with http.client(server.url, timeout=timedelta(seconds=30)) as client:
        client.get("/")
    assert time.monotonic() - began < 5


def test_a_body_cut_off_is_no_answer() -> None:
    with raw_server(cut_body) as url, http.client(url) as client:
        with pytest.raises(Unreachable, match="the connection broke") as caught, http.answering("it"):
            client.get("/")
        assert not isinstance(caught.value, NotSent)


def test_not_sent_is_only_what_surely_never_left(server: Echo) -> None:
    with http.client(server.url) as client:
        server.stop()
        with pytest.raises(NotSent, match="it: no connection"), http.answering("it"):
            client.get("/")


def test_a_certificate_of_an_unknown_authority_is_named() -> None:
    """And nothing is sent there."""
    authority = Authority()
    with Echo(tls=authority.server_context()) as server:
        with (
            http.client(server.url) as client,
            pytest.raises(NotSent, match=r"not trusted \(unable to get local issuer certificate\).*`ca`"),
            http.answering("it"),
        ):
            client.get("/")
        assert not server.requests()
        with http.client(server.url, ca=authority.pem) as client:
            assert client.get("/").status_code == 200


@pytest.mark.parametrize("ca", ["-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----", "é"])
def test_a_ca_that_is_none_is_named(ca: str) -> None:
    with pytest.raises(Unfit, match="`ca`"):
        http.client("https://registry.example.com", ca=ca)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Unintelligible),
        (400, Unintelligible),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (408, Unreachable),
        (418, Unintelligible),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
    ],
)
def test_every_status_means_an_error_of_ours(status: int, error: type[RekeyError]) -> None:
    """And not a word of the body is in it."""
    headers = {"Location": "https://elsewhere.example.com/?key=1"} if status == 301 else {}
    with pytest.raises(error, match=f"it answered {status} to GET /") as caught:
        http.expect(httpx.Response(status, text="a secret", headers=headers), "it", "GET /")
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)
    assert "elsewhere" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>secret", b'"secret"', b"[" * 100_000, b"\xff\xfe\x00secret"])
def test_what_is_no_json_object_is_not_quoted(body: bytes) -> None:
    with pytest.raises(Unintelligible) as caught:
        http.json_object(httpx.Response(200, content=body), "it", "GET /")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("token", ["", "two words", "line\nend", "ümlaut", "x" * 8193])
def test_what_cannot_be_a_token_is_no_header(token: str) -> None:
    assert http.bearer(token) is None


def test_headers_of_credentials() -> None:
    assert http.bearer("abc.def") == "Bearer abc.def"
    # RFC 7617, section 2.1
    assert http.basic("test", Password("123£")) == "Basic dGVzdDoxMjPCow=="
