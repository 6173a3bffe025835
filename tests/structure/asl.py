"""Reads statemachine/rotation.asl.json as CloudFormation would: with the substitutions of template.yaml."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Node: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parents[2]
DEFINITION = ROOT / "statemachine" / "rotation.asl.json"
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class State:
    """One state, and the map of states it stands in (the machine's own, or an item processor's)."""

    name: str
    body: Node
    scope: Mapping[str, Node]

    @property
    def inside_a_map(self) -> bool:
        """Whether it runs once an item of a Map."""
        return "Begin" not in self.scope


def substituted(values: Mapping[str, str]) -> Node:
    """Return the definition with every `${Name}` replaced. Raises KeyError, naming the placeholder without a value."""
    machine: Node = json.loads(PLACEHOLDER.sub(lambda found: values[found[1]], DEFINITION.read_text("utf-8")))
    return machine


def states(machine: Node) -> Iterator[State]:
    """Yield every state, those of item processors included."""
    for name, body in machine["States"].items():
        yield State(name, body, machine["States"])
        if "ItemProcessor" in body:
            yield from states(body["ItemProcessor"])


def tasks(machine: Node) -> Iterator[State]:
    """Yield every state that calls a function."""
    return (state for state in states(machine) if state.body["Type"] == "Task")


def exits(body: Node) -> list[str]:
    """Return the names of all states that may follow a state, a caught error's included."""
    following = [body[field] for field in ("Next", "Default") if field in body]
    following += [rule["Next"] for rule in body.get("Choices", [])]
    following += [catcher["Next"] for catcher in body.get("Catch", [])]
    return list(dict.fromkeys(following))


def values(node: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a JSON document with the key it stands under (in a list: the list's key)."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from values(child, name)
    elif isinstance(node, list):
        for child in node:
            yield from values(child, key)
    elif isinstance(node, str):
        yield key, node
