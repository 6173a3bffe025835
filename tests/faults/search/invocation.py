"""One invocation of `reset`: what it holds, and how what it does becomes a transition."""

from dataclasses import replace

from rekey.acts import Seen
from rekey.model.rotation import Attempt, Rotation
from tests.faults.search.model import STEP, Model, Turn, commit, replaced
from tests.faults.search.world import MISREAD, Answer, Function, Pending, World

Changes = dict[str, object]
"""Of a record."""


class Invocation:
    """A function in a state. Its writes follow from what it knows. All raise Conflicted, FencedOff."""

    def __init__(self, model: Model, world: World, number: int) -> None:
        self.model, self.world, self.number = model, world, number
        self.me: Function = world.functions[number]
        self.book = model.book

    @property
    def _rotation(self) -> Rotation:
        return self.book.rotation(self.me.rotation)

    @property
    def _attempt(self) -> Attempt:
        return self.book.attempt(self.me.attempt)

    @property
    def _seen(self) -> Seen:
        return self.book.seen(self.me.seen)

    def _understood(self, answer: Answer) -> int:
        """Return what is read from an answer that can be read."""
        misread = self.model.config.misread and not answer.pasted and not self.world.mended
        return MISREAD if misread else answer.password

    def _sees(self, **changes: object) -> int:
        return self.book.saw(replace(self._seen, **changes))  # type: ignore[arg-type]  # names of fields, as given here

    def _turn(self, label: str, world: World, **changes: object) -> Turn:
        me = self.me._replace(**changes)  # type: ignore[arg-type]  # names of fields, as given here
        return Turn(label, STEP, replaced(world, self.number, me))

    def _written(self, label: str, world: World, both: tuple[Changes, Changes], **mine: object) -> Turn:
        """Return the turn that also writes rotation and attempt at once."""
        rotation = self.book.having(self.me.rotation, **both[0])
        attempt = self.book.having(self.me.attempt, **both[1])
        world = commit(self.model, world, self.me, rotation, attempt)
        return self._turn(label, world, **{"rotation": rotation, "attempt": attempt, "at": "loop"} | mine)

    def _to_write(self, label: str, world: World, both: tuple[Changes, Changes], seen: int | None = None) -> Turn:
        """Return the turn after which rotation and attempt are still to be written."""
        pending = Pending(
            self.book.having(self.me.rotation, **both[0]),
            self.book.having(self.me.attempt, **both[1]),
            self.me.seen if seen is None else seen,
        )
        return self._turn(label, world, at="save", pending=pending, unkept=False)

    def _save(self) -> list[Turn]:
        pending = self.me.pending
        if pending is None:
            return []
        world = commit(self.model, self.world, self.me, pending.rotation, pending.attempt)
        saved = {"rotation": pending.rotation, "attempt": pending.attempt, "seen": pending.seen, "pending": None}
        return [self._turn("writes it down", world, at="loop", **saved)]
