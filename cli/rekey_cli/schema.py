"""The JSON Schema of a plan, for editors and CI.

The description of each key is the docstring under its field in rekey/model/plan.py. They are read from the source
here: pydantic could keep them on the models, at the price of parsing the source in every function's cold start.
"""

import ast
import inspect
import json
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from rekey.model import plan


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plan document."""
    schema = plan.Plan.model_json_schema(schema_generator=_Generate)
    documented = _docstrings(inspect.getsource(plan))
    for name, part in schema["$defs"].items():
        _describe(part, _fields(getattr(plan, name, None), documented))
    _describe(schema, _fields(plan.Plan, documented))
    del schema["title"]
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": "Rekey plan", **schema}


def render() -> str:
    """Return the schema as it is committed (plan.schema.json)."""
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"


def _docstrings(source: str) -> dict[str, dict[str, str]]:
    """Return class → field → the docstring under it."""
    return {
        node.name: {
            field.target.id: inspect.cleandoc(text.value.value)
            for field, text in zip(node.body, node.body[1:], strict=False)
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }


def _fields(model: object, documented: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the docstrings of a model's fields, those of its bases included."""
    found: dict[str, str] = {}
    if isinstance(model, type) and issubclass(model, BaseModel):
        for base in reversed(model.__mro__):
            found |= documented.get(base.__name__, {})
    return found


def _describe(part: dict[str, Any], fields: dict[str, str]) -> None:
    for name, text in fields.items():
        part["properties"][name]["description"] = text


class _Generate(GenerateJsonSchema):
    """Leaves out what says nothing to a person: titles made of names, and defaults that mean "nothing given"."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 (pydantic asks per schema)
        """Return False: an editor would show `Registry Id` beside `registry_id`."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema with its default, if that is a single value."""
        said = super().default_schema(schema)
        if said.get("default") is None or isinstance(said["default"], (dict, list)):
            said.pop("default", None)
        return said

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 (pydantic's own signature)
        """Return a default as a person writes it."""
        return f"{int(dft.total_seconds())}s" if isinstance(dft, timedelta) else super().encode_default(dft)
