"""Each guard taken out: the question that shows what it is for.

The decision is always `next_act`'s own. A guard of it is taken out by what it is asked (no time to settle, one refusal
shown as two), one of the steps by the model's switch.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from rekey.acts import Act, Limits, Records, Seen, Step, Way
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd
from rekey.protocol import REFUSALS_THAT_COUNT, next_act
from tests.faults.search import configurations as ask
from tests.faults.search.explore import NEEDLESS, NO_END, Found, Search
from tests.faults.search.model import Configuration, Decide, Fault, Guard, Model
from tests.faults.search.records import FOREVER_AGO, NOW, moment

_AT_ONCE = timedelta(0)


@dataclass(frozen=True)
class Removal:
    """A guard, and the configuration that fails without it."""

    guard: Guard
    configuration: Configuration
    expects: str = ""
    """What the search then says, or the beginning of it."""

    def missed_in(self, found: Found) -> bool:
        """Whether a search without the guard says what is expected."""
        return bool(found.problem) and found.problem.startswith(self.expects)


def search(configuration: Configuration, guard: Guard | None = None) -> Found:
    """Search a configuration, with one guard taken out."""
    if guard is None:
        return Search(Model(configuration)).run()
    asked = replace(configuration, without=frozenset({guard}))
    model = Model(asked, decide=_DECISIONS[guard]) if guard in _DECISIONS else Model(asked)
    return Search(model).run()


def _hasty(where: Callable[[Records, Seen], bool]) -> Decide:
    """Return the decision that does not let a call settle in one place."""

    def decide(records: Records, seen: Seen, limits: Limits) -> Step:
        return next_act(records, seen, replace(limits, settle=_AT_ONCE) if where(records, seen) else limits, NOW)

    return decide


def _without_answer(_records: Records, seen: Seen) -> bool:
    return not seen.in_hand


def _unreadable(_records: Records, seen: Seen) -> bool:
    return seen.readable is False


def _uncertain_set(records: Records, seen: Seen) -> bool:
    attempt = records.attempt
    return records.way is Way.TAKES and seen.in_hand and attempt is not None and attempt.end is not CallEnd.ANSWERED


def _one_refusal(records: Records, seen: Seen, limits: Limits) -> Step:
    rotation, attempt = records.rotation, records.attempt
    twice = REFUSALS_THAT_COUNT
    rotation = rotation.having(old_refusals=rotation.old_refusals * twice)
    if attempt is not None:
        attempt = attempt.having(refusals=attempt.refusals * twice, old_refusals=attempt.old_refusals * twice)
    return next_act(Records(rotation, attempt, records.way), seen, limits, NOW)


def _no_deadline(records: Records, seen: Seen, limits: Limits) -> Step:
    """Take a call whose end nobody saw for one that ended when it was written down."""
    attempt = records.attempt
    if attempt is not None and attempt.called_at is not None and attempt.call_ended_at is None and not seen.mine:
        attempt = attempt.having(call_ended_at=moment(FOREVER_AGO))
    return next_act(Records(records.rotation, attempt, records.way), seen, limits, NOW)


def _no_claim_wait(records: Records, seen: Seen, limits: Limits) -> Step:
    """Take every claim of another invocation for one that is past its deadline."""
    attempt = records.attempt
    if _is_claim(attempt) and attempt is not None and not seen.mine:
        attempt = attempt.having(deadline=moment(FOREVER_AGO))
    return next_act(Records(records.rotation, attempt, records.way), seen, limits, NOW)


def _is_claim(attempt: Attempt | None) -> bool:
    return attempt is not None and attempt.kind is AttemptKind.RESET and attempt.called_at is None


def _old_forgotten(records: Records, seen: Seen, limits: Limits) -> Step:
    """Forget, before each attempt's call, that the old password was refused."""
    rotation, attempt = records.rotation, records.attempt
    if _is_claim(attempt):
        rotation = rotation.having(old_refusals=0)
    return next_act(Records(rotation, attempt, records.way), seen, limits, NOW)


def _none_kept(records: Records, seen: Seen, limits: Limits) -> Step:
    """Let the old password have the last wrong login too."""
    kept = int(_is_claim(records.attempt))
    return next_act(records, seen, replace(limits, wrong_logins=limits.wrong_logins + kept), NOW)


def _first_reading(records: Records, seen: Seen, limits: Limits) -> Step:
    """Take every reading of an answer for the first."""
    attempt = records.attempt
    if attempt is not None:
        attempt = attempt.having(reading=0)
    return next_act(Records(records.rotation, attempt, records.way), seen, limits, NOW)


def never_calls(records: Records, seen: Seen, limits: Limits) -> Step:
    """Give every call back just before it is made, and claim for ever."""
    step = next_act(records, seen, replace(limits, max_attempts=sys.maxsize), NOW)
    return Step(Act.CLOSE, outcome=AttemptOutcome.NOT_CALLED) if step.act is Act.CALL else step


def only_asks_people(records: Records, seen: Seen, limits: Limits) -> Step:
    """Call a person where an attempt would be claimed."""
    step = next_act(records, seen, limits, NOW)
    return Step(Act.ATTENTION, why="nothing was tried") if step.act is Act.CLAIM else step


_DECISIONS: dict[Guard, Decide] = {
    Guard.SETTLE_WITHOUT_ANSWER: _hasty(_without_answer),
    Guard.SETTLE_UNREADABLE: _hasty(_unreadable),
    Guard.SETTLE_UNCERTAIN_SET: _hasty(_uncertain_set),
    Guard.SECOND_REFUSAL: _one_refusal,
    Guard.CLAIM_DEADLINE: _no_deadline,
    Guard.CLAIM_WAIT: _no_claim_wait,
    Guard.OLD_ASKED_ONCE: _old_forgotten,
    Guard.LOGIN_KEPT: _none_kept,
    Guard.LATER_READING_PROVEN: _first_reading,
}


def _faults(configuration: Configuration, number: int, *kinds: Fault) -> Configuration:
    return replace(configuration, faults=number, may=frozenset(kinds))


def _mended(times: int, fault: Fault) -> Configuration:
    """Return the question of the misread answer where nobody pastes and the plan may be mended so many times."""
    return replace(_faults(ask.MISREAD, 2, Fault.LIE, fault), clicks=0, pastes=0, resumes=times)


_NOT_TAKEN = "a password that the registry does not take is promoted"
_STAGED_LIVE = "a reset is called though the live password is staged"
_LIVE_DELETED = "the answer with the live password is deleted"
_CLOSED_TOO_SOON = "a request is closed by a reset that was called before it arrived"
_ONE_TOO_MANY = "2 resets acted, for 1 requests, with 0 answers lost"
_OLDER_AT_CONSUMER = "generation 1 overwrites 2 at the consumer"
_OLDER_IN_STORE = "generation 1 overwrites 2 in the store"

REMOVALS = (
    Removal(Guard.SETTLE_WITHOUT_ANSWER, _faults(ask.ONE, 1, Fault.LATE_EFFECT), _NOT_TAKEN),
    Removal(Guard.SETTLE_UNREADABLE, _faults(ask.GARBLED, 1, Fault.GARBAGE_LATE), _NOT_TAKEN),
    Removal(Guard.SETTLE_UNCERTAIN_SET, _faults(ask.TAKES, 1, Fault.LATE_EFFECT), _STAGED_LIVE),
    Removal(Guard.OLD_ASKED_SINCE_CALL, _faults(ask.GARBLED, 2, Fault.GARBAGE, Fault.STALL), _LIVE_DELETED),
    Removal(Guard.REPLACED_ADOPTED, ask.PASTE, NEEDLESS),
    Removal(Guard.STRAY_FIRST, replace(ask.MANUAL_FIRST, pastes=1), NEEDLESS),
    Removal(Guard.PASTE_COUNTS_ANEW, replace(ask.PASTE, resumes=0), NO_END),
    Removal(Guard.PASTE_DATED, replace(ask.PASTE_OLDER, clicks=0, pastes=0, resumes=0), _CLOSED_TOO_SOON),
    Removal(Guard.PASTE_DATED_LATE, replace(_faults(ask.MISREAD, 0), resumes=0), _ONE_TOO_MANY),
    Removal(Guard.REQUEST_CLOSED, _faults(ask.ONE, 0), _ONE_TOO_MANY),
    Removal(Guard.RETRIES_SEEN, _faults(ask.TWO, 1, Fault.DUPLICATE), _OLDER_AT_CONSUMER),
    Removal(Guard.SECOND_REFUSAL, ask.LIE, NEEDLESS),
    Removal(Guard.DRAIN_AT_TAKEOVER, _faults(ask.TWO, 1, Fault.STOP_EXECUTION), _OLDER_AT_CONSUMER),
    Removal(Guard.DRAIN_AT_HAND_BACK, _faults(ask.TWO, 1, Fault.DUPLICATE), _OLDER_AT_CONSUMER),
    Removal(Guard.CLAIM_DEADLINE, _faults(ask.LATE, 1, Fault.DUPLICATE), _ONE_TOO_MANY),
    Removal(Guard.ESCROW, _faults(ask.ONE, 1, Fault.CRASH), _ONE_TOO_MANY),
    Removal(Guard.NONCE, _faults(ask.RESTORE_LATE, 2, Fault.RESTORE, Fault.GARBAGE), NO_END),
    Removal(Guard.NEW_PROVEN_FIRST, replace(_faults(ask.LIES, 2, Fault.LIE), clicks=0, pastes=0, resumes=0), NO_END),
    Removal(Guard.NEW_HEARD, _faults(ask.CONSOLE, 1, Fault.CONSOLE), NO_END),
    Removal(Guard.OVERTAKEN_CLEANED, _faults(ask.LEAK_LIES, 2, Fault.LIE), NO_END),
    Removal(Guard.EARLIER_READINGS, ask.TAKES_LIE, _STAGED_LIVE),
    Removal(Guard.STAGED_READ_ANEW, _mended(1, Fault.CRASH), _NOT_TAKEN),
    Removal(Guard.LATER_READING_PROVEN, _mended(2, Fault.WRONG_MEND), _NOT_TAKEN),
    Removal(Guard.RESETS_REMEMBERED, _faults(ask.UNPREPARED, 2, Fault.UNPREPARED, Fault.LOST_ANSWER), NEEDLESS),
    Removal(Guard.LOGIN_KEPT, ask.part_of(ask.LOST), NEEDLESS),
    Removal(Guard.STORE_ASKED, ask.RESTORE_TWO, _OLDER_AT_CONSUMER),
    Removal(Guard.CLOCK, ask.THAW, _ONE_TOO_MANY),
    Removal(Guard.COMPARE_AND_SET, ask.THAW, _OLDER_IN_STORE),
)
"""Without it the search fails with what is expected; with it the same configuration holds."""

HARMLESS = (
    Removal(Guard.CLAIM_WAIT, _faults(ask.LATE, 1, Fault.DUPLICATE)),
    Removal(Guard.LEASE_TAG, ask.RESTORE_TWO),
    Removal(Guard.OLD_ASKED_ONCE, ask.LOST),
    Removal(Guard.OWN_PROMOTION, ask.MANUAL_FIRST),
    Removal(Guard.FORGOTTEN_NEXT, ask.RESTORE_TWO),
)
"""Without it the search finds nothing.

The wait for another's claim: closing that attempt and writing "called at" follow from the same record, so one of them
fails. It saves attempts and logins. The tag: the fence names owner and redrive too, a name is in use once, and Begin is
the only function that takes a lease: what it writes follows from records as well. That
the old password is not asked again before the next call: asking leaves the last login to the new one, so it costs
nothing that is needed here. An account that locks sooner would feel it.
A paste that this rotation promoted itself: taken for a wrong one, the store's password is asked, and is good.
A forgotten answer waits until the rotation is finished, and is the next one's then; tests/unit/test_begin_after.py
shows what an answer does that is adopted under a number whose password consumers have already.
"""
