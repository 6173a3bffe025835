"""Cancelling a coroutine at its nth await, exactly."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

T = TypeVar("T")


@types.coroutine
def cancelled_at(number: int, coroutine: Coroutine[object, object, T]) -> Generator[object, object, T]:
    """Run a coroutine and cancel its task at the nth time that it waits for something; return what it gives if less."""
    awaits = 0
    raised: BaseException | None = None
    value: object = None
    while True:
        try:
            awaited = coroutine.send(value) if raised is None else coroutine.throw(raised)
        except StopIteration as stop:
            result: T = stop.value
            return result
        awaits += 1
        if awaits == number:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # what it waits for now is cancelled as soon as it is handed on
        raised = None
        try:
            value = yield awaited
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the coroutine's
            raised = error


async def others() -> set[asyncio.Task[object]]:
    """Return the tasks that are still there after the loop had time to end those that are ending."""
    deadline = asyncio.get_running_loop().time() + 5
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.01)
    return tasks
