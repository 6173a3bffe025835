"""The questions that are asked of the protocol, and for each guard the question that shows what it is for."""

from dataclasses import replace

from rekey.acts import Way
from rekey.model.request import Reason
from tests.faults.search.model import Configuration, Fault

_CALL = {Fault.LOST_ANSWER, Fault.LATE_EFFECT, Fault.DROPPED_CALL, Fault.REFUSAL}
_GARBAGE = {Fault.GARBAGE, Fault.GARBAGE_WITHOUT_EFFECT, Fault.GARBAGE_LATE}
_SLOW = {Fault.DUPLICATE, Fault.STOP_EXECUTION}


def _of(name: str, faults: int, *kinds: set[Fault], way: Way = Way.GENERATES) -> Configuration:
    return Configuration(name, faults, frozenset().union(*kinds), way)


ONE = _of("one rotation: crash, lost answer", 3, {Fault.CRASH}, _CALL)
HANG = _of("one rotation: hang, late answer", 2, {Fault.STALL, Fault.LATE_EFFECT, Fault.LOST_ANSWER})
GARBLED = _of("an answer nobody understands, and a crash", 3, _GARBAGE, {Fault.CRASH})
GARBLED_HANG = _of("an answer nobody understands, and a hang", 2, _GARBAGE, {Fault.STALL})
LATE = _of("a duplicate with a late call", 2, {Fault.DUPLICATE, Fault.LATE_EFFECT, Fault.LOST_ANSWER})
TWO = replace(_of("two rotations with a stop", 1, _SLOW), requests=2)
TWICE = replace(_of("two rotations, two duplicates", 2, {Fault.DUPLICATE}), requests=2)
REDRIVE = _of("a stop and a redrive", 2, {Fault.STOP_EXECUTION, Fault.REDRIVE})
SECOND = _of("a second start", 2, {Fault.SECOND_START, Fault.STOP_EXECUTION, Fault.CRASH})
THAW = replace(_of("a function frozen at its timeout thaws later", 1, {Fault.DUPLICATE}), requests=2, thaws=True)
RESTORE = _of("the ledger restored to each earlier state", 1, {Fault.RESTORE})
RESTORE_TWO = replace(_of("a restored ledger and two rotations", 1, {Fault.RESTORE}), requests=2)
RESTORE_LATE = _of("a restored ledger and one fault more", 2, {Fault.RESTORE, Fault.CRASH, Fault.GARBAGE})
LIES = _of("a registry that lies for a while, and says so", 3, {Fault.LIE, Fault.LOST_ANSWER})
LIE = replace(_of("a registry that lies once and says it is well", 1, {Fault.LIE}), healthy_when_down=True)
AWAY = _of("a registry that is away", 3, {Fault.AWAY, Fault.CRASH, Fault.LOST_ANSWER})
CONSOLE = _of("a person resets in the console", 2, {Fault.CONSOLE, Fault.LOST_ANSWER, Fault.AWAY})
CONSOLE_PASTE = _of("a reset in the console, pasted unasked", 3, {Fault.CONSOLE, Fault.EARLY_PASTE, Fault.CRASH})
PASTE_OLDER = replace(
    _of(
        "a paste older than the leak, after a call without effect",
        3,
        {Fault.CONSOLE, Fault.EARLY_PASTE, Fault.DROPPED_CALL},
    ),
    requests=2,
    clicked_at=True,
    reason=Reason.COMPROMISED,
)
UNPREPARED = _of("a call that cannot be prepared", 3, {Fault.UNPREPARED, Fault.CRASH, Fault.LOST_ANSWER})
MISREAD = replace(
    _of("an answer that is misread until the plan is mended", 2, {Fault.LIE, Fault.CRASH, Fault.WRONG_MEND}),
    misread=True,
    resumes=3,  # who mends it wrongly twice mends it once more: a paste alone asks for the next reset, misread again
)
STAGED = replace(
    _of("a candidate of an earlier reading", 4, {Fault.ESCROW_REFUSES, Fault.CRASH, Fault.LIE}),
    healthy_when_down=True,
    clicks=0,
    pastes=0,
)
ESCROW = _of("an escrow that refuses", 3, {Fault.ESCROW_REFUSES, Fault.CRASH, Fault.AWAY})
LOST = replace(_of("reason lost", 3, _CALL, {Fault.CRASH}), reason=Reason.LOST, forgotten=True, logins_suffice=True)
LEAK = replace(_of("compromised", 2, _CALL, {Fault.AWAY}), reason=Reason.COMPROMISED)
LEAK_LIES = replace(
    _of("compromised, and a registry that lies for a while", 3, {Fault.LIE, Fault.LOST_ANSWER}),
    reason=Reason.COMPROMISED,
)
LEAK_TWO = replace(
    _of("a leak while another is met", 1, {Fault.CRASH, Fault.LATE_EFFECT}, _SLOW),
    reason=Reason.COMPROMISED,
    requests=2,
)
FIRST = replace(_of("first adoption, by a reset", 3, _CALL, {Fault.CRASH}), adopting=True)
TAKES = _of("taking, without a change mark", 3, _CALL, {Fault.CRASH}, way=Way.TAKES)
TAKES_MARK = replace(_of("taking, with a change mark", 3, _CALL, {Fault.CRASH, Fault.AWAY}, way=Way.TAKES), mark=True)
TAKES_LATE = _of(
    "taking, a duplicate with a late call", 2, {Fault.DUPLICATE, Fault.LATE_EFFECT, Fault.LOST_ANSWER}, way=Way.TAKES
)
TAKES_LIES = _of("taking, a registry that lies for a while", 3, {Fault.LIE, Fault.LOST_ANSWER}, way=Way.TAKES)
TAKES_LIE = replace(
    _of("taking, a registry that lies, and is resumed", 2, {Fault.LIE}, way=Way.TAKES), healthy_when_down=True
)
TAKES_RESTORE = _of("taking, and a restored ledger", 2, {Fault.RESTORE, Fault.CRASH}, way=Way.TAKES)
TAKES_RESTORE_LEAK = replace(
    TAKES_RESTORE,
    name="taking, compromised, a restored ledger: one reset more",
    reason=Reason.COMPROMISED,
)
"""The candidate of a call that the ledger forgot may be live, and nobody asks the store for it.

So one reset more than needed is made after a restore, and never a password lost: the next one is in the store too.
"""
TAKES_CONSOLE = _of(
    "taking, and a person resets in the console", 2, {Fault.CONSOLE, Fault.LOST_ANSWER, Fault.AWAY}, way=Way.TAKES
)
TAKES_FIRST = replace(_of("taking: first adoption", 3, _CALL, {Fault.CRASH}, way=Way.TAKES), adopting=True)
TAKES_LOST = replace(
    _of("taking: reason lost", 3, _CALL, {Fault.CRASH}, way=Way.TAKES), reason=Reason.LOST, forgotten=True
)
"""Its logins need not suffice: the old password's, and two with what a dropped call was to set, are all there are.

What the next call sets is in the store and cannot be tried, so a person is asked.
"""
MANUAL_LIES = replace(_of("manual, a registry that lies for a while", 2, {Fault.LIE}, way=Way.MANUAL), clicked_at=True)
MANUAL_RESTORE = _of("manual, and a restored ledger", 1, {Fault.RESTORE}, way=Way.MANUAL)
MANUAL = replace(
    _of("manual: wrong and old pastes", 2, {Fault.WRONG_PASTE, Fault.OLD_PASTE}, way=Way.MANUAL), resumes=0
)
MANUAL_TWICE = replace(
    _of("manual: a wrong paste before the right one", 1, {Fault.WRONG_PASTE, Fault.OLD_PASTE}, way=Way.MANUAL),
    clicks=2,
    pastes=2,
    resumes=0,
    clicked_at=True,
)
MANUAL_CRASH = replace(
    _of("manual: a crash or a duplicate, and two pastes", 1, {Fault.CRASH, Fault.DUPLICATE}, way=Way.MANUAL), pastes=2
)
MANUAL_ONE = replace(_of("manual: a crash, and one paste", 1, {Fault.CRASH}, way=Way.MANUAL), resumes=0)
MANUAL_FIRST = replace(
    _of("manual: first adoption", 1, {Fault.CRASH, Fault.WRONG_PASTE}, way=Way.MANUAL),
    adopting=True,
    clicked_at=True,
    pastes=2,
)
PASTE = replace(_of("needs attention, and a wrong paste", 2, {Fault.GARBAGE, Fault.WRONG_PASTE}), clicks=2, pastes=2)

ALL = (
    ONE,
    HANG,
    GARBLED,
    GARBLED_HANG,
    LATE,
    TWO,
    TWICE,
    REDRIVE,
    SECOND,
    THAW,
    RESTORE,
    RESTORE_TWO,
    RESTORE_LATE,
    LIES,
    LIE,
    AWAY,
    CONSOLE,
    CONSOLE_PASTE,
    PASTE_OLDER,
    UNPREPARED,
    MISREAD,
    STAGED,
    ESCROW,
    LOST,
    LEAK,
    LEAK_TWO,
    LEAK_LIES,
    FIRST,
    TAKES,
    TAKES_MARK,
    TAKES_LATE,
    TAKES_LIES,
    TAKES_LIE,
    TAKES_RESTORE,
    TAKES_RESTORE_LEAK,
    TAKES_CONSOLE,
    TAKES_FIRST,
    TAKES_LOST,
    MANUAL,
    MANUAL_TWICE,
    MANUAL_CRASH,
    MANUAL_ONE,
    MANUAL_FIRST,
    MANUAL_LIES,
    MANUAL_RESTORE,
    PASTE,
)


IN_PART = frozenset({MANUAL_CRASH, MANUAL_RESTORE})
"""Of these `part_of` takes the first states: the invariants are asked of them, a good end is not."""
_FIRST = 25_000
MOST = 100_000
"""States that are looked at in seconds."""


def _alone(configuration: Configuration) -> Configuration:
    """Return a question in which nobody helps: what is done unasked is left."""
    return replace(configuration, clicks=0, pastes=0, resumes=0)


_SMALLER = {
    CONSOLE_PASTE: _alone(CONSOLE_PASTE),
    PASTE_OLDER: _alone(PASTE_OLDER),
    MANUAL_TWICE: replace(MANUAL_TWICE, clicks=1, may=frozenset({Fault.WRONG_PASTE})),
}


def part_of(configuration: Configuration) -> Configuration:
    """Return what can be looked at in seconds: one fault less, in a smaller question, or the first states of it."""
    smaller = _SMALLER.get(configuration, configuration)
    most = _FIRST if configuration in IN_PART else MOST
    return replace(smaller, faults=max(configuration.faults - 1, 1), most=most)
