"""Redelivering: the password that is in force goes once more to whom lacks it. Nothing is reset.

The rotation that put it in force is opened again, so that whatever happens to an execution, the tick finishes it.
"""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from rekey.errors import Conflict, InputInvalid
from rekey.model.plan import Consumer, Plan
from rekey.model.rotation import Again, Phase, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, Receipt
from rekey.records.bucket import Bucket
from rekey.records.codec import partition, rotation_key
from rekey.records.dynamo import ConditionFailed, Write
from rekey.records.folder import Folder
from rekey.records.ledger import Ledger, following, open_mark, unchanged
from rekey.records.plans import Plans

MOST_PATTERNS = 50


def deliver(ledger: Ledger, bucket: Bucket, registry: str, patterns: Sequence[str], now: datetime) -> Rotation:
    """Have the password in force delivered to every consumer of the pushed plan that lacks it, from the next tick on.

    `patterns` (`web-ci`, `prod-*`, `*`): who is told again though they have it. Returns the rotation as it goes on.
    Raises InputInvalid where no password is in force that could be delivered, where nobody lacks it, and where the plan
    names another account or store by now; PlanMissing, PlanInvalid; Conflict where an execution wrote at that moment.
    """
    rotation = _in_force(ledger, registry)
    plan, _, version = Plans(bucket).pushed(registry)
    pinned = Folder(bucket, registry, rotation.generation).plan()
    _check_same_account(rotation, pinned, plan)
    receipts = ledger.receipts(registry, rotation.generation)
    _check_patterns(patterns, plan, receipts)
    again = told_again([plan.consumers], pinned, receipts, patterns)
    lacks = any(receipt.outcome is ConsumerOutcome.PENDING for receipt in again[0])
    if rotation.outcome == Outcome.FINISHED and not lacks:
        raise InputInvalid(
            f"every consumer of {registry} has the password of {rotation.id}: "
            f"`rekey deliver {registry} '*'` tells all of them once more"
        )
    over = not rotation.phase.open
    anew: dict[str, object] = {"wrong_logins": 0, "logins_spent": False, "new_refusals": 0} if over else {}
    changed = rotation.having(
        phase=Phase.DELIVERING,
        plan_version=version,
        pin_again=True,
        deliver_to=tuple(patterns),
        delivery_asked_at=now,
        cut_short=False,
        finished_at=None,
        outcome="",
        problems=(),
        rev=secrets.token_hex(8),
        **anew,
    )
    stopped = ledger.stopped_after(rotation)
    next_key = {"pk": partition(registry), "sk": rotation_key(rotation.generation + 1)}
    none_follows = unchanged(stopped) if stopped is not None else Write(key=next_key)
    before = ledger.again(registry)
    at_once = Again(registry=registry, tries=0, at=now, rev=secrets.token_hex(8))
    try:
        ledger.table.write(
            following(rotation, changed),
            open_mark(changed),
            following(before or at_once.having(rev=""), at_once),
            none_follows,
        )
    except ConditionFailed as failed:
        if (failed.old.get(0) or {}).get("rev") != changed.rev:
            raise Conflict(f"an execution wrote to {registry} at the same moment: deliver once more") from None
    return changed


def told_again(
    shards: Sequence[Sequence[Consumer]], pinned: Plan, receipts: Sequence[Receipt], patterns: Sequence[str]
) -> list[list[Receipt]]:
    """Return the receipts of each shard of a plan's entries before a password is delivered again.

    Those of consumers that have it stay. For all else of an entry one stands that is pending: so does what is new in
    the plan, or another entry than in the one pinned before, and what the patterns name. Doing it twice is harmless.
    """
    before = {entry.name: entry for entry in pinned.consumers}
    given: dict[str, dict[str, Receipt]] = defaultdict(dict)
    for receipt in receipts:
        given[_entry_of(receipt.consumer)][receipt.consumer] = receipt
    found: list[list[Receipt]] = []
    for entries in shards:
        found.append([])
        for entry in entries:
            mine = list(given[entry.name].values())
            same = before.get(entry.name) == entry
            kept = [receipt for receipt in mine if same and receipt.has_it and not _named(receipt.consumer, patterns)]
            if len(kept) < len(mine) or not mine:
                kept.append(Receipt(entry.name, entry.type, ConsumerOutcome.PENDING, reason="to be told (again)"))
            found[-1] += kept
    return found


def _in_force(ledger: Ledger, registry: str) -> Rotation:
    latest = ledger.latest(registry)
    stopped = latest is not None and latest.phase is Phase.STOPPED
    found = ledger.rotation(registry, latest.generation - 1) if latest is not None and stopped else latest
    if found is None or (found.phase is Phase.FINISHED and not found.completed):
        raise InputInvalid(f"no rotation of {registry} has put a password in force yet: `rekey rotate {registry}` does")
    if not found.completed:
        raise InputInvalid(f"{found.id} is under way, and tells every consumer: `rekey status {registry}` shows how")
    if found.phase is Phase.NEEDS_ATTENTION:
        raise InputInvalid(f"the registry refuses the password of {found.id}: `rekey paste {registry}` leads on")
    return found


def _check_same_account(rotation: Rotation, pinned: Plan, plan: Plan) -> None:
    was, now = pinned.registry, plan.registry
    changed = [
        name
        for name, there, here in (
            ("registry.endpoint", was.endpoint, now.endpoint),
            ("registry.username", was.username, now.username),
            ("store", pinned.store, plan.store),
        )
        if there != here
    ]
    if changed:
        raise InputInvalid(
            f"`{'`, `'.join(changed)}` of the plan changed since {rotation.id}: its password may not be good there. "
            f"`rekey rotate {rotation.registry}` brings a new one there"
        )


def _check_patterns(patterns: Sequence[str], plan: Plan, receipts: Sequence[Receipt]) -> None:
    if len(patterns) > MOST_PATTERNS:
        raise InputInvalid(f"{len(patterns)} names: name {MOST_PATTERNS} at most, or say it with `*`")
    entries = {entry.name for entry in plan.consumers}
    known = entries | {receipt.consumer for receipt in receipts if _entry_of(receipt.consumer) in entries}
    for pattern in patterns:
        if not any(_named(name, [pattern]) for name in known):
            raise InputInvalid(f"the plan of {plan.registry.name} has no consumer `{pattern}`")


def _entry_of(consumer: str) -> str:
    return consumer.partition("/")[0]


def _named(consumer: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in (consumer, _entry_of(consumer)))
