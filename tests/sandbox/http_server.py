"""The base of the sandbox's simulators: a threaded HTTP server with routes, a log of requests, and faults on the wire.

A simulator derives from `HttpServer` and adds its routes. Its handlers run one at a time under one lock, so that what a
simulator checks and what it then changes are one step. Faults stand outside that lock: one caller that is held does not
hold the others.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import urllib.parse
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self, cast

import httpx

from tests.sandbox.faults import Hold
from tests.sandbox.wire import (
    DropConnectionError,
    Exchange,
    Fault,
    Handler,
    Predicate,
    RefusedError,
    Request,
    Response,
    next_order,
)

if TYPE_CHECKING:
    from types import TracebackType

_POLL = 0.05  # seconds until the accepting thread sees that it shall stop
_BACKLOG = 1024  # a whole shard may connect at once


@dataclass(frozen=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler


@dataclass(eq=False)
class Injected:
    """A fault that waits for its requests."""

    fault: Fault
    when: Predicate
    first: int
    last: int | None
    seen: int = 0

    def strikes(self, request: Request) -> bool:
        """Count a request, and return whether this fault strikes it."""
        if not self.when(request):
            return False
        self.seen += 1
        return self.seen >= self.first and (self.last is None or self.seen <= self.last)


@dataclass
class _State:
    routes: list[_Route] = field(default_factory=list)
    faults: list[Injected] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)


class HttpServer:
    """An HTTP(S) server on 127.0.0.1, to be used as a context manager.

    `stop` and `start` again make an outage: connections are refused in between, and address, log and state stay.
    A handler's own exception is answered with 500 and raised again by `stop`, so that no test passes over it.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._port = 0
        self._state = _State()
        self._acting = threading.RLock()
        self._log_changed = threading.Condition()
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base address, without a slash at its end; known from the first `start` on."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Listen; the port is free choice at first and kept afterwards."""
        self._listener = _Listener(self, self._port, self._tls)
        self._port = self._listener.server_port
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(_POLL,), name=type(self).__name__)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection and end every thread; raises what a handler raised meanwhile, as a group."""
        if self._listener is None or self._thread is None:
            return
        for hold in self._state.holds:
            hold.release()
        self._listener.shutdown()
        self._thread.join()
        self._listener.close_connections()
        self._listener.server_close()
        self._listener = self._thread = None
        bugs, self._state.bugs = self._state.bugs, []
        if bugs:
            raise ExceptionGroup(f"errors inside {type(self).__name__}", bugs)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def route(self, method: str, template: str, handler: Handler) -> None:
        """Add a route; `{name}` in its template matches one path segment, percent-decoded into `Request.params`."""
        parts = re.split(r"\{(\w+)\}", template)
        pattern = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
        self._state.routes.append(_Route(method, re.compile(pattern), handler))

    def inject(self, fault: Fault, *, nth: int = 1, when: Predicate | None = None, times: int | None = 1) -> Injected:
        """Let a fault strike at the nth request from now that fits, `times` times in a row (None: from then on)."""
        last = None if times is None else nth + times - 1
        injected = Injected(fault, when or (lambda _: True), nth, last)
        self._state.faults.append(injected)
        return injected

    def withdraw(self, injected: Injected) -> None:
        """Lift one fault."""
        self._state.faults.remove(injected)

    def hold(
        self, *, nth: int = 1, when: Predicate | None = None, acted: bool = False, seconds: float | None = None
    ) -> Hold:
        """Answer the nth fitting request late: once the hold is released, after `seconds`, or when the server stops.

        Before the act, or with `acted` after it.
        """
        hold = Hold(seconds=seconds, acted=acted)
        self._state.holds.append(hold)
        self.inject(hold, nth=nth, when=when)
        return hold

    def clear_faults(self) -> None:
        """Lift every fault; who is held goes on."""
        self._state.faults.clear()
        for hold in self._state.holds:
            hold.release()

    @property
    def exchanges(self) -> list[Exchange]:
        """The log so far, in the order of arrival."""
        with self._log_changed:
            return list(self._state.exchanges)

    def requests(self, method: str | None = None, path: str | None = None) -> list[Request]:
        """Return the requests so far, of one method or with a path that the pattern `path` matches whole."""
        return [
            exchange.request
            for exchange in self.exchanges
            if (method is None or exchange.request.method == method)
            and (path is None or re.fullmatch(path, exchange.request.path))
        ]

    def wait_for(self, count: int, *, answered: bool = False, within: float = 10.0) -> None:
        """Return once `count` requests have come (or were answered); raises `TimeoutError` after `within` seconds."""

        def come() -> bool:
            return sum(exchange.answered is not None or not answered for exchange in self._state.exchanges) >= count

        with self._log_changed:
            if not self._log_changed.wait_for(come, within):
                raise TimeoutError(f"{len(self._state.exchanges)} of {count} requests within {within} s")

    def handle(self, request: Request) -> Response:
        """Act; a simulator overrides it for what concerns all of its answers, refusals included."""
        try:
            return self.act(request)
        except RefusedError as refused:
            return refused.response

    def act(self, request: Request) -> Response:
        """Find the route and act; a simulator without routes overrides it."""
        known = False
        for route in self._state.routes:
            if match := route.pattern.fullmatch(request.path):
                known = True
                if route.method == request.method:
                    params = {name: urllib.parse.unquote(value) for name, value in match.groupdict().items()}
                    return route.handler(replace(request, params=params))
        return self.method_not_allowed(request) if known else self.not_found(request)

    def not_found(self, request: Request) -> Response:
        """Answer a path that no route has."""
        return Response.text(f"no such path: {request.path}\n", 404)

    def method_not_allowed(self, request: Request) -> Response:
        """Answer a method that the path does not have."""
        return Response.text(f"{request.method} is not allowed here\n", 405)

    def serve(self, request: Request) -> Response | None:
        """Log a request, play the faults that strike, act, and return the answer; None closes the connection."""
        exchange = Exchange(request)
        with self._log_changed:
            self._state.exchanges.append(exchange)
            striking = [injected.fault for injected in list(self._state.faults) if injected.strikes(request)]
            self._log_changed.notify_all()
        try:
            response = self._play(request, striking)
        except DropConnectionError:
            return None
        except Exception as bug:  # noqa: BLE001 - whatever it is, `stop` raises it
            self._state.bugs.append(bug)
            response = Response.text(f"the simulator failed: {type(bug).__name__}\n", 500)
        with self._log_changed:
            exchange.status, exchange.answered = response.status, next_order()
            self._log_changed.notify_all()
        return response

    def _play(self, request: Request, striking: list[Fault]) -> Response:
        if striking:
            return striking[0](request, lambda: self._play(request, striking[1:]))
        with self._acting:
            return self.handle(request)


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # else closing would not wait for them
    request_queue_size = _BACKLOG

    def __init__(self, owner: HttpServer, port: int, tls: ssl.SSLContext | None) -> None:
        self.owner = owner
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._closing = False
        super().__init__(("127.0.0.1", port), _Connection)

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        connection = cast("socket.socket", request)
        if self._tls:  # the handshake runs in the connection's own thread: a slow one holds up nobody else
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._open_lock:
            if not self._closing:
                self._open.add(connection)
        try:
            if connection in self._open:
                super().finish_request(connection, client_address)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            return  # the client went away, which is its right, or does not trust our certificate
        finally:
            with self._open_lock:
                self._open.discard(connection)
            connection.close()

    def close_connections(self) -> None:
        """Wake the threads that wait on a connection a client keeps open."""
        with self._open_lock:
            self._closing = True
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster


class _Connection(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def _serve(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self._send(Response.text("send a Content-Length\n", 411))
            self.close_connection = True
            return
        target = urllib.parse.urlsplit(self.path)
        request = Request(
            order=next_order(),
            method=self.command,
            path=target.path,
            query=httpx.QueryParams(target.query),
            headers=httpx.Headers(self.headers.items()),
            body=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
            port=self.client_address[1],
        )
        response = self.server.owner.serve(request)
        if response is None:
            self.close_connection = True
        else:
            self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = _serve  # noqa: N815 - the base class's names

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != httpx.codes.NO_CONTENT:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Print nothing: the log of requests is `HttpServer.exchanges`."""
