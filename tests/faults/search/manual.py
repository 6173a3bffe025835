"""People: who click, paste, mend the plan and resume (`records/pasting.py`, `records/resuming.py`)."""

from rekey.acts import Way
from rekey.model.rotation import AttemptKind, AttemptOutcome, Phase, Rotation
from rekey.model.verdict import LoginVerdict
from tests.faults.search.model import FAULT, HELP, LIMITS, STEP, Fault, Guard, Model, Turn
from tests.faults.search.opening import attempt_of, rotation_of
from tests.faults.search.records import NONE, after_arrivals, moment
from tests.faults.search.world import OLD, Answer, Line, World

WRONG = -5
READY_FOR = 3
"""Seconds."""


def be_ready(world: World, verdict: LoginVerdict | None, rotation: Rotation) -> dict[str, object]:
    """Return what a rotation becomes that waits for a click."""
    return {
        "phase": Phase.READY,
        "ready_at": after_arrivals(world.arrivals),
        "ready_until": moment(READY_FOR),
        "old_before": verdict,
        "old_version": world.store.current.token if world.store.current else None,
        "wrong_logins": rotation.wrong_logins + (verdict is LoginVerdict.REFUSED),
    }


def stopped_for_good(world: World, rotation: Rotation) -> bool:
    """Whether a rotation stopped because its wrong logins are spent: a person is told, and every next one stops too."""
    return rotation.phase is Phase.STOPPED and rotation.wrong_logins >= LIMITS.wrong_logins and not world.executions


def turns(model: Model, world: World) -> list[Turn]:
    """Return what people may do."""
    line = world.ledger.latest
    rotation = model.book.rotation(line.rotation) if line is not None else None
    phase = rotation.phase if rotation is not None else None
    found: list[Turn] = []
    person = world.person
    stuck = phase is Phase.NEEDS_ATTENTION and not world.executions
    stopped = rotation is not None and stopped_for_good(world, rotation)
    adopting = model.config.adopting and phase is None
    waited_for = (phase is Phase.READY and model.config.way is Way.MANUAL) or stuck or stopped
    last = model.book.attempt(line.attempts[-1]) if line is not None and line.attempts else None
    pasting = last is not None and last.kind is AttemptKind.PASTED and last.outcome is None
    if person.clicks and waited_for and not pasting:
        found.append(Turn("a person resets in the console", _kind(model, stuck=stuck or stopped), _clicked(world)))
    if model.may(world, Fault.CONSOLE):
        paid = _clicked(world._replace(faults=world.faults - 1), spent=False)
        truth = paid.truth._replace(foreign=paid.truth.foreign + 1)
        found.append(Turn("somebody resets in the console unasked", FAULT, paid._replace(truth=truth)))
    if person.pastes and person.known == world.registry.password and (waited_for or adopting):
        found.append(
            Turn("pastes the password", _kind(model, stuck=stuck or stopped), pasted(model, world, person.known))
        )
    if model.may(world, Fault.EARLY_PASTE) and person.known == world.registry.password and not waited_for:
        paid = world._replace(faults=world.faults - 1)
        found.append(Turn("pastes the password unasked", FAULT, pasted(model, paid, person.known)))
    for fault, password, label in (
        (Fault.WRONG_PASTE, WRONG, "pastes something else"),
        (Fault.OLD_PASTE, OLD, "pastes the old password"),
    ):
        if model.may(world, fault) and waited_for:
            paid = world._replace(faults=world.faults - 1)
            found.append(Turn(label, FAULT, pasted(model, paid, password)))
    reset_by_hand = person.known == world.registry.password  # who resets there pastes, and does not resume
    if stuck and person.resumes and rotation is not None and not rotation.completed and not reset_by_hand:
        resumed = _resumed(model, world)
        found.append(Turn("mends the plan and resumes", HELP, resumed._replace(mended=True)))
        if model.may(world, Fault.WRONG_MEND) and not world.mended:
            wrongly = resumed._replace(faults=world.faults - 1)
            found.append(Turn("mends the plan wrongly and resumes", FAULT, wrongly))
    return found


def _kind(model: Model, *, stuck: bool) -> str:
    return HELP if stuck or model.config.way is not Way.MANUAL else STEP


def _clicked(world: World, *, spent: bool = True) -> World:
    births = (*world.truth.births, world.arrivals)
    password, person = len(births) - 1, world.person
    return world._replace(
        registry=world.registry._replace(password=password),
        person=person._replace(known=password, clicks=person.clicks - spent),
        truth=world.truth._replace(births=births),
    )


def pasted(model: Model, world: World, password: int) -> World:
    """Return the world after `rekey paste`: one transaction of attempt, escrow and rotation."""
    book, line = model.book, world.ledger.latest
    ledger = world.ledger
    rotation = book.rotation(line.rotation) if line is not None else None
    if line is not None and rotation is not None and rotation.phase.open and not rotation.completed:
        if model.attempts_of(line) and book.attempt(line.attempts[-1]).outcome is None:
            last = book.having(line.attempts[-1], outcome=AttemptOutcome.REPLACED)
            line = line._replace(attempts=(*line.attempts[:-1], last))
    else:
        if line is not None and rotation is not None and rotation.phase.open:
            ledger = ledger.having_line(line._replace(rotation=book.having(line.rotation, phase=Phase.FINISHED)))
        line = _paste_line(model, line, rotation)
        world = world._replace(truth=world.truth._replace(wrong=0))
    rotation = book.rotation(line.rotation)
    number = rotation.attempts + 1
    waiting = rotation.phase is Phase.READY
    known = rotation.ready_at if rotation.old_before is LoginVerdict.ACCEPTED else None
    if model.config.clicked_at and password > OLD:
        known = after_arrivals(world.truth.births[password])
    attempt = attempt_of(model, world, (line.generation, number), AttemptKind.PASTED, 0).having(
        called_at=known, call_ended_at=moment(0)
    )
    changes: dict[str, object] = {
        "attempts": number,
        "phase": rotation.phase if waiting else Phase.RESETTING,
        "problems": (),
        "calls": 0,
    }
    if not model.without(Guard.PASTE_COUNTS_ANEW):
        changes["wrong_logins"] = 0
        world = world._replace(truth=world.truth._replace(wrong=0))
    changed = book.having(line.rotation, **changes)
    line = line._replace(rotation=changed, attempts=(*line.attempts, book.add(attempt)))
    person = world.person
    answer = Answer(password, pasted=True, called=NONE if known is None else world.arrivals)
    world = world._replace(ledger=ledger.having_line(line), claims=world.claims + 1)
    return world.holding(attempt.escrow_token, answer)._replace(
        person=person._replace(pastes=max(person.pastes - 1, 0))
    )


def _paste_line(model: Model, latest: Line | None, rotation: Rotation | None) -> Line:
    reused = rotation is not None and rotation.phase is Phase.STOPPED
    generation = latest.generation + (not reused) if latest is not None else 1
    attempts = rotation.attempts if rotation is not None and reused else 0
    fresh = rotation_of(generation, model.config.reason, "", attempts)
    return Line(generation, model.book.add(fresh), latest.attempts if latest is not None and reused else ())


def _resumed(model: Model, world: World) -> World:
    book, line = model.book, world.ledger.latest
    assert line is not None
    changed = book.having(line.rotation, phase=Phase.RESETTING, wrong_logins=0, calls=0, problems=())
    attempts = line.attempts
    if attempts and book.attempt(attempts[-1]).outcome is None:
        last, kept = book.attempt(attempts[-1]), model.without(Guard.STAGED_READ_ANEW)
        staged = last.staged if kept else None
        reading = last.reading + (staged is None)
        anew = book.having(attempts[-1], reading=reading, refusals=0, login=None, staged=staged, old_refusals=0)
        attempts = (*attempts[:-1], anew)
    person = world.person
    return world._replace(
        ledger=world.ledger.having_line(line._replace(rotation=changed, attempts=attempts)),
        person=person._replace(resumes=person.resumes - 1),
        truth=world.truth._replace(wrong=0),
    )
