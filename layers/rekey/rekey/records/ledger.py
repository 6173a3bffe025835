"""The ledger: what was asked for, what was tried, what came of it.

Every write names the lease it is made under and the record it follows from.
"""

import math
import secrets
from collections.abc import Sequence
from typing import TypeVar, cast

from rekey.errors import Conflict, Fenced
from rekey.model.record import Record
from rekey.model.request import Request, RequestState
from rekey.model.rotation import Again, Attempt, Fence, Phase, RedeliveryRequest, Rotation
from rekey.model.verdict import Receipt
from rekey.records.codec import (
    OPEN,
    attempt_key,
    partition,
    read_record,
    receipts_key,
    rotation_key,
)
from rekey.records.dynamo import ConditionFailed, Table, Write
from rekey.records.lease import owning

R = TypeVar("R", Rotation, Attempt, Again, Rotation | Attempt)

CHUNK = 200
"""Receipts an item: an item ends at 400 kB."""


class Ledger:
    """Reads and writes the records of all registries."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def rotation(self, registry: str, generation: int) -> Rotation | None:
        """Return one rotation."""
        return read_record(Rotation, self.table.get(partition(registry), rotation_key(generation)))

    def latest(self, registry: str) -> Rotation | None:
        """Return the rotation with the highest generation; the one before, where that is open and the last stopped."""
        found = [read_record(Rotation, item) for item in self.table.query(partition(registry), "rotation#")[-2:]]
        last = found[-1] if found else None
        before = found[0] if last is not None and last.phase is Phase.STOPPED else None
        return before if before is not None and before.phase.open else last

    def stopped_after(self, rotation: Rotation | None) -> Rotation | None:
        """Return the rotation that stopped before its reset while this one was not finished, if any did."""
        after = self.rotation(rotation.registry, rotation.generation + 1) if rotation is not None else None
        return after if after is not None and after.phase is Phase.STOPPED else None

    def redelivery(self, registry: str) -> RedeliveryRequest | None:
        """Return what a person wants delivered again, as long as nobody has taken that up."""
        key = redelivery_key(registry)
        return read_record(RedeliveryRequest, self.table.get(key["pk"], key["sk"]))

    def forget_redelivery(self, fence: Fence, request: RedeliveryRequest) -> None:
        """Remove a request for a delivery that nothing comes of. Raises Fenced, Conflict where it is another by now."""
        self._commit(fence, [], [forgetting(request)])

    def closed_before(self, fresh: Rotation, latest: Rotation | None) -> list[Write]:
        """Return the check that the rotation before a fresh one stays closed: a person may have it delivered again.

        `latest`: as it was read. Raises Conflict where it is open by now.
        """
        before = self.rotation(fresh.registry, fresh.generation - 1) if fresh.rev else latest
        if before is not None and before.phase.open:
            raise Conflict(f"the rotation {before.id} was opened again")
        return [] if before is None else [unchanged(before)]

    def attempts(self, registry: str, generation: int) -> list[Attempt]:
        """Return every attempt under a number, oldest first."""
        prefix = attempt_key(generation, 0).rpartition("#")[0] + "#"
        found = (read_record(Attempt, item) for item in self.table.query(partition(registry), prefix))
        return [attempt for attempt in found if attempt is not None]

    def attempts_of(self, rotation: Rotation) -> list[Attempt]:
        """Return a rotation's attempts, oldest first, without those of rotations that stopped under its number."""
        found = self.attempts(rotation.registry, rotation.generation)
        return [attempt for attempt in found if attempt.number > rotation.attempts_before]

    def save_one(self, fence: Fence, record: R, also: Sequence[Write] = ()) -> R:
        """Write a record, and what belongs to it, all or none; return it as it is now. Raises as `save` does."""
        return self._commit(fence, [record], also)[0]

    def save(
        self, fence: Fence, rotation: Rotation, attempt: Attempt, also: Sequence[Write] = ()
    ) -> tuple[Rotation, Attempt]:
        """Write a rotation and its attempt, and what belongs to it, all or none; return them as they are now.

        Raises Fenced where the lease is another's, Conflict where a record is not the one this follows from any more.
        """
        saved: list[Rotation | Attempt] = self._commit(fence, [rotation, attempt], also)
        return cast("Rotation", saved[0]), cast("Attempt", saved[1])

    def _commit(self, fence: Fence, records: Sequence[R], also: Sequence[Write]) -> list[R]:
        saved = [record.having(rev=secrets.token_hex(8)) for record in records]
        writes = [owning(fence)]
        writes += [following(old, new) for old, new in zip(records, saved, strict=True)]
        for record in saved:
            if isinstance(record, Rotation):
                writes.append(open_mark(record))
        try:
            self.table.write(*writes, *also)
        except ConditionFailed as failed:
            ours = [new.rev for new in saved]
            there = [(failed.old.get(number) or {}).get("rev") for number in range(1, 1 + len(saved))]
            if ours and ours == there:
                return saved  # an earlier try of this very write, whose answer was lost
            if 0 in failed.old:
                raise _fenced(fence) from None
            raise Conflict(f"the ledger of {fence.registry} moved on: what this step knew is not so any more") from None
        return saved

    def note(self, before: Rotation, after: Rotation) -> None:
        """Write what needs no lease: the record follows from `before`. Raises Conflict where it moved on."""
        try:
            self.table.write(following(before, after.having(rev=secrets.token_hex(8))))
        except ConditionFailed:
            raise Conflict(f"the rotation {before.id} moved on") from None

    def receipts(self, registry: str, generation: int, shard: int | None = None) -> list[Receipt]:
        """Return the receipts of one shard, or of all."""
        prefix = f"receipts#{generation:08d}#" + ("" if shard is None else f"{shard:04d}#")
        items = self.table.query(partition(registry), prefix)
        return [Receipt.from_record(record) for item in items for record in item["receipts"]]

    def save_receipts(
        self, fence: Fence, generation: int, shard: int, receipts: Sequence[Receipt], before: int = 0
    ) -> None:
        """Write a shard's receipts, 200 an item, in the place of as many as there were before. Raises Fenced.

        A late duplicate of the function may write what it saw earlier: verifying and the next pass set that right.
        """
        for chunk, first in enumerate(range(0, max(len(receipts), before), CHUNK)):
            item = {"format": 1, "receipts": [receipt.to_record() for receipt in receipts[first : first + CHUNK]]}
            key = {"pk": partition(fence.registry), "sk": receipts_key(generation, shard, chunk)}
            self._commit(fence, [], [Write(key=key, item=item, condition="")])

    def replace_receipts(self, fence: Fence, generation: int, shards: Sequence[Sequence[Receipt]]) -> None:
        """Write the receipts of all shards, and empty the items that are left of other shards. Raises Fenced.

        Cut off in between, a receipt may stand twice, or be gone: that consumer is told once more.
        """
        prefix, pk = f"receipts#{generation:08d}#", partition(fence.registry)
        for number, receipts in enumerate(shards):
            self.save_receipts(fence, generation, number, receipts)
        new = {
            receipts_key(generation, number, chunk)
            for number, receipts in enumerate(shards)
            for chunk in range(math.ceil(len(receipts) / CHUNK))
        }
        for item in self.table.query(pk, prefix):
            if item["sk"] not in new:
                key = {"pk": pk, "sk": str(item["sk"])}
                self._commit(fence, [], [Write(key=key, item={"format": 1, "receipts": []}, condition="")])

    def again(self, registry: str) -> Again | None:
        """Return when the tick may start the registry's unfinished work again."""
        return read_record(Again, self.table.get(partition(registry), "again"))

    def put_request(self, request: Request) -> tuple[Request, bool]:
        """Write a request, or find the one with the same key. Returns what is there, and whether it is new."""
        new = request.having(rev=secrets.token_hex(8))
        key = {"pk": partition(request.registry), "sk": f"request#{request.key}"}
        mark = Write(key=_request_mark(request), item={"format": 1}, condition="")
        try:
            self.table.write(Write(key=key, item=new.model_dump(mode="json")), mark)
        except ConditionFailed as failed:
            there = read_record(Request, failed.old.get(0) or self.table.get(key["pk"], key["sk"]))
            if there is None:
                raise Conflict(f"a request for {request.registry} vanished while it was written") from None
            return there, there.rev == new.rev
        return new, True

    def open_requests(self, registry: str) -> list[Request]:
        """Return the registry's requests that no completed reset has met yet, oldest first."""
        marks = self.table.query(OPEN, f"request#{registry}#")
        found = (self.request(registry, str(mark["sk"]).rpartition("#")[2]) for mark in marks)
        requests = [request for request in found if request is not None and request.state is RequestState.OPEN]
        return sorted(requests, key=lambda request: request.arrived_at)

    def requests_of(self, registry: str, generation: int) -> list[Request]:
        """Return the requests that a rotation met, and those that are open beside it, oldest first."""
        found = (read_record(Request, item) for item in self.table.query(partition(registry), "request#"))
        requests = [r for r in found if r is not None and (r.closed_by == generation or r.state is RequestState.OPEN)]
        return sorted(requests, key=lambda request: request.arrived_at)

    def request(self, registry: str, key: str) -> Request | None:
        """Return one request."""
        return read_record(Request, self.table.get(partition(registry), f"request#{key}"))

    def closing(self, request: Request, generation: int) -> list[Write]:
        """Return the writes that close a request, for the transaction that ends its rotation."""
        closed = request.having(state=RequestState.CLOSED, closed_by=generation, rev=secrets.token_hex(8))
        mark = Write(key=_request_mark(request), delete=True, condition="")
        return [_put(closed, request.rev, partition(request.registry), f"request#{request.key}"), mark]

    def close(self, fence: Fence, requests: Sequence[Request], generation: int) -> None:
        """Close some 40 requests at most: what one transaction holds. Raises as `save` does."""
        self._commit(fence, [], [write for request in requests for write in self.closing(request, generation)])

    def open_registries(self) -> dict[str, bool]:
        """Return every registry with something open → whether that is an unfinished rotation."""
        found: dict[str, bool] = {}
        for item in self.table.query(OPEN):
            kind, registry, *_ = str(item["sk"]).split("#")
            found[registry] = found.get(registry, False) or kind == "rotation"
        return found


def _fenced(fence: Fence) -> Fenced:
    return Fenced(f"the lease of {fence.registry} is not this execution's any more: it stops")


def _request_mark(request: Request) -> dict[str, str]:
    return {"pk": OPEN, "sk": f"request#{request.registry}#{request.key}"}


def open_mark(rotation: Rotation) -> Write:
    """Return the write that keeps the partition of open things true to a rotation's phase.

    Each rotation has a mark of its own: one that a paste has overtaken must not take its successor's away.
    """
    key = {"pk": OPEN, "sk": f"rotation#{rotation.registry}#{rotation.generation:08d}"}
    if rotation.phase.open:
        return Write(key=key, item={"format": 1, "generation": rotation.generation}, condition="")
    return Write(key=key, delete=True, condition="")


def redelivery_key(registry: str) -> dict[str, str]:
    """Return the key of a request for a delivery: among what is open, so that the tick finds it."""
    return {"pk": OPEN, "sk": f"delivery#{registry}"}


def forgetting(request: RedeliveryRequest) -> Write:
    """Return the write that removes a request, on the condition that it is the one that was read."""
    return Write(
        key=redelivery_key(request.registry), delete=True, condition="rev = :rev", values={":rev": request.rev}
    )


def unchanged(rotation: Rotation) -> Write:
    """Return the check that a rotation is as it was read."""
    key = {"pk": partition(rotation.registry), "sk": rotation_key(rotation.generation)}
    return Write(key=key, condition="rev = :rev", values={":rev": rotation.rev})


def none_after(rotation: Rotation, stopped: Rotation | None) -> Write:
    """Return the check that no rotation follows this one, or only the one that is known to have stopped."""
    if stopped is not None:
        return unchanged(stopped)
    return Write(key={"pk": partition(rotation.registry), "sk": rotation_key(rotation.generation + 1)})


def changing(rotation: Rotation) -> list[Write]:
    """Return the writes of a changed rotation, for the transaction of another record."""
    saved = rotation.having(rev=secrets.token_hex(8))
    return [following(rotation, saved), open_mark(saved)]


def following(old: Rotation | Attempt | Again, new: Rotation | Attempt | Again) -> Write:
    """Return the write of a record on the condition that what it follows from is what stands there."""
    return _put(new, old.rev, partition(old.registry), _sort_key(old))


def _sort_key(record: Rotation | Attempt | Again) -> str:
    match record:
        case Rotation():
            return rotation_key(record.generation)
        case Attempt():
            return attempt_key(record.generation, record.number)
        case Again():
            return "again"


def _put(record: Record, follows: str, pk: str, sk: str) -> Write:
    item, key = record.model_dump(mode="json"), {"pk": pk, "sk": sk}
    if not follows:
        return Write(key=key, item=item)
    return Write(key=key, item=item, condition="rev = :rev", values={":rev": follows})
