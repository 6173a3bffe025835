"""Reads template.yaml as `sam deploy` would: translated from SAM, with its parameters, into the parts of one stack.

No network and no account are needed. Nothing is skipped in silence: an intrinsic function, a resource type or a
property the sandbox does not know is a TemplateError.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from tests.sandbox import aws_kinds
from tests.sandbox.aws_intrinsics import Json, Resolver, TemplateError, as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.sandbox.aws_kinds import Place

# `sam package` replaces a local path by the bucket and key it uploaded to. This bucket stands for our own folder.
LOCAL = "beside-the-template"
_LOCAL_PATHS = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Serverless::StateMachine": "DefinitionUri",
}


class _ManagedPolicies(dict[str, str]):
    """Names of AWS managed policies to ARNs, without asking IAM."""

    def __missing__(self, name: str) -> str:
        return f"arn:aws:iam::aws:policy/{name}"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and not name.startswith("arn:")


class Template:
    """A translated template with its parameters, whose resources can be asked for by type.

    `place` says where the stack is. Raises TemplateError for a parameter that does not exist, has no value, or has one
    that its declaration forbids.
    """

    def __init__(self, path: Path, place: Place, overrides: Mapping[str, str]) -> None:
        self.folder = path.parent
        self.names: dict[str, str] = {}
        """Physical names of resources that AWS names itself (a KMS key's id), by logical id; filled by who creates."""
        self._place = place
        source = _packaged(yaml_parse(path.read_text("utf-8")))
        self.parameters = _parameters(mapping(source.get("Parameters", {})), overrides)
        session = boto3.Session(region_name=place.region)
        translator = Translator(_ManagedPolicies(), Parser(), boto_session=session)
        translated = translator.translate(source, parameter_values=dict(self.parameters))
        translator.metrics.publish()  # to nowhere; it logs a warning about metrics that were not
        self._resolver = Resolver(
            ref=self._any_ref,
            attribute=self.attribute,
            conditions=mapping(translated.get("Conditions", {})),
            mappings=mapping(translated.get("Mappings", {})),
        )
        self._active = {
            logical_id: mapping(resource)
            for logical_id, resource in mapping(translated["Resources"]).items()
            if "Condition" not in (body := mapping(resource)) or self._resolver.condition(as_text(body["Condition"]))
        }
        self._outputs = mapping(translated.get("Outputs", {}))

    def of_type(self, resource_type: str) -> Iterator[tuple[str, str, dict[str, Json]]]:
        """Yield logical id, name and resolved properties of every resource of this type that the conditions leave."""
        for logical_id, resource in self._active.items():
            if resource["Type"] == resource_type:
                properties = mapping(self._resolver.value(resource.get("Properties", {})))
                yield logical_id, self._name(logical_id), properties

    def check(self) -> None:
        """Resolve every resource and output, also of the types the sandbox does not create. Raises TemplateError."""
        for resource in self._active.values():
            aws_kinds.kind_of(as_text(resource["Type"]))
            self._resolver.value(resource.get("Properties", {}))
        self.outputs()

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs as text."""
        return {
            name: self._resolver.text(body["Value"])
            for name, output in self._outputs.items()
            if "Condition" not in (body := mapping(output)) or self._resolver.condition(as_text(body["Condition"]))
        }

    def ref(self, logical_id: str) -> str:
        """Return what `Ref` gives for a resource. Raises TemplateError for one that is not in the stack."""
        return aws_kinds.ref(self._kind(logical_id), self._name(logical_id), self._place)

    def attribute(self, logical_id: str, attribute: str) -> str:
        """Return what `Fn::GetAtt` gives for a resource. Raises TemplateError for what the sandbox does not know."""
        return aws_kinds.attribute(self._kind(logical_id), self._name(logical_id), attribute, self._place)

    def _kind(self, logical_id: str) -> aws_kinds.Kind:
        return aws_kinds.kind_of(as_text(self._resource(logical_id)["Type"]))

    def _name(self, logical_id: str) -> str:
        kind = self._kind(logical_id)
        if logical_id in self.names:
            return self.names[logical_id]
        named = mapping(self._resource(logical_id).get("Properties", {})).get(kind.named_by or "")
        if named is not None:
            return self._resolver.text(named)
        name = f"{self._place.stack}-{logical_id}"
        return name.lower() if kind.lower_case else name

    def _resource(self, logical_id: str) -> dict[str, Json]:
        if logical_id not in self._active:
            raise TemplateError(f"There is no parameter or resource {logical_id} in the stack")
        return self._active[logical_id]

    def _any_ref(self, name: str) -> Json:
        place = self._place
        pseudo = {
            "AWS::AccountId": place.account,
            "AWS::Partition": place.partition,
            "AWS::Region": place.region,
            "AWS::StackId": f"arn:aws:cloudformation:{place.region}:{place.account}:stack/{place.stack}",
            "AWS::StackName": place.stack,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            value = self.parameters[name]
            return list(value) if isinstance(value, list) else value
        return self.ref(name)


def _packaged(source: Json) -> dict[str, Json]:
    document = mapping(source)
    shared = mapping(mapping(document.get("Globals", {})).get("Function", {}))
    bodies = [("AWS::Serverless::Function", shared)] if "CodeUri" in shared else []
    for resource in mapping(document.get("Resources", {})).values():
        body = mapping(resource)
        bodies.append((as_text(body["Type"]), mapping(body.get("Properties", {}))))
    for resource_type, properties in bodies:
        key = _LOCAL_PATHS.get(resource_type, "")
        if isinstance(path := properties.get(key), str):
            properties[key] = {"Bucket": LOCAL, "Key": path}
    return document


def _parameters(declared: Mapping[str, Json], overrides: Mapping[str, str]) -> dict[str, str | list[str]]:
    if unknown := set(overrides) - set(declared):
        raise TemplateError(f"The template has no parameters {sorted(unknown)}")
    values: dict[str, str | list[str]] = {}
    for name, declaration in declared.items():
        body = mapping(declaration)
        given = overrides.get(name, body.get("Default"))
        if given is None:
            raise TemplateError(f"The parameter {name} has no default and no value was given")
        text = as_text(given)
        _check_parameter(name, body, text)
        is_list = as_text(body["Type"]) in {"CommaDelimitedList", "List<String>"}
        values[name] = [part.strip() for part in text.split(",")] if is_list else text
    return values


def _check_parameter(name: str, body: Mapping[str, Json], text: str) -> None:
    allowed = body.get("AllowedValues")
    if isinstance(allowed, list) and text not in map(as_text, allowed):
        raise TemplateError(f"The parameter {name} must be one of {allowed}, not {text!r}")
    if "AllowedPattern" in body and not re.fullmatch(as_text(body["AllowedPattern"]), text):
        raise TemplateError(f"The parameter {name} does not match its AllowedPattern: {text!r}")
    if body["Type"] == "Number":
        number = float(text)
        if "MinValue" in body and number < float(as_text(body["MinValue"])):
            raise TemplateError(f"The parameter {name} must be at least {body['MinValue']}, not {text}")
        if "MaxValue" in body and number > float(as_text(body["MaxValue"])):
            raise TemplateError(f"The parameter {name} must be at most {body['MaxValue']}, not {text}")


def mapping(value: object) -> dict[str, Json]:
    """Return `value` if it is a mapping. Raises TemplateError."""
    if not isinstance(value, dict):
        raise TemplateError(f"A mapping is needed, not {value}")
    return cast("dict[str, Json]", value)
