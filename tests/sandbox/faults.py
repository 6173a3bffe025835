"""Faults on the wire, for `HttpServer.inject`: each stands between a request and what the simulator does with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.sandbox.wire import DropConnectionError, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.wire import Act, Fault

GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class Hold:
    """Answers late: waits until it is released or `seconds` have passed, before the act or (`acted`) after it."""

    def __init__(self, *, seconds: float | None = None, acted: bool = False) -> None:
        self._seconds = seconds
        self._acted = acted
        self._reached = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let the held request go on."""
        self._released.set()

    def wait_until_reached(self, within: float = 10.0) -> None:
        """Return once a request is held here; raises `TimeoutError` after `within` seconds."""
        if not self._reached.wait(within):
            raise TimeoutError(f"no request was held within {within} s")

    def __call__(self, _request: Request, act: Act) -> Response:
        """Wait, and act."""
        if self._acted:
            response = act()
            self._wait()
            return response
        self._wait()
        return act()

    def _wait(self) -> None:
        self._reached.set()
        self._released.wait(self._seconds)


def answer(response: Response, *, acted: bool = False) -> Fault:
    """Give this answer, without acting or (`acted`) after it."""

    def fault(_request: Request, act: Act) -> Response:
        if acted:
            act()
        return response

    return fault


def gateway_page(status: int = 502, *, acted: bool = False) -> Fault:
    """Answer as a gateway in front of the service does: HTML."""
    return answer(Response.text(GATEWAY_PAGE, status, "text/html"), acted=acted)


def drop(*, acted: bool = False) -> Fault:
    """Close the connection without an answer, without acting or (`acted`) after it."""

    def fault(_request: Request, act: Act) -> Response:
        if acted:
            act()
        raise DropConnectionError

    return fault


def call(action: Callable[[Request], object], *, acted: bool = False) -> Fault:
    """Call `action` before acting or (`acted`) after it and before the answer, such as to kill the caller."""

    def fault(request: Request, act: Act) -> Response:
        if not acted:
            action(request)
            return act()
        response = act()
        action(request)
        return response

    return fault
