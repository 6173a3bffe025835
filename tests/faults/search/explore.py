"""Breadth first over every state that can be reached, then backwards from the good ends."""

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from rekey.acts import Way
from rekey.model.rotation import AttemptOutcome, Phase
from rekey.protocol import REFUSALS_THAT_COUNT
from tests.faults.search import environment, manual
from tests.faults.search.model import HELP, LIMITS, Configuration, Model, Violation
from tests.faults.search.world import OLD, Held, Ledger, Person, Registry, Request, Store, Truth, Version, World

NO_END = "no good end can be reached, and no person is called"
NEEDLESS = "a person is needed though the protocol could go on"
_WRONG = -3
_MOST_CLAIMS = 8
"""Attempts and pastes of a run: what goes on to claim is not looked at any further, and counts as no end."""
_ROOM = 2
"""Attempts and pastes that must be left for a state to be asked for an end: a paste, and the attempt that adopts."""

Holds = Callable[[World], bool]


@dataclass
class Found:
    """What the search of one configuration found."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    problem: str = ""
    trace: list[str] = field(default_factory=list)
    complete: bool = True

    @property
    def result(self) -> str:
        """Return it in a word or a sentence."""
        return self.problem or ("holds" if self.complete else "holds as far as it was looked at")


def start(configuration: Configuration) -> World:
    """Return the first state: one request is open, and nothing has happened."""
    old = Version("old", _WRONG if configuration.forgotten else OLD, 0)
    store = Store(None) if configuration.adopting else Store(old, (old,))
    person = Person(clicks=configuration.clicks, pastes=configuration.pastes, resumes=configuration.resumes)
    return World(
        registry=Registry(),
        store=store,
        escrow=(),
        ledger=Ledger(requests=(Request(0),)),
        backup=None,
        consumer=Held(),
        executions=(),
        functions=(),
        ended=None,
        person=person,
        truth=Truth(),
        faults=configuration.faults,
    )


class Search:
    """The states of one configuration."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.numbers: dict[World, int] = {}
        self.worlds: list[World] = []
        self.came_from = array("q")
        self.labels: list[str] = []
        self.texts: dict[str, str] = {}
        self.before: list[array[int]] = []
        """For each state the states that lead to it without a fault, times two, plus one where a person helps."""

    def run(self) -> Found:
        """Explore all states, then ask from which a good end can be reached."""
        began = time.monotonic()
        found = Found()
        try:
            self._explore(found)
            if found.complete:
                self._converge()
        except _Bad as bad:
            found.problem, found.trace = bad.what, self._trace(bad.state, bad.last)
        found.states, found.seconds = len(self.worlds), time.monotonic() - began
        return found

    def _number(self, world: World, parent: int, label: str) -> int:
        number = self.numbers.get(world)
        if number is None:
            number = self.numbers[world] = len(self.worlds)
            self.worlds.append(world)
            self.came_from.append(parent)
            self.labels.append(self.texts.setdefault(label, label))
            self.before.append(array("q"))
        return number

    def _explore(self, found: Found) -> None:
        self._number(start(self.model.config), -1, "")
        at, level_ends = 0, 1
        while at < len(self.worlds):
            world = self.worlds[at]
            try:
                turns = [] if world.claims > _MOST_CLAIMS else environment.turns(self.model, world)
            except Violation as violation:
                raise _Bad(str(violation), at) from None
            for label, kind, after in turns:
                found.transitions += 1
                number = self._number(after, at, label)
                if after.faults == world.faults:
                    self.before[number].append(at * 2 + (kind == HELP))
            at += 1
            if at == level_ends:
                found.depth, level_ends = found.depth + 1, len(self.worlds)
            if len(self.worlds) > self.model.config.most:
                found.complete = False
                return

    def _converge(self) -> None:
        good = self._back(self._all(self._good), helped=False)
        stuck = self._all(self._stuck)
        needless = next((number for number in stuck if self._needless(self.worlds[number])), None)
        if needless is not None:
            raise _Bad(NEEDLESS, needless)
        ends = self._back([*stuck, *(number for number, is_good in enumerate(good) if is_good)], helped=False)
        lost = next((number for number, reached in enumerate(ends) if not reached and self._has_room(number)), None)
        if lost is not None:
            raise _Bad(NO_END, lost)
        helpable = [number for number in stuck if self._helpable(number) and self._has_room(number)]
        helped = self._back([number for number, is_good in enumerate(good) if is_good], helped=True)
        lost = next((number for number in helpable if not helped[number]), None)
        if lost is not None:
            raise _Bad("a person who resets and pastes does not lead out of it", lost)

    def _has_room(self, number: int) -> bool:
        return self.worlds[number].claims <= _MOST_CLAIMS - _ROOM

    def _helpable(self, number: int) -> bool:
        person = self.worlds[number].person
        return bool(person.clicks and person.pastes)

    def _all(self, holds: Holds) -> list[int]:
        return [number for number, world in enumerate(self.worlds) if holds(world)]

    def _back(self, ends: list[int], *, helped: bool) -> bytearray:
        reached, todo = bytearray(len(self.worlds)), list(ends)
        for number in ends:
            reached[number] = 1
        while todo:
            for coded in self.before[todo.pop()]:
                number, help_needed = divmod(coded, 2)
                if not reached[number] and (helped or not help_needed):
                    reached[number] = 1
                    todo.append(number)
        return reached

    def _phase(self, world: World) -> Phase | None:
        line = world.ledger.latest
        return None if line is None else self.model.book.rotation(line.rotation).phase

    def _quiet(self, world: World) -> bool:
        return not world.executions and not world.functions

    def _good(self, world: World) -> bool:
        """Whether all is done: one password everywhere, nobody at work, nothing in flight, nothing asked for."""
        phase, current = self._phase(world), world.store.current
        same = current is not None and current.password == world.registry.password == world.consumer.password
        nothing = not world.answers and not any(request.open for request in world.ledger.requests)
        if not self._quiet(world) or (phase is not None and phase.open):
            return False
        dead = current is not None and current.password != world.registry.password
        if phase is Phase.STOPPED and dead and (world.truth.foreign or world.truth.restored):
            return True  # it is said that somebody else reset it, or that nobody knows who did
        return nothing and (same or self._reset_after_verify(world))

    def _reset_after_verify(self, world: World) -> bool:
        """Whether somebody else reset the registry where Verify cannot see it any more, or a person is told."""
        line, current = world.ledger.latest, world.store.current
        if line is None or current is None or not world.truth.foreign:
            return False
        told = bool(self.model.book.rotation(line.rotation).problems)
        return told or current.password == world.truth.heard == world.consumer.password

    def _stuck(self, world: World) -> bool:
        if not self._quiet(world):
            return False
        line = world.ledger.latest
        if line is not None and manual.stopped_for_good(world, self.model.book.rotation(line.rotation)):
            return True
        waits = self._phase(world) in (Phase.NEEDS_ATTENTION, Phase.READY)
        return waits and not environment.due(self.model, world)

    def _needless(self, world: World) -> bool:
        """Whether a person is asked for though the live password is in hand and there are logins left.

        In hand is also the old one in the store, where no call was made that might have killed it.
        """
        if self._phase(world) is Phase.STOPPED:
            return self._forgets_reset(world)
        if self._phase(world) is not Phase.NEEDS_ATTENTION:
            return False
        line, live = world.ledger.latest, world.registry.password
        assert line is not None
        rotation = self.model.book.rotation(line.rotation)
        spent = rotation.wrong_logins >= LIMITS.wrong_logins or rotation.logins_spent
        if world.truth.foreign or (spent and not self.model.config.logins_suffice):
            return False
        last = self.model.book.attempt(line.attempts[-1]) if line.attempts else None
        if last is not None and last.outcome is None and last.refusals >= REFUSALS_THAT_COUNT:
            return False  # a registry that lies twice and says it is well is believed
        if rotation.new_refusals >= REFUSALS_THAT_COUNT:
            return False  # by Verify, too
        calls = self.model.config.way is not Way.MANUAL
        uncalled = calls and (last is None or last.outcome is AttemptOutcome.NOT_CALLED)
        clear = not self.model.config.misread or world.mended
        readable = any(
            answer.password == live and (world.mended or answer.pasted or (answer.readable and clear))
            for answer in world.answers
        )
        current = world.store.current
        good = current is not None and current.password == live
        in_store = good and (uncalled or (current is not None and current.generation == line.generation))
        mine = {self.model.book.attempt(number).store_token for number in line.attempts}
        staged = any(version.password == live and version.token in mine for version in world.store.versions)
        return readable or in_store or (staged and live != 0)

    def _forgets_reset(self, world: World) -> bool:
        """Whether our own reset killed what the store has: that rotation was to reset once more, not to stop."""
        current, live = world.store.current, world.registry.password
        others = world.truth.foreign or world.truth.restored or world.person.known == live
        return current is not None and current.password != live and bool(world.truth.effects) and not others

    def _trace(self, state: int, last: str) -> list[str]:
        lines = [last] if last else []
        while state > 0:
            lines.append(self.labels[state])
            state = self.came_from[state]
        return lines[::-1]


class _Bad(Exception):
    def __init__(self, what: str, state: int, last: str = "") -> None:
        super().__init__(what)
        self.what, self.state, self.last = what, state, last
