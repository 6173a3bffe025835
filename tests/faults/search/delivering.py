"""Deliver, verify and report: what follows on a promoted password."""

from datetime import datetime

from rekey.acts import Way
from rekey.model.rotation import AttemptKind, CallEnd, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from rekey.protocol import REFUSALS_THAT_COUNT, in_force_after
from tests.faults.search import invariants, registry
from tests.faults.search.model import LIMITS, STEP, Guard, Model, Turn, commit, fail, finish, owns, replaced
from tests.faults.search.opening import handed_back
from tests.faults.search.records import NONE, after_arrivals
from tests.faults.search.world import MISREAD, Function, Held, Line, World


def deliver(model: Model, world: World, number: int) -> list[Turn]:
    """One shard with one consumer that knows no compare-and-set: read, mark, write, note the receipt."""
    me, book = world.functions[number], model.book
    if me.at == "enter":
        line = owns(model, world, me).line(me.generation)
        if line is None or book.rotation(line.rotation).store_version is None:
            return [Turn("nothing to deliver", STEP, finish(world, number, "report", error=True))]
        if line.delivered:
            return [Turn("all is delivered", STEP, finish(world, number, "verify"))]
        version = world.store.find(book.rotation(line.rotation).store_version or "")
        assert version is not None
        me = me._replace(rotation=line.rotation, password=version.password, at="tell")
        return [Turn("reads what to deliver", STEP, replaced(world, number, me))]
    if me.at == "tell":
        line = owns(model, world, me).line(me.generation)
        if line is None or not book.rotation(line.rotation).told:
            told = book.having(me.rotation, told=True)
            world = commit(model, world, me, told)
        return [Turn("marks consumers as told", STEP, replaced(world, number, me._replace(at="write")))]
    if me.at == "write":
        if me.left < 0:  # each request looks at the clock before it leaves (`consumers/shard.py`)
            return [Turn("is out of time", STEP, fail(world, number))]
        held = Held(me.password, me.generation)
        invariants.at_telling(world, held, tried=_tried(model, me.rotation, world.ledger.line(me.generation)))
        world = world._replace(consumer=held)
        return [Turn("writes to the consumer", STEP, replaced(world, number, me._replace(at="receipt")))]
    line = owns(model, world, me).line(me.generation)
    if line is not None:
        world = world._replace(ledger=world.ledger.having_line(line._replace(delivered=True)))
    return [Turn("notes the receipt", STEP, finish(world, number, "verify"))]


def _tried(model: Model, rotation: int, line: Line | None) -> bool:
    verdict = model.book.rotation(rotation).new_verdict
    if verdict is LoginVerdict.ACCEPTED:
        return True
    attempts = [model.book.attempt(number) for number in line.attempts] if line is not None else []
    generates = model.config.way is Way.GENERATES  # whatever can be read there is a positive answer
    resets = [attempt for attempt in attempts if attempt.kind is AttemptKind.RESET]
    return any(generates or attempt.end is CallEnd.ANSWERED for attempt in resets)


def verify(model: Model, world: World, number: int) -> list[Turn]:
    """Ask what is not known yet: the new password once in each execution, then the old one."""
    me, book = world.functions[number], model.book
    line = owns(model, world, me).line(me.generation)
    if line is None or book.rotation(line.rotation).store_version is None:
        return [Turn("nothing to verify", STEP, finish(world, number, "report", error=True))]
    if me.at == "enter":
        me = me._replace(rotation=line.rotation, at="new")
        if line.attempts:
            me = me._replace(attempt=line.attempts[-1])
        rotation = book.rotation(line.rotation)
        if rotation.phase is Phase.DELIVERING:
            changed = book.having(line.rotation, phase=Phase.VERIFYING)
            world, me = commit(model, world, me, changed), me._replace(rotation=changed)
        return [Turn("verifies", STEP, replaced(world, number, me))]
    rotation = book.rotation(me.rotation)
    spent = rotation.wrong_logins >= LIMITS.wrong_logins
    if me.at == "new":
        well = not rotation.new_refusals or registry.healthy(model, world)
        unheard = not _heard(model, rotation)
        if unheard and not spent and well:
            return _ask_new(model, world, number, rotation)
        if unheard and not model.without(Guard.NEW_PROVEN_FIRST):
            return _stays_unheard(model, world, number, rotation, spent=spent)
        return [Turn("the new password needs no asking", STEP, replaced(world, number, me._replace(at="old")))]
    if me.at == "old":
        return _ask_old(model, world, number, rotation)
    open_attempt = me.attempt != NONE and book.attempt(line.attempts[-1]).outcome is None
    back = open_attempt and rotation.new_verdict is LoginVerdict.ACCEPTED
    return [Turn("verified", STEP, finish(world, number, "reset" if back else "report"))]


def _stays_unheard(model: Model, world: World, number: int, rotation: Rotation, *, spent: bool) -> list[Turn]:
    me = world.functions[number]
    if not spent:
        return [Turn("asks no login: the registry is not well", STEP, replaced(world, number, me._replace(at="end")))]
    if rotation.new_verdict is LoginVerdict.ACCEPTED and not rotation.new_refusals:
        changed = model.book.having(me.rotation, logins_spent=True)
        after = replaced(commit(model, world, me, changed), number, me._replace(at="end", rotation=changed))
        return [Turn("asks no login: they are spent", STEP, after)]
    changed = model.book.having(me.rotation, phase=Phase.NEEDS_ATTENTION, problems=("logins spent",))
    world = commit(model, world, me, changed)
    return [Turn("needs attention: unproven, and the logins are spent", STEP, finish(world, number, "report"))]


def _ask_new(model: Model, world: World, number: int, rotation: Rotation) -> list[Turn]:
    me, book, found = world.functions[number], model.book, []
    version = world.store.find(rotation.store_version or "")
    assert version is not None
    for label, verdict, asked in registry.login(model, world, me, version.password):
        said = f"the promoted password is {verdict}{label}"
        if verdict is LoginVerdict.ACCEPTED:
            changed = book.having(me.rotation, new_verdict=verdict, new_refusals=0, heard_by=rotation.execution)
            proven = rotation.new_verdict is verdict
            attempt = me.attempt if proven else book.having(me.attempt, login=verdict)
            after = commit(model, asked, me, changed, NONE if proven else attempt)
            after = after._replace(truth=after.truth._replace(heard=version.password))
            found.append(
                Turn(said, STEP, replaced(after, number, me._replace(rotation=changed, attempt=attempt, at="old")))
            )
        elif verdict is LoginVerdict.REFUSED:
            refusals = rotation.new_refusals + 1
            changes: dict[str, object] = {"new_refusals": refusals, "wrong_logins": rotation.wrong_logins + 1}
            where = "verify"
            if refusals >= REFUSALS_THAT_COUNT:
                changes |= {"phase": Phase.NEEDS_ATTENTION, "new_verdict": verdict, "problems": ("refused",)}
                where = "report"
            after = commit(model, asked, me, book.having(me.rotation, **changes))
            found.append(Turn(said, STEP, finish(after, number, where, until=1)))
        else:
            after_that = "old" if model.without(Guard.NEW_PROVEN_FIRST) else "end"
            found.append(Turn(said, STEP, replaced(asked, number, me._replace(at=after_that))))
    return found


def _ask_old(model: Model, world: World, number: int, rotation: Rotation) -> list[Turn]:
    me, book, found = world.functions[number], model.book, []
    done = replaced(world, number, me._replace(at="end"))
    if rotation.old_verdict is LoginVerdict.REFUSED or rotation.old_version is None or rotation.logins_spent:
        return [Turn("the old password needs no asking", STEP, done)]
    if rotation.wrong_logins >= LIMITS.wrong_logins:
        changed = book.having(me.rotation, logins_spent=True)
        after = replaced(commit(model, world, me, changed), number, me._replace(at="end", rotation=changed))
        return [Turn("the wrong logins are spent", STEP, after)]
    if rotation.old_refusals and not registry.healthy(model, world):
        return [Turn("asks no old password: the registry is not well", STEP, done)]
    version = world.store.find(rotation.old_version)
    assert version is not None
    for label, verdict, asked in registry.login(model, world, me, version.password):
        said = f"the old password is {verdict}{label}"
        changes: dict[str, object] = {"old_verdict": verdict}
        if verdict is LoginVerdict.ACCEPTED:
            changes["old_refusals"] = 0
        again = False
        if verdict is LoginVerdict.REFUSED:
            refusals = rotation.old_refusals + 1
            again = refusals < REFUSALS_THAT_COUNT
            changes = {"old_refusals": refusals, "wrong_logins": rotation.wrong_logins + 1}
            changes["old_verdict"] = None if again else verdict
            if rotation.called_at is None and not model.without(Guard.PASTE_DATED_LATE):
                changes["called_at"] = _in_force_after(model, world, me, rotation.having(old_refusals=refusals))
        changed = book.having(me.rotation, **changes)
        after = commit(model, asked, me, changed)
        if again:
            found.append(Turn(said, STEP, finish(after, number, "verify", until=1)))
        else:
            found.append(Turn(said, STEP, replaced(after, number, me._replace(at="end", rotation=changed))))
    return found


def _in_force_after(model: Model, world: World, me: Function, rotation: Rotation) -> datetime | None:
    line = world.ledger.line(me.generation)
    assert line is not None
    attempts = [model.book.attempt(number) for number in model.attempts_of(line)]
    return in_force_after(rotation, attempts[-1], attempts) if attempts else None


def report(model: Model, world: World, number: int) -> list[Turn]:
    """Write the end and hand the lease back, in one transaction."""
    me, book, lease = world.functions[number], model.book, world.ledger.lease
    if lease is None or (lease.owner, lease.redrive) != (me.arn, me.redrive):
        return [Turn("is not the owner: ends", STEP, finish(world, number, "ended"))]
    line = world.ledger.latest
    if line is None or book.rotation(line.rotation).execution != me.arn:
        return [
            Turn("ends without a rotation", STEP, finish(handed_back(model, world, lingers=me.error), number, "ended"))
        ]
    rotation = book.rotation(line.rotation)
    changes: dict[str, object] = {"phase": _end(model, rotation, line)}
    if changes["phase"] is Phase.FINISHED and rotation.phase is not Phase.FINISHED:
        if _unproven(model, rotation):
            changes["problems"] = ("unproven",)  # a person is told
        if rotation.called_at is None and not _datable(model, rotation, line):
            world = world._replace(truth=world.truth._replace(undated=world.truth.undated + 1))
    world = world._replace(
        ledger=world.ledger.having_line(line._replace(rotation=book.having(line.rotation, **changes)))
    )
    if rotation.completed and rotation.called_at is not None and not model.without(Guard.REQUEST_CLOSED):
        world = _closed(world, rotation)
    return [
        Turn(f"reports {changes['phase']}", STEP, finish(handed_back(model, world, lingers=me.error), number, "ended"))
    ]


def _datable(model: Model, rotation: Rotation, line: Line) -> bool:
    """Whether the old password can say when a paste came into force: it was good before a call, and can be asked."""
    attempts = [model.book.attempt(number) for number in model.attempts_of(line)]
    good_before = any(each.called_at and each.old_before is LoginVerdict.ACCEPTED for each in attempts)
    return good_before and not rotation.logins_spent


def _unproven(model: Model, rotation: Rotation) -> bool:
    return not (_heard(model, rotation) and _dead(rotation))


def _heard(model: Model, rotation: Rotation) -> bool:
    return rotation.new_verdict is LoginVerdict.ACCEPTED and (rotation.heard or model.without(Guard.NEW_HEARD))


def _dead(rotation: Rotation) -> bool:
    return rotation.old_version is None or rotation.old_verdict is LoginVerdict.REFUSED


def _end(model: Model, rotation: Rotation, line: Line) -> Phase:
    if not rotation.completed or rotation.phase in (Phase.NEEDS_ATTENTION, Phase.STOPPED, Phase.FINISHED):
        return rotation.phase
    if not line.delivered or rotation.new_verdict is not LoginVerdict.ACCEPTED:
        return rotation.phase
    return Phase.FINISHED if rotation.logins_spent or not _unproven(model, rotation) else rotation.phase


def _closed(world: World, rotation: Rotation) -> World:
    called, requests = rotation.called_at, []
    version = world.store.find(rotation.store_version or "")
    assert called is not None
    assert version is not None
    for request in world.ledger.requests:
        if request.open and called > after_arrivals(request.arrived):
            if version.password != MISREAD:  # what was read is not what the reset gave: its birth is unknown
                invariants.at_closing(world, request.arrived, version.password)
            requests.append(request._replace(open=False))
        else:
            requests.append(request)
    return world._replace(ledger=world.ledger._replace(requests=tuple(requests)))
