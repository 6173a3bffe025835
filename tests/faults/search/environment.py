"""Everything that can happen next in a state: functions, executions, the tick, people, faults, the clock."""

from collections.abc import Callable

from rekey.acts import Way
from rekey.model.rotation import AttemptKind, Phase
from tests.faults.search import delivering, manual, opening, registry
from tests.faults.search.model import (
    FAULT,
    LIFE,
    STEP,
    TIME,
    Conflicted,
    Fault,
    FencedOff,
    Guard,
    Model,
    Turn,
    fail,
    finish,
    gone,
    having_execution,
    later,
    listener,
    losing,
    owns,
    replaced,
    unused,
)
from tests.faults.search.records import moment
from tests.faults.search.reset import Reset
from tests.faults.search.world import Execution, Flying, Function, Ledger, Request, World

_STEPS: dict[str, Callable[[Model, World, int], list[Turn]]] = {
    "begin": opening.begin,
    "reset": lambda model, world, number: Reset(model, world, number).turns(),
    "deliver": delivering.deliver,
    "verify": delivering.verify,
    "report": delivering.report,
}
_THAT_ENTER = ("reset", "deliver", "verify")
_FUNCTIONS_AT_ONCE = 3
_FROZEN = -2
"""Seconds to the deadline at which a function dies, or is frozen."""


def turns(model: Model, world: World) -> list[Turn]:
    """Return every transition out of a state. Raises Violation."""
    found: list[Turn] = []
    busy = False
    for number, function in enumerate(world.functions):
        if function.until > 0:
            pass  # it waits
        elif function.stalled:
            woken = replaced(world, number, function._replace(stalled=False))
            found.append(Turn(f"{_name(function)} goes on", STEP, woken))
        else:
            busy = True
            found += _acts(model, world, number)
        found += _function_faults(model, world, number)
    for execution in world.executions:
        if not execution.invoked and execution.until <= 0 and len(world.functions) < _FUNCTIONS_AT_ONCE:
            busy = True
            found.append(_invoked(world, execution))
        if model.may(world, Fault.STOP_EXECUTION):
            found.append(_stopped(model, world, execution))
    found += registry.late(world)
    found += _tick(model, world)
    found += manual.turns(model, world)
    found += _other_faults(model, world)
    if world.registry.down:
        found.append(Turn("the user database is back", STEP, _down(world, down=False)))
    if not busy:
        found.append(Turn("a second passes", TIME, _second(model, world)))
    return found


def _name(function: Function) -> str:
    late = "" if function.attached else " (nobody listens)"
    return f"{function.arn}.{function.kind}{late}"


def _acts(model: Model, world: World, number: int) -> list[Turn]:
    function = world.functions[number]
    name = _name(function)
    try:
        if function.retried and function.at == "enter" and function.kind in _THAT_ENTER:
            found = [_noted_as_repeated(model, world, number)]
        else:
            found = _STEPS[function.kind](model, world, number)
    except Conflicted:
        found = [Turn("meets a conflict", STEP, finish(world, number, function.kind, until=1))]
    except FencedOff:
        found = [Turn("is fenced off", STEP, fail(world, number))]
    return [Turn(f"{name} {turn.label}", turn.kind, turn.world) for turn in found]


def _noted_as_repeated(model: Model, world: World, number: int) -> Turn:
    """Note on the lease that a task was called before (`Bench.enter`)."""
    function = world.functions[number]
    owns(model, world, function)
    noted = world if model.without(Guard.RETRIES_SEEN) else opening.repeated(world)
    return Turn("enters again", STEP, replaced(noted, number, function._replace(retried=False)))


def _invoked(world: World, execution: Execution) -> Turn:
    function = Function(
        execution.arn,
        execution.redrive,
        execution.where,
        execution.epoch,
        execution.tag,
        execution.generation,
        LIFE,
        error=execution.error,
        retried=execution.retried and execution.where != "report",  # that one does not look
    )
    world = having_execution(world, execution._replace(invoked=True))
    functions = tuple(sorted([*world.functions, function], key=repr)) if world.functions else (function,)
    return Turn(f"{execution.arn} calls {execution.where}", STEP, world._replace(functions=functions))


def _function_faults(model: Model, world: World, number: int) -> list[Turn]:
    if world.faults <= 0:
        return []
    function, found = world.functions[number], []
    paid = world._replace(faults=world.faults - 1)
    execution = listener(world, function)
    name = _name(function)
    if Fault.CRASH in model.config.may:
        found.append(Turn(f"{name} dies", FAULT, _again(gone(paid, number), execution)))
    if Fault.STALL in model.config.may and not function.stalled:
        found.append(Turn(f"{name} hangs", FAULT, replaced(paid, number, function._replace(stalled=True))))
    if Fault.DUPLICATE in model.config.may and execution is not None:
        left_alone = replaced(paid, number, function._replace(attached=False, stalled=True))
        found.append(Turn(f"{name} is called again, and hangs", FAULT, _again(left_alone, execution)))
    return found


def _again(world: World, execution: Execution | None) -> World:
    """Return the world after the state machine heard nothing of a task: it tries it again."""
    if execution is None:
        return world
    return having_execution(world, execution._replace(invoked=False, until=0, retried=True))


def _stopped(model: Model, world: World, execution: Execution) -> Turn:
    """Stop an execution from outside. A function of it goes on."""
    who = (execution.arn, execution.redrive)
    functions = tuple(
        each._replace(attached=False, stalled=True) if each.attached and (each.arn, each.redrive) == who else each
        for each in world.functions
    )
    world = world._replace(
        executions=tuple(each for each in world.executions if each != execution),
        functions=functions,
        faults=world.faults - 1,
        ended=execution._replace(invoked=False, until=0) if Fault.REDRIVE in model.config.may else None,
    )
    return Turn(f"{execution.arn} is stopped", FAULT, world)


def due(model: Model, world: World) -> bool:
    """Whether the tick would start an execution (`steps/trigger.py`)."""
    line = world.ledger.latest
    rotation = model.book.rotation(line.rotation) if line is not None else None
    if line is None or rotation is None or not rotation.phase.open:
        return any(request.open for request in world.ledger.requests)
    mine = model.attempts_of(line)
    last = model.book.attempt(mine[-1]) if mine else None
    paste = last is not None and last.kind is AttemptKind.PASTED and last.outcome is None
    if rotation.phase is Phase.NEEDS_ATTENTION:
        return paste
    if rotation.phase is Phase.READY:
        return paste or rotation.ready_until is None or (rotation.ready_until - moment(0)).total_seconds() <= 0
    return True


def _tick(model: Model, world: World) -> list[Turn]:
    if not due(model, world):
        return []
    if not world.executions:
        return [Turn("the tick starts an execution", STEP, _started(model, world))]
    if model.may(world, Fault.SECOND_START) and len(world.executions) == 1:
        return [Turn("a second start", FAULT, _started(model, world._replace(faults=world.faults - 1)))]
    return []


def _started(model: Model, world: World) -> World:
    names = {execution.arn for execution in world.executions} | {function.arn for function in world.functions}
    names |= {world.ended.arn} if world.ended is not None else set()
    for ledger in (world.ledger, world.backup):
        if ledger is not None:
            names |= {ledger.lease.owner or ""} if ledger.lease is not None else set()
            rotations = [model.book.rotation(line.rotation) for line in ledger.lines]
            names |= {rotation.execution for rotation in rotations}
            names |= {rotation.heard_by or "" for rotation in rotations}
    used = [int(name[1:]) for name in names if name]
    return having_execution(world, Execution(f"e{unused(used)}"))


def _other_faults(model: Model, world: World) -> list[Turn]:
    found: list[Turn] = []
    paid = world._replace(faults=world.faults - 1)
    if model.may(world, Fault.LIE) and not world.registry.down:
        found.append(Turn("the user database is down", FAULT, _down(paid, down=True)))
    if Fault.RESTORE in model.config.may:
        if world.backup is None and world.faults == model.config.faults:
            found.append(Turn("a backup of the ledger is made", STEP, world._replace(backup=world.ledger)))
        elif world.backup is not None and world.faults > 0 and _is_waited_out(model, world):
            # A rotation is asked for then: a ledger that forgot one cannot say that the password was not delivered.
            asked = world.backup._replace(requests=(*world.backup.requests, Request(world.arrivals)))
            truth = world.truth._replace(restored=True)
            restored = paid._replace(ledger=asked, backup=None, truth=truth, arrivals=world.arrivals + 1)
            if not world.executions:
                restored = _started(model, restored)  # asking starts one, whatever a person is waited for
            found.append(Turn("the ledger is restored from its backup", FAULT, restored))
    if model.may(world, Fault.REDRIVE) and world.ended is not None and not world.executions:
        redriven = world.ended._replace(redrive=world.ended.redrive + 1)
        found.append(
            Turn("the stopped execution is redriven", FAULT, having_execution(paid, redriven)._replace(ended=None))
        )
    if world.arrivals < model.config.requests:
        request = Request(world.arrivals)
        ledger = world.ledger._replace(requests=(*world.ledger.requests, request))
        found.append(Turn("another request arrives", STEP, world._replace(ledger=ledger, arrivals=world.arrivals + 1)))
    return found


def _is_waited_out(model: Model, world: World) -> bool:
    """Whether a ledger may be restored: after the functions' timeout.

    Where people paste after the executions too, since asking then starts one, and it finds a paste that is forgotten.
    """
    return not world.functions and not (world.executions and model.config.way is Way.MANUAL)


def _down(world: World, *, down: bool) -> World:
    return world._replace(registry=world.registry._replace(down=down))


def _second(model: Model, world: World) -> World:
    """Return the world a second later: calls in flight come to nothing, functions meet their timeout."""
    flying = tuple(Flying(each.password, each.left - 1) for each in world.registry.flying if each.left > 1)
    world = world._replace(
        registry=world.registry._replace(flying=flying),
        ledger=_ledger_later(model, world.ledger),
        backup=None if world.backup is None else _ledger_later(model, world.backup),
        executions=tuple(each._replace(until=max(each.until - 1, 0)) for each in world.executions),
        functions=tuple(each._replace(left=each.left - 1, until=max(each.until - 1, 0)) for each in world.functions),
    )
    world = world._replace(
        functions=tuple(
            each._replace(
                rotation=each.rotation if each.rotation < 0 else model.book.later(each.rotation),
                attempt=each.attempt if each.attempt < 0 else model.book.later(each.attempt),
                seen=model.book.saw_earlier(each.seen),
                pending=None
                if each.pending is None
                else each.pending._replace(
                    rotation=model.book.later(each.pending.rotation),
                    attempt=model.book.later(each.pending.attempt),
                    seen=model.book.saw_earlier(each.pending.seen),
                ),
            )
            for each in world.functions
        )
    )
    for number in reversed(range(len(world.functions))):
        function = world.functions[number]
        if function.left > _FROZEN:
            continue
        execution = listener(world, function)
        if model.config.thaws and function.stalled:
            frozen = function._replace(left=_FROZEN, attached=False)
            world = losing(world) if function.alone_knows and function.left == _FROZEN else world
            world = _again(replaced(world, number, frozen), execution)
        else:
            world = _again(gone(world, number), execution)
    return world


def _ledger_later(model: Model, ledger: Ledger) -> Ledger:
    lease = ledger.lease
    if lease is not None:
        lease = lease._replace(drain=max(lease.drain - 1, 0))
    return ledger._replace(lease=lease, lines=tuple(later(model, line) for line in ledger.lines))
