"""Handing the lease back, at the end or where there is nothing to do."""

from collections.abc import Sequence
from datetime import datetime

from rekey.errors import Conflict, Fenced
from rekey.model.rotation import Fence
from rekey.records.dynamo import ConditionFailed, Write
from rekey.steps.bench import Bench


def hand_back(
    bench: Bench, fence: Fence, now: datetime, *, may_linger: bool = False, also: Sequence[Write] = ()
) -> None:
    """Free the lease, in one transaction with whatever ends with it.

    Raises Fenced where the lease is another's, Conflict where what `also` follows from has moved on.
    """
    free, write = bench.leases.hand_back_write(fence, now, may_linger=may_linger)
    try:
        bench.ledger.table.write(write, *also)
    except ConditionFailed as failed:
        if (failed.old.get(0) or {}).get("rev") == free.rev:
            return  # an earlier try of this very write, whose answer was lost
        if 0 in failed.old:
            raise Fenced(f"the lease of {fence.registry} is not this execution's any more") from None
        raise Conflict(f"the records of {fence.registry} moved on while this execution ended") from None
