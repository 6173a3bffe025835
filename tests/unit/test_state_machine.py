"""The state machine's structure. What it does when it runs is tested end to end."""

import copy
import inspect
from collections.abc import Callable

import pytest

from rekey import errors
from rekey.model.state import Next, Operation, Outcome
from tests.structure import asl_checks, asl_history, template
from tests.structure.asl import DEFINITION, PLACEHOLDER, Node, substituted, tasks, values

Check = Callable[[Node], list[str]]

DEFINITE = {
    name
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, errors.RekeyError) and kind is not errors.RekeyError and kind.definite
}
SHARDS = 40  # as many as an inline Map runs at once


@pytest.fixture(scope="module")
def as_written() -> Node:
    return substituted(template.load().substitutions())


@pytest.fixture
def machine(as_written: Node) -> Node:
    return copy.deepcopy(as_written)


def retries(machine: Node) -> list[str]:
    return asl_checks.retries(machine, DEFINITE)


def too_long(machine: Node) -> list[str]:
    """Find a loop that no budget ends, or a history of 25,000 events: over 40 shards, whatever fails."""
    try:
        events = asl_history.longest(machine, SHARDS)
    except asl_history.EndlessLoopError as error:
        return [f"endless: {error}"]
    return [f"{events} events"] if events >= asl_checks.HISTORY_LIMIT else []


def drop(machine: Node, name: str, field: str) -> None:
    del machine["States"][name][field]


def put(machine: Node, name: str, **fields: object) -> None:
    machine["States"][name].update(fields)


def shard_task(machine: Node, name: str) -> Node:
    for task in tasks(machine):
        if task.name == name:
            return task.body
    raise KeyError(name)


def execution_of(task: Node) -> Node:
    """Return what a Task tells its function of the execution and of the call."""
    told: Node = task["Parameters"]["Payload"]["execution"]
    return told


# Each check, and one thing wrong with the machine that it must find.
BROKEN: list[tuple[Check, Callable[[Node], object]]] = [
    (asl_checks.linted, lambda m: put(m, "Begin", TimeoutSeconds="150")),
    (asl_checks.choices_without_default, lambda m: drop(m, "AfterReset", "Default")),
    (asl_checks.defaults_that_act, lambda m: put(m, "IsThereAReset", Default="Reset")),
    (asl_checks.defaults_that_act, lambda m: put(m, "Outcome", Default="Finished")),
    (asl_checks.dangling, lambda m: put(m, "Begin", Next="Nowhere")),
    (asl_checks.dangling, lambda m: shard_task(m, "DeliverShard")["Catch"][0].update(Next="Report")),
    (asl_checks.unreachable, lambda m: put(m, "AfterVerify", Choices=[])),
    (asl_checks.unknown_intrinsics, lambda m: put(m, "CountPass", Parameters={"n.$": "States.MathSum($.passes, 1)"})),
    (asl_checks.paths_taken_for_text, lambda m: put(m, "CountPass", Parameters={"state": "$"})),
    (asl_checks.paths_taken_for_text, lambda m: put(m, "CountPass", Parameters={"n": "States.MathAdd($.passes, 1)"})),
    (asl_checks.other_languages, lambda m: put(m, "CountPass", Assign={"passes": 1})),
    (asl_checks.calls, lambda m: put(m, "Begin", Resource="arn:aws:lambda:::function:begin")),
    (asl_checks.calls, lambda m: put(m, "Begin", OutputPath="$")),
    (asl_checks.calls, lambda m: shard_task(m, "VerifyShard")["Parameters"]["Payload"].pop("execution")),
    (asl_checks.calls, lambda m: execution_of(shard_task(m, "DeliverShard")).pop("retry.$")),
    (asl_checks.calls, lambda m: execution_of(m["States"]["Report"]).update({"retry.$": "$$.Execution.RedriveCount"})),
    (asl_checks.tasks_without_timeout, lambda m: shard_task(m, "VerifyShard").pop("TimeoutSeconds")),
    (retries, lambda m: drop(m, "Verify", "Retry")),
    (retries, lambda m: m["States"]["Verify"]["Retry"].reverse()),
    (retries, lambda m: m["States"]["Verify"]["Retry"][0]["ErrorEquals"].remove("Denied")),
    (retries, lambda m: m["States"]["Verify"]["Retry"][0]["ErrorEquals"].append("Unreachable")),
    (retries, lambda m: m["States"]["Verify"]["Retry"][1].update(MaxAttempts=5)),
    (retries, lambda m: m["States"]["Verify"]["Retry"][1].pop("JitterStrategy")),
    (asl_checks.uncaught, lambda m: drop(m, "Reset", "Catch")),
    (asl_checks.uncaught, lambda m: m["States"]["Reset"]["Catch"][0].update(Next="Finished")),
    (asl_checks.uncaught, lambda m: m["States"]["Report"]["Catch"][0].update(Next="Outcome")),
    (asl_checks.uncaught, lambda m: shard_task(m, "PrepareShard").pop("Catch")),
    (
        asl_checks.uncaught,
        lambda m: m["States"]["DeliverToConsumers"]["ItemProcessor"]["States"]["DeliverShardLater"].pop("Parameters"),
    ),
    (
        asl_checks.leaning_on_what_is_never_caught,
        lambda m: m["States"]["Reset"]["Catch"].insert(0, {"ErrorEquals": ["States.Runtime"], "Next": "Report"}),
    ),
    (asl_checks.maps, lambda m: drop(m, "VerifyConsumers", "MaxConcurrency")),
    (asl_checks.maps, lambda m: put(m, "VerifyConsumers", ResultPath="$.results")),
    (asl_checks.waits_that_do_not_return, lambda m: put(m, "WaitForReset", Next="Verify")),
    (asl_checks.waits_that_do_not_return, lambda m: put(m, "WaitForReset", TimestampPath="$.now")),
    (too_long, lambda m: put(m, "WhereToEnter", Default="Begin")),
    (too_long, lambda m: put(m, "CountVerify", Parameters={"state.$": "$", "more": {}})),
    (too_long, lambda m: m["States"]["AfterReset"]["Choices"][0]["And"].pop()),
    (too_long, lambda m: put(m, "AfterClosing", Default="StartDelivery")),
    (too_long, lambda m: shard_task(m, "DeliverShard")["Retry"][1].update(MaxAttempts=40)),
]


@pytest.mark.parametrize("check", list(dict.fromkeys(check for check, _ in BROKEN)), ids=lambda check: check.__name__)
def test_the_machine_is_sound(machine: Node, check: Check) -> None:
    assert check(machine) == []


@pytest.mark.parametrize(("check", "damage"), BROKEN, ids=[check.__name__ for check, _ in BROKEN])
def test_each_check_sees_what_it_is_for(machine: Node, check: Check, damage: Callable[[Node], object]) -> None:
    damage(machine)

    assert check(machine)


def test_every_error_name_is_a_class_of_the_error_tree(machine: Node) -> None:
    """A name that no class bears would be waited for in vain."""
    handlers = [handler for task in tasks(machine) for handler in task.body["Retry"] + task.body["Catch"]]
    named = {name for handler in handlers for name in handler["ErrorEquals"]} - {"States.ALL"}

    assert named == DEFINITE


def choices_of(machine: Node, name: str, variable: str) -> set[str]:
    rules = [part for rule in machine["States"][name]["Choices"] for part in rule.get("And", [rule])]
    return {rule["StringEquals"] for rule in rules if rule.get("Variable") == variable and "StringEquals" in rule}


def test_every_outcome_ends_in_a_state_of_its_own(machine: Node) -> None:
    """Succeed only where nothing is left to do: an unfinished rotation that ends in Succeed is taken for done."""
    assert choices_of(machine, "Outcome", "$.outcome") == set(Outcome)

    ends = {rule["StringEquals"]: rule["Next"] for rule in machine["States"]["Outcome"]["Choices"]}
    succeed = {outcome for outcome, end in ends.items() if machine["States"][end]["Type"] == "Succeed"}

    assert len(set(ends.values())) == len(ends)
    assert succeed == {Outcome.FINISHED, Outcome.REHEARSED, Outcome.READY, Outcome.JOINED}
    assert {ends[outcome] for outcome in set(Outcome) - succeed} == {
        "NotReady",
        "Unfinished",
        "ConsumersFailed",
        "AttentionNeeded",
    }


def test_every_answer_of_a_function_leads_somewhere(machine: Node) -> None:
    answers = {name: choices_of(machine, name, "$.next") for name in ("WhereToEnter", "AfterReset", "AfterVerify")}

    assert answers["WhereToEnter"] == {"wait", "prepare", "reset", "deliver", "verify", "report", "stop"}
    assert answers["AfterReset"] == {"wait", "deliver", "verify", "report"}
    assert answers["AfterVerify"] == {"wait", "reset", "consumers", "report"}
    assert set().union(*answers.values()) == set(Next)


def test_every_operation_the_functions_know_passes_the_machine(machine: Node) -> None:
    assert set(Operation) <= choices_of(machine, "IsThereAReset", "$.operation")


def test_what_is_delivered_again_passes_no_reset_and_is_tried_first(machine: Node) -> None:
    rules = machine["States"]["IsThereAReset"]["Choices"]
    assert next(rule["Next"] for rule in rules if rule["StringEquals"] == Operation.DELIVER) == "AskBeforeDelivery"


def test_a_stopped_begin_ends_without_report(machine: Node) -> None:
    """An execution that does not own the registry must not touch its records."""
    stop = next(rule for rule in machine["States"]["WhereToEnter"]["Choices"] if rule.get("StringEquals") == "stop")

    assert machine["States"][stop["Next"]]["Type"] == "Succeed"


def test_the_state_machine_holds_no_number_that_the_template_holds() -> None:
    """Timeouts, budgets and waits stand once, in template.yaml."""
    placeholders = set(PLACEHOLDER.findall(DEFINITION.read_text("utf-8")))
    machine = substituted(dict.fromkeys(placeholders, "0"))
    fields = {"TimeoutSeconds", "IntervalSeconds", "MaxDelaySeconds", "MaxConcurrency", "Seconds", "NumericLessThan"}

    assert numbers(machine, fields) == []


def numbers(node: object, fields: set[str]) -> list[str]:
    found: list[str] = []
    if isinstance(node, dict):
        found += [f"{key}: {value}" for key, value in node.items() if key in fields and value != 0]
        found += [problem for child in node.values() for problem in numbers(child, fields)]
    elif isinstance(node, list):
        found += [problem for child in node for problem in numbers(child, fields)]
    return found


def test_every_retry_is_the_same(machine: Node) -> None:
    """The eight copies of one decision stay copies."""
    first, *others = [task.body["Retry"] for task in tasks(machine)]

    assert all({**other[1]} == first[1] for other in others)
    assert all(set(other[0]["ErrorEquals"]) == set(first[0]["ErrorEquals"]) for other in others)


def test_the_machine_names_no_password(machine: Node) -> None:
    """History keeps every input and output forever: only identifiers are handed on."""
    said = {"Comment", "CausePath"}

    assert [text for key, text in values(machine) if key not in said and "password" in text.lower()] == []
