"""The three beats of a consumer's life, as the steps play them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, TypeVar

from rekey.contracts import Prepared
from rekey.errors import RekeyError
from rekey.model.verdict import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from rekey.contracts import Consumer, Delivery
    from tests.contract.consumer_case import ConsumerCase
    from tests.sandbox.http_server import HttpServer

T = TypeVar("T")


class Round:
    """One rotation's three beats over all places of a case, each in a shard of its own as in an invocation.

    Every record and error that comes out is searched for secrets.
    """

    def __init__(self, case: ConsumerCase[HttpServer], delivery: Delivery | None = None) -> None:
        self.case = case
        self.delivery = delivery or case.world.delivery()

    def prepare(self) -> list[Prepared]:
        async def act() -> list[Prepared]:
            async with self.case.world.shard() as shard:
                found = [await consumer.prepare() for consumer in self.case.consumers(shard)]
            return [prepared for some in found for prepared in some]

        return [Prepared.from_record(json.loads(self._heard(one.to_record()))) for one in self._run(act())]

    def unprepared(self, problem: str) -> list[Prepared]:
        """Return what a step makes of an entry whose `prepare` raised."""
        return [Prepared(part.name, problem=problem) for part in self.case.parts()]

    def deliver(self, prepared: Sequence[Prepared]) -> list[Receipt]:
        async def act() -> list[Receipt]:
            async with self.case.world.shard() as shard, asyncio.TaskGroup() as group:
                by_name = self._by_name(self.case.consumers(shard))
                tasks = [group.create_task(by_name(one.consumer).deliver(self.delivery, one)) for one in prepared]
            return [task.result() for task in tasks]

        return [Receipt.from_record(json.loads(self._heard(one.to_record()))) for one in self._run(act())]

    def verify(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        async def act() -> list[Receipt]:
            async with self.case.world.shard() as shard:
                by_name = self._by_name(self.case.consumers(shard))
                return [await by_name(one.consumer).verify(self.delivery, one) for one in receipts]

        return [Receipt.from_record(json.loads(self._heard(one.to_record()))) for one in self._run(act())]

    def _by_name(self, consumers: list[Consumer]) -> Callable[[str], Consumer]:
        by_entry = {part.name: consumer for part, consumer in zip(self.case.parts(), consumers, strict=True)}
        return lambda name: by_entry[name.partition("/")[0]]

    def _run(self, act: Coroutine[object, object, T]) -> T:
        try:
            return asyncio.run(act)
        except RekeyError as error:
            self._heard([repr(error)])
            raise

    def _heard(self, record: object) -> str:
        text = json.dumps(record)
        self.case.hear()
        self.case.world.assert_nothing_said([text])
        return text
