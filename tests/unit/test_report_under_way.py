"""Report of a rotation that is not over: what stands in its way is told to a person, and told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.errors import Unreachable
from rekey.model.rotation import Phase
from rekey.model.state import Outcome
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


def test_cut_off_before_it_is_written_it_is_told_twice_rather_than_never(opened: BareStack) -> None:
    execution = after(opened, 0)
    execution.opened.aws.faults.add(WRITE, aws_faults.server_error(), times=None)
    with pytest.raises(Unreachable):
        execution.ends(DENIED)
    execution.opened.aws.faults.clear()
    execution.ends(DENIED)
    assert len(execution.asked_for().splitlines()) == 2
