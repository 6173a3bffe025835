"""What is done to an execution from outside: stopped, stopped and forgotten, started twice, redriven."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rekey.steps.verify import TRY
from tests.faults.campaign import recovery
from tests.faults.campaign.points import Kind, Point, Strike
from tests.sandbox import aws_executions
from tests.sandbox.aws_executions import PlayedExecution
from tests.sandbox.aws_faults import call_before
from tests.sandbox.aws_stepfunctions import all_executions, forget

if TYPE_CHECKING:
    from tests.faults.campaign.setting import Setting
    from tests.sandbox.aws_faults import AwsRequest

FUNCTION_OF = {
    "Begin": ("begin", "begin"),
    "PrepareShard": ("distribute", "prepare"),
    "Reset": ("reset", "reset"),
    "DeliverShard": ("distribute", "deliver"),
    "AskBeforeDelivery": ("verify", TRY),
    "Verify": ("verify", "verify"),
    "VerifyShard": ("distribute", "verify"),
    "Report": ("report", "report"),
}


class Stop:
    """Stops the company's execution once, when a state is entered or when the state's function is at work."""

    def __init__(self, setting: Setting, strike: Strike) -> None:
        self._setting, self._strike = setting, strike
        self._lock = threading.Lock()
        self.stopped = ""
        self.hit = threading.Event()

    def put(self) -> None:
        """Wait for the state from now on."""
        if self._strike.kind is Kind.STOP_AT_WORK:
            self._put_at_work(self._strike.point)
        else:
            aws_executions.on_entry.append(self._on_entry)

    def release(self) -> None:
        """Wait for nothing any more."""
        if self._on_entry in aws_executions.on_entry:
            aws_executions.on_entry.remove(self._on_entry)

    def afterwards(self) -> None:
        """Do what comes once another execution has finished the rotation."""
        if self._strike.kind is Kind.REDRIVE:
            self._setting.world.cloud.redrive(self.stopped)
            self._setting.world.cloud.wait_for(self.stopped)

    def _put_at_work(self, point: Point) -> None:
        wanted = FUNCTION_OF[point.operation]

        def works(request: AwsRequest) -> bool:
            found = self._setting.worker_of(request)
            return found is not None and (found[0].function, found[0].call) == wanted

        self._setting.world.cloud.faults.add(None, call_before(self._stop_its_execution), nth=2, where=works)

    def _stop_its_execution(self, _request: AwsRequest) -> None:
        self._stop(recovery.executions(self._setting)[-1])

    def _belongs(self, arn: str) -> bool:
        return arn in recovery.executions(self._setting)

    def _on_entry(self, arn: str, state: str) -> None:
        if state == self._strike.point.operation and self._belongs(arn):
            self._stop(arn)

    def _stop(self, arn: str) -> None:
        with self._lock:
            if self.stopped:
                return
            self.stopped = arn
        if self._strike.kind is Kind.TWO_STARTS:
            self._start_another()
        else:
            self._setting.world.cloud.client("stepfunctions").stop_execution(executionArn=arn)
        if self._strike.kind is Kind.DELETED:
            delete(self._setting, arn)
        self.hit.set()

    def _start_another(self) -> None:
        """Start a second execution under a name of its own, and bring a second alert."""
        name = self._setting.company.name
        state = {"format": 1, "operation": "rotate", "registry": name, "start": 99}
        self._setting.world.cloud.start_execution(state, f"second-{name}")
        self._setting.company.ask()


def delete(setting: Setting, arn: str) -> None:
    """Let an execution not exist any more but for the search for secrets."""
    mine = (one for one in all_executions() if one.execution_arn == arn)
    setting.forgotten += [one for one in mine if isinstance(one, PlayedExecution)]
    forget(arn)
