"""Begin: the lease, the rotation that is open or a new one, and where to enter (`steps/begin.py`)."""

from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, Phase, Rotation
from tests.faults.search.model import (
    LONGEST,
    MARGIN,
    STEP,
    Guard,
    Model,
    Turn,
    finish,
    owns,
    replaced,
    unused,
)
from tests.faults.search.records import moment
from tests.faults.search.world import Function, Lease, Ledger, Line, World

REGISTRY = "r"


def attempt_of(model: Model, world: World, place: tuple[int, int], kind: AttemptKind, left: int) -> Attempt:
    """Return a new attempt with its generation and number; its nonce is one that no other has."""
    nonce = "" if model.without(Guard.NONCE) else str(world.claims)
    return Attempt(
        registry=REGISTRY, generation=place[0], number=place[1], kind=kind, nonce=nonce, deadline=moment(left)
    )


def rotation_of(generation: int, reason: Reason, execution: str, attempts: int) -> Rotation:
    """Return a new rotation."""
    return Rotation(
        registry=REGISTRY,
        generation=generation,
        phase=Phase.RESETTING,
        reason=reason,
        plan_version="",
        started_at=moment(0),
        execution=execution,
        attempts=attempts,
        attempts_before=attempts,
    )


def begin(model: Model, world: World, number: int) -> list[Turn]:
    """Return what an invocation of Begin does next: it takes the lease, then opens a rotation."""
    function = world.functions[number]
    if function.at == "open":
        return _opened(model, world, number)
    if function.redrive:
        return [Turn("redriven: stops", STEP, finish(world, number, "ended"))]
    lease = world.ledger.lease
    if lease is not None and (lease.owner, lease.redrive) == (function.arn, function.redrive):
        return _with_lease(world, number, lease, "has the lease")
    if lease is not None and lease.owner is not None and _alive(world, lease.owner):
        return [Turn("another has the lease: stops", STEP, finish(world, number, "ended"))]
    drain = 0
    if lease is not None:
        drain = max(lease.drain, 0)
        if lease.owner is not None and not model.without(Guard.DRAIN_AT_TAKEOVER):
            drain = max(drain, LONGEST + MARGIN)
    tag = unused(_tags(world))
    taken = Lease(function.arn, function.redrive, lease.epoch + 1 if lease else 1, tag, drain)
    world = world._replace(ledger=world.ledger._replace(lease=taken))
    return _with_lease(world, number, taken, "takes the lease")


def _alive(world: World, arn: str) -> bool:
    return any(execution.arn == arn for execution in world.executions)


def _tags(world: World) -> list[int]:
    leases = [ledger.lease for ledger in (world.ledger, world.backup) if ledger is not None]
    tags = [lease.tag for lease in leases if lease is not None]
    tags += [execution.tag for execution in world.executions]
    tags += [world.ended.tag] if world.ended is not None else []
    return tags + [function.tag for function in world.functions]


def _with_lease(world: World, number: int, lease: Lease, label: str) -> list[Turn]:
    function = world.functions[number]
    if lease.drain > 0:
        world = finish(world, number, "begin", until=lease.drain, epoch=lease.epoch, tag=lease.tag)
        return [Turn(f"{label}, and waits out the old owner", STEP, renumbered(world))]
    function = function._replace(epoch=lease.epoch, tag=lease.tag, at="open")
    return [Turn(label, STEP, renumbered(replaced(world, number, function)))]


def renumbered(world: World) -> World:
    """Return the world with its epochs counted anew in their order, so that they do not grow for ever."""
    leases = [ledger.lease for ledger in (world.ledger, world.backup) if ledger is not None]
    epochs = {lease.epoch for lease in leases if lease is not None} | {0}
    epochs |= {execution.epoch for execution in world.executions}
    epochs |= {world.ended.epoch} if world.ended is not None else set()
    epochs |= {function.epoch for function in world.functions}
    rank = {epoch: place for place, epoch in enumerate(sorted(epochs))}

    def ledger(old: Ledger) -> Ledger:
        return old if old.lease is None else old._replace(lease=old.lease._replace(epoch=rank[old.lease.epoch]))

    return world._replace(
        ledger=ledger(world.ledger),
        backup=None if world.backup is None else ledger(world.backup),
        executions=tuple(each._replace(epoch=rank[each.epoch]) for each in world.executions),
        functions=tuple(each._replace(epoch=rank[each.epoch]) for each in world.functions),
        ended=None if world.ended is None else world.ended._replace(epoch=rank[world.ended.epoch]),
    )


def handed_back(model: Model, world: World, *, lingers: bool) -> World:
    """Return the world with the lease free. `lingers`: a first call of a task may still run."""
    lease = world.ledger.lease
    assert lease is not None
    linger = LONGEST + MARGIN if lingers and not model.without(Guard.DRAIN_AT_HAND_BACK) else 0
    free = lease._replace(owner=None, redrive=0, drain=max(lease.drain, linger, 0))
    return world._replace(ledger=world.ledger._replace(lease=free))


def _opened(model: Model, world: World, number: int) -> list[Turn]:
    function, book = world.functions[number], model.book
    ledger = owns(model, world, function)
    line = ledger.latest
    label = "goes on with the rotation"
    if line is not None and book.rotation(line.rotation).phase.open and _overtaken(model, world, line):
        line = line._replace(rotation=book.having(line.rotation, phase=Phase.FINISHED))
        ledger = ledger.having_line(line)
    if line is not None and book.rotation(line.rotation).phase.open:
        line = line._replace(rotation=book.having(line.rotation, execution=function.arn))
    else:
        if not any(request.open for request in ledger.requests):
            lingers = function.retried and not model.without(Guard.RETRIES_SEEN)
            free = handed_back(model, world._replace(ledger=ledger), lingers=lingers)
            return [Turn("nothing is asked for: stops", STEP, finish(free, number, "ended"))]
        line, label = _fresh(model, world, line, function), "opens a rotation"
        world = world._replace(truth=world.truth._replace(wrong=0))
    world = world._replace(ledger=ledger.having_line(line))
    where = "deliver" if book.rotation(line.rotation).phase in (Phase.DELIVERING, Phase.VERIFYING) else "reset"
    data = {"epoch": function.epoch, "tag": function.tag, "generation": line.generation}
    return [Turn(label, STEP, finish(world, number, where, **data))]


def _overtaken(model: Model, world: World, line: Line) -> bool:
    current = world.store.current
    if model.without(Guard.STORE_ASKED) or current is None or current.generation < line.generation:
        return False
    mine = [model.book.attempt(attempt).store_token for attempt in line.attempts]
    return current.token not in [*mine, model.book.rotation(line.rotation).store_version]


def _fresh(model: Model, world: World, latest: Line | None, function: Function) -> Line:
    """Return a new rotation: above what ledger and store have, or with the number of one that was stopped."""
    current = None if model.without(Guard.STORE_ASKED) else world.store.current
    in_store = current.generation if current is not None else 0
    generation, attempts = in_store + 1, 0
    kept: tuple[int, ...] = ()
    if latest is not None:
        last = model.book.rotation(latest.rotation)
        generation = max(latest.generation, in_store) + 1
        if last.phase is Phase.STOPPED and latest.generation > in_store:
            generation, attempts, kept = latest.generation, last.attempts, latest.attempts
    rotation = rotation_of(generation, model.config.reason, function.arn, attempts)
    return Line(generation, model.book.add(rotation), kept)
