"""The longest history an execution can have, over every way through the machine and every turn of every loop.

The nodes of the search are (state, passes): a loop whose turns are counted and compared with a budget unrolls into a
graph without a circle. A loop that is not counted is found as a circle, one that is not compared by passes beyond every
budget. Counted as in AWS's documentation of the history's events:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
"""

from collections.abc import Iterator, Mapping

from tests.structure.asl import Node, exits

_ENTERED_AND_EXITED = 2
_RETRY = 3  # failed, scheduled, started
_CALL = 3  # scheduled, started, succeeded or failed
_ITERATION = 2  # started, succeeded
_MAP = 2  # started, succeeded
_EXECUTION = 2  # started, and its end


class EndlessLoopError(Exception):
    """A loop of the machine that no budget ends; says through which states."""


def longest(machine: Node, shards: int) -> int:
    """Return the most events an execution over so many shards can write. Raises EndlessLoopError."""
    return _EXECUTION + _longest(machine, shards)


def _longest(machine: Node, shards: int) -> int:
    known: dict[tuple[str, int], int] = {}
    above: list[tuple[str, int]] = []
    budget = max(_budgets(machine), default=1)

    def events(name: str, passes: int) -> int:
        node = (name, passes)
        if node in above or passes > budget:
            raise EndlessLoopError(" > ".join([*dict.fromkeys(passed for passed, _ in above), name]))
        if node not in known:
            above.append(node)
            body = machine["States"][name]
            after = _passes_after(body, passes)
            ways = [events(follower, after) for follower in _possible(body, passes)]
            known[node] = _own(body, shards) + max(ways, default=0)
            above.pop()
        return known[node]

    return events(machine["StartAt"], 0)


def _budgets(node: object) -> Iterator[int]:
    if isinstance(node, dict):
        if "NumericLessThan" in node:
            yield node["NumericLessThan"]
        for child in node.values():
            yield from _budgets(child)
    elif isinstance(node, list):
        for child in node:
            yield from _budgets(child)


def _own(body: Node, shards: int) -> int:
    match body["Type"]:
        case "Task":
            attempts: int = sum(retrier["MaxAttempts"] for retrier in body["Retry"])
            return _ENTERED_AND_EXITED + _CALL + _RETRY * attempts
        case "Map":
            iteration = _ITERATION + _longest(body["ItemProcessor"], shards)
            return _ENTERED_AND_EXITED + _MAP + shards * iteration
        case _:
            return _ENTERED_AND_EXITED


def _passes_after(body: Node, passes: int) -> int:
    if body.get("ResultPath") == "$.passes":
        return int(body["Result"])
    counts = body.get("Parameters", {}).get("more", {}).get("passes.$") == "States.MathAdd($.passes, 1)"
    return passes + 1 if counts else passes


def _possible(body: Node, passes: int) -> Iterator[str]:
    rules = body.get("Choices", [])
    barred = {rule["Next"] for rule in rules if not _may_match(rule, passes)}
    allowed = {rule["Next"] for rule in rules if _may_match(rule, passes)} | {body.get("Default")}
    return (name for name in exits(body) if name not in barred or name in allowed)


def _may_match(rule: Mapping[str, object], passes: int) -> bool:
    parts = rule.get("And", [rule])
    if not isinstance(parts, list):
        raise TypeError(f"And takes a list, not {parts!r}")
    return all(
        passes < part["NumericLessThan"]
        for part in parts
        if part.get("Variable") == "$.passes" and "NumericLessThan" in part
    )
