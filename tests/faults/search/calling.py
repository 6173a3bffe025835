"""The attempt that calls: get ready, write "called at", look at the clock and send, hear, keep.

The call is five acts, so that a crash or another invocation may come between any two.
"""

from rekey.acts import Way
from rekey.model.rotation import AttemptOutcome, CallEnd, Phase
from rekey.model.verdict import LoginVerdict
from rekey.protocol import REFUSALS_THAT_COUNT
from tests.faults.search import invariants, registry, stored
from tests.faults.search.invocation import Changes, Invocation
from tests.faults.search.model import FAULT, LIMITS, STEP, Fault, Guard, Turn, commit, finish, forgotten, leaked
from tests.faults.search.model import replaced as put
from tests.faults.search.records import FOREVER_AGO, NONE, after_arrivals, moment
from tests.faults.search.world import World


class Calling(Invocation):
    """What an invocation does from the claim to the answer's place."""

    def _get_ready(self) -> list[Turn]:
        current = self.world.store.current
        taking = self.model.config.way is Way.TAKES
        turns = []
        if self.model.may(self.world, Fault.UNPREPARED):
            turns += self._unprepared(_paid(self.world, fault=True))
        overtaken = current is not None and current.generation >= self._rotation.generation
        if overtaken and not self.model.without(Guard.STORE_ASKED):
            return [*turns, *self._unprepared(self.world)]
        world, candidate = registry.candidate(self.world) if taking else (self.world, NONE)
        noted: Changes = {
            "old_version": current.token if current else None,
            "change_mark": str(world.registry.password) if self.model.config.mark else None,
        }
        seen = self._sees(ready_at=moment(0))
        turns.append(self._written("gets ready", world, ({}, noted), seen=seen, password=candidate))
        return turns

    def _unprepared(self, world: World) -> list[Turn]:
        """Stop for want of what the call needs; not where a reset was made already, which would be forgotten."""
        if self._rotation.resets and not self.model.without(Guard.RESETS_REMEMBERED):
            return [Turn("cannot get ready", STEP, finish(world, self.number, "reset", until=1))]
        return self._stop(world)

    def _stop(self, world: World) -> list[Turn]:
        """Close the attempt, then the rotation: two writes."""
        if self.me.attempt == NONE or self._attempt.outcome is not None:
            return self._stopped(world)
        attempt = self.book.having(self.me.attempt, outcome=AttemptOutcome.NOT_CALLED)
        after = commit(self.model, world, self.me, self.me.rotation, attempt)
        return [self._turn("closes the attempt, and is about to stop", after, attempt=attempt, at="stop")]

    def _stopped(self, world: World) -> list[Turn]:
        stopped = self.book.having(self.me.rotation, phase=Phase.STOPPED, finished_at=after_arrivals(world.arrivals))
        world = commit(self.model, world, self.me, stopped)
        return [Turn("stops", STEP, finish(world, self.number, "report"))]

    def _try_old(self) -> list[Turn]:
        attempt, rotation = self._attempt, self._rotation
        seen = self._sees(tried=True)
        if rotation.old_refusals and not registry.healthy(self.model, self.world):
            unwell: Changes = {"old_before": LoginVerdict.INCONCLUSIVE}
            return [
                self._written("asks no old password: the registry is not well", self.world, ({}, unwell), seen=seen)
            ]
        version = self.world.store.find(attempt.old_version or "")
        assert version is not None
        turns = []
        for label, verdict, world in registry.login(self.model, self.world, self.me, version.password):
            seen = self._sees(tried=True)
            if self.model.without(Guard.OLD_ASKED_SINCE_CALL):
                seen = self._sees(tried=True, old=verdict)
            changes: Changes = {"old_refusals": 0 if verdict is LoginVerdict.ACCEPTED else rotation.old_refusals}
            if verdict is LoginVerdict.REFUSED:
                changes = self._old_refused(rotation.old_refusals + 1)
            said = f"the old password is {verdict}{label} before the call"
            turns.append(self._written(said, world, (changes, {"old_before": verdict}), seen=seen))
        return turns

    def _old_refused(self, refusals: int) -> Changes:
        changes: Changes = {"old_refusals": refusals, "wrong_logins": self._rotation.wrong_logins + 1}
        if refusals >= REFUSALS_THAT_COUNT:
            changes["old_verdict"] = LoginVerdict.REFUSED
        return changes

    def _pause(self, until: int) -> list[Turn]:
        return [self._turn(f"pauses {until} s", self.world, at="paused", until=until)]

    def _paused(self) -> list[Turn]:
        return [self._turn("has paused", self.world, at="loop", seen=self._sees(tried=False))]

    def _call(self) -> list[Turn]:
        rotation, attempt = self._rotation, self._attempt
        called = after_arrivals(self.world.arrivals)
        changes: Changes = {
            "resets": rotation.resets + 1,
            "calls": rotation.calls + 1,
            "called_at": rotation.called_at or called,
            "old_version": rotation.old_version or attempt.old_version,
            "old_before": rotation.old_before or attempt.old_before,
        }
        seen = self._sees(ready_at=moment(FOREVER_AGO))  # nobody looks at it any more
        turn = self._written('writes "called at"', self.world, (changes, {"called_at": called}), at="send", seen=seen)
        model, world = self.model, self.world
        invariants.at_call(world, leaked=leaked(model, world), forgotten=forgotten(model, world))
        return [turn]

    def _send(self) -> list[Turn]:
        late = moment(0) + LIMITS.call > self._attempt.deadline
        if late and not self.model.without(Guard.CLOCK):
            return self._not_reset(CallEnd.NOT_SENT)
        ways = registry.sent(self.model, self.world, self.me, self.me.password)
        return [
            Turn(label, FAULT if fault else STEP, put(_paid(world, fault=fault), self.number, function))
            for label, fault, world, function in ways
        ]

    def _heard(self) -> list[Turn]:
        if self.model.config.way is Way.TAKES:
            seen = self._sees(end=CallEnd.ANSWERED, in_hand=True, kept=True, readable=True)
            return [self._written("hears: taken", self.world, was_reset(), seen=seen)]
        seen = self._sees(end=CallEnd.ANSWERED, in_hand=True)
        return [self._turn("hears the answer", self.world, seen=seen, at="loop", unkept=True)]

    def _not_known(self) -> list[Turn]:
        attempt: Changes = {"end": CallEnd.UNKNOWN, "call_ended_at": moment(0)}
        return [self._written("hears nothing", self.world, ({}, attempt), seen=self._sees(end=CallEnd.UNKNOWN))]

    def _not_reset(self, end: CallEnd) -> list[Turn]:
        resets = self._rotation.resets - 1
        rotation: Changes = {
            "resets": resets,
            "calls": self._rotation.calls - (end is CallEnd.NOT_SENT),
            "called_at": self._rotation.called_at if resets else None,
        }
        attempt: Changes = {"end": end, "said": "", "call_ended_at": moment(0)}
        return [self._written(f"notes {end}", self.world, (rotation, attempt), seen=self._sees(end=end))]

    def _keep(self) -> list[Turn]:
        assert self.me.answer is not None
        token, seen = self._attempt.escrow_token, self._sees(kept=True)
        turns = []
        if self.model.without(Guard.ESCROW):
            turns.append(self._to_write("keeps nothing", self.world, was_reset(), seen))
        elif all(kept.token != token for kept in self.world.escrow) or self.world.kept(token) == self.me.answer:
            kept = self.world.holding(token, self.me.answer)
            turns.append(self._to_write("keeps the answer", kept, was_reset(), seen))
        else:
            turns += self._stage_instead(self.world)
        if self.model.may(self.world, Fault.ESCROW_REFUSES):
            turns += self._stage_instead(_paid(self.world, fault=True))
        return turns

    def _stage_instead(self, world: World) -> list[Turn]:
        answer, token = self.me.answer, self._attempt.store_token
        assert answer is not None
        if not answer.readable:
            return [Turn("the escrow refuses, and nothing can be staged", STEP, finish(world, self.number, "reset"))]
        password = self._understood(answer)
        staged = stored.staged(world, token, password, self._rotation.generation)
        if staged is None:
            return [Turn("escrow and store refuse", STEP, finish(world, self.number, "reset"))]
        rotation, attempt = was_reset()
        seen = self._sees(kept=True, readable=True)
        both = (rotation, attempt | {"staged": token})
        turn = self._to_write("stages, since the escrow refuses", staged, both, seen)
        me = turn.world.functions[self.number]._replace(password=password)
        return [turn._replace(world=put(turn.world, self.number, me))]


def was_reset() -> tuple[Changes, Changes]:
    """Return what rotation and attempt become by a positive answer."""
    return {"answered_at": moment(0)}, {"end": CallEnd.ANSWERED, "call_ended_at": moment(0)}


def _paid(world: World, *, fault: bool) -> World:
    return world._replace(faults=world.faults - 1) if fault else world
