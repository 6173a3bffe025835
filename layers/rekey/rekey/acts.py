"""The words of the reset protocol: what can be done, what is known, within which limits. Nothing is decided here."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rekey.model.rotation import Attempt, AttemptOutcome, CallEnd, Rotation
from rekey.model.verdict import LoginVerdict


class Way(StrEnum):
    """How a registry's password changes."""

    GENERATES = auto()
    TAKES = auto()
    MANUAL = auto()


class Act(StrEnum):
    """What `reset` can do next."""

    CLAIM = auto()
    """Open an attempt: from here on no other invocation may call."""
    GET_READY = auto()
    """Have the escrow's key wrapped, note the store's version and the registry's change mark."""
    TRY_OLD = auto()
    """Ask the registry about the old password before the call."""
    PAUSE = auto()
    """Wait until `until` within this invocation: its claim, and what it got ready, are in its memory."""
    CALL = auto()
    """Write "called at", look at the clock, send the one call."""
    KEEP = auto()
    """Put the answer into the escrow, unread."""
    LOOK = auto()
    """Look for the answer in the escrow, then for the candidate in the store."""
    READ = auto()
    """Find the password in the answer."""
    LOG_IN = auto()
    """Ask the registry about the new password."""
    STAGE = auto()
    """Put it into the store where readers do not look."""
    READ_MARK = auto()
    """Ask the registry whether its password moved since before the call, without a login."""
    PROMOTE = auto()
    """Make it the one that readers see."""
    DELETE = auto()
    """Delete the answer from the escrow: the password is proven."""
    CLOSE = auto()
    """Write the attempt's outcome."""
    BE_READY = auto()
    """`manual`: try the old password, note the store's version, tell a person to click."""
    ASK_OLD = auto()
    """Ask the registry about the old password after the call."""
    WAIT = auto()
    """Come back at `until`."""
    STAY_READY = auto()
    """`manual`: a person is to click and paste; nothing to do until then."""
    DELIVER = auto()
    """The password is promoted: consumers are next."""
    STOP = auto()
    """Nothing was reset, and nothing will be now."""
    ATTENTION = auto()
    """A person has to decide; nothing more is reset."""


@dataclass(frozen=True)
class Step:
    """An act with what belongs to it."""

    act: Act
    until: datetime | None = None
    why: str = ""
    outcome: AttemptOutcome | None = None


@dataclass(frozen=True)
class Records:
    """What the ledger says. `attempt` is the latest one."""

    rotation: Rotation
    attempt: Attempt | None
    way: Way = Way.GENERATES


@dataclass(frozen=True)
class Seen:
    """What this invocation saw of the latest attempt."""

    mine: bool = False
    """This invocation made the claim."""
    ready_at: datetime | None = None
    tried: bool = False
    """The registry was asked about the old password before the call, and since the last pause."""
    old: LoginVerdict | None = None
    """What the registry said of the old password since the call; what it said before is `Attempt.old_before`."""
    end: CallEnd | None = None
    in_hand: bool = False
    """The answer, or the password read from it, is in this invocation's memory."""
    kept: bool = False
    """The answer is in the escrow, or the password is staged because the escrow refused."""
    looked: bool = False
    readable: bool | None = None
    unreadable: str = ""
    """Why the password could not be found in the answer."""
    same_as_current: bool = False
    """The password read is the one the store already calls current."""
    mark_asked: bool = False
    """The registry was asked for its change mark in this invocation."""
    asked: bool = False
    """The registry was asked about the new password in this invocation."""
    deleted: bool = False


@dataclass(frozen=True)
class Limits:
    """Durations and numbers of the plan, the adapter and the stack."""

    until: datetime
    """When this invocation is cut off."""
    call: timedelta
    """What must be left of the function's time when the call is sent: call, escrow write, margin."""
    settle: timedelta
    """How long a call may still take effect after the last moment it could have left."""
    prove_within: timedelta
    refusal_pause: timedelta
    ask_again: timedelta = timedelta(seconds=3)
    wrong_logins: int = 3
    max_attempts: int = 10
    """Calls that left; what never left counts for nothing."""
    max_resets: int = 3
