"""What a configuration of the search is made of, and what all acts need: decisions, writes, ends of a function."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum, auto
from typing import NamedTuple

from rekey.acts import Limits, Records, Seen, Step, Way
from rekey.model.request import Reason
from rekey.protocol import may_be_in_force_after, next_act
from tests.faults.search.records import NONE, NOW, Book, after_arrivals, moment
from tests.faults.search.world import Execution, Function, Ledger, Line, World

LIFE = 3
"""Seconds from an invocation's start to its deadline; it dies a second later."""
LONGEST = LIFE + 1
MARGIN = 1
LIMITS = Limits(
    until=NOW,
    call=timedelta(seconds=1),
    settle=timedelta(seconds=2),
    prove_within=timedelta(seconds=2),
    refusal_pause=timedelta(seconds=1),
    ask_again=timedelta(seconds=1),
    wrong_logins=3,
    max_attempts=5,
    max_resets=2,
)
SETTLE = 2


class Fault(StrEnum):
    """What can go wrong; each costs one of the configuration's faults."""

    CRASH = auto()
    STALL = auto()
    DUPLICATE = auto()
    STOP_EXECUTION = auto()
    SECOND_START = auto()
    LOST_ANSWER = auto()
    LATE_EFFECT = auto()
    DROPPED_CALL = auto()
    REFUSAL = auto()
    GARBAGE = auto()
    GARBAGE_WITHOUT_EFFECT = auto()
    GARBAGE_LATE = auto()
    ESCROW_REFUSES = auto()
    AWAY = auto()
    LIE = auto()
    CONSOLE = auto()
    RESTORE = auto()
    REDRIVE = auto()
    WRONG_PASTE = auto()
    OLD_PASTE = auto()
    EARLY_PASTE = auto()
    UNPREPARED = auto()
    """What the reset call needs cannot be had: the key, the store's version, the change mark."""
    WRONG_MEND = auto()
    """A person mends the plan, and the answer is misread all the same."""


class Guard(StrEnum):
    """What can be taken out."""

    SETTLE_WITHOUT_ANSWER = auto()
    SETTLE_UNREADABLE = auto()
    SETTLE_UNCERTAIN_SET = auto()
    OLD_ASKED_SINCE_CALL = auto()
    """What was seen of the old password before the call says nothing of the call."""
    REPLACED_ADOPTED = auto()
    """An answer that a paste replaced is tried once the paste turns out wrong."""
    PASTE_COUNTS_ANEW = auto()
    """A paste comes from a person who has looked: its logins count from nought."""
    PASTE_DATED = auto()
    """A paste meets the requests before the moment that the person says, whatever call was made since."""
    PASTE_DATED_LATE = auto()
    """A paste of which nobody says when it was reset is dated by the old password, dead since a call."""
    REQUEST_CLOSED = auto()
    """A request that a completed reset meets is closed: nothing is reset for it again."""
    FORGOTTEN_NEXT = auto()
    """An answer that a restored ledger forgot is the next rotation's, not one's whose password is promoted already."""
    RETRIES_SEEN = auto()
    """Handing back knows that a task was tried again, and not only that it was caught."""
    STRAY_FIRST = auto()
    """Before a person is called, an answer is tried that the ledger has forgotten."""
    OWN_PROMOTION = auto()
    """A paste that is what this very rotation promoted, unnoticed, is no wrong one."""
    NEW_PROVEN_FIRST = auto()
    """Verify keeps its wrong logins for the new password, and calls a person where they do not suffice."""
    NEW_HEARD = auto()
    """Verify asks the new password also where the reset heard it accepted: somebody may have reset since."""
    OVERTAKEN_CLEANED = auto()
    """A proven password also ends the answer of an unproven one that a paste has overtaken."""
    EARLIER_READINGS = auto()
    """A candidate is found under the tokens of earlier readings too."""
    STAGED_READ_ANEW = auto()
    """Who resumes has what was staged from a misread answer read anew too."""
    LATER_READING_PROVEN = auto()
    """What was read from a misread answer later goes out unproven no more, once it was refused."""
    RESETS_REMEMBERED = auto()
    """A rotation that has reset is not stopped where the next call cannot be prepared."""
    LOGIN_KEPT = auto()
    """Where the call goes on whatever the old password says, the last wrong login is the new one's."""
    OLD_ASKED_ONCE = auto()
    """A refusal of the old password before a call is not asked for again by the next attempt."""
    SECOND_REFUSAL = auto()
    DRAIN_AT_TAKEOVER = auto()
    DRAIN_AT_HAND_BACK = auto()
    CLAIM_DEADLINE = auto()
    CLAIM_WAIT = auto()
    CLOCK = auto()
    COMPARE_AND_SET = auto()
    ESCROW = auto()
    NONCE = auto()
    LEASE_TAG = auto()
    STORE_ASKED = auto()
    """Begin asks the store for its generation, and so does who gets ready to call."""


@dataclass(frozen=True)
class Configuration:
    """One question to the search."""

    name: str
    faults: int
    may: frozenset[Fault]
    way: Way = Way.GENERATES
    reason: Reason = Reason.SCHEDULED
    mark: bool = False
    adopting: bool = False
    """There is no old password in the store."""
    forgotten: bool = False
    """What the store calls the password is not the registry's: nobody knows that any more."""
    requests: int = 1
    healthy_when_down: bool = False
    logins_suffice: bool = False
    """Nobody lies and nobody pastes: the budget of wrong logins has to suffice for what is tried."""
    misread: bool = False
    """The plan names another place in the answer than the password's, until it is mended."""
    thaws: bool = False
    """A function that hangs is frozen at its timeout, and goes on at any later time."""
    clicked_at: bool = False
    """Whoever pastes says when the password was reset."""
    clicks: int = 1
    pastes: int = 1
    resumes: int = 1
    without: frozenset[Guard] = frozenset()
    most: int = 2_000_000


class Turn(NamedTuple):
    """A transition. `kind`: "step", "fault", "help" (a person mends), "time"."""

    label: str
    kind: str
    world: World


class Violation(AssertionError):
    """An invariant is broken."""


class Conflicted(Exception):
    """The ledger moved on."""


class FencedOff(Exception):
    """The lease is another's."""


STEP, FAULT, HELP, TIME = "step", "fault", "help", "time"

Decide = Callable[[Records, Seen, Limits], Step]


@dataclass
class Model:
    """A configuration with its book and its decisions, each asked of `next_act` once."""

    config: Configuration
    book: Book = field(default_factory=Book)
    steps: dict[tuple[int, int, int, int], Step] = field(default_factory=dict)
    decide: Decide = field(default=lambda records, seen, limits: next_act(records, seen, limits, NOW))

    def __post_init__(self) -> None:
        self.fresh = self.book.saw(Seen())

    def next_act(self, rotation: int, attempt: int, seen: int, left: int) -> Step:
        """Return the next act for what is written down and was seen, with so many seconds left."""
        key = (rotation, attempt, seen, left)
        step = self.steps.get(key)
        if step is None:
            book = self.book
            last = None if attempt == NONE else book.attempt(attempt)
            records = Records(book.rotation(rotation), last, self.config.way)
            step = self.steps[key] = self.decide(records, book.seen(seen), replace(LIMITS, until=moment(left)))
        return step

    def attempts_of(self, line: Line) -> tuple[int, ...]:
        """Return a rotation's attempts without those of rotations that stopped under its number."""
        return line.attempts[self.book.rotation(line.rotation).attempts_before :]

    def without(self, guard: Guard) -> bool:
        """Whether a guard is taken out."""
        return guard in self.config.without

    def may(self, world: World, fault: Fault) -> bool:
        """Whether a fault can still happen."""
        return world.faults > 0 and fault in self.config.may


def replaced(world: World, number: int, function: Function) -> World:
    """Return the world with a function in another state."""
    functions = world.functions
    return world._replace(functions=(*functions[:number], function, *functions[number + 1 :]))


def having_execution(world: World, execution: Execution) -> World:
    """Return the world with an execution in another state."""
    others = [each for each in world.executions if (each.arn, each.redrive) != (execution.arn, execution.redrive)]
    return world._replace(executions=tuple(sorted([*others, execution])))


def listener(world: World, function: Function) -> Execution | None:
    """Return the execution that waits for a function's answer."""
    if not function.attached:
        return None
    who = (function.arn, function.redrive)
    return next((each for each in world.executions if (each.arn, each.redrive) == who), None)


def gone(world: World, number: int) -> World:
    """Return the world without a function; an answer that only it had is lost."""
    function = world.functions[number]
    functions = world.functions[:number] + world.functions[number + 1 :]
    world = world._replace(functions=functions)
    return losing(world) if function.alone_knows else world


def losing(world: World) -> World:
    """Return the world with one more answer lost."""
    return world._replace(truth=world.truth._replace(lost=world.truth.lost + 1))


def finish(world: World, number: int, where: str, **changes: object) -> World:
    """Return the world after a function answered where the execution goes on."""
    execution = listener(world, world.functions[number])
    world = gone(world, number)
    if execution is None:
        return world
    if where == "ended":
        others = tuple(each for each in world.executions if each != execution)
        return world._replace(executions=others, ended=None)
    moved = execution._replace(where=where, invoked=False, until=0, retried=False)
    return having_execution(world, moved._replace(**changes))  # type: ignore[arg-type]  # names of fields


def fail(world: World, number: int) -> World:
    """Return the world after a function raised an error that is not tried again."""
    execution = listener(world, world.functions[number])
    if execution is not None and execution.where == "report":
        return finish(world, number, "ended")
    return finish(world, number, "report", error=True)


def owns(model: Model, world: World, function: Function) -> Ledger:
    """Return the ledger, or raise FencedOff where the function's execution does not hold the lease."""
    lease = world.ledger.lease
    held = None if lease is None else (lease.owner, lease.redrive, lease.epoch)
    if lease is None or held != (function.arn, function.redrive, function.epoch):
        raise FencedOff
    if lease.tag != function.tag and not model.without(Guard.LEASE_TAG):
        raise FencedOff
    return world.ledger


def commit(model: Model, world: World, function: Function, rotation: int, attempt: int = NONE) -> World:
    """Write a rotation, and an attempt of it, where both follow from what the function knows."""
    ledger = owns(model, world, function)
    line = ledger.line(function.generation)
    if line is None or line.rotation != function.rotation:
        raise Conflicted
    attempts = line.attempts
    if attempt != NONE:
        number = model.book.attempt(attempt).number
        if number == len(attempts) + 1:
            attempts = (*attempts, attempt)
        elif function.attempt == NONE or attempts[number - 1 : number] != (function.attempt,):
            raise Conflicted
        else:
            attempts = (*attempts[: number - 1], attempt, *attempts[number:])
    changed = line._replace(rotation=rotation, attempts=attempts)
    return world._replace(ledger=ledger.having_line(changed))


def later(model: Model, line: Line) -> Line:
    """Return a rotation as it is a second later."""
    book = model.book
    return line._replace(
        rotation=book.later(line.rotation), attempts=tuple(book.later(attempt) for attempt in line.attempts)
    )


def unmet(model: Model, world: World, line: Line) -> bool:
    """Whether a leak is open that a rotation's reset does not meet: it was called before the leak was reported."""
    rotation = model.book.rotation(line.rotation)
    attempts = [model.book.attempt(number) for number in model.attempts_of(line)]
    called = may_be_in_force_after(rotation, attempts)
    return model.config.reason is Reason.COMPROMISED and any(
        request.open and (called is None or called <= after_arrivals(request.arrived))
        for request in world.ledger.requests
    )


def leaked(model: Model, world: World) -> bool:
    """Whether the password in the store was reported as leaked since its reset was called."""
    current = world.store.current
    return current is not None and any(
        model.book.rotation(line.rotation).store_version == current.token and unmet(model, world, line)
        for line in world.ledger.lines
    )


def forgotten(model: Model, world: World) -> frozenset[str]:
    """Return the tokens of candidates of which a restored ledger does not know that the registry was to take them."""
    if model.config.way is not Way.TAKES or not world.truth.restored:
        return frozenset()
    attempts = [model.book.attempt(number) for line in world.ledger.lines for number in line.attempts]
    known = {token for attempt in attempts if attempt.called_at is not None for token in attempt.store_tokens}
    return frozenset(version.token for version in world.store.versions) - known


def unused(used: Iterable[int]) -> int:
    """Return the smallest number that is not in use: what is random in the product is only ever another one."""
    taken = set(used)
    return next(number for number in range(len(taken) + 1) if number not in taken)
