"""Fifty executions of one registry, started at the same moment: the lease lets one of them act, time after time.

REKEY_TIMES in the environment says how many times.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from tests.e2e import rotating

if TYPE_CHECKING:
    from tests.sandbox.aws import Execution
    from tests.sandbox.company import Company

STARTS = 50
TIMES = int(os.environ.get("REKEY_TIMES", "3"))
PATIENCE = 300.0  # seconds: four invocations of a function run at once


def started_at_once(company: Company) -> list[Execution]:
    """Start executions with names of their own, none before all are about to; return them once they have ended."""
    cloud, together = company.world.cloud, Barrier(STARTS)
    document = {"format": 1, "operation": "rotate", "registry": company.name}

    def start(number: int) -> str:
        together.wait(rotating.PATIENCE)
        return cloud.start_execution({**document, "start": number}, f"{company.name}-by-hand-{number}")

    with ThreadPoolExecutor(STARTS) as pool:
        arns = list(pool.map(start, range(1, STARTS + 1)))
    return [cloud.wait_for(arn, PATIENCE) for arn in arns]


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("_time", range(TIMES))
def test_fifty_starts_at_once_cause_one_reset_many_times_over(company: Company, _time: int) -> None:
    company.ask()
    by_hand = started_at_once(company)
    company.world.cloud.settle()
    own = [company.world.cloud.wait_for(arn, PATIENCE) for arn in rotating.executions(company)]

    assert len({execution.arn for execution in by_hand}) == STARTS
    assert {execution.status for execution in by_hand + own} == {"SUCCEEDED"}
    ends = [execution.states[-1] for execution in by_hand + own]
    assert sorted(end for end in ends if end != "NothingToDo") == ["Finished"]
    assert len(rotating.reset_calls(company)) == 1
    assert rotating.logs_in(company, company.current())
    assert rotating.open_things(company) == []
    rotating.tick_in_vain(company)
