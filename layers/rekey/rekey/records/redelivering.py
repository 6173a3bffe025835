"""Redelivering: the password in force is delivered to whoever lacks it. Nothing is reset.

What a person asks for is an item of its own: Begin takes it up, under the lease and in one transaction with the
rotation that it opens again, so that no execution that runs loses it, and whatever happens to the next one, the tick
finishes it.
"""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from rekey.errors import Conflict, InputInvalid
from rekey.model.plan import Consumer, Plan, Store
from rekey.model.rotation import Again, Phase, RedeliveryRequest, Rotation
from rekey.model.verdict import ConsumerOutcome, Receipt
from rekey.records.bucket import Bucket
from rekey.records.dynamo import ConditionFailed, Write
from rekey.records.folder import Folder
from rekey.records.ledger import Ledger, following, redelivery_key
from rekey.records.plans import Plans

MOST_PATTERNS = 50
_PLACE = ("type", "name", "address", "namespace", "mount", "path")
"""What says where a store keeps the password; how one gets in there may change."""


def deliver(ledger: Ledger, bucket: Bucket, registry: str, patterns: Sequence[str], now: datetime) -> RedeliveryRequest:
    """Have the password in force delivered to every consumer of the pushed plan that lacks it, from the next tick on.

    `patterns` (`web-ci`, `prod-*`, `*`): who is told again though they have it, beside whom an earlier request named
    that waits still. Raises InputInvalid where no password is in force that could be delivered, and where the plan has
    another account or store by now; PlanMissing, PlanInvalid; Conflict where somebody wrote at that moment.
    """
    rotation = _in_force(ledger, registry)
    plan = Plans(bucket).pushed(registry)[0]
    check_same_account(rotation, Folder(bucket, registry, rotation.generation).plan(), plan)
    _check_patterns(patterns, plan)
    there = ledger.redelivery(registry)
    waiting = there.patterns if there is not None and there.generation == rotation.generation else ()
    request = RedeliveryRequest(
        registry=registry,
        generation=rotation.generation,
        patterns=tuple(dict.fromkeys((*waiting, *patterns))),
        asked_at=now,
        rev=secrets.token_hex(8),
    )
    if len(request.patterns) > MOST_PATTERNS:
        raise InputInvalid(f"{len(request.patterns)} names: {MOST_PATTERNS} at most, or say it with `*`")
    before = ledger.again(registry)
    told = before.told if before is not None else ""
    at_once = Again(registry=registry, tries=0, at=now, told=told, rev=secrets.token_hex(8))
    try:
        ledger.table.write(_replacing(there, request), following(before or at_once.having(rev=""), at_once))
    except ConditionFailed as failed:
        if (failed.old.get(0) or {}).get("rev") != request.rev:
            raise Conflict(f"somebody wrote to {registry} at the same moment: deliver once more") from None
    return request


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


def check_same_account(rotation: Rotation, pinned: Plan, plan: Plan) -> None:
    """Raise InputInvalid unless a plan names the account and the store that a rotation's password is of."""
    was, now = pinned.registry, plan.registry
    changed = [
        name
        for name, there, here in (
            ("registry.endpoint", was.endpoint, now.endpoint),
            ("registry.username", was.username, now.username),
            ("store", _place(pinned.store), _place(plan.store)),
        )
        if there != here
    ]
    if changed:
        raise InputInvalid(
            f"`{'`, `'.join(changed)}` of the plan changed since {rotation.id}: its password may not be good there. "
            f"`rekey rotate {rotation.registry}` brings a new one there"
        )


def _place(store: Store) -> list[object]:
    return [getattr(store, name, None) for name in _PLACE]


def _in_force(ledger: Ledger, registry: str) -> Rotation:
    latest = ledger.latest(registry)
    stopped = latest is not None and latest.phase is Phase.STOPPED
    found = ledger.rotation(registry, latest.generation - 1) if latest is not None and stopped else latest
    if found is None or not (found.phase.open or found.completed):
        raise InputInvalid(f"no rotation of {registry} has put a password in force yet: `rekey rotate {registry}` does")
    if found.phase is Phase.NEEDS_ATTENTION:
        raise InputInvalid(f"{found.id} needs a person first: {'; '.join(found.problems)}")
    if not found.completed:
        raise InputInvalid(f"{found.id} is under way, and tells every consumer: `rekey status {registry}` shows how")
    return found


def _check_patterns(patterns: Sequence[str], plan: Plan) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(entry.name, _entry_of(pattern)) for entry in plan.consumers):
            raise InputInvalid(f"the plan of {plan.registry.name} has no consumer `{pattern}`")


def _replacing(there: RedeliveryRequest | None, request: RedeliveryRequest) -> Write:
    key, item = redelivery_key(request.registry), request.model_dump(mode="json")
    return Write(key=key, item=item, condition="rev = :rev", values={":rev": there.rev}) if there else Write(key, item)


def _entry_of(consumer: str) -> str:
    return consumer.partition("/")[0]


def _named(consumer: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in (consumer, _entry_of(consumer)))
