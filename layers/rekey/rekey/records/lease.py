"""The lease: one execution acts on a registry at a time, and an old one that still twitches is waited out."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from rekey.errors import Fenced
from rekey.model.rotation import Fence, Lease
from rekey.records.codec import partition, read_record
from rekey.records.dynamo import ConditionFailed, Table, Write

SORT_KEY = "lease"
_TURNS = 50
"""Shards of one execution may note it at the same moment."""


class Leases:
    """Takes, checks and hands back leases. `is_alive` asks whether an execution still runs."""

    def __init__(
        self, ledger: Table, is_alive: Callable[[str], bool], longest_timeout: timedelta, margin: timedelta
    ) -> None:
        self._ledger = ledger
        self._is_alive = is_alive
        self._longest_timeout = longest_timeout
        self._margin = margin

    def current(self, registry: str) -> Lease | None:
        """Return the lease as it is now."""
        return read_record(Lease, self._ledger.get(partition(registry), SORT_KEY))

    def check(self, fence: Fence, *, repeated: bool) -> None:
        """Note that a task is called again. Raises Fenced where the fence's owner does not hold the lease any more."""
        for _ in range(_TURNS):
            held = self.current(fence.registry)
            if held is None or held.fence(fence.registry) != fence:
                break
            if held.repeated or not repeated:
                return
            if self._replace(fence.registry, held, held.having(repeated=True, rev=secrets.token_hex(8))):
                return
        raise Fenced(f"the lease of {fence.registry} is not this execution's any more")

    def take(self, registry: str, owner: str, redrive: int, now: datetime) -> Lease | None:
        """Take the lease, or find it taken by this very owner. None: a living execution has it.

        The caller does nothing before the lease's `drain_until`: after a takeover, functions of the dead owner may run
        until then. DescribeExecution lags, so "dead" only allows the takeover to begin.
        """
        held = self.current(registry)
        if held is not None and held.owner is not None:
            if (held.owner, held.redrive) == (owner, redrive):
                return held
            if self._is_alive(held.owner):
                return None
        drain_until = now
        if held is not None:
            drain_until = held.drain_until
            if held.owner is not None:
                drain_until = max(drain_until, now + timedelta(seconds=held.longest_timeout) + self._margin)
        taken = Lease(
            owner=owner,
            redrive=redrive,
            epoch=held.epoch + 1 if held else 1,
            tag=secrets.token_hex(8),
            drain_until=drain_until,
            longest_timeout=self._longest_timeout.total_seconds(),
            rev=secrets.token_hex(8),
        )
        return taken if self._replace(registry, held, taken) else None

    def hand_back_write(self, fence: Fence, now: datetime, *, may_linger: bool) -> tuple[Lease, Write]:
        """Return the free lease and the write that makes it so, for a transaction of the caller's.

        `may_linger`: a task of the execution was caught, so a call of it may still run, as where one was called again.
        What is there is never shortened. Raises Fenced where the lease is another's by now.
        """
        held = self.current(fence.registry)
        if held is None or held.fence(fence.registry) != fence:
            raise Fenced(f"the lease of {fence.registry} is not this execution's any more")
        linger = timedelta(seconds=held.longest_timeout) + self._margin if may_linger or held.repeated else timedelta(0)
        free = held.having(owner=None, drain_until=max(held.drain_until, now + linger), rev=secrets.token_hex(8))
        return free, _replacing(fence.registry, held, free)

    def _replace(self, registry: str, held: Lease | None, taken: Lease) -> bool:
        try:
            self._ledger.write(_replacing(registry, held, taken))
        except ConditionFailed as failed:
            return (failed.old.get(0) or {}).get("rev") == taken.rev  # a write whose answer was lost
        return True


def owning(fence: Fence) -> Write:
    """Return the check that a step still owns the registry: part of every transaction it writes."""
    return Write(
        key={"pk": partition(fence.registry), "sk": SORT_KEY},
        condition="#owner = :owner AND redrive = :redrive AND epoch = :epoch AND tag = :tag",
        names={"#owner": "owner"},
        values={":owner": fence.owner, ":redrive": fence.redrive, ":epoch": fence.epoch, ":tag": fence.tag},
    )


def _replacing(registry: str, held: Lease | None, taken: Lease) -> Write:
    key = {"pk": partition(registry), "sk": SORT_KEY}
    item = taken.model_dump(mode="json")
    if held is None:
        return Write(key=key, item=item)
    return Write(key=key, item=item, condition="rev = :rev", values={":rev": held.rev})
