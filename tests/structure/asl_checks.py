"""What must hold in the state machine. Each check returns what is wrong, one sentence a finding."""

import re
from collections.abc import Collection, Mapping

from statelint.linter import Linter

from tests.structure.asl import Node, State, exits, states, tasks, values

INVOKE = "arn:aws:states:::lambda:invoke"
UNCAUGHT = {"States.Runtime", "States.DataLimitExceeded"}
LEAST_RETRY_SECONDS = 180
_EXECUTION = {
    "arn.$": "$$.Execution.Id",
    "redrive.$": "$$.Execution.RedriveCount",
    "retry.$": "$$.State.RetryCount",
}
HISTORY_LIMIT = 25_000

# https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
INTRINSICS = {
    "States.Array",
    "States.ArrayContains",
    "States.ArrayGetItem",
    "States.ArrayLength",
    "States.ArrayPartition",
    "States.ArrayRange",
    "States.ArrayUnique",
    "States.Base64Decode",
    "States.Base64Encode",
    "States.Format",
    "States.Hash",
    "States.JsonMerge",
    "States.JsonToString",
    "States.MathAdd",
    "States.MathRandom",
    "States.StringSplit",
    "States.StringToJson",
    "States.UUID",
}
# Fields whose value is a path by their own meaning: they need no `.$`.
PATH_FIELDS = {"InputPath", "OutputPath", "ResultPath", "ItemsPath", "TimestampPath", "Variable", "CausePath"}


def linted(machine: Node) -> list[str]:
    """Find what is not valid Amazon States Language."""
    problems: list[str] = Linter.validate(machine)
    return problems


def choices_without_default(machine: Node) -> list[str]:
    """Find Choices without a Default: no matching rule ends an execution in States.Runtime, which no Catch sees."""
    return [
        f"{state.name} has no Default"
        for state in states(machine)
        if state.body["Type"] == "Choice" and "Default" not in state.body
    ]


def defaults_that_act(machine: Node) -> list[str]:
    """Find Defaults that do not lead to Report or a Fail, or pass something that calls a function or waits."""
    found = []
    for state in states(machine):
        if state.body["Type"] != "Choice" or "Default" not in state.body:
            continue
        name = state.body["Default"]
        while (body := state.scope.get(name, {})).get("Type") == "Pass":
            name = body["Next"]
        if name != "Report" and body.get("Type") != "Fail":
            found.append(f"the Default of {state.name} leads to {name}")
    return found


def dangling(machine: Node) -> list[str]:
    """Find names of states that do not exist where they are named."""
    return [
        f"{state.name} leads to {name}, which does not exist"
        for state in states(machine)
        for name in exits(state.body)
        if name not in state.scope
    ]


def unreachable(machine: Node) -> list[str]:
    """Find states that no way leads to."""
    found = []
    bodies = [machine, *(state.body["ItemProcessor"] for state in states(machine) if "ItemProcessor" in state.body)]
    for body in bodies:
        seen: set[str] = set()
        following = [body["StartAt"]]
        while following:
            name = following.pop()
            if name not in seen and name in body["States"]:
                seen.add(name)
                following += exits(body["States"][name])
        found += [f"{name} cannot be reached" for name in body["States"] if name not in seen]
    return found


def unknown_intrinsics(machine: Node) -> list[str]:
    """Find calls of intrinsic functions that do not exist."""
    return [
        f"{name} in {text!r}"
        for _, text in values(machine)
        for name in re.findall(r"States\.\w+(?=\()", text)
        if name not in INTRINSICS
    ]


def paths_taken_for_text(machine: Node) -> list[str]:
    """Find paths and intrinsic functions under a key without `.$`: they are passed on as they are written."""
    return [
        f"{key}: {text!r}"
        for key, text in values(machine)
        if (text.startswith("$") or re.match(r"States\.\w+\(", text))
        and not key.endswith(".$")
        and key not in PATH_FIELDS
    ]


def other_languages(machine: Node) -> list[str]:
    """Find JSONata and variables: the sandbox plays JSONPath only."""
    named = [state.name for state in states(machine) if {"QueryLanguage", "Assign", "Arguments"} & state.body.keys()]
    return named + (["the machine"] if "QueryLanguage" in machine else [])


def calls(machine: Node) -> list[str]:
    """Find Tasks that do not call a function with the execution and the whole state, or do not return the state."""
    found = []
    for task in tasks(machine):
        payload = task.body.get("Parameters", {}).get("Payload", {})
        if task.body["Resource"] != INVOKE:
            found.append(f"{task.name} calls {task.body['Resource']}")
        if payload.get("execution") != _EXECUTION:
            found.append(f"{task.name} does not say which execution it is")
        if set(payload) != {"call", "execution", "state.$"} or task.body.get("OutputPath") != "$.Payload":
            found.append(f"{task.name} does not pass the state through")
    return found


def tasks_without_timeout(machine: Node) -> list[str]:
    """Find Tasks without a timeout."""
    return [f"{task.name} has no TimeoutSeconds" for task in tasks(machine) if "TimeoutSeconds" not in task.body]


def retries(machine: Node, definite: Collection[str]) -> list[str]:
    """Find Tasks that retry definite errors, or others for less than three minutes (half of the longest waits)."""
    found = []
    for task in tasks(machine):
        own, *others = task.body.get("Retry", [{}])
        if set(own.get("ErrorEquals", [])) != set(definite) or own.get("MaxAttempts") != 0:
            found.append(f"{task.name} does not begin with all definite errors, never retried")
        if [retrier["ErrorEquals"] for retrier in others] != [["States.ALL"]]:
            found.append(f"{task.name} does not go on with States.ALL")
        elif others[0].get("JitterStrategy") != "FULL":
            found.append(f"{task.name} has no full jitter")
        elif sum(delays(others[0])) / 2 < LEAST_RETRY_SECONDS:
            found.append(f"{task.name} gives up after {sum(delays(others[0])) / 2:.0f} s")
    return found


def delays(retry: Node) -> list[float]:
    """Return the longest waits of a retrier in seconds; full jitter takes half of each on average."""
    first, rate, most = retry["IntervalSeconds"], retry["BackoffRate"], retry["MaxDelaySeconds"]
    return [min(first * rate**turn, most) for turn in range(retry["MaxAttempts"])]


def uncaught(machine: Node) -> list[str]:
    """Find Tasks that are not caught: outside a Map into Report, inside with their shard left, Report into a Fail."""
    found = []
    for task in tasks(machine):
        match task.body.get("Catch"):
            case [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": str(target)}]:
                if task.name == "Report":
                    good = task.scope[target]["Type"] == "Fail"
                else:
                    good = _gives_back_its_shard(task, target) if task.inside_a_map else target == "Report"
                if not good:
                    found.append(f"{task.name} is caught into {target}")
            case _:
                found.append(f"{task.name} has no Catch of its own")
    return found


def _gives_back_its_shard(task: State, target: str) -> bool:
    body = task.scope.get(target, {})
    return body.get("Type") == "Pass" and body.get("Parameters") == {"shard.$": "$.item.shard", "left": True}


def leaning_on_what_is_never_caught(machine: Node) -> list[str]:
    """Find names of errors that Step Functions offers to no Retry and no Catch."""
    return [
        f"{state.name} names {name}"
        for state in states(machine)
        for handler in _handlers(state.body)
        for name in handler["ErrorEquals"]
        if name in UNCAUGHT
    ]


def _handlers(body: Node) -> list[Node]:
    return [*body.get("Retry", []), *body.get("Catch", [])]


def maps(machine: Node) -> list[str]:
    """Find Maps that are not inline, are not limited, or do anything to `$.shards` but keep or overwrite it."""
    found = []
    for state in states(machine):
        if state.body["Type"] != "Map":
            continue
        if (
            state.body["ItemProcessor"]["ProcessorConfig"] != {"Mode": "INLINE"}
            or state.body["ItemsPath"] != "$.shards"
        ):
            found.append(f"{state.name} is no inline Map over the shards")
        if not 0 < state.body.get("MaxConcurrency", 0) <= 40:
            found.append(f"{state.name} sets no MaxConcurrency")
        if state.body["ResultPath"] not in (None, "$.shards"):
            found.append(f"{state.name} writes to {state.body['ResultPath']}")
    return found


def waits_that_do_not_return(machine: Node) -> list[str]:
    """Find Waits for a `wait` answer that do not wait until `$.until` and then ask again."""
    found = []
    for state in states(machine):
        if state.body["Type"] != "Wait" or "TimestampPath" not in state.body:
            continue
        asked = state.scope[state.body["Next"]]
        if state.body["TimestampPath"] != "$.until" or asked["Type"] != "Task":
            found.append(f"{state.name} does not wait until $.until for a Task")
        elif state.name not in _followers(state.scope, asked["Next"], depth=3):
            found.append(f"{state.name} returns to a Task that does not lead to it")
    return found


def _followers(scope: Mapping[str, Node], name: str, depth: int) -> set[str]:
    found = set(exits(scope[name]))
    for _ in range(depth):
        found |= {follower for known in found for follower in exits(scope[known]) if scope[known]["Type"] == "Pass"}
    return found
