"""One state of the search: everything that outlives an act, as nested tuples that can be hashed."""

from typing import NamedTuple

from tests.faults.search.records import NONE

OLD = 0
"""The password in force at the start. Later ones count upwards; a wrong paste is below zero."""

MISREAD = -6
"""What a plan that names another place in the answer takes for the password."""


class Answer(NamedTuple):
    """What is in an escrow's item: an answer of the registry, or a paste."""

    password: int
    readable: bool = True
    pasted: bool = False
    called: int = NONE
    """Arrivals when its call was made; NONE where nobody knows."""


class Kept(NamedTuple):
    """An item of the escrow; without an answer it is a tombstone."""

    token: str
    answer: Answer | None


class Version(NamedTuple):
    """A version of the store's secret."""

    token: str
    password: int
    generation: int


class Store(NamedTuple):
    """The store: the version in force, and all there are."""

    current: Version | None
    versions: tuple[Version, ...] = ()

    def find(self, token: str) -> Version | None:
        """Return a version."""
        return next((version for version in self.versions if version.token == token), None)


class Flying(NamedTuple):
    """A call that left and has not acted yet. `left`: seconds in which it still may."""

    password: int
    left: int


class Registry(NamedTuple):
    """The registry: its password, whether its user database is down, calls that may act late."""

    password: int = OLD
    down: bool = False
    flying: tuple[Flying, ...] = ()


class Lease(NamedTuple):
    """The lease. `drain`: seconds from now."""

    owner: str | None
    redrive: int
    epoch: int
    tag: int
    drain: int
    repeated: bool = False
    """A task of the owner was called again."""


class Line(NamedTuple):
    """A rotation with its attempts, by their numbers in the book."""

    generation: int
    rotation: int
    attempts: tuple[int, ...]
    delivered: bool = False


class Request(NamedTuple):
    """A request. `arrived`: how many had arrived before it."""

    arrived: int
    open: bool = True


class Ledger(NamedTuple):
    """The ledger."""

    lease: Lease | None = None
    lines: tuple[Line, ...] = ()
    requests: tuple[Request, ...] = ()

    @property
    def latest(self) -> Line | None:
        """Return the rotation with the highest generation."""
        return self.lines[-1] if self.lines else None

    def line(self, generation: int) -> Line | None:
        """Return one rotation."""
        return next((line for line in self.lines if line.generation == generation), None)

    def having_line(self, line: Line) -> "Ledger":
        """Return the ledger with this rotation in place of the one of its generation."""
        others = [each for each in self.lines if each.generation != line.generation]
        return self._replace(lines=tuple(sorted([*others, line])))


class Execution(NamedTuple):
    """An execution of the state machine that has not ended. `until`: seconds from now in a Wait state."""

    arn: str
    redrive: int = 0
    where: str = "begin"
    invoked: bool = False
    until: int = 0
    epoch: int = 0
    tag: int = NONE
    generation: int = 0
    error: bool = False
    retried: bool = False
    """The task it is at was called before."""


class Pending(NamedTuple):
    """A write to the ledger that is still to be made, after what was done elsewhere."""

    rotation: int
    attempt: int
    seen: int


class Function(NamedTuple):
    """One invocation with its memory. `left`: seconds to its deadline; it dies a second after it."""

    arn: str
    redrive: int
    kind: str
    epoch: int
    tag: int
    generation: int
    left: int
    error: bool = False
    retried: bool = False
    attached: bool = True
    """Whether the state machine still listens to it."""
    stalled: bool = False
    at: str = "enter"
    rotation: int = NONE
    attempt: int = NONE
    seen: int = 0
    answer: Answer | None = None
    password: int = NONE
    unkept: bool = False
    """Whether an answer was heard that is nowhere else yet."""
    pending: Pending | None = None
    until: int = 0
    """Seconds for which it waits with what it has in its memory."""

    @property
    def alone_knows(self) -> bool:
        """Whether an answer is lost with it."""
        return self.at == "sent" or self.unkept


class Held(NamedTuple):
    """What the consumer has."""

    password: int = OLD
    generation: int = 0


class Person(NamedTuple):
    """A person: the password seen in the console, and what is still allowed."""

    known: int = NONE
    clicks: int = 0
    pastes: int = 0
    resumes: int = 0


class Truth(NamedTuple):
    """What no part of the system knows, kept for the invariants."""

    effects: int = 0
    """Resets of ours that acted."""
    lost: int = 0
    """Answers that were lost before the escrow had them."""
    foreign: int = 0
    """Resets in the console that nobody waited for."""
    undated: int = 0
    """Pastes that met no request: nobody said when they were reset, and the old password could not say it."""
    restored: bool = False
    """The ledger was restored: what it has forgotten may be reset over, if nothing is lost by it."""
    wrong: int = 0
    """Refused logins of the present rotation."""
    births: tuple[int, ...] = (0,)
    """For each password the arrivals when it came into force; NONE where it never did."""
    heard: int = NONE
    """The password that Verify last heard accepted."""
    promoted: tuple[tuple[int, int], ...] = ()
    """Generation and password of every promotion."""


class World(NamedTuple):
    """A state."""

    registry: Registry
    store: Store
    escrow: tuple[Kept, ...]
    ledger: Ledger
    backup: Ledger | None
    consumer: Held
    executions: tuple[Execution, ...]
    functions: tuple[Function, ...]
    ended: Execution | None
    person: Person
    truth: Truth
    faults: int
    arrivals: int = 1
    """Requests that have arrived, whatever the ledger knows of them."""
    claims: int = 0
    mended: bool = False

    def kept(self, token: str) -> Answer | None:
        """Return an answer in the escrow."""
        return next((kept.answer for kept in self.escrow if kept.token == token), None)

    @property
    def answers(self) -> list[Answer]:
        """Return all answers in the escrow."""
        return [kept.answer for kept in self.escrow if kept.answer is not None]

    def holding(self, token: str, answer: Answer | None) -> "World":
        """Return the world with this in the escrow."""
        others = [kept for kept in self.escrow if kept.token != token]
        return self._replace(escrow=tuple(sorted([*others, Kept(token, answer)], key=lambda kept: kept.token)))
