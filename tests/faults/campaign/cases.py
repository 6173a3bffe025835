"""Makes cases of points: each fault at each point, random pairs, and what is done to executions from outside."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from rekey.steps.verify import TRY
from tests.faults.campaign.points import (
    AWS,
    MACHINE,
    READS,
    REGISTRY,
    STORE,
    Case,
    Kind,
    Point,
    Role,
    Strike,
    Task,
    kinds_of,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping, Sequence

_ONCE = {Kind.DELETED: "Reset", Kind.TWO_STARTS: "Begin", Kind.REDRIVE: "Verify"}
"""The state at which something is done to an execution that is tried at one state alone."""
_OLD_LOGIN, _NEW_LOGIN = "GET /v2/ as old password", "GET /v2/ as new password"
OFF_THE_WAY: Mapping[tuple[str, str, Kind], tuple[str, ...]] = {
    ("machine", "Reset", Kind.STOP): ("CountDrain", "KeepDrainCount", "WaitForDrain"),
    ("reset", _OLD_LOGIN, Kind.KILL_BEFORE): ("CountReset", "KeepResetCount", "WaitForReset"),
    ("reset", _NEW_LOGIN, Kind.AWAY): ("CloseAttempt", "AfterClosing"),
    ("reset", _NEW_LOGIN, Kind.REFUSED_TWICE): ("AttentionNeeded",),
    ("reset", "PATCH", Kind.THROTTLE): ("NotReady",),
    ("distribute", "POST /hooks/", Kind.ERROR_BEFORE): (
        "KeepWhatIsLeft",
        "IsThereAnotherPass",
        "CountPass",
        "KeepPassCount",
        "WaitBetweenPasses",
    ),
    ("distribute", "s3:GetObject", Kind.DENIED): ("PrepareShardLater",),
    ("distribute deliver", "s3:GetObject", Kind.DENIED): ("DeliverShardLater",),
    ("distribute verify", "s3:GetObject", Kind.DENIED): ("VerifyShardLater",),
    ("verify", "s3:GetObject", Kind.DENIED): ("Unfinished",),
    ("machine", "Begin", Kind.TWO_STARTS): ("NothingToDo",),
}
"""States that a rotation without a fault does not enter, by what leads there: where, at which request, what."""
NEVER_ENTERED = {
    "UnknownAnswer": "an answer that no function gives",
    "Rehearsed": "there is no rehearsal yet",
    "Ready": "of a registry that is reset by hand",
    "Joined": "an execution that joins another one ends in NothingToDo",
    "ConsumersFailed": "consumers that need a person",
}
"""States that no case enters, each with why."""
_TELLING = (Role.RESET_CALL, Role.SET_CALL, Role.ESCROW_WRITE, Role.NEW_LOGIN)
_NOT_IN_PAIRS = (Kind.GATEWAY_AFTER, Kind.REFUSED_TWICE)


def singles(points: Sequence[Point], unproven: Sequence[Point] = (), again: Sequence[Point] = ()) -> list[Case]:
    """Return every fault at every point. The reset itself comes first.

    Of the others neighbours are far apart in the list, so that one world gets all sorts.
    `unproven`: what was recorded under `going_out_unproven`; `again`: when the password was delivered again.
    """
    strikes = [Strike(point, kind) for point in points for kind in kinds_of(point)]
    states = {point.operation: point for point in points if point.server == MACHINE}
    strikes += [Strike(states[state], kind) for kind, state in _ONCE.items()]
    stride = 7
    spread = [(strike,) for first in range(stride) for strike in strikes[first::stride]]
    spread.sort(key=lambda strikes: strikes[0].point.role not in _TELLING)
    found = _numbered([*_off_the_way(points), *_of_the_unproven(points, unproven), *spread])
    return [*found, *_numbered(_delivered_again(again), len(found), delivers_again=True)]


_WHILE_TRYING = ("CountAsking", "KeepAskingCount", "WaitToAsk")
"""States that are entered where the registry did not say whether it takes what is to be delivered again."""


def _delivered_again(points: Sequence[Point]) -> list[tuple[Strike, ...]]:
    """Return every fault at what is done otherwise when a password is delivered again: Begin, the try, every state.

    Also a stop where that try waits for a registry that did not answer.
    """
    tries = [point for point in points if point.task.call == TRY and point.role is Role.PROMOTED_LOGIN]
    waiting = [Strike(Point(Task("machine"), MACHINE, name), Kind.STOP) for name in _WHILE_TRYING]
    return [(Strike(tries[0], Kind.ERROR_BEFORE), stop) for stop in waiting if tries] + [
        (Strike(point, kind),)
        for point in points
        if point.server == MACHINE or point.task.function == "begin" or point.task.call == TRY
        for kind in kinds_of(point)
    ]


def going_out_unproven(points: Sequence[Point]) -> Strike:
    """Return the fault under which a new password is promoted before the registry has accepted it."""
    login = next(point for point in points if point.role is Role.NEW_LOGIN and point.server == REGISTRY)
    return Strike(login, Kind.AWAY)


def _of_the_unproven(points: Sequence[Point], unproven: Sequence[Point]) -> list[tuple[Strike, ...]]:
    """Return every fault at what is written in the store beyond a proven password's: the mark, and its end."""
    return [
        (going_out_unproven(points), Strike(point, kind))
        for point in unproven
        if point not in points and point.task.function == "reset" and _writes_the_store(point)
        for kind in kinds_of(point)
    ]


def _writes_the_store(point: Point) -> bool:
    if point.server == STORE:
        return point.operation.startswith(("POST", "PUT", "PATCH", "DELETE")) and not point.operation.endswith("/login")
    service, _, action = point.operation.partition(":")
    return point.server == AWS and service == "secretsmanager" and not action.startswith(READS)


def _off_the_way(points: Sequence[Point]) -> list[tuple[Strike, ...]]:
    """Return a stop at every state that a rotation without a fault does not enter, each with what leads there."""
    if not any(point.role is Role.RESET_CALL for point in points):
        return []  # what leads there is told for a registry that generates its passwords
    found: list[tuple[Strike, ...]] = []
    for (function, operation, kind), states in OFF_THE_WAY.items():
        first = _first(points, function, operation)
        found += [(Strike(first, kind), Strike(Point(Task("machine"), MACHINE, name), Kind.STOP)) for name in states]
    return found


def pairs(points: Sequence[Point], count: int, chance: random.Random) -> list[Case]:
    """Return random double faults, of those after which no person is needed."""
    strikes = [Strike(point, kind) for point in points for kind in kinds_of(point) if kind not in _NOT_IN_PAIRS]
    found: list[tuple[Strike, ...]] = []
    while len(found) < count:
        one, other = chance.sample(strikes, 2)
        if one.point != other.point:
            found.append((one, other))
    return [replace(case, must_all_strike=False) for case in _numbered(found)]


def representative(points: Sequence[Point], again: Sequence[Point] = ()) -> list[Case]:
    """Return a few cases that stand for all: the reset call, the write of its answer, each function killed, each kind.

    Of a kind that neither of these has: one that comes back quickly. `again`: as in `singles`.
    """
    states = {point.operation: point for point in points if point.server == MACHINE}
    wanted = [
        *_around_the_reset(points),
        *((point, Kind.REFUSED_TWICE) for point in points if point.role is Role.PROMOTED_LOGIN),
        *((_last_write(points, function), Kind.KILL_AFTER) for function in ("begin", "verify", "report")),
        *((_last_write(points, function), Kind.ANSWERS_LOST) for function in ("trigger", "distribute")),
        *((point, kind) for point in points for kind in _IN_SHORT_AT_ONE.get(point.role, ())),
        (_last_write(points, "reset"), Kind.CONFLICT),
        (_first(points, "reset", "secretsmanager:UpdateSecretVersionStage"), Kind.THROTTLE),
        (_first(points, "verify", "s3:GetObject"), Kind.DENIED),
        (states["Verify"], Kind.STOP),
        (states["Verify"], Kind.STOP_AT_WORK),
        *((states[state], kind) for kind, state in _ONCE.items()),
    ]
    found = _numbered((Strike(point, kind),) for point, kind in wanted)
    first = [(Strike(point, Kind.STOP),) for point in again if point.operation == "AskBeforeDelivery"]
    if again:
        first.append((Strike(_last_write(again, "begin"), Kind.KILL_BEFORE),))
    return [*found, *_numbered(first, len(found), delivers_again=True)]


def around_the_reset(points: Sequence[Point]) -> list[Case]:
    """Return what differs most between registries: the call, the write of its answer, the new login."""
    return _numbered((Strike(point, kind),) for point, kind in _around_the_reset(points))


def _around_the_reset(points: Sequence[Point]) -> list[tuple[Point, Kind]]:
    return [(point, kind) for point in points for kind in _IN_SHORT.get(point.role, ())]


_IN_SHORT = {
    Role.RESET_CALL: (
        Kind.ERROR_BEFORE,
        Kind.ERROR_AFTER,
        Kind.KILL_AFTER,
        Kind.CUT_OFF,
        Kind.GATEWAY,
        Kind.GATEWAY_AFTER,
    ),
    Role.SET_CALL: (Kind.ERROR_AFTER, Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.CUT_OFF, Kind.GATEWAY_AFTER),
    Role.ESCROW_WRITE: (Kind.ERROR_BEFORE, Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.CUT_OFF),
    Role.NEW_LOGIN: (Kind.REFUSED_ONCE, Kind.REFUSED_TWICE),
}
_IN_SHORT_AT_ONE = {
    Role.RESET_CALL: (Kind.HANG,),
    Role.ESCROW_WRITE: (Kind.GATEWAY,),
    Role.NEW_LOGIN: (Kind.AWAY,),
}
"""Beside those, where it need not be seen with every type of registry."""


def _last_write(points: Sequence[Point], function: str) -> Point:
    writes = [
        one for one in points if str(one.task).startswith(function) and one.operation.endswith("TransactWriteItems")
    ]
    return writes[-1]


def _first(points: Sequence[Point], function: str, operation: str) -> Point:
    return next(
        one
        for one in points
        if one.server != STORE and str(one.task).startswith(function) and one.operation.startswith(operation)
    )


def _numbered(strikes: Iterable[tuple[Strike, ...]], after: int = 0, *, delivers_again: bool = False) -> list[Case]:
    """Give each case a registry's name; all are equally long, so that none is found inside another."""
    numbered = zip(itertools.count(after + 1), strikes)
    return [Case(f"c{number:05d}", pair, delivers_again=delivers_again) for number, pair in numbered]
