"""Shows the demo: on a terminal a display that updates, in a log one line an event."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tests.sandbox.demo_watch import STEPS, Happening, Tone, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rekey.model.verdict import Receipt
    from tests.sandbox.demo_checks import Check
    from tests.sandbox.demo_places import Place

_STYLES: Mapping[Tone, str] = {"good": "green", "warn": "yellow", "bad": "red", "plain": ""}
_LOG_WIDTH: Final = 160
_EVENTS_SHOWN = 8
_LONGEST_EVENT = len("Credential Compromised")


class View:
    """Says things, and shows a watch while it lasts."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console = Console(highlight=False, markup=False, emoji=False, width=_LOG_WIDTH)

    def say(self, text: str, tone: Tone = "plain") -> None:
        """Say one thing."""
        self.console.print(Text(text, _STYLES[tone]), soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something by the way."""
        self.console.print(Text(text, "dim"), soft_wrap=True)

    def title(self, text: str) -> None:
        """Begin a part."""
        self.console.print()
        self.console.print(Text(text, "bold"), soft_wrap=True)

    @contextmanager
    def showing(self, watch: Watch, places: Sequence[Place]) -> Iterator[None]:
        """Show a watch; `refresh` brings it up to date. What was shown last stays."""
        self._watch, self._places = watch, places
        self._width = max(_LONGEST_EVENT, *(len(place.name) for place in places))
        self._seen: list[Happening] = []
        self._live: Live | None = None
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=10, get_renderable=self._picture) as live:
            self._live = live
            yield
        self._live = None

    def refresh(self, *, last: bool = False) -> None:
        """Show what is new. `last`: all of it, also what happened just now."""
        fresh = self._watch.take(everything=last)
        self._seen += fresh
        if self._live is None:
            for one in fresh:
                self.console.print(self._line(one, self._width), soft_wrap=True)

    def checks(self, checks: Sequence[Check]) -> None:
        """Show the claims: what the evidence says, and what the demo saw itself."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("", "CLAIM", "EVIDENCE SAYS", "SEEN FROM OUTSIDE"):
            table.add_column(column, no_wrap=column in ("", "CLAIM"))  # a name stays whole, what is said of it wraps
        for one in checks:
            style = "green" if one.passed else "red"
            sign = "✓" if one.passed else "✗"
            seen = one.seen if one.agrees else f"{one.seen}  (DISAGREES)"
            table.add_row(
                Text(sign, style),
                Text(one.claim),
                Text(one.evidence or "\N{EN DASH}"),
                Text(seen, "" if one.passed else style),
            )
        self.console.print(table)
        self.console.print()

    def _line(self, one: Happening, width: int) -> Text:
        passed = (one.at - self._watch.began).total_seconds()
        line = Text(f"{max(passed, 0):7.2f} s  ")
        line.append(f"{one.kind:9}", "dim")
        line.append(f"{one.name:{width}}", "bold" if one.kind in ("step", "end") else "")
        line.append(f"  {one.said}" if one.said else "", _STYLES[one.tone])
        line.rstrip()
        return line

    def _picture(self) -> Group:
        """Return the display of a terminal: steps, consumers, events."""
        events = [one for one in self._seen if one.kind not in ("step", "consumer")][-_EVENTS_SHOWN:]
        parts: list[RenderableType] = [
            self._steps(),
            self._consumers(),
            Group(*(_in_one_line(self._line(one, _LONGEST_EVENT)) for one in events)),
        ]
        return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))

    def _steps(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=1, no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        now = datetime.now(UTC)
        for name, step in self._watch.steps.items():
            if step.began is None:
                table.add_row(Text("·", "dim"), Text(name, "dim"), "", "")
                continue
            took = f"{((step.ended or now) - step.began).total_seconds():.1f} s"
            sign = Text("✓", "green") if step.ended else self._spinner
            table.add_row(sign, Text(name, "bold"), took, _in_one_line(Text(STEPS[name])))
        return table

    @property
    def _spinner(self) -> Spinner | Text:
        if self._watch.ended:
            return Text("✗", "red")
        return _SPINNER

    def _consumers(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        kinds = max(len(place.type) for place in self._places)
        for width in (1, self._width, kinds):
            table.add_column(no_wrap=True, width=width)
        table.add_column()
        for place in self._places:
            *names, said = _standing(place, self._watch.receipts.get(place.name))
            table.add_row(*names, _in_one_line(said))
        return table


_SPINNER = Spinner("dots", style="cyan")


def _in_one_line(line: Text) -> Text:
    """Return a text that is cut where a terminal is too narrow. Only a column that may wrap gives way to the others."""
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _standing(place: Place, receipt: Receipt | None) -> tuple[Text, ...]:
    """Return one consumer's line."""
    if receipt is None:
        return Text("·", "dim"), Text(place.name), Text(place.type, "dim"), Text("has the old one", "dim")
    outcome = receipt.outcome
    sign, style = ("✓", "green") if outcome.done else ("…", "yellow") if outcome.left else ("✗", "red")
    verdict = "" if receipt.verdict.value == "unknown" else f", {receipt.verdict.value}"
    said = f"{outcome.value}{verdict}{f': {receipt.reason}' if receipt.reason else ''}"
    return Text(sign, style), Text(place.name), Text(place.type, "dim"), Text(said, style)
