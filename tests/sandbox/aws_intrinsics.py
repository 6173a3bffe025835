"""CloudFormation's intrinsic functions, resolved to values.

What each function does: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Lookup: TypeAlias = Callable[[str], Json]

_VARIABLE = re.compile(r"\$\{(!?)([^}]*)\}")


class TemplateError(ValueError):
    """The template says something that cannot be resolved, or that the sandbox does not know."""


class NoValue:
    """What `Ref: AWS::NoValue` stands for: the property is left out."""


class Resolver:
    """Resolves intrinsic functions against one set of parameters, mappings, conditions and resources.

    `ref` answers `Ref` (a parameter, a pseudo parameter or a resource), `attribute` answers `Fn::GetAtt`; both raise
    TemplateError for a name they do not know.
    """

    def __init__(
        self,
        *,
        ref: Lookup,
        attribute: Callable[[str, str], Json],
        conditions: Mapping[str, Json],
        mappings: Mapping[str, Json],
    ) -> None:
        self._ref = ref
        self._attribute = attribute
        self._conditions = conditions
        self._mappings = mappings
        self._functions: dict[str, Callable[[Json], Json | NoValue]] = {
            "Fn::Base64": lambda value: base64.b64encode(self.text(value).encode()).decode(),
            "Fn::FindInMap": self._find_in_map,
            "Fn::GetAtt": self._get_att,
            "Fn::If": self._if,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::Sub": self._sub,
        }

    def value(self, node: Json) -> Json:
        """Return `node` with every function in it replaced by its value.

        Raises TemplateError for an unknown function or name, and where the whole of `node` is `AWS::NoValue`.
        """
        resolved = self._resolve(node)
        if isinstance(resolved, NoValue):
            raise TemplateError("AWS::NoValue stands where a value is needed")
        return resolved

    def text(self, node: Json) -> str:
        """Return `node` resolved, as CloudFormation writes it into a string. Raises TemplateError for a list."""
        return as_text(self.value(node))

    def condition(self, name: str) -> bool:
        """Return whether the named condition holds. Raises TemplateError for a name that is not there."""
        if name not in self._conditions:
            raise TemplateError(f"There is no condition {name}")
        return self._holds(self._conditions[name])

    def _resolve(self, node: Json) -> Json | NoValue:
        match node:
            case {"Ref": name, **rest} if not rest:
                return NoValue() if name == "AWS::NoValue" else self._ref(as_text(name))
            case dict():
                name = next(iter(node), "")
                if len(node) == 1 and name.startswith("Fn::"):
                    if name not in self._functions:
                        raise TemplateError(f"{name} is not known to the sandbox")
                    return self._functions[name](node[name])
                items = ((key, self._resolve(child)) for key, child in node.items())
                return {key: child for key, child in items if not isinstance(child, NoValue)}
            case list():
                return [child for child in map(self._resolve, node) if not isinstance(child, NoValue)]
            case _:
                return node

    def _holds(self, node: Json) -> bool:
        match node:
            case {"Fn::Equals": [left, right]}:
                return self.text(left) == self.text(right)
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": list(several)}:
                return all(self._holds(one) for one in several)
            case {"Fn::Or": list(several)}:
                return any(self._holds(one) for one in several)
            case {"Condition": str(name)}:
                return self.condition(name)
            case _:
                raise TemplateError(f"Not a condition: {node}")

    def _if(self, node: Json) -> Json | NoValue:
        match node:
            case [str(name), then, otherwise]:
                return self._resolve(then if self.condition(name) else otherwise)
            case _:
                raise TemplateError(f"Fn::If wants a condition and two values, not {node}")

    def _find_in_map(self, node: Json) -> Json:
        keys = [self.text(key) for key in _sequence(node, "Fn::FindInMap")]
        found: Json = dict(self._mappings)
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise TemplateError(f"Fn::FindInMap finds nothing for {keys}")
            found = found[key]
        return found

    def _get_att(self, node: Json) -> Json:
        if isinstance(node, str):
            logical_id, _, attribute = node.partition(".")
        else:
            logical_id, attribute = (self.text(part) for part in _sequence(node, "Fn::GetAtt"))
        return self._attribute(logical_id, attribute)

    def _join(self, node: Json) -> Json:
        separator, parts = _sequence(node, "Fn::Join")
        return as_text(separator).join(as_text(part) for part in _sequence(self.value(parts), "Fn::Join"))

    def _select(self, node: Json) -> Json:
        index, parts = _sequence(node, "Fn::Select")
        return _sequence(self.value(parts), "Fn::Select")[int(self.text(index))]

    def _split(self, node: Json) -> Json:
        separator, text = _sequence(node, "Fn::Split")
        return list(self.text(text).split(as_text(separator)))

    def _sub(self, node: Json) -> Json:
        match node:
            case str(text):
                own: dict[str, Json] = {}
            case [str(text), dict(own)]:
                pass
            case _:
                raise TemplateError(f"Fn::Sub wants a text, or a text and a map, not {node}")

        def replace(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return "${" + name + "}"
            if name in own:
                return self.text(own[name])
            if "." in name:
                return as_text(self._get_att(name))
            return as_text(self._ref(name))

        return _VARIABLE.sub(replace, text)


def as_text(value: Json) -> str:
    """Return a scalar as CloudFormation writes it into a string. Raises TemplateError for a list, a map or nothing."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
        case _:
            raise TemplateError(f"A text is needed, not {value}")


def _sequence(node: Json, function: str) -> Sequence[Json]:
    if not isinstance(node, list):
        raise TemplateError(f"{function} wants a list, not {node}")
    return node
