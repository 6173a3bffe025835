"""The attempt that calls: get ready, write "called at", look at the clock and send, hear, keep.

The call is five acts, so that a crash or another invocation may come between any two.
"""

from rekey.model.rotation import CallEnd
from rekey.model.verdict import LoginVerdict
from rekey.protocol import REFUSALS_THAT_COUNT, Way
from tests.faults.search import invariants, registry, stored
from tests.faults.search.invocation import Changes, Invocation
from tests.faults.search.model import FAULT, LIMITS, STEP, Fault, Guard, Turn, finish
from tests.faults.search.model import replaced as put
from tests.faults.search.records import NONE, after_arrivals, moment
from tests.faults.search.world import World


class Calling(Invocation):
    """What an invocation does from the claim to the answer's place."""

    def _get_ready(self) -> list[Turn]:
        current = self.world.store.current
        taking = self.model.config.way is Way.TAKES
        turns = []
        for label, verdict, tried, wrong in self._old_tried():
            mark = str(tried.registry.password) if self.model.config.mark else None
            carried = {"old": verdict} if self.model.without(Guard.OLD_ASKED_SINCE_CALL) else {}
            fact: Changes = {"old_before": verdict} if verdict is LoginVerdict.REFUSED else {}
            world, candidate = registry.candidate(tried) if taking else (tried, NONE)
            noted: Changes = {
                "old_version": current.token if current else None,
                "old_before": verdict,
                "change_mark": mark,
            }
            turns.append(
                self._written(
                    f"gets ready{label}",
                    world,
                    ({"wrong_logins": self._rotation.wrong_logins + wrong, **fact}, noted),
                    seen=self._sees(ready=True, **carried),
                    password=candidate,
                )
            )
        return turns

    def _old_tried(self) -> list[tuple[str, LoginVerdict | None, World, int]]:
        current = self.world.store.current
        if current is None:
            return [("", None, self.world, 0)]
        known = self._rotation.old_before is LoginVerdict.REFUSED and not self.model.without(Guard.OLD_ASKED_ONCE)
        if known or self._rotation.old_refusals >= REFUSALS_THAT_COUNT:
            return [("", LoginVerdict.REFUSED, self.world, 0)]
        tried = registry.login(self.model, self.world, self.me, current.password)
        return [
            (f": the old password is {verdict}{label}", verdict, world, verdict is LoginVerdict.REFUSED)
            for label, verdict, world in tried
        ]

    def _call(self) -> list[Turn]:
        rotation, attempt = self._rotation, self._attempt
        called = after_arrivals(self.world.arrivals)
        changes: Changes = {
            "resets": rotation.resets + 1,
            "called_at": called,
            "old_version": rotation.old_version or attempt.old_version,
            "old_before": rotation.old_before or attempt.old_before,
        }
        turn = self._written('writes "called at"', self.world, (changes, {"called_at": called}), at="send")
        invariants.at_call(self.world)
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
        rotation: Changes = {"resets": resets, "called_at": self._rotation.called_at if resets else None}
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
        staged = stored.staged(world, token, answer.password, self._rotation.generation)
        if staged is None:
            return [Turn("escrow and store refuse", STEP, finish(world, self.number, "reset"))]
        rotation, attempt = was_reset()
        seen = self._sees(kept=True, readable=True)
        both = (rotation, attempt | {"staged": token})
        turn = self._to_write("stages, since the escrow refuses", staged, both, seen)
        me = turn.world.functions[self.number]._replace(password=answer.password)
        return [turn._replace(world=put(turn.world, self.number, me))]


def was_reset() -> tuple[Changes, Changes]:
    """Return what rotation and attempt become by a positive answer."""
    return {"answered_at": moment(0)}, {"end": CallEnd.ANSWERED, "call_ended_at": moment(0)}


def _paid(world: World, *, fault: bool) -> World:
    return world._replace(faults=world.faults - 1) if fault else world
