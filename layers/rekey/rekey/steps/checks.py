"""What is looked at before the reset, each with the rights of the function that will need them."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from rekey import runtime
from rekey.contracts import Registry, Store
from rekey.errors import RekeyError
from rekey.gate import Check
from rekey.model.plan import Plan
from rekey.model.rotation import Attempt, AttemptKind, Rotation
from rekey.records.escrow import OF_CHECK
from rekey.records.folder import EntryState, ShardFile
from rekey.steps.bench import Bench


def before_reset(bench: Bench, rotation: Rotation, plan: Plan, registry: Registry, store: Store) -> list[Check]:
    """Return every check of the gate. None of them changes anything that a reader of the password sees."""
    probe = Attempt(
        registry=rotation.registry,
        generation=rotation.generation,
        number=OF_CHECK,
        kind=AttemptKind.RESET,
        nonce=secrets.token_hex(16),
        deadline=runtime.now(),
    )
    token = hashlib.sha256(f"check {rotation.id} {rotation.started_at}".encode()).hexdigest()
    shards = bench.folder(rotation.registry, rotation.generation).shards(rotation.shards)
    return [
        _looked_at("store", lambda: store.check(token)),
        _looked_at("escrow", lambda: bench.escrow.check(probe)),
        _looked_at("registry", registry.check),
        replace(_looked_at("endpoint", registry.reach), can_wait=True),
        *of_consumers(plan, shards),
    ]


def warnings(rotation: Rotation, registry: Registry, store: Store) -> tuple[str, ...]:
    """Return what a person should know of the registry though it stops nothing.

    It gets the stored password only where the registry took it when its contents were read: a wrong login counts.
    """
    try:
        stored = store.current() if rotation.snapshot_at is not None else None
        return tuple(registry.warnings(stored.password if stored else None))
    except RekeyError as error:
        return (f"what outlives the password could not be looked at: {error}",)


def of_time(needed: timedelta, left: timedelta) -> Check:
    """Return whether a whole reset call, with its escrow write, fits into the function's time."""
    if needed <= left:
        return Check("time")
    problem = (
        f"the reset call may take {needed.total_seconds():.0f} s with what follows it, and the function has "
        f"{left.total_seconds():.0f} s: shorten the plan's `timeout`, or raise the stack's ResetTimeout"
    )
    return Check("time", problem)


def of_consumers(plan: Plan, shards: Sequence[ShardFile]) -> list[Check]:
    """Return what `prepare` found, an entry's problem a check. Where it did not get through, nothing is proven."""
    optional = {entry.name for entry in plan.consumers if entry.optional}
    return [
        Check(f"consumer {what}", problem, waivable=True, optional=state.entry in optional)
        for shard in shards
        for state in shard.entries
        for what, _, problem in (text.partition(": ") for text in _problems(shard, state))
    ]


def _problems(shard: ShardFile, state: EntryState) -> list[str]:
    return state.problems if shard.prepared else [f"{state.entry}: was never prepared: see the log of distribute"]


def _looked_at(what: str, look: Callable[[], None]) -> Check:
    try:
        look()
    except RekeyError as error:
        return Check(what, str(error))
    return Check(what)
