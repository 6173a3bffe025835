"""What one invocation of reset holds: the records as it last wrote them, and what it saw and has in its memory."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rekey import runtime
from rekey.acts import Limits, Records, Seen, Way
from rekey.bus import Told
from rekey.contracts import GeneratesPassword, Manual, Resettable, TakesPassword, Token
from rekey.errors import Defect
from rekey.model.password import Password
from rekey.model.rotation import Attempt, Phase, Rotation
from rekey.model.state import Outcome, State
from rekey.model.verdict import LoginVerdict
from rekey.protocol import REFUSALS_THAT_COUNT
from rekey.runtime import Call
from rekey.steps.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekey.records.escrow import Envelope


class Work:
    """One invocation's view of a rotation's reset. The answer and the password are in its memory and in the escrow."""

    def __init__(self, bench: Bench, call: Call) -> None:
        self.bench = bench
        self.call = call
        self.state = call.state
        self.fence = bench.enter(call)
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
        self.tokens: Sequence[Token] = ()
        """What the old password gave just before the call, while nobody has tried it since."""

    @property
    def records(self) -> Records:
        """What the decision is made from."""
        return Records(self.rotation, self.attempt, self.way)

    @property
    def way(self) -> Way:
        """How this registry's password changes."""
        if isinstance(self.registry, Manual):
            return Way.MANUAL
        return Way.TAKES if isinstance(self.registry, TakesPassword) else Way.GENERATES

    @property
    def limits(self) -> Limits:
        """The durations and numbers of plan, adapter and stack."""
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
            ask_again=settings.ask_again,
        )

    @property
    def resettable(self) -> Resettable:
        """The registry, whose password a call resets. Raises Defect where none does."""
        if not isinstance(self.registry, Resettable):
            raise Defect("this registry's password is not reset by a call")
        return self.registry

    @property
    def generating(self) -> GeneratesPassword:
        """The registry, which generates its password. Raises Defect where it does not."""
        if not isinstance(self.registry, GeneratesPassword):
            raise Defect("this registry does not generate passwords")
        return self.registry

    @property
    def latest(self) -> Attempt:
        """The latest attempt. Raises Defect where there is none."""
        if self.attempt is None:
            raise Defect("there is no attempt")
        return self.attempt

    @property
    def answer(self) -> bytes:
        """The answer as it came. Raises Defect where none is in hand."""
        if self.raw is None:
            raise Defect("there is no answer in hand")
        return self.raw

    @property
    def new_password(self) -> Password:
        """The new password. Raises Defect where none is in hand."""
        if self.password is None:
            raise Defect("there is no password in hand")
        return self.password

    def saw(self, **seen: Any) -> None:  # noqa: ANN401 (the fields of Seen)
        """Note what this invocation saw."""
        self.seen = replace(self.seen, **seen)

    def save(self, attempt: dict[str, object], **rotation: object) -> None:
        """Write changes of the attempt and of the rotation, in one transaction. Raises what the ledger raises."""
        self.rotation, self.attempt = self.bench.ledger.save(
            self.fence, self.rotation.having(**rotation), self.latest.having(**attempt)
        )

    def save_rotation(self, **changes: object) -> None:
        """Write changes of the rotation. Raises what the ledger raises."""
        self.rotation = self.bench.ledger.save_one(self.fence, self.rotation.having(**changes))

    def note_old_refused(self, attempt: dict[str, object], refusals: int) -> None:
        """Write that the old password was refused for the so many-th time; where that counts, it is told."""
        counts = refusals >= REFUSALS_THAT_COUNT
        changes: dict[str, object] = {"wrong_logins": self.rotation.wrong_logins + 1, "old_refusals": refusals}
        if counts:
            changes |= {"old_verdict": LoginVerdict.REFUSED, "old_at": runtime.now()}
        if attempt:
            self.save(attempt, **changes)
        else:
            self.save_rotation(**changes)
        if counts:
            self.bench.bus.tell(Told.OLD_PASSWORD_REFUSED, self.rotation.registry, rotation=self.rotation.id)

    def tell_reset(self) -> None:
        """Tell that the old password is dead."""
        rotation = self.rotation
        self.bench.bus.tell(
            Told.PASSWORD_RESET,
            rotation.registry,
            rotation=rotation.id,
            reason=rotation.reason.value,
            consumers=len(self.plan.consumers),
        )

    def tell_attention(self, why: str) -> bool:
        """Call a person. Returns whether the bus took it."""
        return self.bench.bus.tell(Told.ATTENTION_NEEDED, self.rotation.registry, rotation=self.rotation.id, why=why)

    def need_attention(self, why: str) -> State:
        """Write down and tell, once, that a person has to decide; return the state that leads to the report."""
        if self.rotation.phase is not Phase.NEEDS_ATTENTION or self.rotation.problems != (why,):
            # Told first: cut off in between, it is told twice rather than never. Who was not told, the tick pages.
            paged_at = runtime.now() if self.tell_attention(why) else None
            self.save_rotation(phase=Phase.NEEDS_ATTENTION, problems=(why,), paged_at=paged_at)
        return self.state.to_report(Outcome.NEEDS_ATTENTION)
