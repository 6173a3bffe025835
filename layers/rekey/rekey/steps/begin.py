"""Begin: take the lease, find out where the rotation stands, say where to enter.

On a fresh rotation: pin the plan, cut its entries into shards, note what the registry holds.
"""

from collections.abc import Sequence
from datetime import datetime

from rekey import runtime
from rekey.bus import Told
from rekey.contracts import Stored
from rekey.errors import Conflict, Denied, InputInvalid, OutOfTime, RekeyError, Unreachable
from rekey.model.plan import Plan
from rekey.model.request import Reason, Request
from rekey.model.rotation import Fence, Phase, Rotation
from rekey.model.state import Next, Operation, Outcome, State
from rekey.observability import logger
from rekey.records.ledger import changing
from rekey.records.redelivering import told_again
from rekey.runtime import Call
from rekey.steps import redelivery, shards, unclaimed
from rekey.steps.bench import Bench, last_promoted
from rekey.steps.hand_back import hand_back
from rekey.steps.standing import overtaken, unmet_leaks

_OVERTAKEN = (
    "overtaken: the store holds generation {}, which the ledger does not know. It was restored from a backup, or "
    "another stack rotates this registry too"
)
_NOBODY_ELSE = "Nobody knows which consumers have that password: `rekey rotate` gives all of them a new one"


def run(bench: Bench, call: Call) -> State:
    """Return the state that leads to where the work is.

    `stop`: this execution has nothing to do here (another one owns the registry, nothing is asked for, or it was
    redriven: the tick starts what is open, so a redrive must not). `wait`: functions of a dead owner may still run.
    """
    now = runtime.now()
    state = call.state
    if state.operation is not Operation.ROTATE:
        raise InputInvalid(
            f"an execution is started as `rotate`: `rekey deliver {state.registry}` has it deliver again"
        )
    if call.redrive:
        return state.to(Next.STOP, outcome=Outcome.JOINED)
    lease = bench.leases.take(state.registry, call.execution, call.redrive, now)
    if lease is None:
        return state.to(Next.STOP, outcome=Outcome.JOINED)
    if call.repeated:
        bench.leases.check(lease.fence(state.registry), repeated=True)
    state = state.model_copy(update={"epoch": lease.epoch, "tag": lease.tag})
    if lease.drain_until > now:
        return state.to(Next.WAIT, until=lease.drain_until)
    fence = lease.fence(state.registry)
    rotation = _open_rotation(bench, fence, now)
    if rotation is None:
        hand_back(bench, fence, now)
        return state.to(Next.STOP, outcome=Outcome.JOINED)
    if rotation.shards == 0:
        rotation = _lay_out(bench, fence, rotation)
    elif rotation.pin_again:
        rotation = _pin_again(bench, fence, rotation)
    state = state.model_copy(
        update={
            "generation": rotation.generation,
            "plan_version": rotation.plan_version,
            "shards": tuple(range(rotation.shards)),
        }
    )
    entry = _entry(rotation)
    if entry is Next.DELIVER and rotation.delivered_again_at is not None:
        return state.to(Next.PREPARE, operation=Operation.DELIVER)
    return state.to(entry)


def _entry(rotation: Rotation) -> Next:
    """Where an execution enters: the phase says what is done; `deliver` and `verify` skip what is."""
    match rotation.phase:
        case Phase.PREPARING:
            return Next.PREPARE
        case Phase.DELIVERING | Phase.VERIFYING:
            return Next.DELIVER
        case _:
            return Next.RESET  # ready and needs_attention too: `reset` finds a paste, or says what is missing


def _open_rotation(bench: Bench, fence: Fence, now: datetime) -> Rotation | None:
    """Return the rotation to work on, or None. Looked for once more where a person asked for another in between."""
    try:
        return _taken_up(bench, fence, now)
    except Conflict:
        return _taken_up(bench, fence, now)


def _taken_up(bench: Bench, fence: Fence, now: datetime) -> Rotation | None:
    """Return the unfinished rotation, or a new one if somebody asks for it, or None.

    What is closed for the new one is closed in its transaction: nothing is left that neither would look at.
    """
    latest = bench.ledger.latest(fence.registry)
    again = redelivery.take_up(bench, fence, latest, now)
    if again is not None:
        return again
    is_open = latest is not None and latest.phase.open
    closed: Rotation | None = None
    if latest is not None and is_open and latest.shards:
        # By the plan it is pinned to: a newer one that is broken, or names another store, must not stop what is open.
        pinned = bench.folder(fence.registry, latest.generation).plan()
        if not overtaken(bench, latest, last_promoted(bench.store(pinned))):
            why = _cut_short_by(bench, latest)
            if not (why and _can_begin(bench, fence.registry)):
                return bench.ledger.save_one(fence, _by(fence, latest))
            closed = latest.having(phase=Phase.FINISHED, finished_at=now, problems=(why,), cut_short=True)
    plan, _, version = bench.plans.pushed(fence.registry)
    promoted = last_promoted(bench.store(plan))
    if latest is not None and is_open and closed is None:
        if not overtaken(bench, latest, promoted):
            return bench.ledger.save_one(fence, _by(fence, latest))
        why = _OVERTAKEN.format(promoted.generation if promoted else 0)
        closed = latest.having(phase=Phase.FINISHED, finished_at=now, problems=(why,))
    requests = bench.ledger.open_requests(fence.registry)
    # An answer that no open rotation waits for may be the only copy of the password in force: reset looks at it.
    if not requests and not bench.escrow.tokens(fence.registry):
        if closed is not None:
            _tell_that_nothing_follows(bench, closed)
            bench.ledger.save_one(fence, closed)
        return None
    last = bench.ledger.stopped_after(latest) or closed or latest
    generation, follows, attempts = _number(last, promoted)
    spent = last.wrong_logins if last and follows and not _asked_since(last, requests) else 0
    fresh = Rotation(
        rev=follows,
        registry=fence.registry,
        generation=generation,
        phase=Phase.PREPARING,
        reason=max((request.reason for request in requests), key=lambda one: one.urgency, default=Reason.REQUESTED),
        plan_version=version,
        started_at=now,
        execution=fence.owner,
        attempts=attempts,
        attempts_before=attempts,
        wrong_logins=spent,
    )
    return bench.ledger.save_one(fence, fresh, also=[] if closed is None else changing(closed))


def _by(fence: Fence, rotation: Rotation) -> Rotation:
    """Return a rotation as an execution takes it up: it asks the registry for itself."""
    return rotation.having(execution=fence.owner, held_back_since=None)


def _tell_that_nothing_follows(bench: Bench, closed: Rotation) -> None:
    """Call a person, before it is written: twice rather than never. Raises Unreachable where the bus does not take it.

    Whoever the rotation has not told, nobody else tells.
    """
    why = f"{closed.problems[0]}. {_NOBODY_ELSE}"
    if not bench.bus.tell(Told.ATTENTION_NEEDED, closed.registry, rotation=closed.id, why=why):
        raise Unreachable("the event bus does not take that a person is needed: the rotation is not closed before")


def _asked_since(stopped: Rotation, requests: Sequence[Request]) -> bool:
    """Whether anybody asked anew since a rotation stopped; else its wrong logins count on: the account is the same."""
    return any(stopped.finished_at is None or request.arrived_at > stopped.finished_at for request in requests)


def _can_begin(bench: Bench, registry: str) -> bool:
    """Whether a next rotation can begin: else the open one goes on, and its consumers are told at least."""
    try:
        last_promoted(bench.store(bench.plans.pushed(registry)[0]))
    except RekeyError as error:
        logger.error("a later leak waits for a plan, or for its store", extra={"why": str(error)})
        return False
    return True


def _cut_short_by(bench: Bench, rotation: Rotation) -> str:
    """Return why a rotation whose password is promoted makes room for the next one, or ""."""
    if rotation.completed and rotation.pin_again:
        return ""  # its shards are being cut anew: opened again after that, the next one might stop over half of them
    if rotation.completed and unclaimed.forgotten(bench, rotation):
        # Promoted under this number, it would not reach the consumers that have this one's password already.
        return "an answer lies in the escrow that the ledger has forgotten: the next rotation tries it, and tells all"
    # It waits for no slow consumer.
    if rotation.completed and rotation.phase is not Phase.NEEDS_ATTENTION and unmet_leaks(bench, rotation):
        return "a later leak was reported before every consumer was told: the next rotation tells them"
    return ""


def _number(latest: Rotation | None, promoted: Stored | None) -> tuple[int, str, int]:
    """Return a new rotation's generation, the record it follows from and the attempts that number has used up.

    A rotation that stopped before its reset leaves its number to the next one; its attempts' tokens stay used.
    """
    in_store = promoted.generation if promoted else 0
    if latest is None:
        return in_store + 1, "", 0
    if latest.phase is Phase.STOPPED and latest.generation > in_store:
        return latest.generation, latest.rev, latest.attempts
    return max(latest.generation, in_store) + 1, "", 0


def _lay_out(bench: Bench, fence: Fence, rotation: Rotation) -> Rotation:
    """Pin the plan, cut its entries into shards, note what the registry holds."""
    plan, body, version = bench.plans.pushed(rotation.registry)
    number = shards.pin(bench, rotation, plan, body)
    note, refused = _snapshot(bench, plan, rotation)
    laid_out = rotation.having(
        shards=number,
        plan_version=version,
        wrong_logins=rotation.wrong_logins + refused,
        contents_note=note,
        snapshot_at=None if note else runtime.now(),
    )
    return bench.ledger.save_one(fence, laid_out)


def _pin_again(bench: Bench, fence: Fence, rotation: Rotation) -> Rotation:
    """Pin the plan that a person mended; whoever is to be told again gets a receipt that says so."""
    plan, body, _ = bench.plans.pushed(rotation.registry, rotation.plan_version)
    if rotation.completed:
        pinned = bench.folder(rotation.registry, rotation.generation).plan()
        receipts = bench.ledger.receipts(rotation.registry, rotation.generation)
        pending = told_again(shards.cut(plan.consumers), pinned, receipts, rotation.deliver_to)
        bench.ledger.replace_receipts(fence, rotation.generation, pending)
    number = shards.pin(bench, rotation, plan, body)
    return bench.ledger.save_one(fence, rotation.having(pin_again=False, deliver_to=(), shards=number))


def _snapshot(bench: Bench, plan: Plan, rotation: Rotation) -> tuple[str, bool]:
    """Note what the registry holds, within its time.

    Returns why that was not possible, or nothing, and whether it was a wrong login. It stops nothing: a leak cannot
    wait for a slow catalogue.
    """
    stored = bench.store(plan).current()
    if stored is None:
        return "there was no password to read the contents with before the reset", False
    if rotation.wrong_logins >= plan.registry.max_wrong_logins - 1:  # the last one is the new password's
        return "the contents were not read before the reset: another wrong login could lock the account", False
    try:
        contents = bench.registry(plan).contents(stored.password, bench.settings.snapshot_within)
    except RekeyError as error:
        logger.warning("no snapshot", extra={"why": str(error)})
        late = "took longer than it may" if isinstance(error, OutOfTime) else str(error)
        return f"the contents could not be read before the reset: {late}", isinstance(error, Denied)
    bench.folder(rotation.registry, rotation.generation).save_snapshot(contents)
    return "", False
