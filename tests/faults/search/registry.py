"""The registry: calls that act now, late or never, logins that tell the truth or not."""

from rekey.acts import Way
from rekey.model.verdict import LoginVerdict
from tests.faults.search import invariants
from tests.faults.search.model import SETTLE, STEP, Fault, Model, Turn, forgotten, leaked
from tests.faults.search.records import NONE
from tests.faults.search.world import Answer, Flying, Function, World

GARBAGE = -1
"""What an answer without a password holds."""


def acted(world: World, password: int) -> tuple[World, int]:
    """Return the world after a reset of ours acted, and the password: a new one where none is given."""
    truth = world.truth
    births = list(truth.births)
    if password == NONE:
        password = len(births)
        births.append(NONE)
    births[password] = world.arrivals
    truth = truth._replace(effects=truth.effects + 1, births=tuple(births))
    world = world._replace(registry=world.registry._replace(password=password), truth=truth)
    invariants.at_effect(world)
    return world, password


def candidate(world: World) -> tuple[World, int]:
    """Return the world with a password of our choice, and the password."""
    births = world.truth.births
    return world._replace(truth=world.truth._replace(births=(*births, NONE))), len(births)


def late(world: World) -> list[Turn]:
    """Return what calls that are in flight may do now."""
    turns = []
    for flying in world.registry.flying:
        rest = tuple(each for each in world.registry.flying if each is not flying)
        landed, _ = acted(world._replace(registry=world.registry._replace(flying=rest)), flying.password)
        turns.append(Turn("a call that left acts late", STEP, landed))
    return turns


def sent(model: Model, world: World, function: Function, password: int) -> list[tuple[str, bool, World, Function]]:
    """Return how the one call can go: label, whether a fault, world, function."""
    invariants.at_call(world, sending=True, leaked=leaked(model, world), forgotten=forgotten(model, world))
    taking = model.config.way is Way.TAKES
    called = world.arrivals
    given = password if taking else NONE
    there, new = acted(world, given)
    good = function._replace(at="sent", answer=None if taking else Answer(new, called=called))
    ways = [("the call is answered", False, there, good)]
    unknown = function._replace(at="lost", answer=None)
    if model.may(world, Fault.LOST_ANSWER):
        ways.append(("the answer is lost", True, _lost(there), unknown))
    if model.may(world, Fault.DROPPED_CALL):
        ways.append(("the call never arrives, and nobody knows", True, _lost(world), unknown))
    if model.may(world, Fault.LATE_EFFECT):
        flying = (*world.registry.flying, Flying(given, SETTLE))
        away = world._replace(registry=world.registry._replace(flying=flying))
        ways.append(("the call is cut and may act late", True, _lost(away), unknown))
    if model.may(world, Fault.REFUSAL):
        ways.append(("the registry refuses to reset", True, world, function._replace(at="refused", answer=None)))
    if model.may(world, Fault.GARBAGE):
        hidden = unknown if taking else function._replace(at="sent", answer=Answer(new, readable=False, called=called))
        ways.append(("an answer nobody understands, and it was reset", True, there, hidden))
    if model.may(world, Fault.GARBAGE_WITHOUT_EFFECT):
        empty = Answer(GARBAGE, readable=False, called=called)
        hidden = unknown if taking else function._replace(at="sent", answer=empty)
        ways.append(("an answer nobody understands, and nothing was reset", True, world, hidden))
    if model.may(world, Fault.GARBAGE_LATE):
        flying = (*world.registry.flying, Flying(given, SETTLE))
        away = world._replace(registry=world.registry._replace(flying=flying))
        hidden = (
            unknown if taking else function._replace(at="sent", answer=Answer(GARBAGE, readable=False, called=called))
        )
        ways.append(("an answer nobody understands, and the call acts late", True, _lost(away), hidden))
    return ways


def _lost(world: World) -> World:
    return world._replace(truth=world.truth._replace(lost=world.truth.lost + 1))


def healthy(model: Model, world: World) -> bool:
    """Whether the registry says it is well."""
    return not world.registry.down or model.config.healthy_when_down


def login(model: Model, world: World, function: Function, password: int) -> list[tuple[str, LoginVerdict, World]]:
    """Return what a login can say."""
    right = password == world.registry.password
    says = LoginVerdict.ACCEPTED if right and not world.registry.down else LoginVerdict.REFUSED
    after = _counted(world, function, says)
    if model.config.healthy_when_down and world.registry.down:
        after = after._replace(registry=after.registry._replace(down=False))  # it lies once
    known = [("", says, after)]
    if model.may(world, Fault.AWAY):
        known.append((" (away)", LoginVerdict.UNREACHABLE, world._replace(faults=world.faults - 1)))
    return known


def _counted(world: World, function: Function, verdict: LoginVerdict) -> World:
    line = world.ledger.latest
    if verdict is LoginVerdict.ACCEPTED or line is None or line.rotation != function.rotation:
        return world  # one that does not know the ledger's latest can spend one login more, and cannot write after it
    world = world._replace(truth=world.truth._replace(wrong=world.truth.wrong + 1))
    invariants.at_login(world)
    return world
