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
    commit,
    finish,
    owns,
    replaced,
    unmet,
    unused,
)
from tests.faults.search.records import after_arrivals, moment
from tests.faults.search.world import Function, Lease, Ledger, Line, World

REGISTRY = "r"


def attempt_of(model: Model, world: World, place: tuple[int, int], kind: AttemptKind, left: int) -> Attempt:
    """Return a new attempt with its generation and number; its nonce is one that no other has."""
    nonce = "" if model.without(Guard.NONCE) else str(world.claims)
    return Attempt(
        registry=REGISTRY, generation=place[0], number=place[1], kind=kind, nonce=nonce, deadline=moment(left)
    )


def rotation_of(generation: int, reason: Reason, execution: str, attempts: int, wrong_logins: int = 0) -> Rotation:
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
        wrong_logins=wrong_logins,
    )


def begin(model: Model, world: World, number: int) -> list[Turn]:
    """Return what an invocation of Begin does next: it takes the lease, closes what is over, opens a rotation."""
    function = world.functions[number]
    if function.at == "open":
        return _looked(model, world, number)
    if function.redrive:
        return [Turn("redriven: stops", STEP, finish(world, number, "ended"))]
    lease = world.ledger.lease
    if lease is not None and (lease.owner, lease.redrive) == (function.arn, function.redrive):
        if function.retried and not lease.repeated and not model.without(Guard.RETRIES_SEEN):
            return [Turn("enters again", STEP, repeated(world))]
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
    if function.retried and not model.without(Guard.RETRIES_SEEN):
        return [Turn("takes the lease", STEP, renumbered(world))]
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


def repeated(world: World) -> World:
    """Return the world with it noted on the lease that a task of its owner was called again."""
    lease = world.ledger.lease
    assert lease is not None
    return world._replace(ledger=world.ledger._replace(lease=lease._replace(repeated=True)))


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
    """Return the world with the lease free. `lingers`: a task was caught, so a call of it may still run."""
    lease = world.ledger.lease
    assert lease is not None
    waits = (lingers or lease.repeated) and not model.without(Guard.DRAIN_AT_HAND_BACK)
    free = lease._replace(
        owner=None, redrive=0, repeated=False, drain=max(lease.drain, LONGEST + MARGIN if waits else 0)
    )
    return world._replace(ledger=world.ledger._replace(lease=free))


def _looked(model: Model, world: World, number: int) -> list[Turn]:
    """Go on with what is open, or close it and open the next: one transaction."""
    function, book = world.functions[number], model.book
    ledger = owns(model, world, function)
    line = ledger.latest
    if line is None or not book.rotation(line.rotation).phase.open:
        return _opened(model, world, number)
    why = "overtaken" if _overtaken(model, world, line) else _cut_short_by(model, world, line)
    if not why:
        line = line._replace(rotation=book.having(line.rotation, execution=function.arn))
        return _entered(model, world, number, line, "goes on with the rotation")
    function = function._replace(generation=line.generation, rotation=line.rotation)
    world = commit(model, world, function, book.having(line.rotation, phase=Phase.FINISHED))
    return _opened(model, world, number, f"closes the rotation ({why}), ")


def _opened(model: Model, world: World, number: int, closes: str = "") -> list[Turn]:
    function, line = world.functions[number], world.ledger.latest
    ledger = owns(model, world, function)
    if not world.answers and not any(request.open for request in ledger.requests):
        free = handed_back(model, world, lingers=False)
        return [Turn(f"{closes}nothing is asked for: stops", STEP, finish(free, number, "ended"))]
    fresh = _fresh(model, world, line, function)
    if not model.book.rotation(fresh.rotation).wrong_logins:
        world = world._replace(truth=world.truth._replace(wrong=0))
    return _entered(model, world, number, fresh, f"{closes}opens a rotation")


def _entered(model: Model, world: World, number: int, line: Line, label: str) -> list[Turn]:
    function, book = world.functions[number], model.book
    world = world._replace(ledger=world.ledger.having_line(line))
    where = "deliver" if book.rotation(line.rotation).phase in (Phase.DELIVERING, Phase.VERIFYING) else "reset"
    data = {"epoch": function.epoch, "tag": function.tag, "generation": line.generation}
    return [Turn(label, STEP, finish(world, number, where, **data))]


def _overtaken(model: Model, world: World, line: Line) -> bool:
    current = world.store.current
    if model.without(Guard.STORE_ASKED) or current is None or current.generation < line.generation:
        return False
    mine = [token for attempt in line.attempts for token in model.book.attempt(attempt).store_tokens]
    return current.token not in [*mine, model.book.rotation(line.rotation).store_version]


def _cut_short_by(model: Model, world: World, line: Line) -> str:
    known = {model.book.attempt(number).escrow_token for each in world.ledger.lines for number in each.attempts}
    forgotten = any(kept.answer is not None and kept.token not in known for kept in world.escrow)
    if forgotten and model.book.rotation(line.rotation).completed and not model.without(Guard.FORGOTTEN_NEXT):
        return "a forgotten answer"
    return "leaked since" if _leaked_since(model, world, line) else ""


def _leaked_since(model: Model, world: World, line: Line) -> bool:
    """Whether a leak was reported that the rotation's completed reset does not meet."""
    rotation = model.book.rotation(line.rotation)
    return rotation.completed and rotation.phase is not Phase.NEEDS_ATTENTION and unmet(model, world, line)


def _fresh(model: Model, world: World, latest: Line | None, function: Function) -> Line:
    """Return a new rotation: above what ledger and store have, or with the number of one that was stopped."""
    current = None if model.without(Guard.STORE_ASKED) else world.store.current
    in_store = current.generation if current is not None else 0
    generation, attempts, spent = in_store + 1, 0, 0
    kept: tuple[int, ...] = ()
    if latest is not None:
        last = model.book.rotation(latest.rotation)
        generation = max(latest.generation, in_store) + 1
        if last.phase is Phase.STOPPED and latest.generation > in_store:
            generation, attempts, kept = latest.generation, last.attempts, latest.attempts
            spent = 0 if _asked_since(world, last) else last.wrong_logins
    rotation = rotation_of(generation, model.config.reason, function.arn, attempts, spent)
    return Line(generation, model.book.add(rotation), kept)


def _asked_since(world: World, stopped: Rotation) -> bool:
    """Whether anybody asked anew since a rotation stopped; else its wrong logins count on."""
    ended = stopped.finished_at
    return any(
        request.open and (ended is None or after_arrivals(request.arrived) >= ended)
        for request in world.ledger.requests
    )
