"""What a test can make of a request to AWS: refuse it, fail it, drop it before or after acting, call something.

    faults.add("dynamodb:TransactWriteItems", drop_after(), nth=2)

An effect gets the request and `act`, which carries it out; it returns the answer or raises Dropped.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(slots=True)
class AwsRequest:
    """One request as it came over the wire.

    `order` counts together with the requests to the sandbox's other servers. `service` is the signing name (`states`,
    not `stepfunctions`), `caller` the access key id it was signed with.
    `status` is what was answered; it stays None while the request is under way and where the connection was dropped.
    """

    order: int
    service: str
    action: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    caller: str
    at: datetime
    status: int | None = None
    dropped: bool = False

    @property
    def operation(self) -> str:
        """Service and action in the notation of IAM policies: `dynamodb:PutItem`."""
        return f"{self.service}:{self.action}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the caller."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Dropped(Exception):
    """The connection is cut instead of an answer."""


Act: TypeAlias = Callable[[], Answer]
Effect: TypeAlias = Callable[[AwsRequest, Act], Answer]
_XML_SERVICES = {"s3", "sns", "sts", "iam"}


def refuse(code: str = "AccessDeniedException", status: int = 400) -> Effect:
    """Return an effect that answers with this error code and does not act."""
    return lambda request, _act: error_answer(request.service, status, code, "refused by the sandbox")


def server_error(status: int = 500) -> Effect:
    """Return an effect that answers a 5xx and does not act; AWS's clients try such a call again by themselves."""
    return refuse("InternalServerError", status)


def throttle() -> Effect:
    """Return an effect that answers that the rate is exceeded, and does not act."""
    return refuse("ThrottlingException")


def drop_before() -> Effect:
    """Return an effect that cuts the connection and does not act."""

    def effect(_request: AwsRequest, _act: Act) -> Answer:
        raise Dropped

    return effect


def drop_after() -> Effect:
    """Return an effect that acts and then cuts the connection: the caller never learns what happened."""

    def effect(_request: AwsRequest, act: Act) -> Answer:
        act()
        raise Dropped

    return effect


def call_before(callback: Callable[[AwsRequest], None]) -> Effect:
    """Return an effect that calls something (that kills the calling process, say), then acts."""

    def effect(request: AwsRequest, act: Act) -> Answer:
        callback(request)
        return act()

    return effect


def call_after(callback: Callable[[AwsRequest], None]) -> Effect:
    """Return an effect that acts, then calls something, then answers."""

    def effect(request: AwsRequest, act: Act) -> Answer:
        answer = act()
        callback(request)
        return answer

    return effect


@dataclass(slots=True, eq=False)
class Fault:
    """One thing that is to go wrong. `seen` counts the requests that matched, `struck` those it struck."""

    operation: str | None
    nth: int
    times: int | None
    effect: Effect
    where: Callable[[AwsRequest], bool]
    seen: int = 0
    struck: int = 0

    def strikes(self, request: AwsRequest) -> bool:
        """Count a request, and return whether this fault strikes it."""
        if self.operation not in (None, request.operation) or not self.where(request):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times is not None and self.struck >= self.times):
            return False
        self.struck += 1
        return True


class Faults:
    """The faults of one sandbox."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        operation: str | None,
        effect: Effect,
        *,
        nth: int = 1,
        times: int | None = 1,
        where: Callable[[AwsRequest], bool] = lambda _request: True,
    ) -> Fault:
        """Let `effect` happen at the nth request of this operation (None: of any) from now, of those `where` holds for.

        It happens `times` times in a row; None: at all that follow.
        """
        fault = Fault(operation, nth, times, effect, where)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Lift one fault."""
        with self._lock:
            self._faults.remove(fault)

    def clear(self) -> None:
        """Let nothing fail any more."""
        with self._lock:
            self._faults.clear()

    def apply(self, request: AwsRequest, act: Act) -> Answer:
        """Return the answer to a request, with the first fault that strikes it, if any. Raises Dropped."""
        with self._lock:
            effects = [fault.effect for fault in self._faults if fault.strikes(request)]
        return effects[0](request, act) if effects else act()


def error_answer(service: str, status: int, code: str, message: str) -> Answer:
    """Return an error in the protocol of a service: XML for the old ones, JSON for the others."""
    request_id = ("x-amzn-RequestId", str(uuid.uuid4()))  # Step Functions fails on an answer of Lambda without one
    if service in _XML_SERVICES:
        error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        body = (
            f"<Error>{error}</Error>" if service == "s3" else f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"
        )
        return Answer(status, (("Content-Type", "text/xml"), request_id), body.encode())
    content = json.dumps({"__type": code, "message": message}).encode()
    headers = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code), request_id)
    return Answer(status, headers, content)
