"""Distribute: one shard of consumers, all at once. Prepared before the reset, delivered after it, then verified.

One consumer that fails stops no other. Whatever does not fit into the function's time is `pending`, and the next pass
takes it up: a consumer with a receipt that is done is not written again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import TypeVar, cast

from rekey import adapters, runtime
from rekey.consumers.shard import Shard
from rekey.contracts import Consumer, Delivery
from rekey.errors import Conflict, Defect, InputInvalid, OutOfTime, RekeyError
from rekey.model.names import Generation, StoreVersion
from rekey.model.rotation import Fence, Rotation
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from rekey.observability import logger, places
from rekey.records.folder import EntryState, ShardFile
from rekey.runtime import Call, Event
from rekey.secrets import Secrets
from rekey.steps.bench import Bench

T = TypeVar("T")
UNWIND = timedelta(seconds=3)
"""Before the deadline: what it takes to cancel what is in flight and write the receipts."""
AT_ONCE = 200
"""Consumers of a shard in flight at the same time."""


def run(bench: Bench, call: Call) -> Event:
    """Do the call's verb on one shard; return `{shard, left}`: whether the next pass has something to do there."""
    shard = call.state.shard
    if shard is None:
        raise InputInvalid("the state machine's payload names no shard")
    fence = bench.enter(call)
    work = _Work(bench, call, fence, shard)
    match call.verb:
        case "prepare":
            left = work.prepare()
        case "deliver":
            left = work.deliver()
        case "verify":
            left = work.verify()
        case _:
            raise InputInvalid(f"distribute does not know the call {call.verb!r}")
    return {"shard": shard, "left": left}


class _Work:
    """One invocation's view of one shard."""

    def __init__(self, bench: Bench, call: Call, fence: Fence, number: int) -> None:
        self.bench, self.call, self.fence, self.number = bench, call, fence, number
        registry, generation = call.state.registry, call.state.generation
        rotation = bench.ledger.rotation(registry, generation)
        if rotation is None:
            raise Defect(f"the ledger has no rotation {registry}/{generation}")
        self.rotation: Rotation = rotation
        self.folder = bench.folder(registry, generation)
        self.plan = self.folder.plan()
        self.parts = {part.name: part for part in self.plan.consumers}
        self.file: ShardFile = self.folder.shard(number)

    def prepare(self) -> bool:
        """Find the shard's consumers and prove what can be proven; note it in the shard's file."""

        async def work(shard: Shard) -> tuple[EntryState, ...]:
            return tuple(
                await asyncio.gather(*(self._prepare_entry(shard, state.entry) for state in self.file.entries))
            )

        entries = self._in_shard(work)
        self.folder.save_shard(ShardFile(self.number, entries, prepared=True))
        return any(state.problems for state in entries)

    async def _prepare_entry(self, shard: Shard, entry: str) -> EntryState:
        seconds = max((self.call.left(runtime.now()) - UNWIND).total_seconds(), 0)
        try:
            async with asyncio.timeout(seconds):
                found = await self._adapter(shard, entry).prepare()
        except TimeoutError:
            return EntryState(entry, problem="could not be prepared in the function's time", transient=True)
        except OutOfTime:
            raise
        except RekeyError as error:
            return EntryState(entry, problem=str(error), transient=not error.definite)
        except Exception as error:
            if isinstance(error, ExceptionGroup) and error.subgroup(OutOfTime):
                raise
            logger.error("a defect in an adapter", extra={"entry": entry, "places": places(error)})
            return EntryState(entry, problem=_defect(error))
        if not found:
            return EntryState(entry, problem="names no consumer")
        return EntryState(entry, tuple(found))

    def deliver(self) -> bool:
        """Bring the password to every consumer of the shard that has no receipt yet."""
        delivery = self._delivery()
        before = {receipt.consumer: receipt for receipt in self._receipts()}
        known = dict(before)
        self._mark_told()

        async def work(shard: Shard) -> list[Receipt]:
            entries = await asyncio.gather(*(self._ready(shard, state) for state in self.file.entries))
            todo: dict[str, Coroutine[None, None, Receipt]] = {}
            for state in entries:
                kind = self.parts[state.entry].type
                if state.problem:
                    if not _all_done(state.entry, before.values()):
                        known[state.entry] = _unready(state, kind)
                    continue
                known.pop(state.entry, None)  # what stood for the whole entry while its consumers were not known
                for consumer in state.consumers:
                    # One that was not ready is tried all the same: what its service says now is what counts.
                    there = before.get(consumer.consumer)
                    if there is None or there.outcome.left:
                        known[consumer.consumer] = _pending(consumer.consumer, kind)
                        todo[consumer.consumer] = self._adapter(shard, state.entry).deliver(delivery, consumer)
                    else:
                        known[consumer.consumer] = there
            known.update(await self._within_time(todo, known))
            return list(known.values())

        receipts = self._in_shard(work)
        self.bench.ledger.save_receipts(self.fence, self.rotation.generation, self.number, receipts, before=len(before))
        return any(receipt.outcome.left for receipt in receipts)

    async def _ready(self, shard: Shard, state: EntryState) -> EntryState:
        """Prepare an entry again that was not ready before the reset: it may be by now."""
        if self.file.prepared and not state.problems:
            return state
        return await self._prepare_entry(shard, state.entry)

    def verify(self) -> bool:
        """Read back or exercise every consumer that was delivered to and has no verdict yet."""
        delivery = self._delivery()
        known = {receipt.consumer: receipt for receipt in self._receipts()}
        entries = {
            consumer.consumer: state.entry
            for state in self.folder.shard(self.number).entries
            for consumer in state.consumers
        }

        async def work(shard: Shard) -> dict[str, Receipt]:
            todo = {
                name: self._adapter(shard, entries.get(name, name.partition("/")[0])).verify(delivery, receipt)
                for name, receipt in known.items()
                if receipt.verdict is ConsumerVerdict.UNKNOWN
                and receipt.outcome in (ConsumerOutcome.UPDATED, ConsumerOutcome.UNCHANGED)
            }
            return await self._within_time(todo, known)

        known.update(self._in_shard(work))
        receipts = list(known.values())
        self.bench.ledger.save_receipts(self.fence, self.rotation.generation, self.number, receipts)
        unasked = [r for r in receipts if r.outcome.done and r.verdict is ConsumerVerdict.UNKNOWN]
        unasked = [r for r in unasked if r.outcome is not ConsumerOutcome.SUPERSEDED]
        return not receipts or bool(unasked) or any(receipt.outcome.left for receipt in receipts)

    async def _within_time(
        self, todo: "dict[str, Coroutine[None, None, Receipt]]", known: dict[str, Receipt]
    ) -> dict[str, Receipt]:
        """Do everything at once until shortly before the deadline; what is cut off keeps the receipt it had."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(coroutine: "Coroutine[None, None, Receipt]") -> Receipt:
            async with gate:
                return await coroutine

        tasks = {name: asyncio.ensure_future(one(coroutine)) for name, coroutine in todo.items()}
        if tasks:
            seconds = max((self.call.left(runtime.now()) - UNWIND).total_seconds(), 0)
            _, late = await asyncio.wait(tasks.values(), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for coroutine in todo.values():
            coroutine.close()  # one that never began, behind the semaphore
        return {name: _result(task, known[name]) for name, task in tasks.items()}

    def _in_shard(self, work: Callable[[Shard], Coroutine[None, None, T]]) -> T:
        """Run the work with the shard's one client and limiter, and close them before the handler returns."""

        async def inside() -> T:
            secrets = Secrets(self.rotation.registry)
            last = self.call.deadline - UNWIND
            async with Shard(self.plan.registry, secrets, runtime.now, last) as shard:
                return await work(shard)

        return asyncio.run(inside())

    def _adapter(self, shard: Shard, entry: str) -> Consumer:
        part = self.parts[entry]
        return cast("Consumer", adapters.load("consumer", part.type)(part, shard))

    def _receipts(self) -> list[Receipt]:
        return self.bench.ledger.receipts(self.rotation.registry, self.rotation.generation, self.number)

    def _delivery(self) -> Delivery:
        """Return what consumers are handed: the version that the ledger calls promoted, read from the store."""
        rotation, registry = self.rotation, self.plan.registry
        if rotation.store_version is None or rotation.promoted_at is None:
            raise Defect(f"rotation {rotation.id} has no promoted password: no consumer is told before that")
        store = self.bench.store(self.plan)
        stored = store.read(StoreVersion(rotation.store_version))
        return Delivery(
            registry=registry.name,
            endpoint=registry.endpoint,
            username=registry.username,
            password=stored.password,
            generation=Generation(rotation.generation),
            rotation=rotation.id,
            store={**store.reference, "version": rotation.store_version},
            rotated_at=rotation.called_at or rotation.promoted_at,
            again_at=rotation.delivered_again_at,
        )

    def _mark_told(self) -> None:
        """Write that consumers may have been told, before the first one is."""
        while not self.rotation.told:
            try:
                self.rotation = self.bench.ledger.save_one(self.fence, self.rotation.having(told=True))
            except Conflict:  # another shard was first
                again = self.bench.ledger.rotation(self.rotation.registry, self.rotation.generation)
                self.rotation = again or self.rotation


def _pending(consumer: str, kind: str) -> Receipt:
    return Receipt(consumer, kind, ConsumerOutcome.PENDING, reason="not sent yet, or sent and not answered in time")


def _all_done(entry: str, receipts: Iterable[Receipt]) -> bool:
    """Whether an entry's consumers are known, and each has the password."""
    mine = [receipt for receipt in receipts if receipt.consumer.partition("/")[0] == entry]
    return bool(mine) and all(receipt.outcome.done for receipt in mine)


def _unready(state: EntryState, kind: str) -> Receipt:
    """Return the receipt that stands for an entry whose consumers are not known yet."""
    outcome = ConsumerOutcome.UNREACHABLE if state.transient else ConsumerOutcome.FAILED
    return Receipt(state.entry, kind, outcome, reason=state.problem, answered_at=runtime.now())


def _result(task: "asyncio.Task[Receipt]", before: Receipt) -> Receipt:
    if task.cancelled():
        return before
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, RekeyError):
        outcome = ConsumerOutcome.FAILED if error.definite else ConsumerOutcome.UNREACHABLE
        return Receipt(before.consumer, before.type, outcome, reason=str(error), answered_at=runtime.now())
    logger.error("a defect in an adapter", extra={"consumer": before.consumer, "places": places(error)})
    outcome = ConsumerOutcome.FAILED
    return Receipt(before.consumer, before.type, outcome, reason=_defect(error), answered_at=runtime.now())


def _defect(error: BaseException) -> str:
    return f"a defect in the adapter ({type(error).__name__}): see the log"
