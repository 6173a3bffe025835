"""An execution that somebody ends from outside in the middle, or that is not even there any more: the tick goes on."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e import rotating
from tests.sandbox.aws_stepfunctions import forget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.aws import Cloud
    from tests.sandbox.company import Company
    from tests.sandbox.faults import Hold

EXECUTION_TIMEOUT = 8  # seconds; long enough to come to the consumers. The template's parameter begins at a minute


def test_the_tick_takes_up_what_an_execution_left_whose_time_was_over(company: Company) -> None:
    with _stopping_executions_after(company.world.cloud, EXECUTION_TIMEOUT):
        arn, held = _held_at_a_consumer(company)
        assert rotating.ended(company, arn).status == "TIMED_OUT"
    held.release()
    _tick_converges(company)


def test_the_tick_takes_up_what_an_execution_left_that_does_not_exist_any_more(company: Company) -> None:
    """As when its state machine was deleted and made anew: nobody can say whether it runs."""
    arn, held = _held_at_a_consumer(company)
    company.world.cloud.client("stepfunctions").stop_execution(executionArn=arn)
    forget(arn)
    held.release()
    _tick_converges(company)


def _held_at_a_consumer(company: Company) -> tuple[str, Hold]:
    """Start a rotation, and return when one consumer has the password put to it and does not answer."""
    held = company.world.receiver.hold(when=rotating.is_write(company))
    arn = rotating.start(company)
    held.wait_until_reached(rotating.PATIENCE)
    return arn, held


def _tick_converges(company: Company) -> None:
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(rotating.reset_calls(company)) == 1
    rotating.tick_in_vain(company)


@contextmanager
def _stopping_executions_after(cloud: Cloud, seconds: int) -> Iterator[None]:
    """Let executions that are started now time out sooner: the parameter ExecutionTimeout is the whole stack's."""
    client = cloud.client("stepfunctions")
    text = client.describe_state_machine(stateMachineArn=cloud.machine_arn)["definition"]
    shorter = json.dumps(json.loads(text) | {"TimeoutSeconds": seconds})
    client.update_state_machine(stateMachineArn=cloud.machine_arn, definition=shorter)
    try:
        yield
    finally:
        client.update_state_machine(stateMachineArn=cloud.machine_arn, definition=text)
