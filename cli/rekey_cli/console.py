"""How Rekey talks in a terminal: data on stdout, talk on stderr, colours only where a person sees them.

Exit codes, in the spirit of `gh help exit-codes`: 0 done, 1 failed, 2 the command was not understood, 4 not signed in
to AWS, 8 not over yet (a person is to do something), 130 interrupted.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import typer
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rekey.errors import PlanInvalid, RekeyError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ExitCode(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_SIGNED_IN = 4
    NOT_OVER = 8


class NotSignedIn(RekeyError):
    """There are no AWS credentials, or they are no longer good."""


def _console(*, stderr: bool = False) -> Console:
    # Made anew each time: stdout may be another one by now, and whether it is a terminal is asked when it is made.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def plain(text: str) -> str:
    """Return a text without control characters: nothing from outside may steer the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def say(text: str, sign: str = "", style: str = "") -> None:
    """Tell the person something, on stderr."""
    _console(stderr=True).print(Text.assemble((f"{sign} " if sign else "", style), plain(text)))


def done(text: str) -> None:
    """Say that something went well."""
    say(text, "✓", "green")


def warn(text: str) -> None:
    """Say what a person should know though it stops nothing."""
    say(text, "!", "yellow")


def failed(text: str) -> None:
    """Say what went wrong."""
    say(text, "✗", "red")


def put(text: str) -> None:
    """Write one line of data, on stdout."""
    typer.echo(plain(text))


def put_json(document: object) -> None:
    """Write JSON on stdout: indented for a person, one line for a program."""
    terminal = _console().is_terminal
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2 if terminal else None))


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str] | None = None) -> None:
    """Write rows on stdout: a table for a person, lines with tabs and without a header for a program.

    A person does not see columns with nothing in them. `styles`: the colour of a cell with this text.
    """
    console = _console()
    if not console.is_terminal:
        for row in rows:
            put("\t".join(" ".join(plain(cell).split()) for cell in row))
        return
    shown = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number in shown:
        table.add_column(columns[number].upper(), no_wrap=number < len(columns) - 1)
    for row in rows:
        table.add_row(*[Text(plain(row[number]), (styles or {}).get(row[number], "")) for number in shown])
    console.print(table, soft_wrap=False)


def put_facts(facts: Sequence[tuple[str, str]], styles: Mapping[str, str] | None = None) -> None:
    """Write names and values on stdout: in columns for a person, with a tab between for a program."""
    console = _console()
    width = max(len(name) for name, _ in facts) + 2
    for name, value in facts:
        if console.is_terminal:
            label = (f"{name}:".ljust(width), "dim")
            console.print(Text.assemble(label, (plain(value), (styles or {}).get(value, ""))))
        else:
            put(f"{name}:\t{' '.join(plain(value).split())}")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr that something is going on, if it is a terminal. Yields what says a line above it."""
    console = _console(stderr=True)

    def line(said: str) -> None:
        console.print(Text(plain(said)))

    if not console.is_terminal:
        yield line
        return
    with console.status(Text(plain(text), "dim")):
        yield line


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago something was, or in how long it will be, in one unit."""
    passed = (now or datetime.now(UTC)) - moment
    size = abs(passed)
    for name, unit in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if size >= unit:
            count = size // unit
            said = f"{count} {name}{'s' if count > 1 else ''}"
            return f"{said} ago" if passed > timedelta(0) else f"in {said}"
    return "just now" if passed >= timedelta(0) else "in a moment"


@contextmanager
def told() -> Iterator[None]:
    """Turn whatever a command raises into a message for a person and an exit code: never a traceback."""
    try:
        yield
    except NotSignedIn as error:
        failed(str(error))
        raise typer.Exit(ExitCode.NOT_SIGNED_IN) from None
    except PlanInvalid as error:
        failed("the plan cannot be used")
        for problem in error.problems:
            say(f"  {problem}")
        raise typer.Exit(ExitCode.FAILED) from None
    except RekeyError as error:
        failed(str(error))
        raise typer.Exit(ExitCode.FAILED) from None
    except BotoCoreError as error:
        failed(f"AWS cannot be used as it is set up here: {type(error).__name__}")
        raise typer.Exit(ExitCode.FAILED) from None
    except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
        raise  # typer's own ways out
    except Exception as error:  # noqa: BLE001 (the last line of defence: its text may quote what must not be shown)
        failed(defect(error))
        raise typer.Exit(ExitCode.FAILED) from None


def defect(error: Exception) -> str:
    """Return what to say of an exception nobody expected: where it came from, never with what values."""
    from rekey.observability import places  # noqa: PLC0415 (needed when all else failed)

    where = places(error)[-1:] or ["nowhere"]
    return f"a fault in Rekey itself: {type(error).__name__} at {where[0]}. Please report it with this line"
