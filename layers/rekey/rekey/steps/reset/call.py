"""Up to the reset call, the call, and its answer into the escrow."""

import secrets
from datetime import datetime, timedelta
from http import HTTPStatus

from rekey import runtime
from rekey.acts import Seen
from rekey.contracts import Answer, Candidate, GeneratesPassword, Login, TakesPassword
from rekey.errors import NotSent, RekeyError, Superseded, Unreachable
from rekey.model.names import Generation, StoreVersion
from rekey.model.rotation import Attempt, AttemptKind, CallEnd
from rekey.model.verdict import LoginVerdict
from rekey.observability import logger
from rekey.steps.reset import old_tokens
from rekey.steps.reset.work import Work

LAST_TRIES = timedelta(seconds=3)
"""Before the deadline: no new act begins."""
_PAUSE = timedelta(seconds=1)


def claim(work: Work) -> None:
    """Open an attempt: its nonce and deadline keep every other invocation from calling."""
    number = work.rotation.attempts + 1
    attempt = Attempt(
        registry=work.rotation.registry,
        generation=work.rotation.generation,
        number=number,
        kind=AttemptKind.RESET,
        nonce=secrets.token_hex(16),
        deadline=work.call.deadline,
    )
    work.rotation, work.attempt = work.bench.ledger.save(work.fence, work.rotation.having(attempts=number), attempt)
    work.seen = Seen(mine=True)


def get_ready(work: Work) -> dict[str, object]:
    """Take everything that the call and the moment after it need, so that nothing else stands between them.

    Returns what the attempt notes. Raises what the registry, the store and KMS raise: nothing has happened then.
    """
    registry = work.resettable
    if isinstance(registry, GeneratesPassword):
        work.envelope = work.bench.escrow.envelope(work.latest)
    registry.prepare_reset()
    if isinstance(registry, TakesPassword):
        work.password = registry.candidate()
    mark = registry.change_mark()
    stored = work.store.current()
    last = stored if stored is not None and stored.generation else work.store.last_promoted()
    if last is not None and last.generation >= work.rotation.generation:
        raise Superseded(f"the store has had generation {last.generation} by now: somebody else rotates this registry")
    work.saw(ready_at=runtime.now())
    return {"old_version": stored.version if stored else None, "change_mark": mark}


def try_old(work: Work) -> None:
    """Try the old password before the call, and take the tokens that it gives.

    A refusal counts when the registry is well between it and the next.
    """
    attempt = work.latest
    refusals = work.rotation.old_refusals
    login = Login(LoginVerdict.INCONCLUSIVE, "refused, and then the registry was not well")
    tokens: dict[str, object] = {}
    if not refusals or work.registry.healthy():
        stored = work.store.read(StoreVersion(attempt.old_version or ""))
        login = work.registry.login(stored.password)
        if login.verdict is LoginVerdict.ACCEPTED:
            tokens = old_tokens.take(work, stored.password)
    work.saw(tried=True)
    found: dict[str, object] = {"old_before": login.verdict, "said": login.detail}
    if login.verdict is LoginVerdict.REFUSED:
        work.note_old_refused(found, refusals + 1)
    else:
        work.save(found, old_refusals=0 if login.verdict is LoginVerdict.ACCEPTED else refusals, **tokens)


def send(work: Work) -> None:
    """Write "called at", look at the clock, send the one call, write its end as seen."""
    registry, attempt, now = work.resettable, work.latest, runtime.now()
    work.save(
        attempt={"called_at": now},
        resets=work.rotation.resets + 1,
        calls=work.rotation.calls + 1,
        called_at=work.rotation.called_at or now,  # of the first one that stands: an earlier one's answer may be lost
        old_version=work.rotation.old_version or attempt.old_version,
        old_before=work.rotation.old_before or attempt.old_before,
    )
    if runtime.now() + work.limits.call > attempt.deadline:
        _not_reset(work, CallEnd.NOT_SENT, "the function's time was too short")
        return
    try:
        answer = registry.set(work.new_password) if isinstance(registry, TakesPassword) else work.generating.reset()
    except NotSent as error:
        _not_reset(work, CallEnd.NOT_SENT, str(error))
        return
    except Unreachable as error:
        _outcome_unknown(work, str(error))
        return
    refusal = registry.refusal(answer)
    if refusal is not None:
        _not_reset(work, CallEnd.REFUSED, refusal)
    elif not isinstance(registry, TakesPassword):
        work.raw = answer.to_bytes()
        work.saw(end=CallEnd.ANSWERED, in_hand=True)
    elif registry.took(answer):
        note_answer(work, runtime.now(), was_reset=True)
        work.saw(end=CallEnd.ANSWERED, in_hand=True, kept=True, readable=True)
    else:
        _outcome_unknown(work, f"HTTP {answer.status}")


def _outcome_unknown(work: Work, why: str) -> None:
    logger.error("the answer to the reset was lost", extra={"why": why})
    work.save(attempt={"end": CallEnd.UNKNOWN, "call_ended_at": runtime.now()})
    work.saw(end=CallEnd.UNKNOWN)


def note_answer(work: Work, answered_at: datetime, *, was_reset: bool, **kept: object) -> None:
    """Write that the call was answered; where that says so, tell before anything else that the old password is dead."""
    work.save(
        attempt={"end": CallEnd.ANSWERED, "call_ended_at": answered_at, **kept},
        answered_at=answered_at if was_reset else work.rotation.answered_at,
    )
    if was_reset:
        work.tell_reset()


def says_reset(raw: bytes) -> bool:
    """Whether an answer as it came says that the registry reset: a gateway's page may mean anything."""
    return Answer.from_bytes(raw).status < HTTPStatus.MULTIPLE_CHOICES


def _not_reset(work: Work, end: CallEnd, said: str) -> None:
    resets = work.rotation.resets - 1
    work.save(
        attempt={"end": end, "said": said, "call_ended_at": runtime.now()},
        resets=resets,
        calls=work.rotation.calls - (end is CallEnd.NOT_SENT),
        called_at=work.rotation.called_at if resets else None,
    )
    work.saw(end=end)


def keep(work: Work) -> None:
    """Put the answer into the escrow; where that refuses, into the store at once; in turn, while there is time.

    Raises what the escrow raised last when the time is over.
    """
    attempt, raw, answered_at = work.latest, work.answer, runtime.now()
    envelope = work.envelope or work.bench.escrow.envelope(attempt)
    kept: dict[str, object] = {}
    while True:
        try:
            work.bench.escrow.put(attempt, envelope, raw)
            break
        except RekeyError as error:
            logger.error("the escrow refuses the answer", extra={"why": str(error)})
            staged = _stage_instead(work)
            if staged:
                kept = {"staged": staged, "unkept": True}
                break
            if work.call.left(runtime.now()) < LAST_TRIES:
                raise
            runtime.wait(runtime.now() + _PAUSE)
    note_answer(work, answered_at, was_reset=says_reset(raw), **kept)
    work.saw(kept=True)


def keep_again(work: Work) -> bool:
    """Put an answer into the escrow that refused it, while there is time: what was read from it is in doubt.

    Returns whether the escrow has it now; False, too, where the invocation that had it in hand is gone.
    """
    attempt, raw = work.latest, work.raw
    while raw is not None and work.call.left(runtime.now()) > LAST_TRIES:
        try:
            if not work.bench.escrow.holds(attempt):
                work.bench.escrow.put(attempt, work.envelope or work.bench.escrow.envelope(attempt), raw)
        except RekeyError as error:
            logger.error("the escrow refuses the answer", extra={"why": str(error)})
            runtime.wait(runtime.now() + _PAUSE)
        else:
            return True
    return False


def _stage_instead(work: Work) -> StoreVersion | None:
    try:
        work.password = work.password or work.generating.password_in(Answer.from_bytes(work.answer))
        version = stage(work)
    except RekeyError as error:
        logger.error("the store refuses the candidate", extra={"why": str(error)})
        return None
    work.saw(readable=True)
    return version


def stage(work: Work) -> StoreVersion:
    """Put the new password into the store where readers do not look. Raises what the store raises."""
    registry = work.plan.registry
    candidate = Candidate(
        registry=registry.name,
        endpoint=registry.endpoint,
        username=registry.username,
        password=work.new_password,
        generation=Generation(work.rotation.generation),
        made_at=runtime.now() if work.rotation.called_at is None else work.rotation.called_at,
    )
    return work.store.stage(candidate, work.latest.store_token)
