"""What pydantic found wrong with a document, in the words of the person who wrote it. Never quotes a value."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from rekey.errors import PlanProblem

Location = tuple[str | int, ...]
_Option = tuple[str | None, object]
"""A type that may stand somewhere, and the tag that chooses it among others."""


def problems_of(error: ValidationError, model: type[BaseModel], document: object) -> list[PlanProblem]:
    """Return every problem with its exact place in the document. `model` is what the document was read as."""
    found: list[PlanProblem] = []
    for item in error.errors(include_input=False, include_url=False):
        place = _place(item["loc"], model)
        said = _said(item, place, _value(document, place.location))
        if item["type"] in _MISSED_TAG:
            found.append(PlanProblem((*place.location, "type"), said))
            found += _whatever_is_meant(place, _value(document, place.location))
        else:
            found.append(PlanProblem(place.location, said))
    # A list whose items are wrong is also "too short": the items' own problems say it better.
    places = [problem.location for problem in found]
    return [
        problem
        for problem in found
        if problem.message != _EMPTY_LIST or not any(_inside(place, problem.location) for place in places)
    ]


def given_twice(values: object, location: Location) -> Iterator[PlanProblem]:
    """Yield every text of a written list that stands in it before already."""
    first: dict[str, int] = {}
    for number, value in enumerate(values if isinstance(values, (list, tuple)) else ()):
        if isinstance(value, str) and first.setdefault(value, number) != number:
            yield PlanProblem((*location, number), f"given twice: it is [{first[value]}] already")


def _whatever_is_meant(place: "_Place", part: object) -> list[PlanProblem]:
    """Return what else is wrong with a part of unknown type: of the type that was nearly written, else of every one."""
    if not isinstance(part, dict):
        return []
    near = get_close_matches(str(part.get("type")), place.parts, n=1)
    found: list[list[PlanProblem]] = []
    for tag in near or place.parts:
        meant = {**part, "type": tag}
        try:
            place.parts[tag].model_validate_json(json.dumps(meant), strict=True)
        except ValidationError as error:
            problems = problems_of(error, place.parts[tag], meant)
            found.append([PlanProblem((*place.location, *one.location), one.message) for one in problems])
        else:
            return []
    return [one for one in found[0] if all(one in others for others in found)]


def _inside(place: Location, other: Location) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


class _Place(NamedTuple):
    """Where in the document a problem is, and what the model has there."""

    location: Location
    known: Sequence[str]
    """The keys of the part that holds the last step."""
    parts: Mapping[str, type[BaseModel]]
    """The types that may stand there, by their tags."""


def _place(steps: Sequence[str | int], model: type[BaseModel]) -> _Place:
    """Return the place of pydantic's location, without what is no key in it.

    Where a union was entered pydantic names the tag of the branch; for a wrong key of a mapping it adds `[key]`.
    """
    location: Location = ()
    options: list[_Option] = [(None, model)]
    holder: object = None
    for step in steps:
        if len(options) > 1:
            options = [(None, kind) for tag, kind in options if tag == step]
            continue
        if step == "[key]" and get_origin(holder) is dict:
            break
        location = (*location, step)
        holder = options[0][1] if options else None
        options = _options_at(holder, step)
    known = list(holder.model_fields) if isinstance(holder, type) and issubclass(holder, BaseModel) else []
    parts = {tag: kind for tag, kind in options if tag and isinstance(kind, type) and issubclass(kind, BaseModel)}
    return _Place(location, known, parts)


def _options_at(holder: object, step: str | int) -> list[_Option]:
    if isinstance(holder, type) and issubclass(holder, BaseModel):
        field = holder.model_fields.get(str(step))
        return _options(field.annotation) if field else []
    origin = get_origin(holder)
    if origin is tuple:
        return _options(get_args(holder)[0])
    return _options(get_args(holder)[1]) if origin is dict else []


def _options(annotation: object) -> list[_Option]:
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *metadata = get_args(annotation)
        tag = next((data.tag for data in metadata if isinstance(data, Tag)), None)
        return [(tag or own, option) for own, option in _options(kind)]
    if origin in (Union, UnionType):
        return [option for member in get_args(annotation) if member is not NoneType for option in _options(member)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and "type" in annotation.model_fields:
        return [(get_args(annotation.model_fields["type"].annotation)[0], annotation)]
    return [(None, annotation)]


def _value(document: object, location: Location) -> object:
    for step in location:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, (list, tuple)) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document


_EMPTY_LIST = "must not be empty"
_MISSED_TAG = frozenset({"union_tag_invalid", "union_tag_not_found"})

_SAID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "missing",
    "bool_type": lambda _: "must be `true` or `false`",
    "int_type": lambda _: "must be a whole number",
    "tuple_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be keys and values",
    "model_type": lambda _: "must be keys and values",
    "model_attributes_type": lambda _: "must be keys and values",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda context: f"must be at most {context['max_length']} characters long",
    "too_short": lambda _: _EMPTY_LIST,
    "literal_error": lambda context: f"must be {_one_of(_quoted(context['expected']))}",
    "enum": lambda context: f"must be {_one_of(_quoted(context['expected']))}",
    "json_invalid": lambda _: "cannot be read: nested too deeply, or a text that is no Unicode",
}
_TYPES = frozenset({"string_type", "bool_type", "int_type", "tuple_type", "dict_type", "model_type", "enum"})


def _said(item: ErrorDetails, place: _Place, value: object) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _TYPES | {"model_attributes_type", "literal_error"} and value is None:
        return "is empty: write a value, or leave the key out"
    if kind == "string_type":
        return "must be text: put it in quotes" if isinstance(value, (bool, int, float)) else "must be text"
    if kind == "extra_forbidden":
        return _unknown("key", str(item["loc"][-1]), place.known)
    if kind == "union_tag_invalid":
        return _unknown("type", str(context["tag"]), list(place.parts))
    if kind == "union_tag_not_found":
        return f"missing: write {_one_of(list(place.parts))}"
    return _SAID[kind](context) if kind in _SAID else item["msg"].removeprefix("Value error, ")


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"unknown {what}: " + (f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known)}")


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']+)'", text)


def _one_of(names: Sequence[str]) -> str:
    *others, last = [f"`{name}`" for name in names]
    return f"{', '.join(others)} or {last}" if others else last
