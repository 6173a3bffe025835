"""The call leaves only while its claim covers it, and a wrong login before it is counted before the next is spent."""

from __future__ import annotations

import secrets
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.model.request import Reason
from rekey.model.rotation import AttemptOutcome, CallEnd
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from tests.sandbox import aws_faults
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.rotation import Attempt
    from tests.sandbox.aws_faults import AwsRequest
    from tests.unit.bare_stack import BareStack

WRITE = "dynamodb:TransactWriteItems"
CALL = timedelta(seconds=31)
"""What a reset call needs with the escrow's write: a second for the one, half a minute for the other."""
PATIENCE = timedelta(seconds=20)
"""So that a first refusal waits for its second."""
SPARE = timedelta(seconds=5)
"""How much longer the function may run: until then the call may leave."""


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    with Place(opened, Reason.REQUESTED, {"prove_within": PATIENCE}) as place:
        yield place


def attempts(place: Place) -> list[Attempt]:
    return place.bench.ledger.attempts(place.name, 1)


class TestClock:
    def test_a_call_that_its_claim_does_not_cover_any_more_is_not_sent(self, place: Place) -> None:
        """The write of "called at" took its time: a second invocation may take over before this call has ended."""

        def until_it_is_too_late(_: AwsRequest) -> None:
            left = attempts(place)[-1].deadline - CALL - runtime.now()
            threading.Event().wait(max(left.total_seconds(), 0) + 0.1)

        late = aws_faults.call_after(until_it_is_too_late)
        written = place.opened.aws.faults.add(WRITE, late, where=lambda request: b'"called_at"' in request.body)
        assert place.reset(CALL + SPARE).outcome is Outcome.STOPPED
        assert written.struck
        assert place.api.made == []
        (attempt,) = attempts(place)
        assert attempt.called_at is not None, "it is written down all the same that one may have been made"
        assert (attempt.end, attempt.outcome) == (CallEnd.NOT_SENT, AttemptOutcome.NOT_CALLED)
        assert "time was too short" in place.rotation.problems[0]
        assert (place.rotation.resets, place.rotation.called_at) == (0, None)
        assert place.stored == place.first

    def test_one_that_it_covers_is_sent(self, place: Place) -> None:
        assert place.reset(CALL + SPARE).next is Next.DELIVER
        assert len(place.api.made) == 1


class TestOldPassword:
    def test_a_wrong_login_before_the_call_is_counted(self, place: Place) -> None:
        """It spends the budget that keeps the account from being locked."""
        place.passwords.known[place.name] = secrets.token_urlsafe(12)
        assert place.reset().outcome is Outcome.STOPPED
        assert attempts(place)[0].old_before is LoginVerdict.REFUSED
        assert place.rotation.wrong_logins == place.refused == 2

    def test_an_accepted_one_is_none(self, place: Place) -> None:
        place.reset()
        assert attempts(place)[0].old_before is LoginVerdict.ACCEPTED
        assert place.rotation.wrong_logins == place.refused == 0

    def test_the_last_one_of_the_budget_is_the_last(self, place: Place) -> None:
        """The count is on the record: an invocation that comes later goes on from it."""
        place.passwords.known[place.name] = secrets.token_urlsafe(12)
        place.write(wrong_logins=2)
        assert place.reset().outcome is Outcome.STOPPED
        assert place.refused == 1
        assert place.rotation.wrong_logins == 3
