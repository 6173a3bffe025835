"""The questions that are asked of the protocol, and for each guard the question that shows what it is for."""

from dataclasses import replace

from rekey.model.request import Reason
from rekey.protocol import Way
from tests.faults.search.model import Configuration, Fault

_CALL = {Fault.LOST_ANSWER, Fault.LATE_EFFECT, Fault.DROPPED_CALL, Fault.REFUSAL}
_GARBAGE = {Fault.GARBAGE, Fault.GARBAGE_WITHOUT_EFFECT, Fault.GARBAGE_LATE}
_RUN = {Fault.CRASH, Fault.STALL}
_SLOW = {Fault.DUPLICATE, Fault.STOP_EXECUTION}


def _of(name: str, faults: int, *kinds: set[Fault], way: Way = Way.GENERATES) -> Configuration:
    return Configuration(name, faults, frozenset().union(*kinds), way)


ONE = _of("one rotation: crash, hang, lost answer", 2, _RUN, _CALL)
GARBLED = _of("an answer nobody understands", 2, _GARBAGE, {Fault.STALL, Fault.CRASH})
LATE = _of("a duplicate with a late call", 2, {Fault.DUPLICATE, Fault.LATE_EFFECT, Fault.STALL, Fault.LOST_ANSWER})
TWO = replace(_of("two rotations with a stop", 1, _SLOW), requests=2)
TWICE = replace(_of("two rotations, two duplicates or stops", 2, _SLOW), requests=2)
REDRIVE = _of("a stop and a redrive", 2, {Fault.STOP_EXECUTION, Fault.REDRIVE})
SECOND = _of("a second start", 2, {Fault.SECOND_START, Fault.STOP_EXECUTION, Fault.CRASH})
RESTORE = _of("the ledger restored to each earlier state", 1, {Fault.RESTORE})
RESTORE_TWO = replace(_of("a restored ledger and two rotations", 1, {Fault.RESTORE}), requests=2)
RESTORE_LATE = _of("a restored ledger and one fault more", 2, {Fault.RESTORE, Fault.STOP_EXECUTION, Fault.GARBAGE})
LIES = _of("a registry that lies for a while, and says so", 3, {Fault.LIE, Fault.LOST_ANSWER})
LIE = replace(_of("a registry that lies once and says it is well", 1, {Fault.LIE}), healthy_when_down=True)
AWAY = _of("a registry that is away", 2, {Fault.AWAY, Fault.CRASH, Fault.LOST_ANSWER})
CONSOLE = _of("a person resets in the console", 2, {Fault.CONSOLE, Fault.LOST_ANSWER, Fault.AWAY})
ESCROW = _of("an escrow that refuses", 2, {Fault.ESCROW_REFUSES, Fault.CRASH, Fault.AWAY})
LOST = replace(_of("reason lost", 2, _CALL, {Fault.CRASH}), reason=Reason.LOST)
LEAK = replace(_of("compromised", 2, _CALL, {Fault.AWAY}), reason=Reason.COMPROMISED)
FIRST = replace(_of("first adoption, by a reset", 2, _CALL, _RUN), adopting=True)
TAKES = _of("taking, without a change mark", 2, _CALL, _RUN, way=Way.TAKES)
TAKES_MARK = replace(_of("taking, with a change mark", 2, _CALL, _RUN, way=Way.TAKES), mark=True)
MANUAL = replace(
    _of("manual: wrong and old pastes", 2, {Fault.WRONG_PASTE, Fault.OLD_PASTE}, way=Way.MANUAL), clicks=2, pastes=2
)
MANUAL_CRASH = replace(
    _of("manual: crashes and duplicates", 2, {Fault.CRASH, Fault.DUPLICATE}, way=Way.MANUAL), clicks=2, pastes=2
)
MANUAL_FIRST = replace(
    _of("manual: first adoption", 1, {Fault.CRASH, Fault.WRONG_PASTE}, way=Way.MANUAL),
    adopting=True,
    clicks=2,
    pastes=2,
)
PASTE = replace(_of("needs attention, and a wrong paste", 2, {Fault.GARBAGE, Fault.WRONG_PASTE}), clicks=2, pastes=2)

ALL = (
    ONE,
    GARBLED,
    LATE,
    TWO,
    TWICE,
    REDRIVE,
    SECOND,
    RESTORE,
    RESTORE_TWO,
    RESTORE_LATE,
    LIES,
    LIE,
    AWAY,
    CONSOLE,
    ESCROW,
    LOST,
    LEAK,
    FIRST,
    TAKES,
    TAKES_MARK,
    MANUAL,
    MANUAL_CRASH,
    MANUAL_FIRST,
    PASTE,
)
