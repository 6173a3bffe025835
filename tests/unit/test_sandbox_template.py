"""template.yaml is read as `sam deploy` would deploy it, and what is not understood is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.aws_example import TEMPLATE, write_stack
from tests.sandbox.aws_intrinsics import TemplateError
from tests.sandbox.aws_kinds import Place
from tests.sandbox.aws_template import Template
from tests.sandbox.template import Stack, rate, read_stack

ROOT = Path(__file__).parents[2]
PLACE = Place("demo", endpoint="http://127.0.0.1:1")


def read(path: Path, **overrides: str) -> Stack:
    return read_stack(Template(path, PLACE, overrides))


def test_functions_carry_what_the_template_gives_them(tmp_path: Path) -> None:
    (worker,) = read(write_stack(tmp_path), Timeout="7", Level="loud").functions
    assert (worker.name, worker.timeout, worker.memory, worker.handler) == ("demo-worker", 7, 512, "app.handler")
    assert worker.arn == "arn:aws:lambda:ap-southeast-1:123456789012:function:demo-worker"
    assert (worker.code, worker.layers) == (tmp_path / "worker", (tmp_path / "layer",))
    assert worker.on_failure == "arn:aws:sqs:ap-southeast-1:123456789012:demo-Failures"


def test_intrinsic_functions_become_values(tmp_path: Path) -> None:
    (worker,) = read(write_stack(tmp_path)).functions
    assert worker.environment == {
        "TABLE": "demo-Table",
        "KEY": "arn:aws:kms:ap-southeast-1:123456789012:key/demo-Key",
        "QUEUE": "http://127.0.0.1:1/123456789012/demo-Failures",
        "BOTH": "no",
        "JOINED": "demo-b",
        "SUBSTITUTED": "ap-southeast-1/calm/arn:aws:s3:::demo-bucket/${Kept}",
    }


def test_conditions_decide_what_there_is(tmp_path: Path) -> None:
    path = write_stack(tmp_path)
    assert [rule.pattern for rule in read(path).rules] == [
        '{"source": [{"prefix": "in/"}], "detail": {"kind": [{"anything-but": ["ignored"]}]}}'
    ]
    with_hooks = read(path, Hooks="some", Level="loud")
    assert len(with_hooks.rules) == 2
    assert with_hooks.outputs["Hooks"] == "some"
    assert with_hooks.functions[0].environment["LEFT_OUT"] == "here"


def test_the_definition_carries_the_substitutions(tmp_path: Path) -> None:
    stack = read(write_stack(tmp_path), Timeout="9")
    (machine,) = stack.machines
    assert '"TimeoutSeconds": 9' in machine.definition
    assert stack.functions[0].arn in machine.definition
    assert machine.arn.endswith(":stateMachine:demo-machine")


def test_schedules_and_routes(tmp_path: Path) -> None:
    stack = read(write_stack(tmp_path))
    (schedule,), (route,) = stack.schedules, stack.routes
    assert (schedule.seconds, schedule.targets[0].input) == (60, '{"call": "tick"}')
    assert (route.method, route.path, route.function) == ("POST", "/hooks/{source}", stack.functions[0].arn)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"Nobody": "1"}, "no parameters"),
        ({"Timeout": "0"}, "at least 1"),
        ({"Level": "shouting"}, "must be one of"),
    ],
)
def test_parameters_are_checked(tmp_path: Path, overrides: dict[str, str], message: str) -> None:
    path = write_stack(tmp_path)
    with pytest.raises(TemplateError, match=message):
        Template(path, PLACE, overrides)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("AWS::SNS::Topic", "AWS::Kinesis::Stream", "neither creates nor knowingly leaves out"),
        ("!Join [", '!Cidr ["10.0.0.0/8", ', "Fn::Cidr is not known"),
        ("!Ref Table\n", "!Ref Tables\n", "no parameter or resource Tables"),
        ("!GetAtt Key.Arn", "!GetAtt Key.Color", "Fn::GetAtt of Color"),
        ("rate(1 minute)", '"cron(0 0 * * ? *)"', r"plays rate\(…\) only"),
    ],
)
def test_what_is_not_understood_is_an_error(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_stack(tmp_path, {"template.yaml": TEMPLATE.replace(old, new)})
    with pytest.raises(TemplateError, match=message):
        read(path)


def test_a_substitution_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    path = write_stack(tmp_path, {"machine.asl.json": '{"TimeoutSeconds": ${Nobody}}'})
    with pytest.raises(TemplateError, match="Nobody"):
        read(path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("rate(1 minute)", 60), ("rate(5 hours)", 18000), ("rate(1 day)", 86400)]
)
def test_rates(text: str, seconds: int) -> None:
    assert rate(text) == seconds


def test_the_products_template_is_understood() -> None:
    """Every resource, parameter and substitution of template.yaml resolves, with and without its conditions."""
    path = ROOT / "template.yaml"
    names = {"webhook", "trigger", "begin", "reset", "distribute", "verify", "report", "notify"}
    assert {function.name.removeprefix("demo-") for function in read(path).functions} == names
    (route,) = read(path, WebhookSources='{"a": {}}').routes
    assert route.method == "POST"
