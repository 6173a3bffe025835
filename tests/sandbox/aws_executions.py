"""Executions of moto's Step Functions that end as AWS's do, know their context, and can be redriven."""

from __future__ import annotations

import functools
import json
import pickle
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from moto.core.exceptions import AWSError
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.eval.evaluation_details import EvaluationDetails, ExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moto.stepfunctions.parser.api import HistoryEventType
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
    from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext

HistoryEvents: TypeAlias = "list[dict[str, Any]]"
Entry: TypeAlias = "Callable[[str, str], None]"

_STARTS_WITHIN = 10.0  # seconds; parsing a definition takes some tens of milliseconds
_REDRIVABLE = {ExecutionStatus.ABORTED, ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT}


on_entry: list[Entry] = []
"""Called with an execution's ARN and a state's name when it is entered, before anything of the state is done."""


class _Events(EventManager):
    """The history of a run, which tells who wants to know when a state is entered."""

    def __init__(self, execution_arn: str) -> None:
        super().__init__()
        self._execution_arn = execution_arn

    def add_event(
        self,
        context: EventHistoryContext,
        event_type: HistoryEventType,
        event_details: EventDetails | None = None,
        timestamp: Any = None,  # noqa: ANN401 moto declares a text and gives a datetime
        update_source_event_id: bool = True,  # noqa: FBT001, FBT002 as moto has it
    ) -> int:
        number: int = super().add_event(context, event_type, event_details, timestamp, update_source_event_id)
        details: Mapping[str, Any] = event_details or {}
        if entered := details.get("stateEnteredEventDetails"):
            for tell in on_entry:
                tell(self._execution_arn, entered["name"])
        return number


class ExecutionNotRedrivable(AWSError):
    """What AWS answers to a redrive of an execution that runs or succeeded."""

    TYPE = "ExecutionNotRedrivable"


class _Run(BaseExecutionWorkerCommunication):
    """One run of an execution; only the last run, and only while it runs, may say how the execution ended."""

    execution: PlayedExecution

    def _reflect_execution_status(self) -> None:
        with self.execution.ending:
            if self.execution.run is self and self.execution.exec_status == ExecutionStatus.RUNNING:
                super()._reflect_execution_status()  # type: ignore[no-untyped-call]


@functools.cache
def _parsed(definition: str) -> bytes:
    """Parse a definition, which takes a tenth of a second: a program keeps state, so that each run needs its own."""
    return pickle.dumps(AmazonStateLanguageParser.parse(definition)[0])


class _Worker(ExecutionWorker):
    """A worker that begins at any state, with the context object complete."""

    def __init__(self, details: EvaluationDetails, run: _Run, entry: tuple[str, Any] | None) -> None:
        super().__init__(details, run, cloud_watch_logging_session=None, activity_store={})
        self.ready = threading.Event()
        self._redrive_count = run.execution.redrive_count
        self._execution_arn = run.execution.exec_arn
        self._entry = entry

    def _get_evaluation_entrypoint(self) -> EvalComponent:
        text: str = self._evaluation_details.state_machine_details.definition
        if self._entry is not None:
            text = json.dumps(dict(json.loads(text), StartAt=self._entry[0]))
        program: EvalComponent = pickle.loads(_parsed(text))  # noqa: S301 (made below)
        return program

    def _get_evaluation_environment(self) -> Environment:
        environment = super()._get_evaluation_environment()
        context = cast("dict[str, Any]", environment.states.context_object.context_object_data["Execution"])
        context["RedriveCount"] = self._redrive_count
        environment.event_manager = _Events(self._execution_arn)
        if self._entry is not None:
            environment.states.reset(input_value=self._entry[1])
        self.env = environment
        self.ready.set()
        return environment


class PlayedExecution(Execution):
    """An execution that keeps its first end, whatever happens in a run of it that was stopped or redriven."""

    exec_worker: _Worker

    def __init__(self, **details: Any) -> None:  # noqa: ANN401 these are moto's, passed through
        super().__init__(**details)
        self.redrive_count = 0
        self.ending = threading.RLock()
        self.run: _Run
        self._entry: tuple[str, Any] | None = None
        self._earlier: HistoryEvents = []

    def get_start_execution_details(self) -> ExecutionDetails:
        """Return what moto puts into the context object, with the start time as a text, as AWS has it."""
        details = super().get_start_execution_details()
        started = self.start_date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return ExecutionDetails(details.arn, details.name, details.role_arn, details.inpt, started)

    def start(self) -> None:
        """Start, and return when the run can be looked at and stopped."""
        super().start()
        self.exec_worker.ready.wait(_STARTS_WITHIN)

    def stop(self, stop_date: datetime, error: str | None, cause: str | None) -> None:
        """End as ABORTED at once, whatever is still under way; do nothing if it has ended."""
        with self.ending:
            if self.exec_status != ExecutionStatus.RUNNING:
                return
            self.exec_status, self.stop_date = ExecutionStatus.ABORTED, stop_date
            self.error, self.cause = error, cause
            super().stop(stop_date, error, cause)

    def redrive(self) -> None:
        """Run again from the state that failed, with its input. Raises ExecutionNotRedrivable."""
        with self.ending:
            if self.exec_status not in _REDRIVABLE:
                raise ExecutionNotRedrivable(f"Execution is not redrivable: '{self.exec_arn}'")
            self._entry = self._failed_state()
            self._earlier = self.history()
            self.redrive_count += 1
            self.stop_date = self.error = self.cause = self.output = self.exec_worker = None  # type: ignore[assignment]
        self.start()

    def history(self) -> HistoryEvents:
        """Return the events of all runs, numbered through."""
        environment = self.exec_worker.env
        if environment is None:
            return self._earlier
        events = cast("HistoryEvents", environment.event_manager.get_event_history())
        first = len(self._earlier)
        for event in events:
            event["id"] += first
            event["previousEventId"] += first
        return self._earlier + events

    def _failed_state(self) -> tuple[str, Any] | None:
        # Names of states are unique in the whole definition: an inner state of a Map is never taken for an outer one.
        outer = json.loads(self.state_machine.definition)["States"]
        for event in reversed(self.history()):
            details = event.get("stateEnteredEventDetails", {})
            if details.get("name") in outer:
                return details["name"], json.loads(details["input"])
        return None

    def _get_start_execution_worker(self) -> _Worker:
        self.run = _Run(self)
        details = EvaluationDetails(
            aws_execution_details=self._get_start_aws_execution_details(),
            execution_details=self.get_start_execution_details(),
            state_machine_details=self.get_start_state_machine_details(),
        )
        return _Worker(details, self.run, self._entry)
