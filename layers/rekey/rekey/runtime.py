"""What every Lambda handler does around its one call into a step.

A handler ends before its function's timeout and leaves nothing running. A frozen sandbox thaws at the next invocation,
hours later, and whatever still lived would go on then, with a stale password in its hand. So an alarm interrupts the
handler shortly before the deadline, and if a thread outlives the handler the process ends itself.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Protocol

from rekey.errors import Defect, InputInvalid, OutOfTime, RekeyError
from rekey.model.state import State
from rekey.observability import logger, places

Event = dict[str, object]
MARGIN = timedelta(seconds=1)
"""Before the function's timeout: what it takes to unwind and answer."""


class Context(Protocol):
    """What of Lambda's context object is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left of the invocation."""


_REPEAT = 0.3
"""Seconds between two alarms after the deadline; several fit into the margin."""


class _Alarm(KeyboardInterrupt):
    """The function's time is over. No Exception: botocore wraps and repeats those, and adapters make verdicts of them.

    asyncio lets only this base class through its tasks and callbacks, and cancels the other tasks then.
    """


@dataclass(frozen=True)
class Call:
    """One invocation of a function by the state machine."""

    verb: str
    execution: str
    """ARN of the execution."""
    redrive: int
    repeated: bool
    """The state machine has called it before: a first call, given up, may still run."""
    state: State
    deadline: datetime
    """When the handler is interrupted."""

    def left(self, now: datetime) -> timedelta:
        """Return what is left until the deadline."""
        return self.deadline - now


def now() -> datetime:
    """Return the time: the one place in the product that reads the wall clock (a duration is measured by the other)."""
    return datetime.now(UTC)


def wait(until: datetime) -> None:
    """Wait within the invocation, where what is in its memory would be lost by waiting in the state machine."""
    time.sleep(max((until - now()).total_seconds(), 0))


def task_handler(step: Callable[[Call], State | Event]) -> Callable[[Event, Context], Event]:
    """Return the Lambda handler of a step that the state machine calls."""

    def read(event: Event, deadline: datetime) -> Event:
        execution = event.get("execution")
        if not isinstance(execution, dict):
            raise InputInvalid("the state machine's payload has no `execution`: see statemachine/rotation.asl.json")
        call = Call(
            verb=str(event.get("call")),
            execution=str(execution.get("arn")),
            redrive=int(execution.get("redrive", 0)),
            repeated=int(execution.get("retry", 0)) > 0,
            state=State.read(event.get("state")),
            deadline=deadline,
        )
        logger.append_keys(registry=call.state.registry, generation=call.state.generation, execution=call.execution)
        answer = step(call)
        return answer.dump() if isinstance(answer, State) else answer

    return event_handler(read)


def event_handler(serve: Callable[[Event, datetime], Event]) -> Callable[[Event, Context], Event]:
    """Return the Lambda handler of a function that takes events; `serve` gets the event and the deadline."""

    def handler(event: Event, context: Context) -> Event:
        if event.get("call") == "ping":
            return {"ok": True}
        deadline = now() + timedelta(milliseconds=context.get_remaining_time_in_millis()) - MARGIN
        before = set(threading.enumerate())
        logger.clear_state()
        try:
            with _interrupted_at(deadline):
                return serve(event, deadline)
        except RekeyError as error:
            logger.warning(
                "refused" if error.definite else "failed", extra={"error": type(error).__name__, "why": str(error)}
            )
            raise error.with_traceback(None) from None
        except _Alarm:
            logger.warning("failed", extra={"error": OutOfTime.__name__})
            raise OutOfTime("the function's time ended before its work did: it is taken up again") from None
        except Exception as error:  # noqa: BLE001 (its text may quote a secret: only its place goes on)
            logger.error("a defect", extra={"error": type(error).__name__, "places": places(error)})
            where = places(error)[-1:] or ["nowhere"]
            raise Defect(f"{type(error).__name__} at {where[0]}: see the log") from None
        finally:
            _leave_nothing_running(before)

    return handler


@contextmanager
def _interrupted_at(deadline: datetime) -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, interrupt)
    # Again and again: Python swallows what is raised inside a weak reference's callback or a finalizer.
    signal.setitimer(signal.ITIMER_REAL, max((deadline - now()).total_seconds(), 0.001), _REPEAT)
    try:
        yield
    finally:
        _disarm()
        signal.signal(signal.SIGALRM, before)


def _disarm() -> None:
    """Stop the alarm, also where it rings just now."""
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        except _Alarm:
            continue
        return


def _leave_nothing_running(before: set[threading.Thread]) -> None:
    alive = [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]
    if alive:
        logger.error("a thread outlived the handler: the process ends", extra={"threads": len(alive)})
        os._exit(70)
