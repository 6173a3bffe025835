"""`rekey rotate`: ask for a new password, and follow what comes of it."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from rekey.bus import ASKING
from rekey.errors import Denied, InputInvalid
from rekey.model.request import Reason, request_key
from rekey_cli import console
from rekey_cli.console import ExitCode
from rekey_cli.registry_name import Registry
from rekey_cli.stack import Stack, StackName
from rekey_cli.status import show
from rekey_cli.view import view
from rekey_cli.watch import TAKEN_UP_WITHIN, Seen, follow, look

EXAMPLES = """
$ rekey rotate prod-images
$ rekey rotate prod-images --reason compromised
$ rekey rotate prod-images --no-watch
"""
SOURCE = "console"


class Asked(StrEnum):
    """Why a person asks. A schedule asks by itself."""

    REQUESTED = Reason.REQUESTED
    LOST = Reason.LOST
    PERSONNEL_CHANGE = Reason.PERSONNEL_CHANGE
    COMPROMISED = Reason.COMPROMISED


_REASONS = "{" + "|".join(Asked) + "}"


def _asked(text: str) -> Asked:
    try:
        return Asked(text)
    except ValueError:
        *others, last = Asked
        raise typer.BadParameter(f"must be {', '.join(others)} or {last}") from None


def rotate(  # noqa: PLR0913 (one parameter a flag)
    registry: Registry,
    reason: Annotated[
        Asked,
        typer.Option(
            "--reason",
            "-r",
            metavar=_REASONS,
            parser=_asked,
            autocompletion=lambda: list(Asked),
            help="Why (requested)",
            show_default=False,
        ),
    ] = Asked.REQUESTED,
    stack: StackName = None,
    *,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Follow it to its end (yes)")] = True,
    interval: Annotated[
        float, typer.Option("--interval", "-i", metavar="SECONDS", min=0.01, help="Look so often (2)")
    ] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Output JSON: how it ended")] = False,
) -> None:
    """Ask for a new password, and follow the rotation to its end.

    The old password dies at the reset. Exits with 0 only if everything that uses the password has the new one; with 8
    if a person is to do something first. Leaving with Ctrl-C stops nothing.
    """
    target = Stack(stack)
    _check_accepted(target, registry, reason)
    # A name of its own: should the event come twice, the second one finds the request of the first.
    leak = f"{SOURCE}/{secrets.token_hex(8)}"
    target.bus.put(f"rekey.in/{SOURCE}", ASKING, {"registry": registry, "reason": reason.value, "leak": leak})
    key = request_key(registry, leak, "")
    console.done(f"asked for a new password of {registry}: {reason.value}")
    if not watch:
        if as_json:
            console.put_json({"registry": registry, "request": key})
        console.say(f"`rekey status {registry}` shows what comes of it")
        return
    try:
        with console.progress("Ctrl-C leaves this window, the rotation goes on") as say:
            end = follow(
                lambda: look(target, registry, key),
                _changes(say),
                every=timedelta(seconds=interval),
                taken_up_within=TAKEN_UP_WITHIN,
            )
    except KeyboardInterrupt:
        console.say(f"it goes on without you: `rekey status {registry}`")
        raise
    found = end.view if end.view.rotation else view(target, registry)  # none was begun: it stands as it stood
    if as_json:
        console.put_json(found.to_json())
    else:
        show(found)
    if end.end is not ExitCode.OK:
        raise typer.Exit(end.end or ExitCode.FAILED)


def _check_accepted(stack: Stack, registry: str, reason: Asked) -> None:
    """Raise PlanMissing or InputInvalid for what trigger would refuse, where only its log would say so."""
    with suppress(Denied):  # whoever may ask need not be able to read plans
        taken = stack.plan(registry).accepts.get(SOURCE, ())
        if Reason(reason) not in taken:
            listed = ", ".join(taken) or "nothing"
            raise InputInvalid(f"the plan of {registry} takes {listed} from the source `{SOURCE}`, not {reason.value}")


def _changes(say: Callable[[str], None]) -> Callable[[Seen], None]:
    """Return what says each step once, with the time: reads the same on a terminal and in a log."""
    said = ""

    def show_change(seen: Seen) -> None:
        nonlocal said
        if seen.step != said:
            said = seen.step
            say(f"{datetime.now():%H:%M:%S}  {said}")  # noqa: DTZ005 (the person's own clock)

    return show_change
