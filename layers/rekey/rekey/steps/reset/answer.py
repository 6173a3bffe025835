"""From the answer to the password in force: found, read, tried, promoted, and the answer deleted."""

from rekey import runtime
from rekey.acts import Seen, Way
from rekey.contracts import Answer, GeneratesPassword, Manual, Store
from rekey.errors import NotFound, RekeyError, Superseded, Unintelligible, Unreachable
from rekey.model.names import StoreVersion
from rekey.model.password import Password
from rekey.model.rotation import AttemptKind, AttemptOutcome, Phase
from rekey.model.verdict import LoginVerdict
from rekey.observability import logger
from rekey.protocol import in_force_after
from rekey.steps.bench import last_promoted
from rekey.steps.reset import call, old_tokens
from rekey.steps.reset.work import Work


def look(work: Work) -> None:
    """Look for the answer in the escrow, then for the candidate in the store: under every reading's token."""
    attempt = work.latest
    if work.way is not Way.TAKES or attempt.kind is not AttemptKind.RESET:
        work.raw = work.bench.escrow.read(attempt)
    work.saw(looked=True, in_hand=work.raw is not None, kept=True)
    if work.raw is not None and attempt.kind is AttemptKind.RESET and attempt.called_at and attempt.end is None:
        # The call's own invocation was cut off between the two writes, or the ledger was restored.
        call.note_answer(work, runtime.now(), was_reset=call.says_reset(work.raw))
        return
    for token in attempt.store_tokens if work.raw is None else ():
        staged = work.store.find(token)
        if staged is not None:
            work.password = staged.password
            work.saw(in_hand=True, readable=True)
            return


def read(work: Work) -> None:
    """Find the password in the answer; for a paste or an adopted one, see whether the store has it already."""
    attempt = work.latest
    if attempt.is_paste:
        work.password = Password(work.answer.decode())
        work.saw(readable=True)
    else:
        _read_answer(work)
    if attempt.kind is AttemptKind.RESET:
        return
    stored = work.store.current()
    mine = [token for each in work.bench.ledger.attempts_of(work.rotation) for token in each.store_tokens]
    other = stored if stored is not None and stored.version not in mine else None
    work.saw(same_as_current=other is not None and other.password == work.password)
    to_ask = stored if work.password is None else other  # of an answer nobody can read only the store's can say
    if attempt.old_version is None and to_ask is not None:
        work.save(attempt={"old_version": to_ask.version}, old_version=to_ask.version)


def _read_answer(work: Work) -> None:
    registry, why = work.registry, ""
    if isinstance(registry, GeneratesPassword):
        try:
            work.password = registry.password_in(Answer.from_bytes(work.answer))
        except Unintelligible as error:
            why = str(error)
    else:
        why = f"the plan's registry type is now `{work.plan.registry.type}`, which gives no answer to read"
    if why:
        why = (
            f"{why}. The answer is kept in the escrow and nothing more is reset. "
            "Mend the plan's `password_at`, push it and `rekey resume`, or reset in the console and `rekey paste`"
        )
    work.saw(readable=not why, unreadable=why)


def log_in(work: Work) -> None:
    """Ask the registry about the new password. A refusal counts when the registry is well between it and the next."""
    attempt = work.latest
    work.saw(asked=True)
    if attempt.refusals and not work.registry.healthy():
        # A registry that is not well refuses the right password too: that it said so once holds nothing back.
        work.save(attempt={"login": LoginVerdict.UNREACHABLE})
        return
    login = work.registry.login(work.new_password)
    refused = login.verdict is LoginVerdict.REFUSED
    unkept = attempt.unkept
    if unkept and login.verdict is not LoginVerdict.ACCEPTED:
        unkept = not call.keep_again(work)
    logger.info("new password", extra={"verdict": login.verdict.value, "detail": login.detail})
    work.save(
        attempt={"login": login.verdict, "refusals": attempt.refusals + refused, "unkept": unkept},
        wrong_logins=work.rotation.wrong_logins + refused,
    )


def read_mark(work: Work) -> None:
    """See whether the registry's password moved since before the call. A registry that is away is asked later."""
    work.saw(mark_asked=True)
    try:
        mark = work.resettable.change_mark()
    except RekeyError as error:
        logger.warning("the change mark could not be read", extra={"why": str(error)})
        return
    work.save(attempt={"mark_moved": mark != work.latest.change_mark})


def ask_old(work: Work) -> None:
    """Ask the registry about the old password after the call, once; of an attempt, or of the rotation (`manual`)."""
    attempt = work.attempt if work.attempt is not None and work.attempt.outcome is None else None
    old = attempt.old_version if attempt is not None else work.rotation.old_version
    verdict = LoginVerdict.INCONCLUSIVE
    if old is not None and work.registry.healthy():
        verdict = work.registry.login(work.store.read(StoreVersion(old)).password).verdict
    work.saw(old=verdict)
    refusals = attempt.old_refusals if attempt is not None else work.rotation.old_refusals
    if verdict is LoginVerdict.REFUSED:
        work.note_old_refused({} if attempt is None else {"old_refusals": refusals + 1}, refusals + 1)
    elif verdict is LoginVerdict.ACCEPTED and refusals and attempt is not None:
        work.save({"old_refusals": 0}, old_refusals=0)


def promote(work: Work) -> None:
    """Make the staged password the one that readers see; then try what the old one had given."""
    attempt, now = work.latest, runtime.now()
    called_at = in_force_after(work.rotation, attempt, work.bench.ledger.attempts_of(work.rotation))
    version, accepted = StoreVersion(attempt.staged or ""), attempt.login is LoginVerdict.ACCEPTED
    if not accepted:  # written first: the mark has to be taken off, also where this function dies before it says so
        work.save(attempt={"unproven": True})
    over = StoreVersion(attempt.old_version) if attempt.old_version else None
    try:
        work.store.promote(version, over, proven=accepted)
    except Superseded:
        close(work, AttemptOutcome.SUPERSEDED)
        return
    except NotFound:
        _stage_again(work)
        return
    work.save(
        attempt={"promoted_at": now},
        phase=Phase.DELIVERING,
        resets=work.rotation.resets + (attempt.kind is not AttemptKind.RESET),
        store_version=version,
        promoted_at=now,
        called_at=called_at,
        new_verdict=LoginVerdict.ACCEPTED if accepted else LoginVerdict.UNPROVEN,
        new_at=now,
        problems=(),
    )
    if attempt.kind is not AttemptKind.RESET:
        work.tell_reset()
    old_tokens.attempt(work)


def _stage_again(work: Work) -> None:
    """Let a candidate that is gone be staged anew, unless one that is later has removed it."""
    last = last_promoted(work.store)
    if last is not None and last.generation > work.rotation.generation:
        close(work, AttemptOutcome.SUPERSEDED)
        return
    work.save(attempt={"staged": None})
    raise Unreachable("the candidate is gone from the store: it is staged again")


def delete(work: Work) -> None:
    """Delete the answer; after a proven password also those of earlier attempts, and the mark that it was unproven.

    The rotation before may have been overtaken by a paste while its own password was unproven.
    """
    attempt, ledger, rotation = work.latest, work.bench.ledger, work.rotation
    if attempt.unproven and attempt.promoted_at is not None and attempt.staged is not None:
        _mark_proven(work.store, StoreVersion(attempt.staged))
    kept = work.bench.escrow.tokens(rotation.registry)
    attempts = [attempt]
    if attempt.promoted_at is not None:
        attempts = ledger.attempts_of(rotation) + ledger.attempts(rotation.registry, rotation.generation - 1)
    for each in attempts:
        if each.escrow_token in kept:
            work.bench.escrow.delete(each)
    work.saw(deleted=True)


def _mark_proven(store: Store, version: StoreVersion) -> None:
    """Take the mark off what was promoted unproven. That it stays is no reason to keep the answer in the escrow."""
    try:
        store.mark_proven(version)
    except Unreachable:
        raise
    except RekeyError as error:
        logger.warning("the store goes on calling a proven password unproven", extra={"why": str(error)})


def close(work: Work, outcome: AttemptOutcome) -> None:
    """Write the attempt's outcome, and tell what a person has to know of it."""
    attempt, phase, said = work.latest, work.rotation.phase, work.latest.said
    resets = work.rotation.resets
    if outcome is AttemptOutcome.WRONG_PASTE:
        same = work.seen.same_as_current
        said = "the pasted password is " + ("the one in the store already" if same else "refused by the registry")
        if isinstance(work.registry, Manual):  # the other kinds go on to ask for a person
            work.tell_attention(said)
            phase = Phase.READY
    if outcome in (AttemptOutcome.STALE, AttemptOutcome.WRONG_PASTE) and work.rotation.problems:
        phase = Phase.NEEDS_ATTENTION  # what a person was called for before it was adopted stands
    if outcome is AttemptOutcome.LOST:
        work.tell_attention("a reset was called and its new password is lost: resetting once more")
    if outcome is AttemptOutcome.NO_EFFECT:
        resets -= 1
    work.save(
        attempt={"outcome": outcome, "said": said},
        phase=phase,
        resets=resets,
        called_at=work.rotation.called_at if resets else None,
        answered_at=work.rotation.answered_at if resets else None,
    )
    if outcome is AttemptOutcome.NO_EFFECT and work.raw is not None:
        work.bench.escrow.delete(attempt)  # closed first: an answer is never thrown away for another reset
    work.seen, work.tokens = Seen(), ()
    work.raw = work.password = None
