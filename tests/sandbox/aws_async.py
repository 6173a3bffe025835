"""Plays Lambda's asynchronous invocations: tried again when they fail, then sent on, or lost.

Rules: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tests.sandbox.lambdas import Result
    from tests.sandbox.template import Function

Send: TypeAlias = Callable[[str, str], None]
"""Sends a text to what an ARN names: a queue, a topic, a function."""

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Retries:
    """Seconds before the second and the third try; on AWS these are one and two minutes."""

    first: float = 0.1
    second: float = 0.2

    def before(self, attempt: int) -> float:
        """Return how long to wait before the attempt of this number (from 1)."""
        return 0.0 if attempt == 1 else self.first if attempt == 2 else self.second


class AsyncInvocations:
    """Events that wait for their function. `send` delivers what failed for good to its destination."""

    def __init__(self, invoke: Callable[[str, bytes], Result], send: Send, retries: Retries) -> None:
        self._invoke = invoke
        self._send = send
        self._retries = retries
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lambda-async")
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._broken: list[BaseException] = []

    def submit(self, function: Function, payload: bytes) -> None:
        """Invoke the function soon, and up to its number of retries again if it fails."""
        with self._lock:
            future = self._pool.submit(self._run, function, payload)
            self._pending.add(future)
        future.add_done_callback(self._forget)

    @property
    def busy(self) -> bool:
        """Whether an event waits for its function, is with it, or broke the sandbox."""
        with self._lock:
            return bool(self._pending or self._broken)

    def settle(self, within: float) -> None:
        """Return when nothing of what is pending now is pending any more.

        Raises TimeoutError after `within` seconds, and what went wrong in the sandbox itself, such as a destination
        that does not exist.
        """
        with self._lock:
            pending = set(self._pending)
        if wait(pending, timeout=max(0.0, within)).not_done:
            raise TimeoutError(f"{len(pending)} asynchronous invocations did not end in time")
        with self._lock:
            if self._broken:
                raise self._broken[0]

    def stop(self) -> None:
        """Try nothing again."""
        self._closing.set()

    def join(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown(cancel_futures=True)

    def _forget(self, future: Future[None]) -> None:
        with self._lock:
            self._pending.discard(future)
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self._broken.append(error)

    def _run(self, function: Function, payload: bytes) -> None:
        tries = 1 + function.retries
        for attempt in range(1, tries + 1):
            if self._closing.wait(self._retries.before(attempt)):
                return
            result = self._invoke(function.name, payload)
            if not result.failed:
                return
        if self._closing.is_set():
            return
        if function.dead_letter:
            self._send(function.dead_letter, payload.decode())
        if function.on_failure:
            self._send(function.on_failure, json.dumps(_record(function, payload, result, tries)))


def _record(function: Function, payload: bytes, result: Result, tries: int) -> dict[str, object]:
    # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": result.request_id,
            "functionArn": f"{function.arn}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": tries,
        },
        "requestPayload": json.loads(payload),
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": result.value,
    }
