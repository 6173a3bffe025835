"""Puts a fault at a point, on the wire. No hook for it exists in the product."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tests.faults.campaign.points import AWS, Kind, Strike
from tests.sandbox.aws_faults import Answer, AwsRequest, Dropped, error_answer
from tests.sandbox.faults import GATEWAY_PAGE, gateway_page
from tests.sandbox.registry_proxy import shown
from tests.sandbox.wire import DropConnectionError, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.campaign.setting import Setting
    from tests.sandbox.wire import Act

_Answer = TypeVar("_Answer")
_AS_OFTEN_AS_ASKED = (Kind.ERROR_BEFORE, Kind.THROTTLE, Kind.GATEWAY, Kind.ANSWERS_LOST)
"""At AWS: whatever the client asks again by itself is struck too, and nothing that is asked for after that."""
_INVOCATION = "amz-sdk-invocation-id"
"""The header that every try of one call to AWS has in common: botocore.handlers.add_retry_headers."""
_LONGEST_PATIENCE = 16.0  # seconds; longer than any client of the product waits for an answer
_UNTIL_GIVEN_UP = 100  # times; a step asks again until the password is held back no longer
_INTERRUPTED = 0.5
"""Seconds before the timeout; rekey.runtime interrupts a handler a second before it."""
_CANCELLED = "TransactionCanceledException"


class Struck:
    """A fault that was put somewhere: whether it struck, and how to let go who hangs."""

    def __init__(self, setting: Setting, strike: Strike) -> None:
        self._setting, self._strike = setting, strike
        self._let_go = threading.Event()
        self._password: str | None = None
        self._invocation: str | None = None
        self._withdraw: Callable[[], None] = lambda: None
        self.hit = threading.Event()

    def put(self) -> None:
        """Put the fault at its point."""
        point = self._strike.point
        if point.server == AWS:
            faults = self._setting.world.cloud.faults
            fault = faults.add(point.operation, self._on_aws, nth=point.nth, times=self._times, where=self._fits)
            self._withdraw = partial(faults.remove, fault)
        else:
            server = self._setting.servers[point.server]
            injected = server.inject(self._on_http, nth=point.nth, times=self._times, when=self._fits)
            self._withdraw = partial(server.withdraw, injected)

    def release(self) -> None:
        """Lift the fault, and let go whoever hangs."""
        self._withdraw()
        self._let_go.set()

    @property
    def _times(self) -> int | None:
        match self._strike.kind:
            case Kind.REFUSED_TWICE:
                return 2
            case Kind.AWAY:
                return _UNTIL_GIVEN_UP
            case kind if kind in _AS_OFTEN_AS_ASKED and self._strike.point.server == AWS:
                return None
            case _:
                return 1

    def _fits(self, request: AwsRequest | Request) -> bool:
        point = self._strike.point
        if self._invocation is not None:
            return request.headers.get(_INVOCATION) == self._invocation
        if self._setting.operation(point.server, request) != point.operation:
            return False
        found = self._setting.worker_of(request)
        return found is not None and found[0] == point.task

    def _kill(self, request: AwsRequest | Request) -> None:
        found = self._setting.worker_of(request)
        if found is not None:
            found[1].kill()

    def _on_aws(self, request: AwsRequest, act: Callable[[], Answer]) -> Answer:
        self.hit.set()
        if self._strike.kind in _AS_OFTEN_AS_ASKED:
            self._invocation = request.headers[_INVOCATION]
        match self._strike.kind:
            case Kind.ERROR_BEFORE:
                return error_answer(request.service, 500, "InternalServerError", "by the campaign")
            case Kind.THROTTLE if request.service == "s3":
                return error_answer(request.service, 503, "SlowDown", "by the campaign")
            case Kind.THROTTLE:
                return error_answer(request.service, 400, "ThrottlingException", "by the campaign")
            case Kind.DENIED:
                return error_answer(request.service, 400, "AccessDenied", "by the campaign")
            case Kind.CONFLICT:
                return _conflict(request)
            case Kind.GATEWAY:
                return Answer(502, (("Content-Type", "text/html"),), GATEWAY_PAGE.encode())
            case Kind.ANSWERS_LOST:
                act()
                return error_answer(request.service, 500, "InternalServerError", "by the campaign")
            case Kind.CUT_OFF:
                return self._cut_off(request, act)
            case _:
                self._strike_the_connection(request, act)
                raise Dropped

    def _on_http(self, request: Request, act: Act) -> Response:
        self.hit.set()
        match self._strike.kind:
            case Kind.THROTTLE:
                return Response.json({"message": "slow down"}, 429, {"Retry-After": "1"})
            case Kind.GATEWAY:
                return gateway_page()(request, act)
            case Kind.GATEWAY_AFTER:
                return gateway_page(acted=True)(request, act)
            case Kind.REFUSED_ONCE | Kind.REFUSED_TWICE:
                return self._refuse(request, act)
            case Kind.CUT_OFF:
                return self._cut_off(request, act)
            case _:
                self._strike_the_connection(request, act)
                raise DropConnectionError

    def _refuse(self, request: Request, act: Act) -> Response:
        """Answer 401 as the registry does, as long as it is the same password."""
        password = shown(request)[1]
        self._password = self._password or password
        if password != self._password:
            return act()
        headers = {
            "WWW-Authenticate": 'Basic realm="Rekey sandbox"',
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
        return Response.json({"errors": [{"code": "UNAUTHORIZED"}]}, 401, headers)

    def _cut_off(self, request: AwsRequest | Request, act: Callable[[], _Answer]) -> _Answer:
        """Let who asks stand still before the answer is there, and go on when its handler's time is over."""
        found = self._setting.worker_of(request)
        if found is not None:
            work = found[1]
            work.pause()
            threading.Timer(work.deadline - _INTERRUPTED - time.time(), work.resume).start()
        return act()

    def _strike_the_connection(self, request: AwsRequest | Request, act: Callable[[], Any]) -> None:
        """Do what the kind says before the connection is cut."""
        match self._strike.kind:
            case Kind.ERROR_AFTER:
                act()
            case Kind.HANG:
                self._let_go.wait(_LONGEST_PATIENCE)
            case Kind.KILL_BEFORE:
                self._kill(request)
            case Kind.KILL_AFTER:
                act()
                self._kill(request)
            case _:
                pass


def _conflict(request: AwsRequest) -> Answer:
    """Return what DynamoDB answers where another transaction is at work on one of the items.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    answer = error_answer(request.service, 400, _CANCELLED, "Transaction cancelled [TransactionConflict]")
    reasons = b'"CancellationReasons": [{"Code": "TransactionConflict", "Message": "by the campaign"}], '
    return Answer(answer.status, answer.headers, b"{" + reasons + answer.body[1:])
