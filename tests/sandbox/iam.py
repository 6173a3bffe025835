"""What the functions' roles allow, held against what the functions did.

The sandbox asks no policy while things run. Afterwards `forbidden` says which calls AWS would have denied, `unused`
which rights nobody needed. Looked at are the statements of a function's own role, as the translated template resolves
them; denials by a table, a bus, a bucket or a key stand in those resources' policies and are not looked at here.
How a policy is evaluated: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
and reference_policies_multi-value-conditions.html beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tests.sandbox.aws_intrinsics import Json, TemplateError, as_text
from tests.sandbox.aws_template import mapping
from tests.sandbox.iam_calls import Call, Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tests.sandbox.aws import Cloud
    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.aws_template import Template

Rights: TypeAlias = "Mapping[str, Sequence[Right]]"
"""What each function may do, by its name."""
Made: TypeAlias = "Sequence[tuple[str, Call]]"
"""Calls, each with the name of the function that made it."""

NOT_LOOKED_AT = frozenset({"dynamodb:Attributes", "dynamodb:Select"})
"""Keys of conditions that count as met: which attributes a request touches is not read off it."""
_KNOWN = frozenset({"Sid", "Effect", "Action", "Resource", "Condition"})


@dataclass(frozen=True, slots=True)
class Right:
    """One action that one statement allows. `condition` is the statement's: operator → key → values."""

    statement: str
    action: str
    resources: tuple[str, ...]
    condition: Mapping[str, Mapping[str, tuple[str, ...]]]

    def allows(self, call: Call) -> bool:
        """Whether it allows a call. Raises TemplateError for a condition that is not known here."""
        return (
            _matches(self.action.lower(), call.action.lower())
            and any(_matches(resource, call.resource) for resource in self.resources)
            and all(
                key in NOT_LOOKED_AT or _holds(operator, values, call.context.get(key, ()))
                for operator, keys in self.condition.items()
                for key, values in keys.items()
            )
        )


def rights_of(template: Template) -> Rights:
    """Return what every function may do. Raises TemplateError for a policy that is not understood."""
    managed = {
        template.ref(logical_id): list(_rights(properties["PolicyDocument"]))
        for logical_id, _, properties in template.of_type("AWS::IAM::ManagedPolicy")
    }
    roles: dict[str, list[Right]] = {}
    for logical_id, _, properties in template.of_type("AWS::IAM::Role"):
        own = [mapping(policy)["PolicyDocument"] for policy in _list(properties.get("Policies", []))]
        roles[template.attribute(logical_id, "Arn")] = [right for document in own for right in _rights(document)]
        for attached in _list(properties.get("ManagedPolicyArns", [])):
            if as_text(attached) not in managed:
                raise TemplateError(f"What {attached} allows does not stand in the template")
            roles[template.attribute(logical_id, "Arn")] += managed[as_text(attached)]
    return {
        name: roles[as_text(properties["Role"])] for _, name, properties in template.of_type("AWS::Lambda::Function")
    }


def made_in(cloud: Cloud, requests: Iterable[AwsRequest]) -> Made:
    """Return what the functions called in these requests of a stack. Raises UnknownCallError."""
    reader = Calls(cloud.template, cloud.place)
    functions = {process.caller: process.function for process in list(cloud.lambdas.processes)}
    return [
        (functions[request.caller], call)
        for request in list(requests)
        if request.caller in functions
        for call in reader.of(request)
    ]


def forbidden(rights: Rights, made: Made) -> list[str]:
    """Name every call that no statement of the function's role allows: function, action, resource."""
    return sorted(
        {
            f"{function} may not {call.action} on {call.resource}"
            for function, call in made
            if not any(right.allows(call) for right in rights[function])
        }
    )


def unused(rights: Rights, made: Made) -> set[tuple[str, str, str]]:
    """Return the rights that allow none of these calls: the function's short name, the statement, the action."""
    calls: dict[str, list[Call]] = {function: [] for function in rights}
    for function, call in made:
        calls[function].append(call)
    return {
        (function.rpartition("-")[2], right.statement, right.action)
        for function, held in rights.items()
        for right in held
        if not any(right.allows(call) for call in calls[function])
    }


def _rights(document: Json) -> Iterator[Right]:
    for found in _list(mapping(document)["Statement"]):
        statement = mapping(found)
        if set(statement) - _KNOWN or statement["Effect"] != "Allow":
            raise TemplateError(f"Not a statement that is understood here: {statement}")
        condition = {
            operator: {key: _texts(values) for key, values in mapping(keys).items()}
            for operator, keys in mapping(statement.get("Condition", {})).items()
        }
        for action in _texts(statement["Action"]):
            yield Right(as_text(statement.get("Sid", "")), action, _texts(statement["Resource"]), condition)


def _holds(operator: str, wanted: Sequence[str], given: Sequence[str]) -> bool:
    """Whether a condition's key, with the values that the call gives it, is as a policy wants it."""
    if operator == "Null":
        return wanted == (str(not given).lower(),)
    for_all = operator.startswith("ForAllValues:")
    if_exists = operator.endswith("IfExists")
    compare = _COMPARISONS.get(operator.removeprefix("ForAllValues:").removesuffix("IfExists"))
    if compare is None:
        raise TemplateError(f"The condition {operator} is not understood here")
    if not given:
        return for_all or if_exists
    return all(any(compare(pattern, value) for pattern in wanted) for value in given)


def _matches(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, in which `*` is any text and `?` any character."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(one, re.escape(one)) for one in pattern), text, re.DOTALL) is not None


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {"StringEquals": str.__eq__, "StringLike": _matches}


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(as_text(one) for one in _list(value))


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
