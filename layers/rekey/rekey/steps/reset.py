"""Reset: the gate, then the protocol, one act at a time.

`rekey.protocol.next_act` decides every act from what is written down and what this invocation saw; this module does the
act, writes it down, and asks again. The answer and the password live in this invocation's memory and in the escrow.
"""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rekey import gate, runtime
from rekey.bus import Told
from rekey.contracts import Answer, Candidate, GeneratesPassword, Manual, Resettable, Stored, TakesPassword
from rekey.errors import Conflict, Defect, NotSent, RekeyError, Superseded, Unintelligible, Unreachable
from rekey.model.names import Generation, StoreVersion
from rekey.model.password import Password
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase, Rotation
from rekey.model.state import Next, Outcome, State
from rekey.model.verdict import LoginVerdict
from rekey.observability import logger
from rekey.protocol import REFUSALS_THAT_COUNT, Act, Limits, Records, Seen, Step, Way, next_act
from rekey.runtime import Call
from rekey.steps import checks, strays
from rekey.steps.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from rekey.records.escrow import Envelope

LAST_TRIES = timedelta(seconds=3)
_SOON = timedelta(seconds=1)


def run(bench: Bench, call: Call) -> State:
    """Return the state that leads to delivery, to a wait, or to the report. Raises Fenced, and what records raise."""
    return Reset(bench, call).run()


class Reset:
    """One invocation's view of a rotation's reset."""

    def __init__(self, bench: Bench, call: Call) -> None:
        self.bench = bench
        self.call = call
        self.state = call.state
        self.fence = self.state.fence(call.execution, call.redrive)
        bench.ledger.check(self.fence)
        registry, generation = self.state.registry, self.state.generation
        rotation = bench.ledger.rotation(registry, generation)
        if rotation is None:
            raise Defect(f"the ledger has no rotation {registry}/{generation}")
        self.rotation: Rotation = rotation
        self.plan = bench.folder(registry, generation).plan()
        self.registry = bench.registry(self.plan)
        self.store = bench.store(self.plan)
        self.attempt: Attempt | None = None
        self.seen = Seen()
        self.envelope: Envelope | None = None
        self.raw: bytes | None = None
        self.password: Password | None = None

    def run(self) -> State:
        """Do act after act until one leads out of this function."""
        try:
            attempts = self.bench.ledger.attempts_of(self.rotation)
            self.rotation, self.attempt = strays.settle(self.bench, self.fence, self.rotation, attempts)
            while self.call.left(runtime.now()) > LAST_TRIES:
                records = Records(self.rotation, self.attempt, self._way())
                step = next_act(records, self.seen, self._limits(), runtime.now())
                logger.info("act", extra={"act": step.act.value})
                led = self._do(step)
                if led is not None:
                    return led
        except Conflict as conflict:
            # A paste, or a duplicate of this function, wrote first: look again from the start.
            logger.warning("looking again", extra={"why": str(conflict)})
        return self.state.to(Next.WAIT, until=runtime.now() + _SOON)

    def _way(self) -> Way:
        if isinstance(self.registry, Manual):
            return Way.MANUAL
        return Way.TAKES if isinstance(self.registry, TakesPassword) else Way.GENERATES

    def _limits(self) -> Limits:
        registry, settings = self.registry, self.bench.settings
        takes = registry.reset_timeout if isinstance(registry, Resettable) else timedelta(0)
        settle = registry.settle if isinstance(registry, (Resettable, Manual)) else timedelta(0)
        return Limits(
            wrong_logins=self.plan.registry.max_wrong_logins,
            until=self.call.deadline,
            call=takes + settings.escrow_within,
            settle=settle,
            prove_within=settings.prove_within,
            refusal_pause=settings.refusal_pause,
        )

    def _gate(self) -> State | None:
        """Ask the gate, once, before anything is changed. Returns a state where it does not let the rotation pass."""
        time = checks.of_time(self._limits().call, self.call.left(runtime.now()))
        found = [time, *checks.before_reset(self.bench, self.rotation, self.plan, self.registry, self.store)]
        requests = self.bench.ledger.open_requests(self.state.registry)
        decision = gate.decide(found, requests, self.plan.policy)
        if not decision.go:
            return self._stop(decision.problems)
        self._save_rotation(
            phase=Phase.RESETTING,
            gate_at=runtime.now(),
            reason=decision.reason or self.rotation.reason,
            waived=decision.waived,
        )
        return None

    def _do(self, step: Step) -> State | None:
        """Do one act. Returns a state where it leads out of this function."""
        acts: dict[Act, Callable[[], State | None]] = {
            Act.CLAIM: self._claim,
            Act.GET_READY: self._get_ready,
            Act.CALL: self._call,
            Act.KEEP: self._keep,
            Act.LOOK: self._look,
            Act.READ: self._read,
            Act.LOG_IN: self._log_in,
            Act.STAGE: lambda: self._save(attempt={"staged": self._stage()}),
            Act.READ_MARK: self._read_mark,
            Act.PROMOTE: self._promote,
            Act.DELETE: self._delete,
            Act.CLOSE: lambda: self._close(step.outcome or AttemptOutcome.NOT_CALLED),
            Act.BE_READY: self._be_ready,
            Act.ASK_OLD: self._ask_old,
        }
        return acts[step.act]() if step.act in acts else self._lead_out(step)

    def _lead_out(self, step: Step) -> State:
        match step.act:
            case Act.WAIT:
                return self.state.to(Next.WAIT, until=step.until or runtime.now() + _SOON)
            case Act.STAY_READY:
                return self.state.to_report(Outcome.READY)
            case Act.DELIVER:
                return self.state.to(Next.DELIVER)
            case Act.STOP:
                return self._stop((step.why,))
            case _:
                return self._attention(step.why)

    def _claim(self) -> State | None:
        if self.rotation.gate_at is None:
            return self._gate()
        number = self.rotation.attempts + 1
        attempt = Attempt(
            registry=self.rotation.registry,
            generation=self.rotation.generation,
            number=number,
            kind=AttemptKind.RESET,
            nonce=secrets.token_hex(16),
            deadline=self.call.deadline,
        )
        self.rotation, self.attempt = self.bench.ledger.save(self.fence, self.rotation.having(attempts=number), attempt)
        self.seen = Seen(mine=True)
        return None

    def _get_ready(self) -> State | None:
        """Take everything that the call and the moment after it need, so that nothing else stands between them."""
        attempt, registry = self._attempt(), self._resettable()
        try:
            if isinstance(registry, GeneratesPassword):
                self.envelope = self.bench.escrow.envelope(attempt)
            registry.prepare_reset()
            if isinstance(registry, TakesPassword):
                self.password = registry.candidate()
            mark = registry.change_mark()
            stored = self.store.current()
        except RekeyError as error:
            return self._stop((str(error),))
        verdict = self._try_old(stored)
        version = stored.version if stored else None
        self._save(attempt={"old_version": version, "old_before": verdict, "change_mark": mark})
        self.seen = replace(self.seen, ready=True)
        return None

    def _try_old(self, stored: Stored | None) -> LoginVerdict | None:
        if stored is None:
            return None
        if self.rotation.old_refusals >= REFUSALS_THAT_COUNT:
            return LoginVerdict.REFUSED  # a fact that stands: an earlier attempt's call killed it
        verdict = self.registry.login(stored.password).verdict
        if verdict is LoginVerdict.REFUSED:
            self._save_rotation(wrong_logins=self.rotation.wrong_logins + 1)
        return verdict

    def _call(self) -> None:
        registry, attempt, now = self._resettable(), self._attempt(), runtime.now()
        self._save(
            attempt={"called_at": now},
            resets=self.rotation.resets + 1,
            called_at=now,
            old_version=self.rotation.old_version or attempt.old_version,
            old_before=self.rotation.old_before or attempt.old_before,
        )
        if runtime.now() + self._limits().call > attempt.deadline:
            self._not_reset(CallEnd.NOT_SENT, "the function's time was too short")
            return
        try:
            answer = registry.set(self._password()) if isinstance(registry, TakesPassword) else self._generated()
        except NotSent as error:
            self._not_reset(CallEnd.NOT_SENT, str(error))
            return
        except Unreachable as error:
            self._outcome_unknown(str(error))
            return
        refusal = registry.refusal(answer)
        if refusal is not None:
            self._not_reset(CallEnd.REFUSED, refusal)
        elif not isinstance(registry, TakesPassword):
            self.raw = answer.to_bytes()
            self.seen = replace(self.seen, end=CallEnd.ANSWERED, in_hand=True)
        elif registry.took(answer):
            self._was_reset(runtime.now())
            self.seen = replace(self.seen, end=CallEnd.ANSWERED, in_hand=True, kept=True, readable=True)
        else:
            self._outcome_unknown(f"HTTP {answer.status}")

    def _generated(self) -> Answer:
        return self._generating().reset()

    def _outcome_unknown(self, why: str) -> None:
        logger.error("the answer to the reset was lost", extra={"why": why})
        self._save(attempt={"end": CallEnd.UNKNOWN, "call_ended_at": runtime.now()})
        self.seen = replace(self.seen, end=CallEnd.UNKNOWN)

    def _was_reset(self, answered_at: datetime, staged: StoreVersion | None = None) -> None:
        """Write that the old password is dead, and tell it, before anything else is done."""
        self._save(
            attempt={
                "end": CallEnd.ANSWERED,
                "call_ended_at": answered_at,
                "staged": staged or self._attempt().staged,
            },
            answered_at=answered_at,
        )
        self.bench.bus.tell(
            Told.PASSWORD_RESET,
            self.rotation.registry,
            rotation=self.rotation.id,
            reason=self.rotation.reason.value,
            consumers=len(self.plan.consumers),
        )

    def _not_reset(self, end: CallEnd, said: str) -> None:
        resets = self.rotation.resets - 1
        self._save(
            attempt={"end": end, "said": said, "call_ended_at": runtime.now()},
            resets=resets,
            called_at=self.rotation.called_at if resets else None,
        )
        self.seen = replace(self.seen, end=end)

    def _keep(self) -> None:
        """Put the answer into the escrow; where that refuses, into the store at once; in turn, while there is time."""
        attempt, raw, answered_at = self._attempt(), self._raw(), runtime.now()
        envelope = self.envelope or self.bench.escrow.envelope(attempt)
        staged: StoreVersion | None = None
        while True:
            try:
                self.bench.escrow.put(attempt, envelope, raw)
                break
            except RekeyError as error:
                logger.error("the escrow refuses the answer", extra={"why": str(error)})
                staged = self._stage_instead()
                if staged:
                    break
                if self.call.left(runtime.now()) < LAST_TRIES:
                    raise
        self._was_reset(answered_at, staged)
        self.seen = replace(self.seen, kept=True)

    def _stage_instead(self) -> StoreVersion | None:
        try:
            self.password = self.password or self._generating().password_in(Answer.from_bytes(self._raw()))
            version = self._stage()
        except RekeyError as error:
            logger.error("the store refuses the candidate", extra={"why": str(error)})
            return None
        self.seen = replace(self.seen, readable=True)
        return version

    def _look(self) -> None:
        attempt = self._attempt()
        if self._way() is not Way.TAKES or attempt.kind is not AttemptKind.RESET:
            self.raw = self.bench.escrow.read(attempt)
        self.seen = replace(self.seen, looked=True, in_hand=self.raw is not None, kept=True)
        if self.raw is None:
            staged = self.store.find(attempt.store_token)
            if staged is not None:
                self.password = staged.password
                self.seen = replace(self.seen, in_hand=True, readable=True)

    def _read(self) -> None:
        attempt, raw = self._attempt(), self._raw()
        if attempt.kind is not AttemptKind.RESET:
            self._read_paste(attempt, raw)
            return
        self._read_answer(raw)

    def _read_paste(self, attempt: Attempt, raw: bytes) -> None:
        """Read a paste or an adopted answer, and see whether it is what the store has already."""
        if attempt.is_paste:
            self.password = Password(raw.decode())
            self.seen = replace(self.seen, readable=True)
        else:
            self._read_answer(raw)
        if self.password is not None:
            stored = self.store.current()
            same = stored is not None and stored.password == self.password and stored.version != attempt.store_token
            self.seen = replace(self.seen, readable=True, same_as_current=same)
            if attempt.old_version is None and stored is not None and stored.version != attempt.store_token:
                self._save(attempt={"old_version": stored.version}, old_version=stored.version)

    def _read_answer(self, raw: bytes) -> None:
        try:
            self.password = self._generating().password_in(Answer.from_bytes(raw))
            self.seen = replace(self.seen, readable=True)
        except Unintelligible as error:
            why = (
                f"{error}. The answer is kept in the escrow and nothing more is reset. "
                "Mend the plan's `password_at`, push it and `rekey resume`, or reset in the console and `rekey paste`"
            )
            self.seen = replace(self.seen, readable=False, unreadable=why)

    def _log_in(self) -> None:
        attempt = self._attempt()
        if attempt.refusals and not self.registry.healthy():
            # A registry that is not well refuses the right password too: that it said so once holds nothing back.
            self._save(attempt={"login": LoginVerdict.UNREACHABLE})
            self.seen = replace(self.seen, asked=True)
            return
        login = self.registry.login(self._password())
        refused = login.verdict is LoginVerdict.REFUSED
        logger.info("new password", extra={"verdict": login.verdict.value, "detail": login.detail})
        self._save(
            attempt={"login": login.verdict, "refusals": attempt.refusals + refused},
            wrong_logins=self.rotation.wrong_logins + refused,
        )
        self.seen = replace(self.seen, asked=True)

    def _read_mark(self) -> State | None:
        """See whether the registry's password moved since before the call. A registry that is away is asked later."""
        try:
            mark = self._resettable().change_mark()
        except RekeyError as error:
            logger.warning("the change mark could not be read", extra={"why": str(error)})
            return self.state.to(Next.WAIT, until=runtime.now() + self._limits().ask_again)
        self._save(attempt={"mark_moved": mark != self._attempt().change_mark})
        return None

    def _stage(self) -> StoreVersion:
        registry = self.plan.registry
        candidate = Candidate(
            registry=registry.name,
            endpoint=registry.endpoint,
            username=registry.username,
            password=self._password(),
            generation=Generation(self.rotation.generation),
            made_at=runtime.now() if self.rotation.called_at is None else self.rotation.called_at,
        )
        return self.store.stage(candidate, self._attempt().store_token)

    def _promote(self) -> None:
        attempt, now = self._attempt(), runtime.now()
        version = StoreVersion(attempt.staged or "")
        over = StoreVersion(attempt.old_version) if attempt.old_version else None
        try:
            self.store.promote(version, over)
        except Superseded:
            self._close(AttemptOutcome.SUPERSEDED)
            return
        accepted = attempt.login is LoginVerdict.ACCEPTED
        self._save(
            attempt={"promoted_at": now},
            phase=Phase.DELIVERING,
            resets=self.rotation.resets + (attempt.kind is AttemptKind.PASTED),
            store_version=version,
            promoted_at=now,
            called_at=self.rotation.called_at or attempt.called_at,
            new_verdict=LoginVerdict.ACCEPTED if accepted else LoginVerdict.UNPROVEN,
            new_at=now,
            problems=(),
        )

    def _delete(self) -> None:
        """Delete the answer; after a proven password also those of the rotation's earlier attempts."""
        attempt = self._attempt()
        proven = attempt.promoted_at is not None
        kept = self.bench.escrow.tokens(self.rotation.registry)
        every = self.bench.ledger.attempts_of(self.rotation)
        for each in every if proven else [attempt]:
            if each.escrow_token in kept:
                self.bench.escrow.delete(each)
        self.seen = replace(self.seen, deleted=True)

    def _close(self, outcome: AttemptOutcome) -> None:
        attempt, phase, said = self._attempt(), self.rotation.phase, self._attempt().said
        resets = self.rotation.resets
        if outcome is AttemptOutcome.WRONG_PASTE:
            same = self.seen.same_as_current
            said = "the pasted password is " + ("the one in the store already" if same else "refused by the registry")
            if isinstance(self.registry, Manual):  # the other kinds go on to ask for a person
                self._tell_attention(said)
                phase = Phase.READY
        if outcome is AttemptOutcome.LOST:
            self._tell_attention("a reset was called and its new password is lost: resetting once more")
        if outcome is AttemptOutcome.NO_EFFECT:
            resets -= 1
        self._save(
            attempt={"outcome": outcome, "said": said},
            phase=phase,
            resets=resets,
            called_at=self.rotation.called_at if resets else None,
        )
        if outcome is AttemptOutcome.NO_EFFECT and self.raw is not None:
            self.bench.escrow.delete(attempt)  # closed first: an answer is never thrown away for another reset
        self.seen = Seen()
        self.raw = self.password = None

    def _tell_attention(self, why: str) -> None:
        self.bench.bus.tell(Told.ATTENTION_NEEDED, self.rotation.registry, rotation=self.rotation.id, why=why)

    def _be_ready(self) -> State | None:
        if self.rotation.gate_at is None:
            return self._gate()
        now, stored = runtime.now(), self.store.current()
        verdict = self._try_old(stored)
        where = self.registry.where if isinstance(self.registry, Manual) else ""
        self._save_rotation(
            phase=Phase.READY,
            ready_at=now,
            ready_until=now + self.plan.policy.ready_for,
            old_before=verdict,
            old_version=stored.version if stored else None,
        )
        self._tell_attention(f"ready: {where}, then `rekey paste {self.rotation.registry}`")
        return None

    def _ask_old(self) -> None:
        """Try the old password once; a refusal counts when the registry is well between it and the next."""
        attempt = self.attempt if self.attempt is not None and self.attempt.outcome is None else None
        old = attempt.old_version if attempt is not None else self.rotation.old_version
        verdict = LoginVerdict.INCONCLUSIVE
        if old is not None and self.registry.healthy():
            verdict = self.registry.login(self.store.read(StoreVersion(old)).password).verdict
        if verdict is LoginVerdict.REFUSED:
            refusals = (attempt.old_refusals if attempt is not None else self.rotation.old_refusals) + 1
            changes: dict[str, object] = {"old_refusals": refusals, "wrong_logins": self.rotation.wrong_logins + 1}
            if refusals >= REFUSALS_THAT_COUNT:
                changes |= {"old_verdict": verdict, "old_at": runtime.now()}
                self.bench.bus.tell(Told.OLD_PASSWORD_REFUSED, self.rotation.registry, rotation=self.rotation.id)
            if attempt is not None:
                self._save(attempt={"old_refusals": refusals}, **changes)
            else:
                self._save_rotation(**changes)
        self.seen = replace(self.seen, old=verdict)

    def _stop(self, problems: tuple[str, ...]) -> State:
        if self.attempt is not None and self.attempt.outcome is None:
            self._save(attempt={"outcome": AttemptOutcome.NOT_CALLED})
        self._save_rotation(phase=Phase.STOPPED, finished_at=runtime.now(), problems=problems)
        return self.state.to_report(Outcome.STOPPED)

    def _attention(self, why: str) -> State:
        if self.rotation.phase is not Phase.NEEDS_ATTENTION or self.rotation.problems != (why,):
            self._save_rotation(phase=Phase.NEEDS_ATTENTION, problems=(why,))
            self._tell_attention(why)
        return self.state.to_report(Outcome.NEEDS_ATTENTION)

    def _save(self, attempt: dict[str, object], **rotation: object) -> None:
        self.rotation, self.attempt = self.bench.ledger.save(
            self.fence, self.rotation.having(**rotation), self._attempt().having(**attempt)
        )

    def _save_rotation(self, **changes: object) -> None:
        self.rotation = self.bench.ledger.save_one(self.fence, self.rotation.having(**changes))

    def _resettable(self) -> Resettable:
        if not isinstance(self.registry, Resettable):
            raise Defect("this registry's password is not reset by a call")
        return self.registry

    def _generating(self) -> GeneratesPassword:
        if not isinstance(self.registry, GeneratesPassword):
            raise Defect("this registry does not generate passwords")
        return self.registry

    def _attempt(self) -> Attempt:
        if self.attempt is None:
            raise Defect("there is no attempt")
        return self.attempt

    def _raw(self) -> bytes:
        if self.raw is None:
            raise Defect("there is no answer in hand")
        return self.raw

    def _password(self) -> Password:
        if self.password is None:
            raise Defect("there is no password in hand")
        return self.password
