"""Report of a rotation that is not over: what stands in its way is told to a person, and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.errors import Unreachable
from rekey.model.rotation import Phase
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome
from tests.sandbox import aws_faults
from tests.unit.test_report import ERROR, WRITE, Execution, good

if TYPE_CHECKING:
    from tests.unit.bare_stack import BareStack

DENIED = {"Error": "Denied", "Cause": '{"errorMessage": "the store denies writing: give the role its right"}'}


def after(opened: BareStack, tries: int, **rotation: object) -> Execution:
    """Return the execution of a rotation that so many before it left unfinished."""
    execution = Execution(opened, **{"phase": Phase.RESETTING, **rotation})
    for _ in range(tries):
        assert execution.ends(ERROR) is Outcome.UNFINISHED
        again(execution)
    return execution


def again(execution: Execution) -> None:
    """Let it own the registry once more, as the next execution would."""
    execution.fence = execution.opened.fence(execution.registry)


def test_what_asking_again_cannot_mend_is_told_at_once(opened: BareStack) -> None:
    """The old password is dead and the store denies writing: nobody would look before the pods do."""
    execution = after(opened, 0)
    assert execution.ends(DENIED) is Outcome.UNFINISHED
    assert "the store denies writing: give the role its right" in execution.asked_for()
    assert "is tried again" in execution.asked_for()


def test_it_is_told_once(opened: BareStack) -> None:
    execution = after(opened, 0)
    for error in (DENIED, ERROR, DENIED):
        assert execution.ends(error) is Outcome.UNFINISHED
        again(execution)
    assert execution.asked_for().count("denies writing") == 1


def test_something_else_is_news(opened: BareStack) -> None:
    execution = after(opened, 0)
    execution.ends(DENIED)
    again(execution)
    execution.ends({**DENIED, "Cause": '{"errorMessage": "the key is disabled"}'})
    assert len(execution.asked_for().splitlines()) == 2


def test_what_may_pass_is_given_time(opened: BareStack) -> None:
    assert after(opened, 3).asked_for() == ""


def test_what_does_not_pass_is_told(opened: BareStack) -> None:
    execution = after(opened, 4)
    assert "the store did not answer" in execution.asked_for()


def test_consumers_that_stay_away_are_told_with_where_to_look(opened: BareStack) -> None:
    execution = after(opened, 3, **good())
    assert execution.ends() is Outcome.UNFINISHED
    assert f"rekey status {execution.registry}" in execution.asked_for()


@pytest.mark.parametrize("fields", [{}, {"phase": Phase.STOPPED, "problems": ("the store denies writing",)}])
def test_what_the_bus_did_not_take_is_told_by_the_next_report(opened: BareStack, fields: dict[str, object]) -> None:
    execution = after(opened, 0, **fields)
    _bus_is_away(execution)
    execution.ends(DENIED)
    _bus_is_back(execution)
    for _ in range(2):
        again(execution)
        execution.ends(DENIED)
    assert execution.asked_for().count("denies writing") == 1


def test_so_is_why_nothing_was_begun(opened: BareStack) -> None:
    execution = after(opened, 0, phase=Phase.FINISHED, execution="an earlier one")
    _bus_is_away(execution)
    execution.ends(DENIED)
    _bus_is_back(execution)
    for _ in range(2):
        again(execution)
        execution.ends(DENIED)
    assert execution.asked_for().count("denies writing") == 1


def test_a_rotation_is_not_closed_before_a_person_was_called(opened: BareStack) -> None:
    """No report follows on one that is closed, and no tick looks at it."""
    execution = Execution(opened, **good())
    execution.deliver(ConsumerOutcome.FAILED)
    _bus_is_away(execution)
    with pytest.raises(Unreachable):
        execution.ends()
    assert execution.now.phase.open
    assert execution.owned
    _bus_is_back(execution)
    assert execution.ends() is Outcome.CONSUMERS_FAILED
    assert execution.asked_for()


def _bus_is_away(execution: Execution) -> None:
    execution.opened.aws.faults.add("events:PutEvents", aws_faults.server_error(), times=None)


def _bus_is_back(execution: Execution) -> None:
    execution.opened.aws.faults.clear()
    execution.opened.aws.requests.clear()


def test_cut_off_before_it_is_written_it_is_told_twice_rather_than_never(opened: BareStack) -> None:
    execution = after(opened, 0)
    execution.opened.aws.faults.add(WRITE, aws_faults.server_error(), times=None)
    with pytest.raises(Unreachable):
        execution.ends(DENIED)
    execution.opened.aws.faults.clear()
    execution.ends(DENIED)
    assert len(execution.asked_for().splitlines()) == 2
