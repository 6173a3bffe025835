"""What must hold in the state machine. Each check returns what is wrong, one sentence a finding."""

import re
from collections.abc import Collection

from statelint.linter import Linter

from tests.structure.asl import Node, State, exits, states, tasks, values

INVOKE = "arn:aws:states:::lambda:invoke"
UNCAUGHT = {"States.Runtime", "States.DataLimitExceeded"}
LEAST_RETRY_SECONDS = 180
HISTORY_LIMIT = 25_000

# https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
INTRINSICS = {
    f"States.{name}"
    for name in (
        "Array ArrayContains ArrayGetItem ArrayLength ArrayPartition ArrayRange ArrayUnique Base64Decode Base64Encode "
        "Format Hash JsonMerge JsonToString MathAdd MathRandom StringSplit StringToJson UUID"
    ).split()
}
# Fields whose value is a path by their own meaning: they need no `.$`.
PATH_FIELDS = {"InputPath", "OutputPath", "ResultPath", "ItemsPath", "TimestampPath", "Variable", "CausePath"}


def linted(machine: Node) -> list[str]:
    """The definition is valid Amazon States Language."""
    return Linter.validate(machine)


def choices_without_default(machine: Node) -> list[str]:
    """Every Choice has a Default: no matching rule would end the execution in States.Runtime, which no Catch sees."""
    return [
        f"{state.name} has no Default"
        for state in states(machine)
        if state.body["Type"] == "Choice" and "Default" not in state.body
    ]


def defaults_that_act(machine: Node) -> list[str]:
    """A Default leads to Report or to a Fail through nothing that calls a function or waits."""
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
    """Every state that is named exists where it is named."""
    return [
        f"{state.name} leads to {name}, which does not exist"
        for state in states(machine)
        for name in exits(state.body)
        if name not in state.scope
    ]


def unreachable(machine: Node) -> list[str]:
    """Every state can be reached."""
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
    """Only intrinsic functions that exist are called."""
    return [
        f"{name} in {text!r}"
        for _, text in values(machine)
        for name in re.findall(r"States\.\w+(?=\()", text)
        if name not in INTRINSICS
    ]


def paths_taken_for_text(machine: Node) -> list[str]:
    """A path or an intrinsic function stands under a key that ends in `.$`: elsewhere it is passed on as it is written."""
    return [
        f"{key}: {text!r}"
        for key, text in values(machine)
        if (text.startswith("$") or re.match(r"States\.\w+\(", text))
        and not key.endswith(".$")
        and key not in PATH_FIELDS
    ]


def other_languages(machine: Node) -> list[str]:
    """JSONPath only: the sandbox plays neither JSONata nor variables."""
    named = [state.name for state in states(machine) if {"QueryLanguage", "Assign", "Arguments"} & state.body.keys()]
    return named + (["the machine"] if "QueryLanguage" in machine else [])


def calls(machine: Node) -> list[str]:
    """Every Task calls a function through `lambda:invoke`, with the owner and the whole state, and returns the state."""
    found = []
    for task in tasks(machine):
        payload = task.body.get("Parameters", {}).get("Payload", {})
        if task.body["Resource"] != INVOKE:
            found.append(f"{task.name} calls {task.body['Resource']}")
        if payload.get("execution") != {"arn.$": "$$.Execution.Id", "redrive.$": "$$.Execution.RedriveCount"}:
            found.append(f"{task.name} does not say which execution it is")
        if set(payload) != {"call", "execution", "state.$"} or task.body.get("OutputPath") != "$.Payload":
            found.append(f"{task.name} does not pass the state through")
    return found


def tasks_without_timeout(machine: Node) -> list[str]:
    """Every Task has a timeout."""
    return [f"{task.name} has no TimeoutSeconds" for task in tasks(machine) if "TimeoutSeconds" not in task.body]


def retries(machine: Node, definite: Collection[str]) -> list[str]:
    """Every Task tries again for three minutes, on average of its full jitter, and never after a definite error."""
    found = []
    for task in tasks(machine):
        match task.body.get("Retry"):
            case [{"ErrorEquals": list(own), "MaxAttempts": 0}, {"ErrorEquals": ["States.ALL"], **retry}]:
                if set(own) != set(definite):
                    found.append(f"{task.name}: {sorted(set(own) ^ set(definite))}")
                if retry.get("JitterStrategy") != "FULL":
                    found.append(f"{task.name} has no full jitter")
                if sum(delays(retry)) / 2 < LEAST_RETRY_SECONDS:
                    found.append(f"{task.name} gives up after {sum(delays(retry)) / 2:.0f} s")
            case _:
                found.append(f"{task.name} does not retry States.ALL after its own definite errors")
    return found


def delays(retry: Node) -> list[float]:
    """Return the longest waits of a retrier in seconds; full jitter takes half of each on average."""
    first, rate, most = retry["IntervalSeconds"], retry["BackoffRate"], retry["MaxDelaySeconds"]
    return [min(first * rate**turn, most) for turn in range(retry["MaxAttempts"])]


def uncaught(machine: Node) -> list[str]:
    """Every Task catches everything: outside a Map into Report, Report itself into a Fail."""
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
    """Nothing retries or catches an error that Step Functions offers to no Retry and no Catch."""
    handlers = ((state, handler) for state in states(machine) for handler in _handlers(state.body))
    return [f"{state.name} names {name}" for state, handler in handlers for name in handler["ErrorEquals"] if name in UNCAUGHT]


def _handlers(body: Node) -> list[Node]:
    return [*body.get("Retry", []), *body.get("Catch", [])]


def maps(machine: Node) -> list[str]:
    """Every Map is inline, is limited, and runs over `$.shards`; it keeps the list or overwrites it, never adds to it."""
    found = []
    for state in states(machine):
        if state.body["Type"] != "Map":
            continue
        if state.body["ItemProcessor"]["ProcessorConfig"] != {"Mode": "INLINE"} or state.body["ItemsPath"] != "$.shards":
            found.append(f"{state.name} is no inline Map over the shards")
        if not 0 < state.body.get("MaxConcurrency", 0) <= 40:
            found.append(f"{state.name} sets no MaxConcurrency")
        if state.body["ResultPath"] not in (None, "$.shards"):
            found.append(f"{state.name} writes to {state.body['ResultPath']}")
    return found


def waits_that_do_not_return(machine: Node) -> list[str]:
    """What answers `wait` is called again after a Wait until `$.until`."""
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


def _followers(scope: dict[str, Node] | Node, name: str, depth: int) -> set[str]:
    found = set(exits(scope[name]))
    for _ in range(depth):
        found |= {follower for known in found for follower in exits(scope[known]) if scope[known]["Type"] == "Pass"}
    return found
