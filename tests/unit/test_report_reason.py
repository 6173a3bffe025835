"""Report where Begin failed: the reason is kept for people, and the next owner waits only for what may still run."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import errors, runtime
from rekey.errors import FormatUnknown, PlanInvalid, PlanProblem
from rekey.model.rotation import Again, Phase
from rekey.model.state import Outcome
from rekey.records.codec import partition
from rekey.records.dynamo import Write
from rekey.records.ledger import following
from rekey.runtime import Call
from rekey.steps import report
from tests.unit.bare_stack import LONGEST, MARGIN, BareStack

if TYPE_CHECKING:
    from rekey.model.rotation import Fence, Lease

MINUTE = timedelta(minutes=1)


@pytest.fixture
def fence(opened: BareStack) -> Fence:
    """Return what an execution owns that was asked for, and has begun nothing."""
    registry = opened.new_registry()
    opened.ask(registry)
    return opened.fence(registry)


def caught(name: str, message: str) -> dict[str, str]:
    """Return what a Catch brings of a function's error."""
    return {"Error": name, "Cause": json.dumps({"errorType": name, "errorMessage": message})}


def ends(opened: BareStack, fence: Fence, error: dict[str, str] | None) -> Outcome | None:
    """Report, and return the outcome."""
    state = opened.state(fence, generation=0, error=error)
    call = Call("report", fence.owner, 0, repeated=False, state=state, deadline=runtime.now() + MINUTE)
    return report.run(opened.bench, call).outcome


def again(opened: BareStack, fence: Fence) -> Again:
    found = opened.ledger.again(fence.registry)
    assert found is not None
    return found


def lease(opened: BareStack, fence: Fence) -> Lease:
    found = opened.leases().current(fence.registry)
    assert found is not None
    return found


class TestReason:
    def test_it_is_kept_with_its_time(self, opened: BareStack, fence: Fence) -> None:
        before = runtime.now()
        assert ends(opened, fence, caught("NotFound", "the secret registries/x does not exist")) is Outcome.STOPPED
        found = again(opened, fence)
        assert found.not_begun == "NotFound: the secret registries/x does not exist"
        assert found.not_begun_at is not None
        assert before - MINUTE < found.not_begun_at <= runtime.now()

    def test_a_plan_with_many_problems_is_one_line_that_ends(self, opened: BareStack, fence: Fence) -> None:
        problems = [PlanProblem(("consumers", number, "colour"), "unknown key") for number in range(500)]
        ends(opened, fence, caught("PlanInvalid", str(PlanInvalid(problems))))
        kept = again(opened, fence).not_begun
        assert kept.startswith("PlanInvalid: the plan cannot be used: consumers[0].colour: unknown key; consumers[1]")
        assert "\n" not in kept
        assert len(kept) < 2100

    def test_it_is_gone_when_an_execution_got_further(self, opened: BareStack, fence: Fence) -> None:
        ends(opened, fence, caught("Denied", "the store"))
        fence = opened.fence(fence.registry)
        opened.rotation(fence, phase=Phase.STOPPED, problems=("not ready",))
        ends(opened, fence, None)
        assert (again(opened, fence).not_begun, again(opened, fence).not_begun_at) == ("", None)

    def test_waiting_in_vain_is_said_in_words(self, opened: BareStack, fence: Fence) -> None:
        """Begin answered "wait" until the execution had no more passes: there is no error."""
        ends(opened, fence, None)
        assert "an earlier execution" in again(opened, fence).not_begun
        (told,) = [event for event in opened.events(fence.registry) if event["DetailType"] == "Attention Needed"]
        assert "an earlier execution" in told["Detail"]["why"]

    def test_a_record_of_an_earlier_or_a_later_release(self, opened: BareStack, fence: Fence) -> None:
        """Without the reason it is read; with what nobody knows here it is refused, as every record is."""
        key = {"pk": partition(fence.registry), "sk": "again"}
        item = {"format": 1, "rev": "r", "registry": fence.registry, "tries": 1, "at": "2026-01-31T02:00:00Z"}
        opened.table.write(Write(key=key, item=item, condition=""))
        assert again(opened, fence).not_begun == ""
        opened.table.write(Write(key=key, item={**item, "mood": "good"}, condition=""))
        with pytest.raises(FormatUnknown, match="Again"):
            opened.ledger.again(fence.registry)


class TestDrain:
    @pytest.mark.parametrize(
        "name",
        [
            kind.__name__
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.RekeyError) and kind.definite
        ],
    )
    def test_nobody_waits_for_a_begin_that_has_answered(self, opened: BareStack, fence: Fence, name: str) -> None:
        """A mended plan is taken up by the next execution at once."""
        ends(opened, fence, caught(name, "why"))
        free = lease(opened, fence)
        assert free.owner is None
        assert free.drain_until <= runtime.now()

    @pytest.mark.parametrize(
        "error",
        [{"Error": "States.Timeout"}, {"Error": "Lambda.Unknown", "Cause": "x"}, caught("Unreachable", "no answer")],
        ids=lambda error: str(error["Error"]),
    )
    def test_a_begin_that_may_still_run_is_waited_for(
        self, opened: BareStack, fence: Fence, error: dict[str, str]
    ) -> None:
        before = runtime.now()
        ends(opened, fence, error)
        assert lease(opened, fence).drain_until >= before + LONGEST + MARGIN - timedelta(seconds=1)

    def test_a_begin_that_was_called_again_is_waited_for_whatever_it_answered(
        self, opened: BareStack, fence: Fence
    ) -> None:
        """The first call was given up and may still run."""
        before = runtime.now()
        opened.leases().check(fence, repeated=True)
        ends(opened, fence, caught("PlanInvalid", "why"))
        assert lease(opened, fence).drain_until >= before + LONGEST + MARGIN - timedelta(seconds=1)

    def test_waiting_in_vain_makes_the_next_owner_wait_no_longer(self, opened: BareStack, fence: Fence) -> None:
        ends(opened, fence, None)
        assert lease(opened, fence).drain_until <= runtime.now()


def test_the_same_reason_is_told_once_and_kept_every_time(opened: BareStack, fence: Fence) -> None:
    for _ in range(2):
        ends(opened, fence, caught("PlanMissing", "nobody pushed a plan"))
        fence = opened.fence(fence.registry)
    assert opened.told(fence.registry) == ["Attention Needed"]
    assert again(opened, fence).not_begun == "PlanMissing: nobody pushed a plan"


def test_what_was_written_beside_it_follows_from_what_stood_there(opened: BareStack, fence: Fence) -> None:
    """The tick's record is written conditionally, like every other."""
    first = Again(registry=fence.registry, tries=2, at=runtime.now(), rev="1")
    opened.ledger.table.write(following(first.having(rev=""), first))
    ends(opened, fence, caught("Denied", "the store"))
    assert again(opened, fence).tries == 3
