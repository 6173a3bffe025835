"""AWS on one machine: moto, repaired where it differs from AWS, and what moto does not play, played by us.

`AwsSandbox` is the bare services; `Cloud` is a stack of template.yaml, deployed and running.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import secrets
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.core.base_backend import BackendDict

from tests.sandbox import aws_resources
from tests.sandbox.aws_dynamodb import atomic_dynamodb
from tests.sandbox.aws_http_api import HttpApi
from tests.sandbox.aws_kinds import Place
from tests.sandbox.aws_kms import digest_signing_kms
from tests.sandbox.aws_secrets import strict_secrets_manager
from tests.sandbox.aws_stepfunctions import (
    faithful_step_functions,
    running_step_functions,
    status_of,
    stop_executions,
)
from tests.sandbox.aws_template import Template
from tests.sandbox.aws_wire import Wire
from tests.sandbox.eventbridge import EventBridge, PassedEvent, Scheduler, UndeliverableError
from tests.sandbox.lambdas import HostSettings, LambdaHost, Result
from tests.sandbox.template import read_stack

if TYPE_CHECKING:
    from types import TracebackType

    from tests.sandbox.aws_faults import AwsRequest, Faults

Repair: TypeAlias = Callable[[], AbstractContextManager[None]]

REPAIRS: Sequence[Repair] = (
    atomic_dynamodb,
    digest_signing_kms,
    faithful_step_functions,
    strict_secrets_manager,
)
_ENDED = {"ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT"}
_LONGEST_TASK = 900 + 60  # seconds; a function runs 15 minutes at most

# Moto keeps everything in module globals: one sandbox a process at a time.
# It logs what a state machine does with an error; without a handler Python would write that to stderr.
logging.getLogger("moto").addHandler(logging.NullHandler())

_only_one = threading.Lock()
_loader = botocore.loaders.create_loader()  # shared: reading the models of AWS's services takes a quarter of a second


class AwsSandbox:
    """Moto behind one endpoint on 127.0.0.1, as a context manager.

    `repairs` are what makes moto behave as AWS does; a test that shows a difference leaves them out. `session` and
    `client` speak to it from this process, `env` lets another process do so. Raises RuntimeError if another sandbox is
    open in this process.
    """

    place: Place
    endpoint: str
    requests: list[AwsRequest]
    faults: Faults

    def __init__(self, *, stack_name: str = "sandbox", repairs: Sequence[Repair] = REPAIRS) -> None:
        self._exit = ExitStack()
        self._stack_name = stack_name
        self._repairs = repairs

    @property
    def env(self) -> dict[str, str]:
        """The environment variables with which a process finds this sandbox, and nothing else of this machine."""
        return {
            **_location(self.endpoint, self.place.region),
            "AWS_ACCESS_KEY_ID": "SANDBOXPERSON",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        }

    def __enter__(self) -> Self:
        if not _only_one.acquire(blocking=False):
            raise RuntimeError("Another AWS sandbox is open in this process")
        with ExitStack() as opened:
            opened.callback(_only_one.release)
            self._open(opened)
            self._exit = opened.pop_all()
        return self

    def _open(self, opened: ExitStack) -> None:
        BackendDict.reset()
        opened.callback(BackendDict.reset)
        self._wire = Wire()
        opened.callback(self._wire.stop)
        self._wire.start()
        self.endpoint, self.requests, self.faults = self._wire.endpoint, self._wire.requests, self._wire.faults
        self.place = Place(self._stack_name, endpoint=self.endpoint)
        self.session = boto3.Session(botocore_session=_botocore_session(self.endpoint, self.place.region))
        self.client = self.session.client
        vars(self)["client"] = functools.cache(self.client)  # it takes 20 ms to make one
        # Step Functions tries a call once: what follows from a failure, the state machine says.
        config = Config(
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            read_timeout=_LONGEST_TASK,
            max_pool_connections=100,
        )
        opened.enter_context(running_step_functions(self.client("lambda", config=config)))
        for repair in self._repairs:
            opened.enter_context(repair())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    def redrive(self, execution_arn: str) -> None:
        """Run an ended execution again from the state that failed. Raises ClientError (ExecutionNotRedrivable)."""
        self.client("stepfunctions").redrive_execution(executionArn=execution_arn)


@dataclass(frozen=True, slots=True)
class Execution:
    """How an execution stands. `history` is its events in the shape of GetExecutionHistory."""

    arn: str
    status: str
    input: Mapping[str, Any]
    output: Mapping[str, Any] | None
    error: str | None
    cause: str | None
    history: Sequence[Mapping[str, Any]]

    @property
    def states(self) -> list[str]:
        """The names of the states that were entered, in order."""
        entered = (event["stateEnteredEventDetails"] for event in self.history if "stateEnteredEventDetails" in event)
        return [details["name"] for details in entered]


class Cloud(AwsSandbox):
    """A stack of a template, deployed into a sandbox and running.

    `overrides` are parameters as for `sam deploy --parameter-overrides`. `workdir` gets a log file a function. The
    schedules stand still until `scheduler.start(seconds)`; `tick_now` calls them once. Raises TemplateError for a
    template the sandbox does not understand.
    """

    def __init__(
        self,
        template: Path,
        *,
        workdir: Path,
        overrides: Mapping[str, str] | None = None,
        stack_name: str = "rekey-sandbox",
        settings: HostSettings | None = None,
    ) -> None:
        super().__init__(stack_name=stack_name)
        self._path = template
        self._overrides = overrides or {}
        self._workdir = workdir
        self._settings = settings or HostSettings()

    def _open(self, opened: ExitStack) -> None:
        super()._open(opened)
        self.template = Template(self._path, self.place, self._overrides)
        self.template.names.update(aws_resources.create_keys(self.template, self._client))
        self.stack = read_stack(self.template)
        aws_resources.create(self.stack, self._client)
        once = Config(retries={"total_max_attempts": 1})
        self._senders = {service: self.session.client(service, config=once) for service in ("lambda", "sns", "sqs")}
        self._workdir.mkdir(parents=True, exist_ok=True)
        self.lambdas = LambdaHost(
            self.stack.functions,
            _location(self.endpoint, self.place.region),
            self._workdir,
            self._send,
            self._settings,
        )
        opened.callback(self.lambdas.close)
        self._wire.play("lambda", self.lambdas.answer)
        self._bridge = EventBridge(self.stack.rules, self._send, self.place)
        opened.callback(self._bridge.close)
        self._wire.observers.append(self._bridge.observe)
        self.http_api = HttpApi(self.stack.routes, self.lambdas.invoke)
        opened.callback(self.http_api.stop)
        self.http_api.start()
        opened.callback(stop_executions)
        self.scheduler = Scheduler(self.stack.schedules, self._bridge.deliver)
        opened.callback(self.scheduler.stop)

    @property
    def events(self) -> list[PassedEvent]:
        """Every event that was put on a bus, in order."""
        return self._bridge.events

    @property
    def machine_arn(self) -> str:
        """The ARN of the stack's one state machine."""
        (machine,) = self.stack.machines
        return machine.arn

    def put_event(self, source: str, detail_type: str, detail: Mapping[str, Any], bus: str | None = None) -> str:
        """Put an event on the stack's bus (or another), and return its id."""
        answer = self.client("events").put_events(
            Entries=[
                {
                    "Source": source,
                    "DetailType": detail_type,
                    "Detail": json.dumps(detail),
                    "EventBusName": bus or self.stack.buses[0],
                }
            ]
        )
        return answer["Entries"][0]["EventId"]

    def tick_now(self) -> list[Result]:
        """Call the functions of every schedule once, and return what they gave."""
        return [
            self.lambdas.invoke(target.arn, (target.input or "{}").encode())
            for schedule in self.stack.schedules
            for target in schedule.targets
        ]

    def settle(self, within: float = 30.0) -> None:
        """Return when every event was delivered and every asynchronous invocation is done, also what came of those.

        Raises TimeoutError after `within` seconds. It does not wait for executions.
        """
        deadline = time.monotonic() + within
        while self._bridge.busy or self.lambdas.asynchronous.busy:
            self._bridge.settle(deadline - time.monotonic())
            self.lambdas.asynchronous.settle(deadline - time.monotonic())

    def start_execution(self, state: Mapping[str, Any], name: str | None = None) -> str:
        """Start an execution with this input, and return its ARN."""
        text = json.dumps(state, sort_keys=True, separators=(",", ":"))
        chosen = name or str(uuid.uuid4())
        started = self.client("stepfunctions").start_execution(
            stateMachineArn=self.machine_arn, input=text, name=chosen
        )
        return started["executionArn"]

    def execution(self, arn: str) -> Execution:
        """Return how an execution stands now. Raises ClientError (ExecutionDoesNotExist)."""
        client = self.client("stepfunctions")
        found: Mapping[str, Any] = client.describe_execution(executionArn=arn)
        pages = client.get_paginator("get_execution_history").paginate(executionArn=arn)
        return Execution(
            arn=arn,
            status=found["status"],
            input=json.loads(found["input"]),
            output=json.loads(found["output"]) if "output" in found else None,
            error=found.get("error"),
            cause=found.get("cause"),
            history=[event for page in pages for event in page["events"]],
        )

    def wait_for(self, arn: str, within: float = 60.0) -> Execution:
        """Return an execution once it has ended. Raises TimeoutError after `within` seconds."""
        deadline = time.monotonic() + within
        while status_of(arn) not in _ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{arn} did not end within {within} s; it was in {self.execution(arn).states[-1:]}")
            time.sleep(0.01)
        return self.execution(arn)

    def _client(self, service: str) -> Any:  # noqa: ANN401 which client it is, only the caller knows
        return self.session.client(service)  # type: ignore[call-overload]

    def _send(self, arn: str, text: str) -> None:
        service, name = arn.split(":")[2], arn.rpartition(":")[2]
        sender: Any = self._senders[service]
        try:
            if service == "lambda":
                sender.invoke(FunctionName=name, InvocationType="Event", Payload=text.encode())
            elif service == "sns":
                sender.publish(TopicArn=arn, Message=text)
            else:
                sender.send_message(QueueUrl=f"{self.endpoint}/{self.place.account}/{name}", MessageBody=text)
        except (BotoCoreError, ClientError) as error:
            raise UndeliverableError(f"{arn} did not take what was sent") from error


def _location(endpoint: str, region: str) -> dict[str, str]:
    return {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _botocore_session(endpoint: str, region: str) -> botocore.session.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _loader)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.write_text(f"[default]\nregion = {region}\nendpoint_url = {endpoint}\n", "utf-8")
        for name, value in {"profile": "default", "config_file": str(config), "credentials_file": os.devnull}.items():
            session.set_config_variable(name, value)
        session.get_scoped_config()  # reads the file now, once
    session.set_credentials("SANDBOXPERSON", secrets.token_hex(20))
    return session
