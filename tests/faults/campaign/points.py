"""What can go wrong where, and what may come of it. Pure: points, the faults that fit them, the resets that follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

AWS = "aws"
REGISTRY = "registry"
CONTROL_PLANE = "control plane"
STORE = "store"
"""Where the passwords are not in Secrets Manager, which is AWS's."""
CONSUMERS = ("github", "kubernetes", "webhook")
MACHINE = "state machine"
TASKS = ("begin", "reset", "distribute", "verify", "report")
"""The functions that the state machine calls."""
READS = ("Get", "Describe", "Query", "List", "Decrypt")
"""How the names of AWS's operations begin that change nothing."""


class Kind(StrEnum):
    """What goes wrong."""

    ERROR_BEFORE = "error before"
    """AWS: 500 as often as the client asks. HTTP: the connection is cut. Nothing was done."""
    ERROR_AFTER = "error after"
    """Done, and the connection cut: an AWS client asks again by itself, and meets its own write."""
    ANSWERS_LOST = "answers lost"
    """Done as often as the client asks, and answered 500 each time."""
    HANG = "hang"
    """Nothing is done and nothing answered, until the client gives up."""
    KILL_BEFORE = "kill before"
    """The calling process is killed; nothing was done."""
    KILL_AFTER = "kill after"
    """Done; the calling process is killed before it learns that."""
    CUT_OFF = "cut off"
    """Done and answered, but the calling process stands still until its handler's time is over, and goes on then."""
    THROTTLE = "throttle"
    CONFLICT = "conflict"
    """A transaction is cancelled because another one touches the same item."""
    GATEWAY = "HTML 502"
    """A gateway's page, at AWS as often as the client asks; nothing was done."""
    GATEWAY_AFTER = "HTML 502 after"
    """Done, and a gateway's page in place of the answer."""
    REFUSED_ONCE = "401 once"
    """To the right password."""
    REFUSED_TWICE = "401 twice"
    AWAY = "away"
    """The connection is cut, for longer than the password is held back."""
    DENIED = "denied"
    """A definite error: the state machine does not try again."""
    STOP = "stop"
    """StopExecution when the state is entered."""
    STOP_AT_WORK = "stop at work"
    """StopExecution when a function of the state is at work, which goes on."""
    DELETED = "deleted"
    """The execution is stopped, and then does not exist any more."""
    TWO_STARTS = "two starts"
    """A second alert and a second execution at the same time."""
    REDRIVE = "redrive"
    """The stopped execution is redriven after another one has finished its rotation."""


OF_THE_MACHINE = (Kind.STOP, Kind.STOP_AT_WORK, Kind.DELETED, Kind.TWO_STARTS, Kind.REDRIVE)


class Role(StrEnum):
    """What a point is to the protocol."""

    RESET_CALL = "the reset call"
    SET_CALL = "the call that sets our password"
    ESCROW_WRITE = "the write of its answer"
    NEW_LOGIN = "the login with the new password"
    PROMOTED_LOGIN = "the login with the promoted password"
    LOGIN = "another request with a password that is right"
    TASK = "a state that calls a function"
    OTHER = ""


@dataclass(frozen=True, order=True)
class Task:
    """What a function does for a registry: its name, the state machine's verb or the event's type, the shard."""

    function: str
    call: str = ""
    shard: int = -1

    def __str__(self) -> str:
        parts = [self.function, "" if self.call == self.function else self.call]
        return " ".join(part for part in [*parts, "" if self.shard < 0 else str(self.shard)] if part)


@dataclass(frozen=True, order=True)
class Point:
    """The nth request of one operation within a task, or the entry of a state."""

    task: Task
    server: str
    operation: str
    nth: int = 1
    role: Role = Role.OTHER

    def __str__(self) -> str:
        role = f" ({self.role.value})" if self.role is not Role.OTHER else ""
        return f"{self.task}: {self.operation} no. {self.nth}{role}"


@dataclass(frozen=True)
class Strike:
    """A fault at a point."""

    point: Point
    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind.value} at {self.point}"


@dataclass(frozen=True)
class Case:
    """What goes wrong in one rotation. `name` is the registry's."""

    name: str
    strikes: tuple[Strike, ...]
    must_all_strike: bool = True
    """False: the first fault may lead around the second one's point."""
    delivers_again: bool = False
    """Whether it strikes once the rotation is over, when its password is delivered again to everybody."""

    @property
    def most_resets(self) -> int:
        """How many resets may happen: one more for each answer that is lost before it is in the escrow.

        Also one more where a person resets and pastes, since the promoted password is taken for dead.
        """
        if len(self.strikes) == 1:
            return 1 + (_loses_the_answer(self.strikes[0]) or _looks_like_a_reset_elsewhere(self.strikes[0]))
        if any(strike.kind is Kind.AWAY for strike in self.strikes):  # it moves nothing that comes before the login
            return 1 + sum(map(_loses_the_answer, self.strikes))
        return 1 + sum(_may_lose_the_answer(strike) for strike in self.strikes)

    @property
    def fewest_resets(self) -> int:
        """How many resets have to happen."""
        return self.most_resets if len(self.strikes) == 1 else 1

    @property
    def may_need_a_person(self) -> bool:
        """Whether the protocol asks for a person here.

        An answer that cannot be understood while the old password is dead; a counted refusal of the new password, also
        once it is promoted; the budget of wrong logins, spent by refusals of the right one.
        """
        if len(self.strikes) > 1:
            return any(
                strike.kind in (Kind.REFUSED_ONCE, Kind.REFUSED_TWICE, Kind.GATEWAY_AFTER) for strike in self.strikes
            )
        (strike,) = self.strikes
        unreadable = strike.kind is Kind.GATEWAY_AFTER and strike.point.role is Role.RESET_CALL
        refused = strike.kind is Kind.REFUSED_TWICE and strike.point.role is Role.NEW_LOGIN
        return unreadable or refused or _looks_like_a_reset_elsewhere(strike)

    def __str__(self) -> str:
        return " and ".join(map(str, self.strikes)) + (" when delivered again" if self.delivers_again else "")


def _loses_the_answer(strike: Strike) -> bool:
    match strike.point.role:
        case Role.RESET_CALL:
            # After an answer that nobody understands a person resets once more, and pastes.
            return strike.kind in (Kind.ERROR_AFTER, Kind.KILL_AFTER, Kind.CUT_OFF, Kind.GATEWAY_AFTER)
        case Role.ESCROW_WRITE:
            return strike.kind is Kind.KILL_BEFORE
        case _:
            return False


def _looks_like_a_reset_elsewhere(strike: Strike) -> bool:
    """Whether Verify hears twice that the promoted password is refused, and asks for a person."""
    return strike.kind is Kind.REFUSED_TWICE and strike.point.role is Role.PROMOTED_LOGIN


def _may_lose_the_answer(strike: Strike) -> bool:
    """Whether a fault can, after another one moved it to another moment than the recorded one."""
    losing = (Kind.ERROR_AFTER, Kind.HANG, Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.CUT_OFF, Kind.GATEWAY_AFTER)
    return strike.kind in losing and strike.point.task.function == "reset"


def kinds_of(point: Point) -> tuple[Kind, ...]:
    """Return everything that can go wrong at a point."""
    if point.server == MACHINE:
        return (Kind.STOP, Kind.STOP_AT_WORK) if point.role is Role.TASK else (Kind.STOP,)
    common: tuple[Kind, ...] = (
        Kind.ERROR_BEFORE,
        Kind.ERROR_AFTER,
        Kind.HANG,
        Kind.KILL_BEFORE,
        Kind.KILL_AFTER,
        Kind.THROTTLE,
        Kind.GATEWAY,
    )
    if point.task.function in TASKS:
        common = (*common, Kind.CUT_OFF)
    if point.server == AWS:
        action = point.operation.partition(":")[2]
        writes = () if action.startswith(READS) else (Kind.ANSWERS_LOST,)
        return (*common, *writes, *((Kind.CONFLICT,) if action == "TransactWriteItems" else ()))
    if point.role in (Role.RESET_CALL, Role.SET_CALL):
        return (*common, Kind.GATEWAY_AFTER)
    if point.role in (Role.LOGIN, Role.PROMOTED_LOGIN):
        return (*common, Kind.REFUSED_ONCE, Kind.REFUSED_TWICE)
    if point.role is Role.NEW_LOGIN:
        return (*common, Kind.REFUSED_ONCE, Kind.REFUSED_TWICE, Kind.AWAY)
    return common
