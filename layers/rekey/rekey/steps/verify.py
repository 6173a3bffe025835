"""Verify: what the registry says. The new password is accepted, the old one refused, the contents are untouched.

New password first, once in each execution, also where the reset heard it accepted: somebody may have reset the registry
elsewhere while consumers were told. Wrong logins lock accounts: each is counted before the next, and a fact that stands
is not asked again.
"""

from datetime import datetime, timedelta

from rekey import runtime
from rekey.bus import Told
from rekey.contracts import Contents
from rekey.errors import Conflict, Defect, NotFound, RekeyError
from rekey.model.names import StoreVersion
from rekey.model.rotation import Phase, Rotation
from rekey.model.state import Next, Outcome, State
from rekey.model.verdict import LoginVerdict
from rekey.protocol import REFUSALS_THAT_COUNT, WRONG_LOGINS_SPENT, in_force_after
from rekey.runtime import Call
from rekey.steps.bench import Bench
from rekey.wording import some

TRY = "try"
"""The state machine's verb for asking before a delivery."""
_SOON = timedelta(seconds=1)
_SHOWN = 5
"""Differences of the contents that are named."""


def run(bench: Bench, call: Call) -> State:
    """Return the state that leads to the consumers' verification, or once more to here, or back to reset.

    Back to reset: the new password was accepted late, and the answer in the escrow has to go.
    """
    verification = Verification(bench, call)
    try:
        return verification.try_before_delivery() if call.verb == TRY else verification.run()
    except Conflict:
        return call.state.to(Next.WAIT, until=runtime.now() + _SOON)


class Verification:
    """One invocation's view of a rotation whose password is promoted."""

    def __init__(self, bench: Bench, call: Call) -> None:
        self.bench, self.state = bench, call.state
        self.fence = bench.enter(call)
        rotation = bench.ledger.rotation(call.state.registry, call.state.generation)
        if rotation is None or rotation.store_version is None:
            raise Defect(f"there is nothing to verify in {call.state.registry}/{call.state.generation}")
        self.rotation: Rotation = rotation
        self.plan = bench.folder(rotation.registry, rotation.generation).plan()
        self.registry = bench.registry(self.plan)
        self.store = bench.store(self.plan)
        self.trying = False
        """Whether it is asked before a delivery: what it hears then is no proof of what comes after."""
        self.accepted = False
        """Whether this invocation heard the promoted password accepted."""

    def run(self) -> State:
        """Ask what is not known yet. Of a rotation that a paste has closed meanwhile nothing: the next one asks."""
        if not self.rotation.phase.open:
            return self.state.to(Next.CONSUMERS)
        if self.rotation.phase is Phase.DELIVERING:
            self._save(phase=Phase.VERIFYING)
        if not self.rotation.heard:
            led = self._ask_new()
            if led:
                return led
        heard = self.rotation.heard  # else the old one's logins may be what the new one's proof needs
        dead = self.rotation.old_verdict is LoginVerdict.REFUSED
        pause = self._ask_old() if heard and not dead else None
        if pause is not None:
            return self.state.to(Next.WAIT, until=runtime.now() + pause)
        compared = self.rotation.contents_unchanged is not None or self.rotation.reopened
        if heard and not compared:
            self._compare_contents()
        return self.state.to(Next.RESET if self._answer_is_kept() else Next.CONSUMERS)

    def try_before_delivery(self) -> State:
        """Try a password that was in force long ago before it is delivered again; Verify tries it once more after that.

        Once refused, it is held back. Where the registry cannot be asked, that is for `prove_within`, as ever.
        """
        if not self.rotation.phase.open:
            return self.state.to_report()  # a paste has closed it: the next rotation tells everybody
        self.trying = True
        led = self._ask_new()
        if led:
            return led
        if self.accepted or self.rotation.logins_spent:
            return self.state.to(Next.DELIVER)
        now, settings = runtime.now(), self.bench.settings
        if self.rotation.held_back_since is None:
            self._save(held_back_since=now)
        since = self.rotation.held_back_since or now
        if self.rotation.new_refusals or now < since + settings.prove_within:
            return self.state.to(Next.WAIT, until=now + settings.ask_again)
        return self.state.to(Next.DELIVER)

    def _answer_is_kept(self) -> bool:
        attempts = self.bench.ledger.attempts_of(self.rotation)
        open_attempt = bool(attempts) and attempts[-1].outcome is None
        return open_attempt and self.rotation.new_verdict is LoginVerdict.ACCEPTED

    def _ask_new(self) -> State | None:
        """Try the promoted password. A counted refusal: somebody else reset the registry since."""
        proven = self.rotation.new_verdict is LoginVerdict.ACCEPTED
        if not self._may_be_wrong_again():
            if not proven or self.rotation.new_refusals:
                return self._need_attention(WRONG_LOGINS_SPENT)
            self._save(logins_spent=True)  # the report says that it was not tried
            return None
        if self.rotation.new_refusals and not self.registry.healthy():
            return None
        stored = self.store.read(StoreVersion(self.rotation.store_version or ""))
        verdict = self.registry.login(stored.password).verdict
        now = runtime.now()
        if verdict is LoginVerdict.ACCEPTED:
            self._save_accepted(now)
            return None
        if verdict is not LoginVerdict.REFUSED:
            return None
        self._save(new_refusals=self.rotation.new_refusals + 1, wrong_logins=self.rotation.wrong_logins + 1)
        if self.rotation.new_refusals < REFUSALS_THAT_COUNT:
            return self.state.to(Next.WAIT, until=now + self.bench.settings.refusal_pause)
        perhaps = "" if proven else ", or the plan's `password_at` is wrong"
        lost = f", or `rekey rotate {self.rotation.registry} --reason lost`" if self.rotation.reopened else ""
        why = (
            f"the registry refuses the password that was promoted: somebody reset it elsewhere{perhaps}. "
            f"Nothing more is reset. Reset it in the registry's console and `rekey paste` the new one{lost}"
        )
        return self._need_attention(why, new_verdict=verdict, new_at=now)

    def _save_accepted(self, now: datetime) -> None:
        verdict, before, self.accepted = LoginVerdict.ACCEPTED, self.rotation, True
        by = before.heard_by if self.trying else before.execution
        heard = before.having(new_verdict=verdict, new_at=now, new_refusals=0, heard_by=by)
        if before.new_verdict is verdict:
            self.rotation = self.bench.ledger.save_one(self.fence, heard)
            return
        last = self.bench.ledger.attempts_of(before)[-1].having(login=verdict)
        self.rotation, _ = self.bench.ledger.save(self.fence, heard, last)

    def _need_attention(self, why: str, **changes: object) -> State:
        registry, closes = self.rotation.registry, self.rotation.reopened  # Report closes it again, and tells that
        told = not closes and self.bench.bus.tell(Told.ATTENTION_NEEDED, registry, rotation=self.rotation.id, why=why)
        paged_at = runtime.now() if told else None  # the tick pages who was not told
        self._save(phase=Phase.NEEDS_ATTENTION, problems=(why,), paged_at=paged_at, **changes)
        return self.state.to_report(Outcome.NEEDS_ATTENTION)

    def _ask_old(self) -> timedelta | None:
        """Try the old password. Returns how long to wait before it is asked once more, or None.

        A first refusal waits for its second. One that is still accepted may be so for a moment, where the registry
        caches logins; asking costs nothing then.
        """
        settings = self.bench.settings
        if self.rotation.old_version is None or self.rotation.logins_spent:
            return None
        if not self._may_be_wrong_again():
            self._save(logins_spent=True)
            return None
        if self.rotation.old_refusals and not self.registry.healthy():
            return None
        try:
            stored = self.store.read(StoreVersion(self.rotation.old_version))
        except NotFound:
            if not self.rotation.reopened:
                raise
            if self.rotation.old_verdict is None:  # what was heard of it stands
                self._save(old_version=None)  # long ago, and the store has dropped it: nobody can ask any more
            return None
        verdict, now = self.registry.login(stored.password).verdict, runtime.now()
        if verdict is not LoginVerdict.REFUSED:
            refusals = 0 if verdict is LoginVerdict.ACCEPTED else self.rotation.old_refusals
            self._save(old_verdict=verdict, old_at=now, old_refusals=refusals)
            until = (self.rotation.promoted_at or now) + settings.prove_within
            return settings.ask_again if verdict is LoginVerdict.ACCEPTED and now < until else None
        refusals = self.rotation.old_refusals + 1
        counted = refusals >= REFUSALS_THAT_COUNT
        attempts = self.bench.ledger.attempts_of(self.rotation) if self.rotation.called_at is None else []
        refused = self.rotation.having(old_refusals=refusals)
        self._save(
            old_refusals=refusals,
            wrong_logins=self.rotation.wrong_logins + 1,
            old_verdict=verdict if counted else None,
            old_at=now,
            called_at=in_force_after(refused, attempts[-1], attempts) if attempts else self.rotation.called_at,
        )
        if not counted:
            return settings.refusal_pause
        self.bench.bus.tell(Told.OLD_PASSWORD_REFUSED, self.rotation.registry, rotation=self.rotation.id)
        return None

    def _may_be_wrong_again(self) -> bool:
        return self.rotation.wrong_logins < self.plan.registry.max_wrong_logins

    def _compare_contents(self) -> None:
        folder = self.bench.folder(self.rotation.registry, self.rotation.generation)
        before = folder.snapshot() if self.rotation.snapshot_at else None
        if before is None:
            return
        stored = self.store.read(StoreVersion(self.rotation.store_version or ""))
        try:
            after = self.registry.contents(stored.password, self.bench.settings.snapshot_within)
        except RekeyError as error:
            self._save(contents_note=f"the contents could not be read after the reset: {error}")
            return
        gone = missing(before, after)
        note = f"gone or changed since before the reset: {', '.join(some(gone, _SHOWN))}" if gone else ""
        self._save(contents_unchanged=not gone, contents_note=note)

    def _save(self, **changes: object) -> None:
        self.rotation = self.bench.ledger.save_one(self.fence, self.rotation.having(**changes))


def missing(before: Contents, after: Contents) -> list[str]:
    """Return every tag that was there before and is gone or another image after. What was pushed since is no loss."""
    return [
        f"{repository}:{tag}"
        for repository, tags in before.repositories.items()
        for tag, digest in tags.items()
        if after.repositories.get(repository, {}).get(tag) != digest
    ]
