"""Act after act, until one leads out of the function.

`rekey.protocol.next_act` decides every act from what is written down and what this invocation saw; this module has it
done and written down, and asks again.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from rekey import gate, runtime
from rekey.acts import Act, Step
from rekey.contracts import Manual, Store, Stored
from rekey.errors import Conflict, NotFound, RekeyError
from rekey.model.names import StoreVersion
from rekey.model.rotation import AttemptKind, AttemptOutcome, Phase, Rotation
from rekey.model.state import Next, Operation, Outcome, State
from rekey.model.verdict import LoginVerdict
from rekey.observability import logger
from rekey.protocol import next_act
from rekey.records.ledger import changing
from rekey.runtime import Call
from rekey.steps import checks
from rekey.steps.bench import Bench
from rekey.steps.reset import answer, call, strays
from rekey.steps.reset.work import Work

_SOON = timedelta(seconds=1)
_ACTS: dict[Act, Callable[[Work], None]] = {
    Act.CLAIM: call.claim,
    Act.TRY_OLD: call.try_old,
    Act.CALL: call.send,
    Act.KEEP: call.keep,
    Act.LOOK: answer.look,
    Act.READ: answer.read,
    Act.LOG_IN: answer.log_in,
    Act.READ_MARK: answer.read_mark,
    Act.PROMOTE: answer.promote,
    Act.DELETE: answer.delete,
    Act.ASK_OLD: answer.ask_old,
}


def run(bench: Bench, invocation: Call) -> State:
    """Return the state that leads to delivery, to a wait, or to the report. Raises Fenced, and what records raise."""
    work = Work(bench, invocation)
    if work.rotation.phase is Phase.STOPPED:
        return _stopped_before(work)
    try:
        attempts = bench.ledger.attempts_of(work.rotation)
        work.rotation, work.attempt = strays.settle(bench, work.fence, work.rotation, attempts)
        while True:
            step = next_act(work.records, work.seen, work.limits, runtime.now())
            # An answer in hand is kept with whatever time is left; nothing else begins so late.
            if step.act is not Act.KEEP and work.call.left(runtime.now()) <= call.LAST_TRIES:
                break
            logger.info("act", extra={"act": step.act.value})
            led = _do(work, step)
            if led is not None:
                return led
    except Conflict as conflict:
        # A paste, or a duplicate of this function, wrote first: look again from the start.
        logger.warning("looking again", extra={"why": str(conflict)})
    return work.state.to(Next.WAIT, until=runtime.now() + _SOON)


def _do(work: Work, step: Step) -> State | None:
    """Do one act. Returns a state where it leads out of this function."""
    match step.act:
        case Act.CLAIM | Act.BE_READY | Act.STOP | Act.ATTENTION if _something_is_untried(work, step.act):
            return _try_it_first(work)
        case Act.CLAIM | Act.BE_READY if work.rotation.gate_at is None:
            return _ask_gate(work)
        case Act.GET_READY | Act.STAGE:
            return _prepare(work, step.act)
        case Act.BE_READY:
            _be_ready(work)
        case Act.CLOSE:
            answer.close(work, step.outcome or AttemptOutcome.NOT_CALLED)
        case Act.PAUSE:
            runtime.wait(step.until or runtime.now() + _SOON)
            work.saw(tried=False)
        case act if act in _ACTS:
            _ACTS[act](work)
        case _:
            return _lead_out(work, step)
    return None


def _lead_out(work: Work, step: Step) -> State:
    match step.act:
        case Act.WAIT:
            return work.state.to(Next.WAIT, until=step.until or runtime.now() + _SOON)
        case Act.STAY_READY:
            return work.state.to_report(Outcome.READY)
        case Act.DELIVER:
            return work.state.to(Next.DELIVER)
        case Act.STOP:
            return _stop(work, (step.why,))
        case _:
            return work.need_attention(step.why)


def _something_is_untried(work: Work, act: Act) -> bool:
    """Whether an answer in the escrow is to be tried before this act. A person comes sooner than the next login."""
    spent = work.rotation.wrong_logins >= work.limits.wrong_logins
    return not (act is Act.ATTENTION and spent) and strays.waiting(work.bench, work.rotation)


def _try_it_first(work: Work) -> State:
    """Come back for an answer in the escrow that nobody has tried, before anything is reset, stopped or asked for."""
    if work.attempt is not None and work.attempt.outcome is None:
        work.save({"outcome": AttemptOutcome.REPLACED})
    return work.state.to(Next.WAIT, until=runtime.now() + _SOON)


def _ask_gate(work: Work) -> State | None:
    """Ask the gate, once, before anything is changed. Returns a state where it does not let the rotation pass."""
    time = checks.of_time(work.limits.call, work.call.left(runtime.now()))
    found = [time, *checks.before_reset(work.bench, work.rotation, work.plan, work.registry, work.store)]
    warnings = checks.warnings(work.rotation, work.registry, work.store)
    before = work.bench.ledger.rotation(work.state.registry, work.rotation.generation - 1)
    open_ones = work.bench.ledger.open_requests(work.state.registry)
    met = gate.met(open_ones, before)  # by a reset whose rotation was closed in the middle, and not reported yet
    requests = [request for request in open_ones if request not in met]
    decision = gate.decide(found, requests, work.plan.policy)
    if not decision.go:
        return _stop(work, (*_of_stray(work), *decision.problems), warnings=warnings)
    work.save_rotation(
        phase=Phase.RESETTING,
        gate_at=runtime.now(),
        reason=decision.reason or work.rotation.reason,
        waived=decision.waived,
        warnings=warnings,
    )
    return None


def _of_stray(work: Work) -> tuple[str, ...]:
    """Return what a person who may have pasted it has to hear of an answer that was adopted in vain."""
    if work.attempt is None or work.attempt.outcome is not AttemptOutcome.STALE:
        return ()
    kind = "pasted password" if work.attempt.is_paste else "registry's answer"
    return (f"a {kind} lay in the escrow, and is not the password in force or is in the store already: deleted",)


def _prepare(work: Work, act: Act) -> State | None:
    """Get ready, or stage. What fails before the first call stops the rotation: nothing has happened.

    After an earlier call whose answer was lost the old password is dead: the attempt is given back, and made again.
    """
    try:
        changes: dict[str, object] = call.get_ready(work) if act is Act.GET_READY else {"staged": call.stage(work)}
    except RekeyError as error:
        if work.latest.kind is not AttemptKind.RESET or work.latest.called_at is not None:
            raise
        if not work.rotation.resets:
            return _stop(work, (str(error),))
        logger.error("the next call could not be prepared", extra={"why": str(error)})
        work.save({"outcome": AttemptOutcome.NOT_CALLED})
        return work.state.to(Next.WAIT, until=runtime.now() + work.limits.ask_again)
    work.save(changes)
    return None


def _be_ready(work: Work) -> None:
    """`manual`: try the old password, note the store's version, tell a person to click."""
    now, stored, verdict = runtime.now(), work.store.current(), None
    if stored is not None and work.rotation.wrong_logins < work.limits.wrong_logins:
        verdict = work.registry.login(stored.password).verdict
    where = work.registry.where if isinstance(work.registry, Manual) else ""
    # Told first: cut off in between, it is told twice rather than never. Who was not told, the tick tells.
    told = work.tell_attention(f"ready: {where}, then `rekey paste {work.rotation.registry}`")
    work.save_rotation(
        phase=Phase.READY,
        ready_at=now,
        ready_until=now + work.plan.policy.ready_for,
        old_before=verdict,
        old_version=StoreVersion(stored.version) if stored else None,
        wrong_logins=work.rotation.wrong_logins + (verdict is LoginVerdict.REFUSED),
        paged_at=now if told else None,
    )


def _stop(work: Work, problems: tuple[str, ...], **noted: object) -> State:
    """Write that nothing was reset; with it, in one transaction, that what was cut short for this is open again.

    The gate comes first in every execution, so that no slow consumer holds a leak back. Raises what the store raises.
    """
    before, looked = _cut_short_before(work), _last_is_wrong_paste(work)
    if work.attempt is not None and work.attempt.outcome is None:
        work.save(attempt={"outcome": AttemptOutcome.NOT_CALLED})
    stopped = work.rotation.having(phase=Phase.STOPPED, finished_at=runtime.now(), problems=problems, **noted)
    if before is None:
        work.bench.ledger.save_one(work.fence, stopped)
        return work.state.to_report(Outcome.STOPPED)
    again = before.having(
        phase=Phase.DELIVERING,
        cut_short=False,
        finished_at=None,
        outcome="",
        new_refusals=0,
        # After a wrong paste a person has looked: what proves the password in force is not to fail for want of logins.
        wrong_logins=0 if looked else before.wrong_logins,
        logins_spent=before.logins_spent and not looked,
        execution=work.rotation.execution,
        problems=(),
    )
    work.bench.ledger.save_one(work.fence, stopped, also=changing(again))
    return _deliver(work, again)


def _stopped_before(work: Work) -> State:
    """Return what an earlier call answered that stopped this rotation: its answer was lost, and it is called again."""
    before = work.bench.ledger.rotation(work.rotation.registry, work.rotation.generation - 1)
    if before is not None and before.phase.open and before.execution == work.rotation.execution:
        return _deliver(work, before)
    return work.state.to_report(Outcome.STOPPED)


def _deliver(work: Work, rotation: Rotation) -> State:
    """Return the state that goes on with another rotation."""
    changes = {"generation": rotation.generation, "plan_version": rotation.plan_version}
    state = work.state.model_copy(update={**changes, "shards": tuple(range(rotation.shards))})
    if rotation.delivered_again_at is not None:  # it is tried before, since that may be long ago
        return state.to(Next.VERIFY, operation=Operation.DELIVER)
    return state.to(Next.DELIVER)


def _last_is_wrong_paste(work: Work) -> bool:
    return work.attempt is not None and work.attempt.outcome is AttemptOutcome.WRONG_PASTE


def _cut_short_before(work: Work) -> Rotation | None:
    """Return the rotation that a leak or a paste had cut short, where its password is in force still."""
    before = work.bench.ledger.rotation(work.rotation.registry, work.rotation.generation - 1)
    if before is None or not before.cut_short or before.store_version is None:
        return None
    # By the plan it is pinned to: a newer one may name another store.
    store = work.bench.store(work.bench.folder(before.registry, before.generation).plan())
    stored = store.current()
    if stored is None:
        return None
    return before if _is_same(store, stored, StoreVersion(before.store_version)) else None


def _is_same(store: Store, stored: Stored, version: StoreVersion) -> bool:
    """Whether what is in force is this version's password, also where a person has saved it again."""
    if stored.version == version:
        return True
    with suppress(NotFound):
        return store.read(version).password == stored.password
    return False
