"""Report and the evidence: none is closed without it, and what cannot be written keeps nobody from being told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.errors import NotFound, Unreachable
from rekey.model.rotation import Phase
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome
from tests.sandbox import aws_faults
from tests.unit.test_report import Execution, good

if TYPE_CHECKING:
    from tests.sandbox.aws_faults import AwsRequest
    from tests.unit.bare_stack import BareStack

PUT = "s3:PutObject"


def of_evidence(request: AwsRequest) -> bool:
    return "/evidence.json" in request.path


def refuse(opened: BareStack) -> None:
    opened.aws.faults.add(PUT, aws_faults.refuse("AccessDenied"), where=of_evidence, times=None)


class TestThatCannotBeWritten:
    def test_the_rotation_stays_open_and_a_person_is_told_once(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.FAILED)
        refuse(opened)
        assert execution.ends() is Outcome.UNFINISHED
        assert (execution.now.phase, execution.owned) == (Phase.VERIFYING, False)
        assert opened.ledger.again(execution.registry) is not None
        assert f"the evidence of {execution.registry}/1 cannot be written" in execution.asked_for()
        told = execution.asked_for()
        execution.takes_up()
        assert execution.ends() is Outcome.UNFINISHED
        assert execution.asked_for() == told
        opened.aws.faults.clear()
        execution.takes_up()
        assert execution.ends() is Outcome.CONSUMERS_FAILED

    def test_where_asking_again_may_help_it_is_asked_again(self, opened: BareStack) -> None:
        """Nothing is written before: the next try of the function finds all as it was."""
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.UPDATED)
        opened.aws.faults.add(PUT, aws_faults.drop_before(), where=of_evidence, times=None)
        with pytest.raises(Unreachable):
            execution.ends()
        assert (execution.now.phase, execution.owned) == (Phase.VERIFYING, True)
        opened.aws.faults.clear()
        assert execution.ends() is Outcome.FINISHED

    def test_one_that_stopped_ends_all_the_same(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.STOPPED, problems=("store: may not be written",))
        refuse(opened)
        assert execution.ends() is Outcome.STOPPED
        assert not execution.owned
        assert "store: may not be written; the evidence of" in execution.asked_for()


class TestOfTheOneBefore:
    def before(self, opened: BareStack, **fields: object) -> Execution:
        """Return an execution whose rotation another one follows, which is finished."""
        execution = Execution(opened, **{**good(), "phase": Phase.FINISHED, "cut_short": True, **fields})
        opened.rotation(execution.fence, **good(), generation=2, heard_by=execution.fence.owner)
        return execution

    def test_it_is_written_where_a_leak_cut_it_short_before_any_report(self, opened: BareStack) -> None:
        execution = self.before(opened)
        assert execution.ends() is Outcome.FINISHED
        evidence = opened.bucket.read_json(f"rotations/{execution.registry}/1/evidence.json")
        assert (evidence["generation"], evidence["resets"], evidence["outcome"]) == (1, 1, "unfinished")
        assert execution.now.outcome == "unfinished"

    @pytest.mark.parametrize("known", [{"outcome": "unfinished"}, {"phase": Phase.STOPPED, "promoted_at": None}])
    def test_not_where_a_report_has_been_or_nothing_was_reset(
        self, opened: BareStack, known: dict[str, object]
    ) -> None:
        execution = self.before(opened, **known)
        execution.ends()
        with pytest.raises(NotFound):
            opened.bucket.read_json(f"rotations/{execution.registry}/1/evidence.json")
