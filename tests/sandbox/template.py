"""What template.yaml makes: the functions, tables, queues, rules and routes of one stack, with every value resolved."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tests.sandbox.aws_intrinsics import Json, TemplateError, as_text
from tests.sandbox.aws_template import LOCAL, Template, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Properties: TypeAlias = "dict[str, Json]"

_SUBSTITUTION = re.compile(r"\$\{([^}]+)\}")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
_FUNCTION_ARN = re.compile(r"arn:[^:]+:lambda:[^:]+:[^:]+:function:[^/]+")


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function. `code` and `layers` are folders of this checkout; `timeout` is in seconds, `memory` in MB.

    `on_failure` and `dead_letter` are ARNs of what an asynchronous invocation is sent to when its tries are spent.
    """

    name: str
    arn: str
    code: Path
    layers: tuple[Path, ...]
    handler: str
    environment: Mapping[str, str]
    timeout: int
    memory: int
    runtime: str
    on_failure: str | None
    dead_letter: str | None
    retries: int


@dataclass(frozen=True, slots=True)
class Resource:
    """A table, bucket, key, alias, topic, queue or bus: its name and its CloudFormation properties."""

    logical_id: str
    name: str
    properties: Properties


@dataclass(frozen=True, slots=True)
class Target:
    """Where a rule or a schedule sends to. `input`, if any, is sent in place of the event."""

    arn: str
    input: str | None
    dead_letter: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule on a bus. `pattern` is EventBridge's JSON."""

    name: str
    bus: str
    pattern: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Something that is called every `seconds`."""

    name: str
    seconds: int
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine with the substitutions of the template applied to its definition."""

    name: str
    arn: str
    definition: str


@dataclass(frozen=True, slots=True)
class Route:
    """One route of an HTTP API: `method` in capitals (or ANY), `path` as in the template, the function's ARN."""

    method: str
    path: str
    function: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything of the template that the sandbox plays."""

    functions: tuple[Function, ...]
    tables: tuple[Resource, ...]
    buckets: tuple[Resource, ...]
    aliases: tuple[Resource, ...]
    topics: tuple[Resource, ...]
    queues: tuple[Resource, ...]
    buses: tuple[str, ...]
    rules: tuple[Rule, ...]
    schedules: tuple[Schedule, ...]
    machines: tuple[StateMachine, ...]
    routes: tuple[Route, ...]
    outputs: Mapping[str, str]

    def function(self, short_name: str) -> Function:
        """Return the function whose name is, or ends in, `-short_name`. Raises KeyError."""
        for function in self.functions:
            if function.name == short_name or function.name.endswith(f"-{short_name}"):
                return function
        raise KeyError(short_name)


def read_stack(template: Template) -> Stack:
    """Return the stack a template makes. Raises TemplateError for anything the sandbox does not know."""
    template.check()
    timed, patterned = _rules(template)
    return Stack(
        functions=tuple(_functions(template)),
        tables=_resources(template, "AWS::DynamoDB::Table"),
        buckets=_resources(template, "AWS::S3::Bucket"),
        aliases=_resources(template, "AWS::KMS::Alias"),
        topics=_resources(template, "AWS::SNS::Topic"),
        queues=_resources(template, "AWS::SQS::Queue"),
        buses=tuple(name for _, name, _ in template.of_type("AWS::Events::EventBus")),
        rules=tuple(patterned),
        schedules=(*timed, *_schedules(template)),
        machines=tuple(_machines(template)),
        routes=tuple(_routes(template)),
        outputs=template.outputs(),
    )


def _resources(template: Template, resource_type: str) -> tuple[Resource, ...]:
    return tuple(Resource(*found) for found in template.of_type(resource_type))


def _functions(template: Template) -> Iterator[Function]:
    layers = {
        template.ref(logical_id): template.folder / _local(properties["Content"])
        for logical_id, _, properties in template.of_type("AWS::Lambda::LayerVersion")
    }
    asynchronous = {
        as_text(properties["FunctionName"]): properties
        for _, _, properties in template.of_type("AWS::Lambda::EventInvokeConfig")
    }
    for logical_id, name, properties in template.of_type("AWS::Lambda::Function"):
        config = asynchronous.get(name, {})
        failure = mapping(mapping(config.get("DestinationConfig", {})).get("OnFailure", {})).get("Destination")
        variables = mapping(mapping(properties.get("Environment", {})).get("Variables", {}))
        yield Function(
            name=name,
            arn=template.attribute(logical_id, "Arn"),
            code=template.folder / _local(properties["Code"]),
            layers=tuple(layers[as_text(layer)] for layer in _list(properties.get("Layers", []))),
            handler=as_text(properties["Handler"]),
            environment={key: as_text(value) for key, value in variables.items()},
            timeout=int(as_text(properties.get("Timeout", 3))),
            memory=int(as_text(properties.get("MemorySize", 128))),
            runtime=as_text(properties["Runtime"]),
            on_failure=_optional(failure),
            dead_letter=_optional(mapping(properties.get("DeadLetterConfig", {})).get("TargetArn")),
            retries=int(as_text(config.get("MaximumRetryAttempts", 2))),
        )


def _rules(template: Template) -> tuple[list[Schedule], list[Rule]]:
    timed: list[Schedule] = []
    patterned: list[Rule] = []
    for _, name, properties in template.of_type("AWS::Events::Rule"):
        if properties.get("State", "ENABLED") != "ENABLED":
            continue
        targets = tuple(_target(mapping(target)) for target in _list(properties.get("Targets", [])))
        if "ScheduleExpression" in properties:
            timed.append(Schedule(name, rate(as_text(properties["ScheduleExpression"])), targets))
        else:
            bus = as_text(properties.get("EventBusName", "default")).rpartition("/")[2]
            patterned.append(Rule(name, bus, json.dumps(properties["EventPattern"]), targets))
    return timed, patterned


def _schedules(template: Template) -> Iterator[Schedule]:
    for _, name, properties in template.of_type("AWS::Scheduler::Schedule"):
        if properties.get("State", "ENABLED") == "ENABLED":
            seconds = rate(as_text(properties["ScheduleExpression"]))
            yield Schedule(name, seconds, (_target(mapping(properties["Target"])),))


def _target(properties: Properties) -> Target:
    known = {"Arn", "Id", "Input", "DeadLetterConfig", "RetryPolicy", "RoleArn"}
    if unknown := set(properties) - known:
        raise TemplateError(f"The sandbox does not play {sorted(unknown)} of an event target")
    dead_letter = mapping(properties.get("DeadLetterConfig", {})).get("Arn")
    return Target(as_text(properties["Arn"]), _optional(properties.get("Input")), _optional(dead_letter))


def rate(expression: str) -> int:
    """Return the seconds of `rate(N minutes)`. Raises TemplateError for any other schedule."""
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if found is None:
        raise TemplateError(f"The sandbox plays rate(…) only, not {expression}")
    return int(found[1]) * _SECONDS[found[2]]


def _machines(template: Template) -> Iterator[StateMachine]:
    for logical_id, name, properties in template.of_type("AWS::StepFunctions::StateMachine"):
        text = (template.folder / _local(properties["DefinitionS3Location"])).read_text("utf-8")
        definition = _substituted(text, mapping(properties.get("DefinitionSubstitutions", {})))
        json.loads(definition)
        yield StateMachine(name, template.attribute(logical_id, "Arn"), definition)


def _substituted(text: str, values: Mapping[str, Json]) -> str:
    def replace(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise TemplateError(f"The definition names {found[0]}, which DefinitionSubstitutions does not give")
        return as_text(values[found[1]])

    return _SUBSTITUTION.sub(replace, text)


def _routes(template: Template) -> Iterator[Route]:
    for _, _, properties in template.of_type("AWS::ApiGatewayV2::Api"):
        for path, methods in mapping(mapping(properties["Body"]).get("paths", {})).items():
            for method, operation in mapping(methods).items():
                uri = as_text(mapping(mapping(operation)["x-amazon-apigateway-integration"])["uri"])
                function = _FUNCTION_ARN.search(uri)
                if function is None:
                    raise TemplateError(f"The route {path} goes to no function: {uri}")
                verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
                yield Route(verb, path, function[0])


def _local(location: Json) -> str:
    match location:
        case {"S3Bucket": bucket, "S3Key": str(key)} | {"Bucket": bucket, "Key": str(key)} if bucket == LOCAL:
            return key
        case _:
            raise TemplateError(f"Code and definitions must be local paths, not {location}")


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TemplateError(f"A list is needed, not {value}")
    return value


def _optional(value: Json) -> str | None:
    return None if value is None else as_text(value)
