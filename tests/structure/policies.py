"""What the roles of the template allow, read off its policies."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.structure.template import Node, Template


@dataclass(frozen=True)
class Statement:
    """One statement of a policy; resources are texts as JSON says them, so that `in` finds a name in them."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Node = field(default_factory=dict)
    principal: object = None

    def about(self, name: str) -> bool:
        """Whether one of its resources names this resource of the template."""
        return any(f'"{name}"' in resource or f"{name}." in resource for resource in self.resources)


def statements(document: Node) -> Iterator[Statement]:
    """Yield the statements of a policy document; one that stands in an `Fn::If` as if its condition held."""
    listed = document["Statement"]
    for statement in listed if isinstance(listed, list) else [listed]:
        body = statement["Fn::If"][1] if "Fn::If" in statement else statement
        yield Statement(
            effect=body["Effect"],
            actions=tuple(str(action) for action in _listed(body["Action"])),
            resources=tuple(json.dumps(resource) for resource in _listed(body.get("Resource", []))),
            condition=body.get("Condition", {}),
            principal=body.get("Principal"),
        )


def of_role(template: Template, role: Node) -> list[Statement]:
    """Return everything a role allows or denies, in its own policies and the template's that are attached to it."""
    managed = template.properties("AWS::IAM::ManagedPolicy")
    documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
    documents += [managed[attached["Ref"]]["PolicyDocument"] for attached in role.get("ManagedPolicyArns", [])]
    return [statement for document in documents for statement in statements(document)]


def of_functions(template: Template) -> dict[str, list[Statement]]:
    """Return what each function may do, by its short name."""
    roles = template.properties("AWS::IAM::Role")
    return {
        name: of_role(template, roles[function["Role"]["Fn::GetAtt"][0]])
        for name, function in template.functions().items()
    }


def who_may(template: Template, *actions: str, about: str = "") -> set[str]:
    """Return the functions that are allowed one of these actions, on a resource of the template if one is named."""
    return {
        name
        for name, allowed in of_functions(template).items()
        for statement in allowed
        if statement.effect == "Allow" and set(actions) & set(statement.actions)
        if not about or statement.about(about)
    }


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
