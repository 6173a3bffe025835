"""Report cut off, beside others, or with nothing begun; and what is never proven: told at least once, and once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.errors import Unreachable
from rekey.model.rotation import Phase
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict
from tests.sandbox import aws_faults
from tests.unit.test_report import ERROR, MINUTE, WRITE, Execution, good

if TYPE_CHECKING:
    from tests.unit.bare_stack import BareStack


def cut_off_and_again(execution: Execution) -> Outcome | None:
    """Let the report's write go through and its function die of it; return what its second try says."""
    faults = execution.opened.aws.faults
    faults.add(WRITE, aws_faults.drop_after(), times=None)
    with pytest.raises(Unreachable):
        execution.ends()
    faults.clear()
    assert "Rotation Finished" not in execution.opened.told(execution.registry)
    return execution.ends()


class TestTwice:
    def test_after_a_lost_answer_the_second_try_says_what_the_first_wrote(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.UPDATED)
        assert cut_off_and_again(execution) is Outcome.FINISHED
        assert opened.told(execution.registry) == ["Rotation Finished"]

    def test_and_tells_that_consumers_failed(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.FAILED)
        assert cut_off_and_again(execution) is Outcome.CONSUMERS_FAILED
        assert opened.told(execution.registry) == ["Attention Needed", "Rotation Finished"]

    def test_and_what_only_the_report_found_out(self, opened: BareStack) -> None:
        execution = Execution(opened, **good(contents_unchanged=False, contents_note="gone: api:1"))
        execution.deliver(ConsumerOutcome.UPDATED)
        assert cut_off_and_again(execution) is Outcome.NEEDS_ATTENTION
        assert "gone: api:1" in execution.asked_for()

    def test_and_why_it_stopped(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.STOPPED, problems=("the store denies writing",))
        assert cut_off_and_again(execution) is Outcome.STOPPED
        assert execution.asked_for() == "the store denies writing"

    def test_not_what_somebody_else_has_told(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.NEEDS_ATTENTION, problems=("paste it",))
        assert cut_off_and_again(execution) is Outcome.NEEDS_ATTENTION
        assert opened.told(execution.registry) == []

    def test_another_executions_registry_is_left_alone(self, opened: BareStack) -> None:
        execution = Execution(opened)
        lease = opened.own(execution.registry, "another")
        before = execution.now
        assert execution.ends() is Outcome.UNFINISHED
        assert opened.leases().current(execution.registry) == lease
        assert execution.now == before
        assert opened.told(execution.registry) == []

    def test_where_begin_failed_the_lease_is_given_back_and_a_person_is_told_once(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.FINISHED, execution="an earlier one")
        assert execution.ends(ERROR) is Outcome.STOPPED
        assert not execution.owned
        execution.fence = opened.fence(execution.registry)
        execution.ends(ERROR)
        assert execution.asked_for() == "Unreachable: the store did not answer"

    def test_what_an_earlier_one_left_half_done_is_not_called_unchanged(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.DELIVERING, execution="an earlier one")
        assert execution.ends(ERROR) is Outcome.UNFINISHED


class TestNeverProven:
    def test_a_consumer_that_nobody_could_verify_is_tried_until_the_time_is_over_and_then_named(
        self, opened: BareStack
    ) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.UPDATED, ConsumerVerdict.UNKNOWN)
        assert execution.ends() is Outcome.UNFINISHED
        assert execution.asked_for() == ""
        execution.fence = opened.fence(execution.registry)
        late = execution.now.having(execution=execution.fence.owner, promoted_at=runtime.now() - 61 * MINUTE)
        opened.ledger.save_one(execution.fence, late)
        assert execution.ends() is Outcome.NEEDS_ATTENTION
        assert execution.asked_for() == "consumers took the password and could not be verified: deploy-bot"
        assert execution.now.phase is Phase.FINISHED

    def test_an_old_password_that_is_still_accepted_pages_with_what_to_do(self, opened: BareStack) -> None:
        execution = Execution(opened, **good(old_verdict=LoginVerdict.ACCEPTED))
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.NEEDS_ATTENTION
        assert "look for a second credential" in execution.asked_for()
        assert execution.now.problems == (execution.asked_for(),)

    @pytest.mark.parametrize("given_up", [{"logins_spent": True}, {"promoted_at": runtime.now() - 61 * MINUTE}])
    def test_so_does_a_new_one_that_was_never_accepted(self, opened: BareStack, given_up: dict[str, object]) -> None:
        execution = Execution(opened, **good(new_verdict=LoginVerdict.UNPROVEN, **given_up))
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.NEEDS_ATTENTION
        assert "the new password was never accepted" in execution.asked_for()
