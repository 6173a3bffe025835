"""Plays API Gateway's HTTP API: requests become events of payload format 2.0, and answers of functions responses.

Format: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import json
import re
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, unquote

from tests.sandbox.aws_intrinsics import as_text
from tests.sandbox.aws_template import mapping

if TYPE_CHECKING:
    from tests.sandbox.aws_intrinsics import Json
    from tests.sandbox.lambdas import Result
    from tests.sandbox.template import Route

Invoke: TypeAlias = Callable[[str, bytes], "Result"]

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
BODY_LIMIT = 10 * 1024 * 1024
HEADERS_LIMIT = 10_240
# What is text reaches the function as it is; all else, forms too, in base64.
_TEXT = re.compile(r"(text/.*|application/(json|javascript|xml)|application/vnd\.api\+json)(;.*)?", re.IGNORECASE)


class HttpApi:
    """The routes of a stack, on 127.0.0.1. `invoke` calls a function by its ARN and returns what it gave."""

    def __init__(self, routes: Sequence[Route], invoke: Invoke) -> None:
        self._routes = [(route, _path_pattern(route.path)) for route in routes]
        self._invoke = invoke
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http-api", daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: _Handler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body for a request."""
        if sum(len(name) + len(value) for name, value in request.headers.items()) > HEADERS_LIMIT:
            return _message(431, "Request Header Fields Too Large")
        if len(body) > BODY_LIMIT:
            return _message(413, "Request Entity Too Large")
        path = request.path.partition("?")[0]
        for route, pattern in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method in {request.command, "ANY"}:
                event = _event(request, route, found.groupdict(), body)
                return _response(self._invoke(route.function, json.dumps(event).encode()))
        return _message(404, "Not Found")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: HttpApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer one request, of whatever method."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, headers, content = self.server.api.answer(self, body)
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_PATCH = do_POST = do_PUT = do_GET  # noqa: N815 the names are http.server's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is http.server's
        """Say nothing."""


def _path_pattern(path: str) -> re.Pattern[str]:
    if path == "$default":
        return re.compile(r".*")
    pattern = re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", re.escape(path))
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern))


def _event(request: _Handler, route: Route, parameters: dict[str, str], body: bytes) -> dict[str, Json]:
    path, _, query = request.path.partition("?")
    now = datetime.now(UTC)
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    cookies = headers.pop("cookie", "")
    queries: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        queries[name] = f"{queries[name]},{value}" if name in queries else value
    route_key = "$default" if route.path == "$default" else f"{route.method} {route.path}"
    event: dict[str, Json] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": dict(headers),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "sandbox",
            "domainName": headers.get("host", ""),
            "http": {
                "method": request.command,
                "path": unquote(path),
                "protocol": "HTTP/1.1",
                "sourceIp": request.client_address[0],
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": uuid.uuid4().hex,
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    if queries:
        event["queryStringParameters"] = dict(queries)
    if parameters:
        event["pathParameters"] = {name: unquote(value) for name, value in parameters.items()}
    if body:
        text = _TEXT.fullmatch(headers.get("content-type", "")) is not None
        event["isBase64Encoded"] = not text
        event["body"] = body.decode("utf-8", "replace") if text else base64.b64encode(body).decode()
    return event


def _response(result: Result) -> tuple[int, list[tuple[str, str]], bytes]:
    if result.failed:
        return _message(500, "Internal Server Error")
    match result.value:
        case {"statusCode": int(status), **rest}:
            content = str(rest.get("body", "")).encode()
            if rest.get("isBase64Encoded"):
                content = base64.b64decode(content)
            headers = mapping(rest.get("headers", {}))
            return status, [(name.lower(), as_text(value)) for name, value in headers.items()], content
        case value:  # without a status code the whole value is the body
            return 200, [("content-type", "application/json")], json.dumps(value).encode()


def _message(status: int, text: str) -> tuple[int, list[tuple[str, str]], bytes]:
    return status, [("content-type", "application/json")], json.dumps({"message": text}).encode()
