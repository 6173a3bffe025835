"""The one door of the AWS sandbox: every request of every process passes here, is recorded, and can be made to fail.

Behind the door stands moto; single services (Lambda) are played by us instead.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from tests.sandbox.aws_faults import Answer, AwsRequest, Dropped, Faults
from tests.sandbox.wire import next_order

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Service: TypeAlias = Callable[[AwsRequest], Answer]
Observer: TypeAlias = Callable[[AwsRequest, Answer], None]

_SCOPE = re.compile(r"Credential=(?P<caller>[^/]+)/\d+/[^/]+/(?P<service>[^/]+)/aws4_request")


class _QuietHandler(MotoRequestHandler):
    """Moto's request handling, without a line in the log for every request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the requests are recorded."""


class _Dispatcher(DomainDispatcherApplication):
    """Moto's choice of the service, which would list moto's own folder for every request: a third of its time."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._known: dict[str | None, str | None] = {}

    def get_backend_for_host(self, host: str | None) -> str | None:
        """Return the name of the service behind a host name."""
        if host not in self._known:
            self._known[host] = super().get_backend_for_host(host)
        return self._known[host]


class Wire:
    """An HTTP server on 127.0.0.1 that speaks for all of AWS.

    `requests` is everything that passed, in order of arrival. `faults` makes requests fail. `play` puts a service of
    ours before moto's; `observers` are told of every answer before the caller gets it.
    """

    def __init__(self) -> None:
        self.requests: list[AwsRequest] = []
        self.faults = Faults()
        self.observers: list[Observer] = []
        self._services: dict[str, Service] = {}
        self._moto = _Dispatcher()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="aws-wire", daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def play(self, service: str, answer: Service) -> None:
        """Let `answer` speak for a service (its signing name: `lambda`) in moto's place."""
        self._services[service] = answer

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _read(environ)
        self.requests.append(request)
        try:
            answer = self.faults.apply(request, lambda: self._act(request, environ))
        except Dropped:
            request.dropped = True
            connection: socket.socket = environ["werkzeug.socket"]
            with contextlib.suppress(OSError):  # who asked is gone already
                connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError from None
        request.status = answer.status
        for observe in self.observers:
            observe(request, answer)
        start_response(f"{answer.status} {'OK' if answer.status < 400 else 'Error'}", list(answer.headers))
        return [answer.body]

    def _act(self, request: AwsRequest, environ: WSGIEnvironment) -> Answer:
        if request.service in self._services:
            return self._services[request.service](request)
        body, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        return Answer(int(status.split()[0]), tuple(headers.items()), b"".join(body))


def _read(environ: WSGIEnvironment) -> AwsRequest:
    chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    stream = environ["wsgi.input"]
    body: bytes = stream.read() if chunked else stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    if chunked:
        del environ["HTTP_TRANSFER_ENCODING"]
        environ["wsgi.input_terminated"] = False
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    service = found["service"] if found else "unsigned"
    path = environ["PATH_INFO"]
    query = environ.get("QUERY_STRING", "")
    return AwsRequest(
        order=next_order(),
        service=service,
        action=_action(service, environ, path, query, body),
        method=environ["REQUEST_METHOD"],
        path=f"{path}?{query}" if query else path,
        headers={
            key.removeprefix("HTTP_").replace("_", "-").lower(): value
            for key, value in environ.items()
            if key.startswith("HTTP_") or key == "CONTENT_TYPE"
        },
        body=body,
        caller=found["caller"] if found else "",
        at=datetime.now(UTC),
    )


def _action(service: str, environ: WSGIEnvironment, path: str, query: str, body: bytes) -> str:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode()).get("Action", ["Unknown"])[0]
    if service == "lambda" and path.endswith("/invocations"):
        return "Invoke"
    if service == "s3":
        return _s3_action(environ["REQUEST_METHOD"], path, query)
    return f"{environ['REQUEST_METHOD']} {path}"


def _s3_action(method: str, path: str, query: str) -> str:
    of_object = path.strip("/").count("/") > 0
    option = query.partition("&")[0].partition("=")[0]
    verb = method.capitalize()
    if of_object:
        return f"{verb}Object"
    if (verb, option) == ("Get", "list-type"):
        return "ListObjectsV2"
    return f"{verb}Bucket" + option.capitalize()
