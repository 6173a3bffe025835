"""What the report's page is made of: typed reading of the evidence, words for people, and small pieces of HTML.

Whatever goes into a piece of HTML is escaped there, in the function that makes the piece.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from rekey.model.moment import parse

Document = Mapping[str, object]
Tone = Literal["good", "warn", "bad", "plain"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_PLURALS = {"repository": "repositories"}


def text(document: Document, field: str) -> str:
    """Return a field as text: empty where it is missing or null."""
    value = document.get(field)
    return "" if value is None else str(value)


def texts(document: Document, field: str) -> list[str]:
    """Return a list of texts: empty where it is missing."""
    value = document.get(field)
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


def count(document: Document, field: str) -> int:
    """Return a number: 0 where it is missing."""
    value = document.get(field)
    return value if isinstance(value, int) else 0


def seconds(document: Document, field: str) -> float | None:
    """Return a number of seconds: None where it is missing, or is no number."""
    value = document.get(field)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def part(document: Document, field: str) -> Document:
    """Return a document within a document: empty where it is missing."""
    value = document.get(field)
    return value if isinstance(value, Mapping) else {}


def rows(document: Document, field: str) -> list[Document]:
    """Return a list of documents: empty where it is missing."""
    value = document.get(field)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def words(name: str) -> str:
    """Return a name of ours as people write it: `needs_attention` → needs attention."""
    return name.replace("_", " ")


def number(amount: int, noun: str) -> str:
    """Return `1 tag`, `2 tags`."""
    return f"{amount} {noun if amount == 1 else _PLURALS.get(noun, f'{noun}s')}"


def duration(length: float) -> str:
    """Return so many seconds in the two units that matter."""
    if length < _MINUTE:
        return f"{length:.1f} s"
    whole = round(length)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def offset(passed: timedelta) -> str:
    """Return how long after the beginning something was, or before it."""
    return ("+" if passed >= timedelta(0) else "\N{MINUS SIGN}") + duration(abs(passed.total_seconds()))


def moment(value: str) -> datetime | None:
    """Return a time of the evidence, or None where there is none."""
    try:
        return parse(value)
    except ValueError:
        return None


def escaped(value: str) -> str:
    """Return a text as it may stand anywhere in HTML."""
    return html.escape(value)


def time_tag(value: str) -> str:
    """Return a time as HTML: to the millisecond, in UTC."""
    at = moment(value)
    if at is None:
        return escaped(value)
    shown = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return f'<time datetime="{escaped(value)}">{shown}Z</time>'


def mark(value: str, tone: Tone) -> str:
    """Return a word in the colour of what it means. The sign beside it says the same without colours."""
    return f'<span class="mark {tone}">{escaped(value)}</span>'


def fact(title: str, value: str, tone: Tone, note: str = "", at: str = "") -> str:
    """Return one fact: what, how it is, and what goes with it."""
    lines = [f"<dt>{escaped(title)}</dt>", f'<dd class="value {tone}">{escaped(value)}</dd>']
    if note:
        lines.append(f'<dd class="soft">{escaped(note)}</dd>')
    if at:
        lines.append(f'<dd class="soft">{time_tag(at)}</dd>')
    return f"<div>{''.join(lines)}</div>"


@dataclass(frozen=True)
class Cell:
    """One cell of a table, as HTML that is escaped already."""

    markup: str

    @classmethod
    def of(cls, value: str) -> "Cell":
        """Return a cell with a text."""
        return cls(escaped(value))


def table(title: str, columns: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    """Return a section with a table. The first cell of a line names it. Nothing where there are no lines."""
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{escaped(column)}</th>' for column in columns)
    body = "\n".join(f"<tr>{_cells(columns, line)}</tr>" for line in lines)
    return (
        f"<section><h2>{escaped(title)}</h2>\n<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
        "</section>"
    )


def _cells(columns: Sequence[str], line: Sequence[Cell]) -> str:
    first, *others = [
        f'data-label="{escaped(column)}">{cell.markup}' for column, cell in zip(columns, line, strict=True)
    ]
    return f'<th scope="row" {first}</th>' + "".join(f"<td {other}</td>" for other in others)


def bullets(title: str, items: Sequence[str]) -> str:
    """Return a section with a list. Nothing where there are no items."""
    if not items:
        return ""
    inside = "".join(f"<li>{escaped(item)}</li>" for item in items)
    return f"<section><h2>{escaped(title)}</h2><ul>{inside}</ul></section>"
