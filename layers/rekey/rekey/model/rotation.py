"""The ledger's records of one registry: lease, rotation, attempt. No secret is ever in one."""

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from rekey.model.old_token import OldToken
from rekey.model.record import Record
from rekey.model.request import Reason
from rekey.model.verdict import LoginVerdict


class Phase(StrEnum):
    """Where a rotation stands."""

    PREPARING = "preparing"
    READY = "ready"
    """`manual`: a person is to click and paste."""
    RESETTING = "resetting"
    DELIVERING = "delivering"
    VERIFYING = "verifying"
    FINISHED = "finished"
    STOPPED = "stopped"
    """Before the reset: nothing has happened, and the generation is free for the next rotation."""
    NEEDS_ATTENTION = "needs_attention"

    @property
    def open(self) -> bool:
        """Whether work is left for an execution or a person."""
        return self not in (Phase.FINISHED, Phase.STOPPED)


class Fence(BaseModel):
    """What a step must still own to write: one acquisition of one registry's lease."""

    model_config = ConfigDict(frozen=True)

    registry: str
    owner: str
    """ARN of the execution."""
    redrive: int
    epoch: int
    tag: str


class Lease(Record):
    """Who may act on a registry. The epoch grows at every acquisition."""

    owner: str | None = None
    """None: it is free."""
    redrive: int = 0
    epoch: int
    tag: str
    """Random: a ledger restored from a backup may reach the same epoch again, never the same tag."""
    drain_until: datetime
    """Until then a function of an earlier owner may still run, and the owner does nothing."""
    repeated: bool = False
    """A task of the owner was called again, so a first call of it may still run when the owner has ended."""
    longest_timeout: float
    """Seconds: the longest function timeout of the owner's release."""

    def fence(self, registry: str) -> Fence:
        """Return what the owner's steps carry."""
        return Fence(registry=registry, owner=self.owner or "", redrive=self.redrive, epoch=self.epoch, tag=self.tag)


class Rotation(Record):
    """One generation of one registry's password, from the gate to the last consumer."""

    registry: str
    generation: int
    phase: Phase
    reason: Reason
    plan_version: str
    started_at: datetime
    execution: str
    """ARN of the execution that works or worked on it last."""
    shards: int = 0
    pin_again: bool = False
    """Whether Begin is to pin `plan_version` anew: a person mended the plan, or the password is delivered again."""
    deliver_to: tuple[str, ...] = ()
    """Until then: who is told again though they have it."""
    delivered_again_at: datetime | None = None
    """When Begin took up that a person wants the password delivered again, the last time."""
    reopened: bool = False
    """Whether it was over before it was delivered again."""
    held_back_since: datetime | None = None
    """Since when this execution cannot ask the registry before it delivers again."""
    gap_closed_at: datetime | None = None
    """When every consumer had it, where it was delivered again after that."""
    gate_at: datetime | None = None
    """When the gate passed. It is not asked again after that."""
    waived: tuple[str, ...] = ()
    """Consumers that were not ready when the gate passed, each with its reason."""
    warnings: tuple[str, ...] = ()
    """What a person should know of the registry though it stopped nothing, as it was before the reset."""
    paged_at: datetime | None = None
    """When a person was last told that it needs attention."""
    attempts: int = 0
    attempts_before: int = 0
    """How many of them belong to rotations that stopped under this number: their tokens stay used."""
    resets: int = 0
    """Attempts whose call was made and not refused."""
    calls: int = 0
    """Calls that left since a person looked last."""
    wrong_logins: int = 0
    logins_spent: bool = False
    """The budget of wrong logins is used up: no more is proven that needs one."""
    cut_short: bool = False
    """Closed for a later leak or a paste before every consumer was told: open again where the next one stops."""
    told: bool = False
    """Whether a consumer may have been told. Written before the first consumer is."""
    old_version: str | None = None
    """The store's version in force before the reset."""
    ready_at: datetime | None = None
    """`manual`: when a person was told to click."""
    ready_until: datetime | None = None
    old_before: LoginVerdict | None = None
    """What the registry said of the old password before the reset."""
    called_at: datetime | None = None
    answered_at: datetime | None = None
    """When the registry said that it reset."""
    store_version: str | None = None
    promoted_at: datetime | None = None
    new_refusals: int = 0
    """Refusals of the promoted password since it was last accepted, with the registry well in between."""
    new_verdict: LoginVerdict | None = None
    new_at: datetime | None = None
    heard_by: str | None = None
    """ARN of the execution whose Verify last heard the promoted password accepted: after what it delivered."""
    old_refusals: int = 0
    """Refusals of the old password since it was last accepted, with the registry well in between."""
    old_verdict: LoginVerdict | None = None
    old_at: datetime | None = None
    old_tokens: tuple[OldToken, ...] = ()
    """What the old password had given just before the reset, and whether it outlived it."""
    old_tokens_note: str = ""
    """Why none was taken."""
    snapshot_at: datetime | None = None
    """When the contents were noted before the reset; an older snapshot in the rotation's folder is none of its."""
    contents_unchanged: bool | None = None
    contents_note: str = ""
    finished_at: datetime | None = None
    outcome: str = ""
    """How the last execution ended it."""
    problems: tuple[str, ...] = ()
    """Why it stopped, or what a person is to do."""

    @property
    def id(self) -> str:
        """`REGISTRY/GENERATION`."""
        return f"{self.registry}/{self.generation}"

    @property
    def completed(self) -> bool:
        """Whether its password is the one in force."""
        return self.promoted_at is not None

    @property
    def heard(self) -> bool:
        """Whether the promoted password was accepted after the last delivery: nobody reset it elsewhere before that."""
        return self.heard_by == self.execution

    def opened_after(self, stopped: "Rotation") -> bool:
        """Whether it was opened to be delivered again long after the next one had stopped, and that was told."""
        opened, at = self.delivered_again_at, stopped.finished_at
        return opened is not None and at is not None and at < opened and bool(stopped.outcome)


class RedeliveryRequest(Record):
    """A person wants the password in force delivered again. Begin takes that up, and it is gone."""

    registry: str
    generation: int
    patterns: tuple[str, ...] = ()
    """Who is told again though they have it."""
    asked_at: datetime


class AttemptKind(StrEnum):
    """How the password of an attempt comes."""

    RESET = "reset"
    PASTED = "pasted"
    ADOPTED = "adopted"
    """Found in the escrow, of an attempt that a restored ledger has forgotten."""


class CallEnd(StrEnum):
    """The end of the reset call as its caller saw it."""

    ANSWERED = "answered"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    NOT_CALLED = "not_called"
    REFUSED = "refused"
    PROMOTED = "promoted"
    WRONG_PASTE = "wrong_paste"
    STALE = "stale"
    """An adopted answer whose password is not the registry's."""
    SUPERSEDED = "superseded"
    """A higher generation was in the store already."""
    NO_EFFECT = "no_effect"
    """The call did not reset: the old password is still good."""
    LOST = "lost"
    """The call did reset, or nobody can say, and nobody has the password."""
    REPLACED = "replaced"
    """A person pasted a password while this attempt waited for one."""


class Attempt(Record):
    """One try to get a new password within a rotation."""

    registry: str
    generation: int
    number: int
    kind: AttemptKind
    adopted: AttemptKind | None = None
    """How an adopted answer came: it is read as such."""
    beside_paste: bool = False
    """Whether an adopted answer is a paste, and somebody pasted in this rotation: not one that was forgotten."""
    nonce: str
    """Random: a second invocation that meets the claim knows that it is not its own."""
    deadline: datetime
    """Until then the claim's invocation may still act; after it, it sends nothing."""
    called_at: datetime | None = None
    """Written before the call is sent. For a paste: when the person clicked."""
    after_call: datetime | None = None
    """For a paste: when a call that it replaced may have left at the latest. It may still have its effect."""
    call_ended_at: datetime | None = None
    end: CallEnd | None = None
    said: str = ""
    """What the registry said last, in words without any body."""
    old_version: str | None = None
    old_before: LoginVerdict | None = None
    old_refusals: int = 0
    """Refusals of the old password after the call, with the registry well in between."""
    change_mark: str | None = None
    """What the registry shows that moves with its password, as it was before the call."""
    mark_moved: bool | None = None
    reading: int = 0
    """How often a person mended how the answer is read: each reading has a store token of its own."""
    refusals: int = 0
    """Refusals of the new password, with the registry well in between."""
    login: LoginVerdict | None = None
    staged: str | None = None
    unkept: bool = False
    """Whether the escrow refused the answer: only what was read from it is there, staged in the store."""
    unproven: bool = False
    """Whether the store was to mark it as one that the registry has not accepted yet."""
    promoted_at: datetime | None = None
    outcome: AttemptOutcome | None = None

    @property
    def is_paste(self) -> bool:
        """Whether what is in the escrow is the password itself, and no answer of an API."""
        return AttemptKind.PASTED in (self.kind, self.adopted)

    @property
    def escrow_token(self) -> str:
        """The escrow's key of this attempt's answer."""
        return self._token(0)

    @property
    def store_token(self) -> str:
        """The store's version token: another one for each reading, and never one that a lost ledger used."""
        return self._token(self.reading)

    @property
    def store_tokens(self) -> list[str]:
        """The store's version tokens of every reading, the latest first."""
        return [self._token(reading) for reading in range(self.reading, -1, -1)]

    def _token(self, reading: int) -> str:
        parts = (self.registry, self.generation, self.number, self.nonce, reading)
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


class Again(Record):
    """When the tick may start the registry's unfinished work again."""

    registry: str
    tries: int
    at: datetime
    told: str = ""
    """Digest of what a person was told that stands in the way: told once, and again where it is something else."""
    not_begun: str = ""
    """Why the last execution neither began a rotation nor took one up: no rotation's record says it."""
    not_begun_at: datetime | None = None
