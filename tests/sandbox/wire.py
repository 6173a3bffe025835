"""What passes over the wire of the sandbox's servers: requests, answers, and the order in which they came."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, Json]

_ORDER = itertools.count(1)


def next_order() -> int:
    """Return the next number of the one sequence that all servers of this process share.

    Anything that wants to prove "this came before that" takes its numbers here, also a spy that is no server.
    """
    return next(_ORDER)


class NotJsonObjectError(Exception):
    """The body of a request is not a JSON object."""


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `headers` ignores case, `params` holds what its route's placeholders matched."""

    order: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    """The client's own: the kernel knows which process has it."""

    def json_object(self) -> JsonObject:
        """Return the body as a JSON object; raises `NotJsonObjectError` where it is none."""
        try:
            value: Json = json.loads(self.body)
        except ValueError:
            raise NotJsonObjectError("the body is not JSON") from None
        if not isinstance(value, dict):
            raise NotJsonObjectError("the body is JSON, but not an object")
        return value

    def bearer(self) -> str | None:
        """Return the token of an `Authorization: Bearer` (or GitHub's `token`) header, or None."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() in {"bearer", "token"} and token.strip() else None


@dataclass(frozen=True)
class Response:
    """One answer; `Content-Length` is added where it is sent."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Return an answer of JSON."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    @classmethod
    def text(cls, text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Response:
        """Return an answer of plain text, or of HTML by its `content_type`."""
        return cls(status, text.encode(), {"Content-Type": content_type})


@dataclass
class Exchange:
    """A request in the log and what became of it; no status: not answered yet, or dropped."""

    request: Request
    status: int | None = None
    answered: int | None = None
    """The number in the common sequence that the answer got just before it was written."""


class RefusedError(Exception):
    """Raised by a route: answer this and do nothing else."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class DropConnectionError(Exception):
    """Raised by a route or a fault: close the connection without an answer."""


Act: TypeAlias = Callable[[], Response]
Handler: TypeAlias = Callable[[Request], Response]
Predicate: TypeAlias = Callable[[Request], bool]
Fault: TypeAlias = Callable[[Request, Act], Response]
"""Stands between the wire and the act: may act or not, answer something else, wait, or drop the connection."""
