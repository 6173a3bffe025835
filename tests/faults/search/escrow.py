"""The escrow's part of `reset`: tombstones, and answers that no open attempt waits for (`steps/reset/strays.py`)."""

from rekey.model.rotation import AttemptKind, AttemptOutcome, Phase
from rekey.steps.reset import strays
from tests.faults.search import invariants
from tests.faults.search.model import Conflicted, FencedOff, Guard, Model, commit, owns
from tests.faults.search.opening import attempt_of
from tests.faults.search.records import NONE, after_arrivals, moment
from tests.faults.search.world import Function, Kept, World


def deleted(world: World, token: str) -> World:
    """Return the world with a tombstone in place of an answer, where there is one."""
    answer = world.kept(token)
    if answer is None:
        return world
    invariants.at_deleting(world, answer)
    return world.holding(token, None)


def settled(model: Model, world: World, function: Function) -> tuple[str, World, Function]:
    """Return what an invocation of `reset` does first: check, read, delete what is decided, adopt one stray."""
    line = owns(model, world, function).line(function.generation)
    if line is None:
        raise FencedOff
    function = function._replace(rotation=line.rotation, at="loop", seen=model.fresh)
    mine = model.attempts_of(line)
    if mine:
        function = function._replace(attempt=mine[-1])
    attempts = [model.book.attempt(number) for number in mine]
    known = {attempt.escrow_token: attempt for attempt in attempts}
    closed = not attempts or attempts[-1].outcome is not None
    for kept in [kept for kept in world.escrow if kept.answer is not None]:
        attempt = known.get(kept.token)
        if attempt is not None and attempt.outcome in strays._DECIDED:  # noqa: SLF001 (the product's own list)
            world = deleted(world, kept.token)
        elif model.book.rotation(line.rotation).completed:
            continue
        elif closed and (attempt is None or _adoptable(model, attempt.outcome)):
            return _adopted(model, world, function, kept)
    return "enters", world, function


def has_stray(model: Model, world: World, function: Function) -> bool:
    """Whether there is an answer that another look at the escrow would take up."""
    line = world.ledger.line(function.generation)
    if line is not None and model.book.rotation(line.rotation).completed:
        return False
    mine = model.attempts_of(line) if line is not None else ()
    attempts = [model.book.attempt(number) for number in mine]
    known = {attempt.escrow_token: attempt for attempt in attempts}
    answers = [known.get(kept.token) for kept in world.escrow if kept.answer is not None]
    if attempts and attempts[-1].outcome is None:
        return None in answers
    return any(attempt is None or _adoptable(model, attempt.outcome) for attempt in answers)


def _adoptable(model: Model, outcome: AttemptOutcome | None) -> bool:
    if outcome is AttemptOutcome.REPLACED and model.without(Guard.REPLACED_ADOPTED):
        return False
    return outcome in strays._UNDECIDED  # noqa: SLF001 (the product's own list)


def _adopted(model: Model, world: World, function: Function, stray: Kept) -> tuple[str, World, Function]:
    answer = stray.answer
    if answer is None:
        raise Conflicted
    rotation = model.book.rotation(function.rotation)
    number = rotation.attempts + 1
    came = AttemptKind.PASTED if answer.pasted else AttemptKind.RESET
    attempt = attempt_of(model, world, (function.generation, number), AttemptKind.ADOPTED, 0).having(
        adopted=came,
        called_at=after_arrivals(answer.called) if answer.called != NONE else None,
        call_ended_at=moment(0),
    )
    if any(kept.token == attempt.escrow_token for kept in world.escrow):
        raise Conflicted  # one transaction puts it where nothing may be, and leaves a tombstone where it was
    new, changed = model.book.add(attempt), model.book.having(function.rotation, attempts=number, phase=Phase.RESETTING)
    world = commit(model, world, function, changed, new)
    world = world.holding(attempt.escrow_token, answer).holding(stray.token, None)._replace(claims=world.claims + 1)
    return "adopts a stray answer", world, function._replace(rotation=changed, attempt=new)
