"""Report: say how the execution ends, from the ledger alone; close what is met, write the evidence, free the lease.

Ends well only where everything is done. What is unfinished is written down before the lease goes, and the tick comes
back for it.
"""

import hashlib
import json
import secrets
from contextlib import suppress
from dataclasses import replace

from rekey import errors, evidence, gate, page, runtime
from rekey.bus import Told
from rekey.errors import Conflict, Unreachable
from rekey.evidence import Findings
from rekey.model.rotation import Again, AttemptKind, Fence, Phase, Rotation
from rekey.model.state import Outcome, State
from rekey.model.verdict import Receipt
from rekey.observability import logger
from rekey.records.dynamo import Write
from rekey.records.ledger import following, open_mark
from rekey.runtime import Call
from rekey.steps.bench import Bench
from rekey.steps.hand_back import hand_back

_TURNS = 5
"""How often it looks again because a paste or an alert came in between."""
_REQUESTS = 40
"""Requests that one transaction closes: it holds 100 writes (API_TransactWriteItems of DynamoDB)."""
_LONGEST_REASON = 2000
"""Characters that are kept of why nothing was begun: a plan may have hundreds of problems."""
_ENDS = {
    Phase.STOPPED: Outcome.STOPPED,
    Phase.READY: Outcome.READY,
    Phase.NEEDS_ATTENTION: Outcome.NEEDS_ATTENTION,
    Phase.PREPARING: Outcome.STOPPED,
    Phase.RESETTING: Outcome.UNFINISHED,
}
_DONE = (Outcome.FINISHED, Outcome.CONSUMERS_FAILED, Outcome.READY)
_PATIENCE = 3
"""Executions that end unfinished, one after the other, before a person hears of it."""
_UNDER_WAY = "the rotation is not finished, and is tried again"
_DEFINITE = frozenset(
    kind.__name__
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.RekeyError) and kind.definite
)
"""What a Catch calls the errors that the state machine does not retry."""


def run(bench: Bench, call: Call) -> State:
    """Return the state with the execution's outcome.

    Another execution's registry is left alone: the outcome is then what the ledger says this one achieved.
    """
    state = call.state
    lease = bench.leases.current(state.registry)
    if lease is None or (lease.owner, lease.redrive) != (call.execution, call.redrive):
        return state.model_copy(update={"outcome": _earlier_outcome(bench, call)})
    return Report(bench, call, lease.fence(state.registry)).run()


def _earlier_outcome(bench: Bench, call: Call) -> Outcome:
    """Return what an earlier try of this report wrote, if its answer was lost; else nothing is known to be done."""
    ledger, state = bench.ledger, call.state
    latest = ledger.rotation(state.registry, state.generation) or ledger.latest(state.registry)
    if latest is None or latest.execution != call.execution or not latest.outcome:
        return Outcome.UNFINISHED
    outcome = Outcome(latest.outcome)
    _tell_the_end(bench, latest, outcome)  # cut off after its write: told twice rather than never
    return _in_all(outcome, ledger.stopped_after(latest), call)


def _in_all(outcome: Outcome, stopped: Rotation | None, call: Call) -> Outcome:
    """Return how the execution ends: not well where its own rotation stopped, and the one before was finished."""
    stopped_here = stopped is not None and stopped.execution == call.execution
    return Outcome.STOPPED if stopped_here and outcome in _DONE else outcome


class Report:
    """One execution's end."""

    def __init__(self, bench: Bench, call: Call, fence: Fence) -> None:
        self.bench, self.call, self.fence = bench, call, fence
        self.now = runtime.now()
        self.again: Again | None = None
        self.tries = 0
        self.told: list[str] = []
        self.stands: list[str] = []
        """Digests of what stands in the way now, and was told."""
        self.unwritten = ""
        """Why there is no evidence."""

    def run(self) -> State:
        """Write the end and return the state that says it. Raises Fenced, Conflict, and what the records raise."""
        for _ in range(_TURNS):
            with suppress(Conflict):
                return self._end()
        return self._end()

    def _end(self) -> State:
        state = self.call.state
        self.again = self.bench.ledger.again(state.registry)
        self.tries = self.again.tries if self.again else 0
        self.told = self.again.told.split() if self.again else []
        self.stands, self.unwritten = [], ""
        rotation = self.bench.ledger.latest(state.registry)
        stopped = self.bench.ledger.stopped_after(rotation)
        if stopped is not None and not (rotation and rotation.opened_after(stopped)):
            self._end_the_one_that_stopped(stopped)
        if rotation is None or rotation.execution != self.call.execution:
            # Begin failed before it opened or took up a rotation: its requests stay open.
            return self._end_without_rotation(state, rotation)
        found = self._findings(rotation)
        outcome = self._outcome(found)
        ended = self._ended(found, outcome)
        self._save_that_of_the_one_before(rotation)
        self._save_evidence(ended, outcome)
        if self.unwritten and ended.rotation.phase is Phase.FINISHED:
            outcome = Outcome.UNFINISHED  # it is not closed without evidence
            ended = replace(found, rotation=rotation.having(outcome=outcome.value))
        self._call_a_person(ended, outcome)
        in_all = _in_all(outcome, stopped, self.call)
        self._commit(rotation, ended, self._again(in_all))
        _tell_the_end(self.bench, ended.rotation, outcome)
        return state.model_copy(update={"outcome": in_all, "next": None, "until": None})

    def _end_the_one_that_stopped(self, stopped: Rotation) -> None:
        """Write and tell why a rotation stopped, where the one before it goes on in its place."""
        found = self._findings(stopped)
        self._call_a_person(found, Outcome.STOPPED)  # told first: twice rather than never
        if stopped.outcome != Outcome.STOPPED:
            self._save_evidence(found, Outcome.STOPPED)
            self.bench.ledger.save_one(self.fence, stopped.having(outcome=Outcome.STOPPED.value))

    def _findings(self, rotation: Rotation) -> Findings:
        ledger, registry, generation = self.bench.ledger, rotation.registry, rotation.generation
        folder = self.bench.folder(registry, generation)
        shards = folder.shards(rotation.shards)
        plan = folder.plan() if rotation.shards else None
        types = {entry.name: entry.type for entry in plan.consumers} if plan else {}
        names: list[tuple[str, str]] = []
        for state in (state for shard in shards for state in shard.entries):
            consumers = [consumer.consumer for consumer in state.consumers] or [state.entry]
            names += [(name, types.get(state.entry, "")) for name in consumers]
        receipts = ledger.receipts(registry, generation)
        told = [(receipt.consumer, receipt.type) for receipt in receipts]
        # An entry that made several consumers later than `prepare` is known by its receipts.
        known = [pair for pair in names if pair not in told and not _made_several(pair[0], receipts)] + told
        over = False
        if rotation.promoted_at is not None and plan is not None:
            recover_for = plan.policy.recover_for
            over = self.now >= (rotation.delivered_again_at or rotation.promoted_at) + recover_for
            receipts = evidence.given_up(receipts, known, str(recover_for)) if over else receipts
        return Findings(
            rotation=rotation,
            attempts=ledger.attempts_of(rotation),
            requests=ledger.requests_of(registry, generation),
            consumers=sorted(set(known)),
            receipts=sorted(receipts, key=lambda receipt: receipt.consumer),
            before=folder.snapshot() if rotation.snapshot_at else None,
            warnings=[c for shard in shards for state in shard.entries for c in state.consumers if c.warning],
            given_up=over,
        )

    def _outcome(self, found: Findings) -> Outcome:
        return _ENDS.get(found.rotation.phase) or evidence.outcome_of(found)

    def _ended(self, found: Findings, outcome: Outcome) -> Findings:
        """Return the findings with the rotation as it stands after this report."""
        rotation, error = found.rotation, self.call.state.error
        changes: dict[str, object] = {"outcome": outcome.value}
        if error and not rotation.problems:
            changes["problems"] = (said(error),)
        if outcome in (Outcome.FINISHED, Outcome.CONSUMERS_FAILED):
            changes |= {"phase": Phase.FINISHED, "finished_at": self.now}
        elif outcome is Outcome.STOPPED:
            changes |= {"phase": Phase.STOPPED, "finished_at": rotation.finished_at or self.now}
        elif outcome is Outcome.NEEDS_ATTENTION and rotation.reopened and rotation.phase is Phase.NEEDS_ATTENTION:
            changes |= {"phase": Phase.FINISHED, "finished_at": self.now}  # it was over: it blocks no rotation
        elif outcome is Outcome.NEEDS_ATTENTION and rotation.phase is not Phase.NEEDS_ATTENTION:
            # Nothing is left that an execution could do: a person looks, and the next rotation is not held up.
            problems = tuple(evidence.unproven(found))
            changes |= {"phase": Phase.FINISHED, "finished_at": self.now, "problems": problems}
        return replace(found, rotation=rotation.having(**changes))

    def _call_a_person(self, found: Findings, outcome: Outcome) -> None:
        """Tell what a person has to hear.

        Told before it is written: cut off in between, it is told twice rather than never. What the bus does not take,
        the next report tells; none follows on a rotation that is closed, so that is Unreachable and tried again.
        """
        rotation = found.rotation
        why, closed = self._in_the_way(rotation, outcome), _ends_with_a_person(rotation, outcome)
        if not why:
            return
        pastes = [attempt.number for attempt in found.attempts if attempt.kind is AttemptKind.PASTED]
        taken = self._tell_news(why, *pastes[-1:], always=closed, rotation=rotation.id)
        if closed and not taken:
            raise Unreachable("the event bus does not take that a person is needed: the rotation is not closed before")

    def _close_what_is_met(self, state: State) -> None:
        """Close what this execution's own rotation met, which a paste has closed in the middle."""
        ledger = self.bench.ledger
        mine = ledger.rotation(state.registry, state.generation)
        met = gate.met(ledger.open_requests(state.registry), mine)
        for first in range(0, len(met), _REQUESTS):
            ledger.close(self.fence, met[first : first + _REQUESTS], state.generation)

    def _tell_news(self, why: str, *of: int, always: bool = False, **told: str) -> bool:
        """Tell a person, unless the last try told that very thing: the tick would tell it every half hour.

        `of`: what makes the same words another thing. Returns whether the bus took it.
        """
        digest = _digest("\n".join([why, *map(str, of)]))
        if not always and digest in self.told:
            self.stands.append(digest)
            return True
        taken = self.bench.bus.tell(Told.ATTENTION_NEEDED, self.fence.registry, why=why, **told)
        if taken:
            self.stands.append(digest)
        return taken

    def _in_the_way(self, rotation: Rotation, outcome: Outcome) -> str:
        """Return what a person has to hear, or "". That it needs attention in the middle was told by who found it.

        Of a rotation that is under way: what asking again cannot mend, and what several executions have not mended.
        """
        if outcome is Outcome.STOPPED:
            return "; ".join([*rotation.problems, self.unwritten]).removesuffix("; ")
        if _ends_with_a_person(rotation, outcome):
            return "; ".join(rotation.problems) or "consumers failed: the report names them"
        if self.unwritten:
            return self.unwritten
        error = self.call.state.error
        if outcome is not Outcome.UNFINISHED or not (_is_definite(error) or self.tries >= _PATIENCE):
            return ""
        return f"{_UNDER_WAY}: {said(error) if error else f'see `rekey status {rotation.registry}`'}"

    def _save_that_of_the_one_before(self, rotation: Rotation) -> None:
        """Write the evidence of a reset that a leak or a paste cut short before any report of it."""
        before = self.bench.ledger.rotation(rotation.registry, rotation.generation - 1)
        if before is None or before.phase.open or before.outcome or not before.completed:
            return
        found = self._findings(before)
        outcome = self._outcome(found)
        self._save_evidence(found, outcome)
        if not self.unwritten:
            self.bench.ledger.save_one(self.fence, before.having(outcome=outcome.value))

    def _save_evidence(self, found: Findings, outcome: Outcome) -> None:
        """Write the document, and note why that cannot be. Raises Unreachable."""
        document = evidence.build(found, outcome, self.now)
        folder = self.bench.folder(found.rotation.registry, found.rotation.generation)
        try:
            folder.save_evidence(document, page.render(document))
        except errors.RekeyError as error:
            if not error.definite:
                raise
            logger.error("the evidence cannot be written", extra={"why": str(error)})
            self.unwritten = f"the evidence of {found.rotation.id} cannot be written: {error}"

    def _commit(self, before: Rotation, found: Findings, again: Again) -> None:
        """Write the end in one transaction: rotation, requests that are met, when to come back, the lease.

        A completed reset meets its requests even where consumers are still to be told: those are the rotation's own.
        So does that of the one before: what closed it in the middle left its requests open.
        """
        rotation = found.rotation
        saved = rotation.having(rev=secrets.token_hex(8))
        writes: list[Write] = [following(before, saved), open_mark(saved), self._following(again)]
        before_it = self.bench.ledger.rotation(rotation.registry, rotation.generation - 1)
        met = gate.met(found.requests, rotation, before_it)
        while len(met) > _REQUESTS:
            self.bench.ledger.close(self.fence, met[:_REQUESTS], rotation.generation)
            met = met[_REQUESTS:]
        for request in met:
            writes += self.bench.ledger.closing(request, rotation.generation)
        lingering = self.call.state.error is not None
        hand_back(self.bench, self.fence, self.now, may_linger=lingering, also=writes)

    def _again(self, outcome: Outcome) -> Again:
        """Return when the tick may come back; what is done counts from nought again.

        What was told stays told while the rotation is tried again: it may stand in the way of every second try only.
        """
        done = outcome in _DONE
        tries = 0 if done else self.tries + 1
        at = self.now if done else self.now + self.bench.settings.again_in(self.tries)
        told = "" if done else " ".join(self.stands or self.told)
        return Again(registry=self.fence.registry, tries=tries, at=at, told=told, rev=secrets.token_hex(8))

    def _following(self, again: Again) -> Write:
        return following(self.again or again.having(rev=""), again)

    def _end_without_rotation(self, state: State, latest: Rotation | None) -> State:
        """End an execution whose Begin failed. What an earlier one left half done is not "nothing changed"."""
        error = state.error or {}
        pasted = latest is not None and not latest.execution
        waited = "it waited in vain for the functions of an earlier execution to end"
        why = said(error) if error else "a paste came meanwhile: the next execution tries it" if pasted else waited
        under_way = latest is not None and latest.phase.open and latest.phase is not Phase.PREPARING
        outcome = Outcome.UNFINISHED if under_way else Outcome.STOPPED
        logger.error("nothing was begun", extra={"error": error.get("Error")})
        if error or not pasted:
            self._tell_news(why)  # told first: cut off in between, it is told twice rather than never
        self._close_what_is_met(state)
        again = self._again(outcome).having(not_begun=_in_one_line(why), not_begun_at=self.now)
        # A definite error is the function's own answer, as "wait" is, and the handler leaves nothing running behind it:
        # the next owner need not wait. After all else, a Task's timeout first of all, a call of Begin may still run.
        # (That it was called before, the lease says.)
        lingering = bool(error) and not _is_definite(error)
        hand_back(self.bench, self.fence, self.now, may_linger=lingering, also=[self._following(again)])
        return state.model_copy(update={"outcome": outcome, "next": None, "until": None})


def _ends_with_a_person(rotation: Rotation, outcome: Outcome) -> bool:
    """Whether the rotation is closed, and a person has to look all the same."""
    return rotation.phase is Phase.FINISHED and outcome in (Outcome.CONSUMERS_FAILED, Outcome.NEEDS_ATTENTION)


def _tell_the_end(bench: Bench, rotation: Rotation, outcome: Outcome) -> None:
    if outcome in (Outcome.FINISHED, Outcome.CONSUMERS_FAILED):
        bench.bus.tell(Told.ROTATION_FINISHED, rotation.registry, rotation=rotation.id, outcome=outcome.value)


def _is_definite(error: dict[str, str] | None) -> bool:
    return error is not None and error.get("Error") in _DEFINITE


def _in_one_line(text: str) -> str:
    """Return a message as one line of bounded length: a plan's problems are a line each."""
    first, *others = text.splitlines() or [""]
    line = " ".join([first, "; ".join(other.strip() for other in others)]).strip()
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _made_several(entry: str, receipts: list[Receipt]) -> bool:
    return any(receipt.consumer.startswith(f"{entry}/") for receipt in receipts)


def said(error: dict[str, str]) -> str:
    """Return what a Catch brought, in words: our own errors' messages, and for all others only their name."""
    try:
        cause = json.loads(error.get("Cause", ""))
    except ValueError:
        cause = {}
    message = cause.get("errorMessage") if isinstance(cause, dict) else None
    return f"{error.get('Error')}: {message}" if message else str(error.get("Error"))
