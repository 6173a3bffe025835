"""A plan as a person writes it: YAML in, JSON out, with the line of every key.

Scalars are read as YAML 1.2's core schema has them (https://yaml.org/spec/1.2.2/#103-core-schema), as editors do:
`on`, `yes` and dates are text, only `true` and `false` are truth values. What YAML has beyond JSON (anchors, aliases,
tags, several documents) is refused, since a reader would have to work it out.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from rekey.errors import InputInvalid, PlanInvalid, PlanProblem
from rekey.model.plan import PLAN_LIMIT, Plan, read

Location = tuple[str | int, ...]
_DEEPEST = 20
_LONGEST_NUMBER = 15
"""Digits: every JSON reader keeps so many exactly."""
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Finding:
    """One problem of a plan file, with its line."""

    file: str
    line: int
    problem: PlanProblem

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-ready values."""
        return {"file": self.file, "line": self.line, "key": self.problem.key, "problem": self.problem.message}


@dataclass(frozen=True)
class Checked:
    """What is in a plan file: a plan, or why it is none."""

    file: str
    document: object = None
    plan: Plan | None = None
    findings: tuple[Finding, ...] = ()
    line: int = 1
    """Where the registry's name stands."""


def check(path: Path) -> Checked:
    """Return the plan in a file, or every problem it has, by line. Raises InputInvalid where it cannot be opened."""
    reader = _Reader()
    document, plan = None, None
    try:
        document = reader.document(_text(path))
        plan = read(document)
    except _BadYaml as bad:
        reader.note(bad.line, bad.location, bad.message)
    except PlanInvalid as invalid:
        for problem in invalid.problems:
            above = [problem.location[:length] for length in range(1, len(problem.location) + 1)]
            if reader.unread.isdisjoint(above) and problem.location not in reader.lacking:
                reader.problems.append((reader.line(problem.location), problem))
    if reader.problems:
        findings = [Finding(str(path), line, problem) for line, problem in reader.problems]
        return Checked(str(path), document, findings=tuple(sorted(findings, key=lambda one: one.line)))
    return Checked(str(path), document, plan, line=reader.line(("registry", "name")))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(PLAN_LIMIT + 1)
    except OSError as error:
        raise InputInvalid(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    if len(raw) > PLAN_LIMIT:
        raise _BadYaml(1, f"is longer than {PLAN_LIMIT // 1024} kB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _BadYaml(raw[: error.start].count(b"\n") + 1, "is not UTF-8") from None


class _BadYaml(Exception):
    """The text cannot be read on from here."""

    def __init__(self, line: int, message: str, location: Location = ()) -> None:
        super().__init__(message)
        self.line, self.message, self.location = line, message, location


class _Reader:
    """Reads one document from YAML's events: they say what a composed node does not (anchors, tags, each key)."""

    def __init__(self) -> None:
        self.lines: dict[Location, int] = {}
        self.problems: list[tuple[int, PlanProblem]] = []
        self.unread: set[Location] = set()
        """Places whose value is not what was written: what is said of it would be said of something else."""
        self.lacking: set[Location] = set()
        """Mappings of which a key was passed over: they may look empty."""

    def document(self, text: str) -> object:
        """Return the document. Raises _BadYaml where it cannot be read to its end."""
        try:
            events = yaml.parse(text, Loader=yaml.SafeLoader)
            return self._stream(events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise _BadYaml(mark.line + 1 if mark else 1, _said(error)) from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise _BadYaml(line, "holds a character that YAML does not allow") from None

    def _stream(self, events: Iterator[yaml.Event]) -> object:
        first = next(event for event in events if not isinstance(event, yaml.StreamStartEvent))
        if not isinstance(first, yaml.DocumentStartEvent):
            raise _BadYaml(1, "is empty")
        document = self._value(events, next(events), ())
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise _BadYaml(_line(event), "a second document begins here: one file is one plan")
        return document

    def _value(self, events: Iterator[yaml.Event], event: yaml.Event, location: Location) -> object:
        self.lines.setdefault(location, _line(event))
        if isinstance(event, yaml.AliasEvent):
            self.note(_line(event), location, "an alias (`*name`): write the value out")
            return None
        self._plain(event, location)
        if len(location) > _DEEPEST:
            raise _BadYaml(_line(event), "nested too deeply", location[:1])
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, location)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, location)
        if not isinstance(event, yaml.ScalarEvent):
            raise TypeError(f"YAML's parser gave {type(event).__name__} where a value begins")
        return self._scalar(event, location)

    def _mapping(self, events: Iterator[yaml.Event], location: Location) -> dict[str, object]:
        found: dict[str, object] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                wrong = PlanProblem(location, "a key must be text, not a list, a mapping or an alias")
                self.problems.append((_line(event), wrong))
                self.lacking.add(location)
                _skip(events, event)
                _skip(events, next(events))
                continue
            key, place = event.value, (*location, event.value)
            self._plain(event, place)
            if key in found:
                self.note(_line(event), place, f"given twice: first in line {self.lines[place]}")
            self.lines.setdefault(place, _line(event))
            found[key] = self._value(events, next(events), place)
        return found

    def _sequence(self, events: Iterator[yaml.Event], location: Location) -> list[object]:
        found: list[object] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            found.append(self._value(events, event, (*location, len(found))))
        return found

    def _plain(self, event: yaml.Event, location: Location) -> None:
        if getattr(event, "anchor", None) is not None:
            self.note(_line(event), location, "an anchor (`&name`): leave it out")
        if getattr(event, "tag", None) is not None:
            self.note(_line(event), location, "a tag (`!name`): leave it out, a value is what it looks like")
        if any("\ud800" <= letter <= "\udfff" for letter in getattr(event, "value", "")):
            raise _BadYaml(_line(event), "holds half of a surrogate pair, which is no character", location)

    def _scalar(self, event: yaml.ScalarEvent, location: Location) -> object:
        text = event.value
        if not event.implicit[0]:  # in quotes, a block of text, or tagged
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if not (_INT.fullmatch(text) or _FLOAT.fullmatch(text) or _NO_JSON.fullmatch(text)):
            return text
        number = _number(text)
        if number is None:
            self.note(_line(event), location, "is no number that JSON can hold: put it in quotes if it is text")
        return number

    def note(self, line: int, location: Location, message: str) -> None:
        """Note a problem that leaves a place without what was written there."""
        self.problems.append((line, PlanProblem(location, message)))
        self.unread.add(location)

    def line(self, location: Location) -> int:
        """Return the line of a key; where it is missing, of the nearest one above it."""
        while location not in self.lines and location:
            location = location[:-1]
        return self.lines.get(location, 1)


def _skip(events: Iterator[yaml.Event], event: yaml.Event) -> None:
    """Pass over the rest of what an event begins."""
    depth = 0
    while True:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if not depth:
            return
        event = next(events)


def _number(text: str) -> int | float | None:
    if len(text) > _LONGEST_NUMBER or _NO_JSON.fullmatch(text):
        return None
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    number = int(text) if _INT.fullmatch(text) else float(text)
    return number if math.isfinite(number) else None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _said(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "cannot be read"
    hint = ": indent with spaces" if r"'\t'" in problem else ""
    return f"is not YAML: {problem}{hint}"
