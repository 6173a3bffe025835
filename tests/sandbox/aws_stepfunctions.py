"""Lets moto's Step Functions start, stop, describe and redrive executions as AWS does."""

from __future__ import annotations

import functools
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest import mock

import jsonpath_ng.ext.parser
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.stepfunctions.parser import models
from moto.stepfunctions.parser.api import ExecutionFailedEventDetails, ExecutionStatus
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
from moto.stepfunctions.parser.asl.component.state import state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.timestamp import Timestamp
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped, ProgramTimedOut
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.utils import TMP_THREADS
from moto.stepfunctions.responses import StepFunctionResponse

from tests.sandbox.aws_executions import PlayedExecution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.client import BaseClient
    from moto.stepfunctions.parser.backend.execution import Execution

_PAGE = 100  # GetExecutionHistory, maxResults: https://docs.aws.amazon.com/step-functions/latest/apireference/


@contextmanager
def running_step_functions(lambda_client: BaseClient) -> Iterator[None]:
    """Let moto run state machines, and call functions through `lambda_client`, within the context.

    Moto would make a client for every call from boto3's default session, which threads must not share.
    """
    with (
        mock.patch.dict(default_user_config, {"stepfunctions": {"execute_state_machine": True}}),
        mock.patch.object(lambda_eval_utils, "boto_client_for", return_value=lambda_client),
        mock.patch.object(
            json_path, "parse", functools.cache(jsonpath_ng.ext.parser.parse)
        ),  # it builds its grammar each time
    ):
        try:
            yield
        finally:
            stop_executions()
            TMP_THREADS.clear()


def stop_executions() -> None:
    """Stop whatever runs, so that no thread of it outlives the sandbox."""
    for execution in all_executions():
        if execution.status == ExecutionStatus.RUNNING.value:
            execution.stop(datetime.now(UTC), "SandboxClosed", None)


def status_of(execution_arn: str) -> str:
    """Return the status of an execution without a request over the wire. Raises KeyError for one that is not there."""
    for execution in all_executions():
        if execution.execution_arn == execution_arn:
            status: ExecutionStatus | None = execution.exec_status
            return (status or ExecutionStatus.RUNNING).value  # none yet: its start is under way
    raise KeyError(execution_arn)


def forget(execution_arn: str) -> None:
    """Let an execution not exist any more, as when its state machine was deleted and made again."""
    for backend in _backends():
        for machine in backend.state_machines:
            machine.executions[:] = [one for one in machine.executions if one.execution_arn != execution_arn]


def all_executions() -> Iterator[Execution]:
    """Return every execution there is."""
    for backend in _backends():
        yield from backend._get_executions()  # noqa: SLF001


def _backends() -> Iterator[models.StepFunctionsParserBackend]:
    for _, _, backend in models.stepfunctions_parser_backends.iter_backends():
        if isinstance(backend, models.StepFunctionsParserBackend):
            yield backend


@contextmanager
def faithful_step_functions() -> Iterator[None]:
    """Within the context moto's Step Functions differ from AWS's no longer in what the sandbox's README lists."""
    backend = models.StepFunctionsParserBackend
    starting = threading.Lock()
    start, describe = backend.start_execution, StepFunctionResponse.describe_execution
    set_error, set_timed_out = Environment.set_error, Environment.set_timed_out

    def start_one_at_a_time(
        self: models.StepFunctionsParserBackend,
        state_machine_arn: str,
        name: str | None,
        execution_input: str,
    ) -> Any:  # noqa: ANN401 moto declares the parent's type for it
        chosen = name or str(uuid.uuid4())
        self._validate_name(chosen)
        with starting:
            return start(self, state_machine_arn, chosen, execution_input)

    def keep_first_end(self: Environment, error: ExecutionFailedEventDetails) -> None:
        with self._state_mutex:
            if not isinstance(self._program_state, ProgramStopped | ProgramTimedOut):
                set_error(self, error)

    def keep_first_end_before_timeout(self: Environment) -> None:
        with self._state_mutex:
            if not isinstance(self._program_state, ProgramStopped):
                set_timed_out(self)

    def describe_all(self: StepFunctionResponse) -> ActionResult:
        execution = _execution(self)
        result = dict(_as_dict(describe(self).result), redriveCount=execution.redrive_count)
        if execution.status == ExecutionStatus.TIMED_OUT.value:
            result["stopDate"] = execution.stop_date
        return ActionResult(result)

    with (
        mock.patch.object(models, "Execution", PlayedExecution),
        mock.patch.object(backend, "start_execution", start_one_at_a_time),
        mock.patch.object(Environment, "set_error", keep_first_end),
        mock.patch.object(Environment, "set_timed_out", keep_first_end_before_timeout),
        mock.patch.object(state, "StateData", _state_data),
        mock.patch.object(Timestamp, "_get_wait_seconds", _seconds_until),
        mock.patch.object(WaitFunction, "_wait_interval", _wait_for),
        mock.patch.object(StepFunctionResponse, "describe_execution", describe_all),
        mock.patch.object(StepFunctionResponse, "stop_execution", _stop_execution),
        mock.patch.object(StepFunctionResponse, "redrive_execution", _redrive_execution, create=True),
        mock.patch.object(StepFunctionResponse, "get_execution_history", _get_execution_history),
    ):
        yield


def _seconds_until(self: Timestamp, env: Environment) -> float:
    self.string.eval(env=env)
    text: str = env.stack.pop()
    if not self._is_valid_timestamp_pattern(text):
        raise FailureEventException(self._create_failure_event(env, text))
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


def _wait_for(_self: WaitFunction, env: Environment, wait_seconds: float) -> None:
    end = time.monotonic() + wait_seconds
    while env.is_running() and (left := end - time.monotonic()) > 0:
        env.program_state_event.wait(left)


def _state_data(**given: object) -> dict[str, object]:
    return {**given, "RetryCount": 0}


def _stop_execution(self: StepFunctionResponse) -> ActionResult:
    execution = _execution(self)
    execution.stop(datetime.now(UTC), self._get_param("error"), self._get_param("cause"))
    return ActionResult({"stopDate": execution.stop_date})


def _redrive_execution(self: StepFunctionResponse) -> ActionResult:
    execution = _execution(self)
    execution.redrive()
    return ActionResult({"redriveDate": datetime.now(UTC)})


def _get_execution_history(self: StepFunctionResponse) -> ActionResult:
    events = _execution(self).history()
    if self._get_bool_param("reverseOrder", if_none=False):
        events.reverse()
    begin = int(self._get_param("nextToken", "0"))
    end = begin + (self._get_int_param("maxResults") or _PAGE)
    page: dict[str, object] = {"events": events[begin:end]}
    if end < len(events):
        page["nextToken"] = str(end)
    return ActionResult(page)


def _execution(response: StepFunctionResponse) -> PlayedExecution:
    found: Any = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))  # noqa: SLF001
    if not isinstance(found, PlayedExecution):
        raise TypeError(f"{found} was not started by the sandbox")
    return found


def _as_dict(result: object) -> dict[str, object]:
    if not isinstance(result, dict):
        raise TypeError(f"Not a result: {result}")
    return result
