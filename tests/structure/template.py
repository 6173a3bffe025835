"""Reads template.yaml, as it is written and as SAM translates it for CloudFormation."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from tests.structure.asl import ROOT

Node: TypeAlias = dict[str, Any]

TEMPLATE = ROOT / "template.yaml"
_LOCAL = ("CodeUri", "ContentUri", "DefinitionUri")
_NAMED = re.compile(r"\$\{(?!!)([\w:.]+)\}")


@dataclass(frozen=True)
class Template:
    """The template as it is written. Everything asked of `resources` is asked of its translation."""

    source: Node

    @cached_property
    def body(self) -> Node:
        """What CloudFormation gets."""
        packaged = copy.deepcopy(self.source)
        for resource in packaged["Resources"].values():
            for field in _LOCAL:
                if field in resource.get("Properties", {}):
                    resource["Properties"][field] = "s3://bucket/key"
        session = boto3.Session(region_name="eu-central-1")
        translated: Node = Translator({}, Parser(), boto_session=session).translate(packaged, parameter_values={})
        return translated

    def resources(self, kind: str) -> dict[str, Node]:
        """Return the resources of a type, by logical id."""
        return {name: body for name, body in self.body["Resources"].items() if body["Type"] == kind}

    def properties(self, kind: str) -> dict[str, Node]:
        """Return the properties of the resources of a type, by logical id."""
        return {name: body.get("Properties", {}) for name, body in self.resources(kind).items()}

    def functions(self) -> dict[str, Node]:
        """Return the functions' properties by their short names, such as `reset`."""
        properties = self.properties("AWS::Lambda::Function").values()
        return {body["FunctionName"]["Fn::Sub"].rpartition("-")[2]: body for body in properties}

    def default(self, parameter: str) -> str:
        """Return a parameter's default as CloudFormation passes it on."""
        return str(self.source["Parameters"][parameter]["Default"])

    def substitutions(self) -> dict[str, str]:
        """Return what the state machine's placeholders stand for: defaults of parameters, and a name for an ARN."""
        given = self.source["Resources"]["RotationMachine"]["Properties"]["DefinitionSubstitutions"]
        return {
            name: self.default(value["Ref"])
            if "Ref" in value
            else f"arn:aws:lambda:::function:{value['Fn::GetAtt'][0]}"
            for name, value in given.items()
        }

    def changed(self, change: Callable[[Node], object]) -> "Template":
        """Return a copy of the template with something else written in it."""
        source = copy.deepcopy(self.source)
        change(source)
        return Template(source)


def load() -> Template:
    """Return template.yaml."""
    return Template(yaml_parse(TEMPLATE.read_text("utf-8")))


def references(node: object) -> Iterator[str]:
    """Yield the name of every parameter, resource and pseudo parameter that a part of a template refers to."""
    if isinstance(node, list):
        for child in node:
            yield from references(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from _named_by(key, child)


def _named_by(key: str, child: Any) -> Iterator[str]:  # noqa: ANN401 (whatever stands under the key)
    match key, child:
        case "Ref", str(name):
            yield name
        case "Fn::GetAtt", name:
            yield name[0] if isinstance(name, list) else name.partition(".")[0]
        case "DependsOn", needed:
            yield from [needed] if isinstance(needed, str) else needed
        case "Fn::Sub", str(text):
            yield from (name.partition(".")[0] for name in _NAMED.findall(text))
        case "Fn::Sub", [str(text), dict(own)]:
            yield from (part for name in _NAMED.findall(text) if (part := name.partition(".")[0]) not in own)
            yield from references(own)
        case _:
            yield from references(child)
