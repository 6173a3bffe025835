"""`steps/reset` act by act.

The ledger's write is an act of its own where something else was done first.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rekey.acts import Act, Seen, Step, Way
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase
from rekey.model.verdict import LoginVerdict
from rekey.protocol import in_force_after
from tests.faults.search import escrow, registry, stored
from tests.faults.search.calling import Calling, was_reset
from tests.faults.search.manual import be_ready
from tests.faults.search.model import LIMITS, STEP, Fault, Guard, Turn, commit, finish
from tests.faults.search.model import replaced as put
from tests.faults.search.opening import attempt_of
from tests.faults.search.records import NONE, moment, seconds
from tests.faults.search.world import Version, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.search.invocation import Changes


class Reset(Calling):
    """One invocation of `reset` in one state."""

    def turns(self) -> list[Turn]:
        """Return what it can do next. Raises Conflicted, FencedOff."""
        acts: dict[str, Callable[[], list[Turn]]] = {
            "enter": self._enter,
            "loop": self._loop,
            "save": self._save,
            "send": self._send,
            "sent": self._heard,
            "lost": self._not_known,
            "refused": lambda: self._not_reset(CallEnd.REFUSED),
            "promote": self._promote,
            "clear": self._clear,
            "paused": self._paused,
            "stop": lambda: self._stopped(self.world),
        }
        return acts[self.me.at]()

    def _enter(self) -> list[Turn]:
        label, world, function = escrow.settled(self.model, self.world, self.me)
        return [Turn(label, STEP, put(world, self.number, function))]

    def _loop(self) -> list[Turn]:
        if self.me.left <= 0:
            return self._leave("reset", "out of time", until=1)
        step = self.model.next_act(self.me.rotation, self.me.attempt, self.me.seen, self.me.left)
        acts: dict[Act, Callable[[], list[Turn]]] = {
            Act.CLAIM: self._claim,
            Act.GET_READY: self._get_ready,
            Act.TRY_OLD: self._try_old,
            Act.PAUSE: lambda: self._pause(1 if step.until is None else seconds(step.until)),
            Act.CALL: self._call,
            Act.KEEP: self._keep,
            Act.LOOK: self._look,
            Act.READ: self._read,
            Act.LOG_IN: self._log_in,
            Act.STAGE: self._stage,
            Act.READ_MARK: self._read_mark,
            Act.PROMOTE: self._go_on_to_promote,
            Act.DELETE: self._delete,
            Act.CLOSE: lambda: self._close(step.outcome or AttemptOutcome.NOT_CALLED),
            Act.BE_READY: self._be_ready,
            Act.ASK_OLD: self._ask_old,
        }
        return acts[step.act]() if step.act in acts else self._lead_out(step)

    def _lead_out(self, step: Step) -> list[Turn]:
        match step.act:
            case Act.WAIT:
                until = 1 if step.until is None else max(seconds(step.until), 0)
                return self._leave("reset", f"waits {until} s", until=until)
            case Act.STAY_READY:
                return self._leave("report", "stays ready")
            case Act.DELIVER:
                return self._leave("deliver", "goes to deliver")
            case Act.STOP:
                return self._stop(self.world)
            case _:
                return self._attention(step.why)

    def _leave(self, where: str, label: str, until: int = 0) -> list[Turn]:
        return [Turn(label, STEP, finish(self.world, self.number, where, until=until))]

    def _attention(self, why: str) -> list[Turn]:
        world = self.world
        if escrow.has_stray(self.model, world, self.me) and not self.model.without(Guard.STRAY_FIRST):
            if self.me.attempt != NONE and self._attempt.outcome is None:
                attempt = self.book.having(self.me.attempt, outcome=AttemptOutcome.REPLACED)
                world = commit(self.model, world, self.me, self.me.rotation, attempt)
            return [Turn("turns to a stray answer", STEP, finish(world, self.number, "reset", until=1))]
        if self._rotation.phase is not Phase.NEEDS_ATTENTION or self._rotation.problems != (why,):
            rotation = self.book.having(self.me.rotation, phase=Phase.NEEDS_ATTENTION, problems=(why,))
            world = commit(self.model, world, self.me, rotation)
        return [Turn(f"needs attention: {why[:60]}", STEP, finish(world, self.number, "report"))]

    def _claim(self) -> list[Turn]:
        if self._rotation.gate_at is None:
            return self._gate()
        number = self._rotation.attempts + 1
        attempt = attempt_of(self.model, self.world, (self.me.generation, number), AttemptKind.RESET, self.me.left)
        new, rotation = self.book.add(attempt), self.book.having(self.me.rotation, attempts=number)
        world = commit(self.model, self.world, self.me, rotation, new)
        world = world._replace(claims=world.claims + 1)
        seen = self.book.saw(Seen(mine=True))
        return [self._turn(f"claims attempt {number}", world, rotation=rotation, attempt=new, seen=seen)]

    def _gate(self) -> list[Turn]:
        in_time = LIMITS.call <= timedelta(seconds=self.me.left)
        if not in_time or not any(request.open for request in self.world.ledger.requests):
            return self._stop(self.world)
        rotation = self.book.having(
            self.me.rotation, phase=Phase.RESETTING, gate_at=moment(0), reason=self.model.config.reason
        )
        world = commit(self.model, self.world, self.me, rotation)
        return [self._turn("passes the gate", world, rotation=rotation)]

    def _look(self) -> list[Turn]:
        attempt, answer, password = self._attempt, None, NONE
        if self.model.config.way is not Way.TAKES or attempt.kind is not AttemptKind.RESET:
            answer = self.world.kept(attempt.escrow_token)
        seen = self._sees(looked=True, in_hand=answer is not None, kept=True)
        if answer is None:
            version = self._candidate()
            if version is not None:
                password = version.password
                seen = self._sees(looked=True, in_hand=True, kept=True, readable=True)
        if answer is not None and attempt.kind is AttemptKind.RESET and attempt.called_at and attempt.end is None:
            return [self._written("finds the answer", self.world, was_reset(), seen=seen, answer=answer)]
        return [self._turn("looks", self.world, seen=seen, answer=answer, password=password)]

    def _candidate(self) -> Version | None:
        """Return what this attempt staged; a person who resumes makes another reading of it."""
        attempt, latest_only = self._attempt, self.model.without(Guard.EARLIER_READINGS)
        tokens = [attempt.store_token] if latest_only else attempt.store_tokens
        found = (self.world.store.find(token) for token in tokens)
        return next((version for version in found if version is not None), None)

    def _read(self) -> list[Turn]:
        answer, attempt, current = self.me.answer, self._attempt, self.world.store.current
        assert answer is not None
        if not (answer.readable or self.world.mended):
            return self._read_in_vain()
        password = self._understood(answer)
        if attempt.kind is AttemptKind.RESET:
            seen = self._sees(readable=True)
            return [self._turn("reads the answer", self.world, seen=seen, password=password)]
        other = current if current is not None and not self._mine(current.token) else None
        same = other is not None and other.password == password
        seen = self._sees(readable=True, same_as_current=same)
        if attempt.old_version is None and other is not None:
            changes: Changes = {"old_version": other.token}
            both = (changes, changes)
            return [self._written("reads the paste", self.world, both, seen=seen, password=password)]
        return [self._turn("reads the paste", self.world, seen=seen, password=password)]

    def _mine(self, token: str) -> bool:
        """Whether the store's version came from this rotation: promoted, and its function died before it said so."""
        if self.model.without(Guard.OWN_PROMOTION):
            return token == self._attempt.store_token
        return any(token in attempt.store_tokens for attempt in self._attempts())

    def _attempts(self) -> list[Attempt]:
        line = self.world.ledger.line(self.me.generation)
        return [] if line is None else [self.book.attempt(number) for number in self.model.attempts_of(line)]

    def _read_in_vain(self) -> list[Turn]:
        attempt, current = self._attempt, self.world.store.current
        seen, label = self._sees(readable=False, unreadable="the answer cannot be read"), "cannot read the answer"
        if attempt.kind is AttemptKind.RESET or attempt.old_version is not None or current is None:
            return [self._turn(label, self.world, seen=seen)]
        changes: Changes = {"old_version": current.token}
        return [self._written(label, self.world, (changes, changes), seen=seen)]

    def _log_in(self) -> list[Turn]:
        attempt, seen = self._attempt, self._sees(asked=True)
        if attempt.refusals and not registry.healthy(self.model, self.world):
            unwell: Changes = {"login": LoginVerdict.UNREACHABLE}
            return [self._written("asks no login: the registry is not well", self.world, ({}, unwell), seen=seen)]
        turns = []
        for label, verdict, world in registry.login(self.model, self.world, self.me, self.me.password):
            refused = verdict is LoginVerdict.REFUSED
            rotation: Changes = {"wrong_logins": self._rotation.wrong_logins + refused}
            changes: Changes = {"login": verdict, "refusals": attempt.refusals + refused}
            turns.append(self._written(f"the new password is {verdict}{label}", world, (rotation, changes), seen=seen))
        return turns

    def _stage(self) -> list[Turn]:
        token = self._attempt.store_token
        world = stored.staged(self.world, token, self.me.password, self._rotation.generation)
        if world is None:
            return self._leave("reset", "the store has the token with another value", until=1)
        return [self._to_write("stages", world, ({}, {"staged": token}))]

    def _read_mark(self) -> list[Turn]:
        moved, seen = str(self.world.registry.password) != self._attempt.change_mark, self._sees(mark_asked=True)
        turns = [self._written(f"the mark moved: {moved}", self.world, ({}, {"mark_moved": moved}), seen=seen)]
        if self.model.may(self.world, Fault.AWAY):
            away = self.world._replace(faults=self.world.faults - 1)
            turns.append(self._turn("the mark cannot be read", away, seen=seen))
        return turns

    def _go_on_to_promote(self) -> list[Turn]:
        """Where a function may freeze at any moment, what it had decided and what it does then are two acts."""
        if self.model.config.thaws:
            return [self._turn("is about to promote", self.world, at="promote")]
        return self._promote()

    def _promote(self) -> list[Turn]:
        rotation, attempt = self._rotation, self._attempt
        unproven = attempt.login is not LoginVerdict.ACCEPTED
        blind = self.model.config.misread and unproven and not (attempt.reading and attempt.refusals)
        world = stored.promoted(self.model, self.world, attempt.staged or "", attempt.old_version, blind=blind)
        if world is None:
            return self._close(AttemptOutcome.SUPERSEDED)
        changes: Changes = {
            "phase": Phase.DELIVERING,
            "resets": rotation.resets + (attempt.kind is AttemptKind.PASTED),
            "store_version": attempt.staged,
            "promoted_at": moment(0),
            "called_at": self._in_force_after(),
            "new_verdict": LoginVerdict.UNPROVEN if unproven else LoginVerdict.ACCEPTED,
            "problems": (),
        }
        return [self._to_write("promotes", world, (changes, {"promoted_at": moment(0)}))]

    def _in_force_after(self) -> datetime | None:
        if self.model.without(Guard.PASTE_DATED):
            return self._rotation.called_at or self._attempt.called_at
        return in_force_after(self._rotation, self._attempt, self._attempts())

    def _delete(self) -> list[Turn]:
        world = self.world
        attempts: tuple[int, ...] = (self.me.attempt,)
        line, before = world.ledger.line(self.me.generation), world.ledger.line(self.me.generation - 1)
        if line is not None and self._attempt.promoted_at is not None:
            attempts = self.model.attempts_of(line)
            if before is not None and not self.model.without(Guard.OVERTAKEN_CLEANED):
                attempts += before.attempts
        for each in attempts:
            world = escrow.deleted(world, self.book.attempt(each).escrow_token)
        return [self._turn("deletes the answer", world, seen=self._sees(deleted=True))]

    def _close(self, outcome: AttemptOutcome) -> list[Turn]:
        rotation, phase = self._rotation, self._rotation.phase
        if outcome is AttemptOutcome.WRONG_PASTE and self.model.config.way is Way.MANUAL:
            phase = Phase.READY
        resets = rotation.resets - (outcome is AttemptOutcome.NO_EFFECT)
        changes: Changes = {
            "phase": phase,
            "resets": resets,
            "called_at": rotation.called_at if resets else None,
        }
        after: Changes = {"seen": self.model.fresh, "answer": None, "password": NONE}
        if outcome is AttemptOutcome.NO_EFFECT and self.me.answer is not None:
            after = {"at": "clear"}
        label = f"closes the attempt: {outcome}"
        return [self._written(label, self.world, (changes, {"outcome": outcome}), **after)]

    def _clear(self) -> list[Turn]:
        world = escrow.deleted(self.world, self._attempt.escrow_token)
        after: Changes = {"seen": self.model.fresh, "answer": None, "password": NONE, "at": "loop"}
        return [self._turn("deletes the answer", world, **after)]

    def _be_ready(self) -> list[Turn]:
        if self._rotation.gate_at is None:
            return self._gate()
        current = self.world.store.current
        if current is None:
            return [self._ready("", None, self.world)]
        tried = registry.login(self.model, self.world, self.me, current.password)
        return [
            self._ready(f": the old password is {verdict}{label}", verdict, world) for label, verdict, world in tried
        ]

    def _ready(self, label: str, verdict: LoginVerdict | None, world: World) -> Turn:
        rotation = self.book.having(self.me.rotation, **be_ready(world, verdict, self._rotation))
        written = commit(self.model, world, self.me, rotation)
        return self._turn(f"is ready{label}", written, rotation=rotation)

    def _ask_old(self) -> list[Turn]:
        attempt = self._attempt if self.me.attempt != NONE and self._attempt.outcome is None else None
        old = attempt.old_version if attempt is not None else self._rotation.old_version
        version = None if old is None else self.world.store.find(old)
        if version is None or not registry.healthy(self.model, self.world):
            seen = self._sees(old=LoginVerdict.INCONCLUSIVE)
            return [self._turn("asks no old password: the registry is not well", self.world, seen=seen)]
        turns = []
        for label, verdict, world in registry.login(self.model, self.world, self.me, version.password):
            turns.append(self._old_said(f"the old password is {verdict}{label}", verdict, world))
        return turns

    def _old_said(self, label: str, verdict: LoginVerdict, world: World) -> Turn:
        seen = self._sees(old=verdict)
        of_attempt = self.me.attempt != NONE and self._attempt.outcome is None
        known = self._attempt.old_refusals if of_attempt else self._rotation.old_refusals
        if verdict is LoginVerdict.ACCEPTED and known:
            refusals = 0
            changes: Changes = {"old_refusals": 0}
        elif verdict is LoginVerdict.REFUSED:
            refusals = known + 1
            changes = self._old_refused(refusals)
        else:
            return self._turn(label, world, seen=seen)
        if of_attempt:
            return self._written(label, world, (changes, {"old_refusals": refusals}), seen=seen)
        rotation = self.book.having(self.me.rotation, **changes)
        written = commit(self.model, world, self.me, rotation)
        return self._turn(label, written, rotation=rotation, seen=seen)
