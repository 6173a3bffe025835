"""`rekey paste`: hand over the password that a person got from the registry. Typed or piped, never an argument."""

import getpass
import string
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from rekey.bus import PASTED, PASTED_SOURCE
from rekey.errors import Conflict, InputInvalid
from rekey.model.moment import parse
from rekey.model.password import ESCROW_LIMIT, Alphabet, Password
from rekey.model.plan import Plan
from rekey.model.rotation import Attempt
from rekey.records import pasting
from rekey_cli import console
from rekey_cli.registry_name import Registry
from rekey_cli.stack import Stack, StackName

EXAMPLES = """
$ rekey paste prod-images
$ rekey paste prod-images --clicked-at 14:05
$ pbpaste | rekey paste prod-images
"""
_TURNS = 4
_WHEN = "'--clicked-at'"
_NO_TEXT = "what was pasted is no text: it is not UTF-8"


def _moment(text: str | None, now: datetime | None = None) -> datetime | None:
    """Return when the person clicked: a full time with its zone, or a time of today on this machine's clock."""
    if text is None:
        return None
    now = now or datetime.now(UTC)
    try:
        moment = parse(text) if "T" in text.upper() or " " in text else _today(text, now)
    except ValueError:
        raise typer.BadParameter("must be a time such as 14:05 or 2026-01-31T14:05:00Z", param_hint=_WHEN) from None
    if moment > now:
        raise typer.BadParameter("must not be in the future", param_hint=_WHEN)
    return moment


def _today(text: str, now: datetime) -> datetime:
    clock = datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 (the zone is this machine's, as in `now`)
    return datetime.combine(now.astimezone().date(), clock).astimezone(UTC)


def paste(
    context: typer.Context,
    registry: Registry,
    clicked_at: Annotated[
        str | None,
        typer.Option("--clicked-at", metavar="TIME", help="When you reset it: 14:05 is today", show_default=False),
    ] = None,
    stack: StackName = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it looks right")] = False,
) -> None:
    """Hand over a new password that you got from the registry's console.

    Asks for it without showing it, or reads one line from a pipe. It is encrypted here, and stored once the registry
    has taken it. Say with `--clicked-at` when you reset it: that meets every request from before, and Rekey does not
    reset once more. What it heard of the old password itself, before and after, it knows without.
    """
    if context.args:
        context.fail(
            "a password is never an argument: it stays in the shell's history and shows in the list of processes. "
            "If you just typed it there, reset it once more, and paste that one"
        )
    clicked = _moment(clicked_at)
    target = Stack(stack)
    plan = target.plan(registry)
    if clicked is None:
        _say_what_stays_open(target, registry)
    password = _asked(plan, yes=yes) if sys.stdin.isatty() else _piped(plan)
    attempt = _put(target, registry, password, clicked)
    target.bus.put(PASTED_SOURCE, PASTED, {"registry": registry})
    console.done(
        f"taken for {registry}/{attempt.generation}: `rekey status {registry}` shows what the registry says of it"
    )


def _say_what_stays_open(stack: Stack, registry: str) -> None:
    latest = stack.ledger.latest(registry)
    known = latest is not None and latest.phase.open and pasting.click_known(latest) is not None
    if not known and stack.ledger.open_requests(registry):
        console.warn(
            "a new password is asked for: unless the registry shows that this one is newer, Rekey resets once more. "
            "`--clicked-at TIME` says when you reset it"
        )


def _asked(plan: Plan, *, yes: bool) -> Password:
    """Return what the person types or pastes, hidden."""
    registry = plan.registry
    console.say(f"{registry.name}: user {registry.username} at {registry.endpoint}")
    try:
        typed = getpass.getpass("New password (not shown): ", stream=sys.stderr)
    except EOFError:
        raise InputInvalid("nothing was pasted") from None
    except UnicodeDecodeError:
        raise InputInvalid(_NO_TEXT) from None
    password = _checked(typed, plan)
    if not yes and not typer.confirm("Does that look right?", default=True, err=True):
        raise InputInvalid("nothing was handed over")
    return password


def _piped(plan: Plan) -> Password:
    """Return the one line that is piped in."""
    try:
        text = sys.stdin.buffer.read(ESCROW_LIMIT + 1).decode()
    except UnicodeDecodeError:
        raise InputInvalid(_NO_TEXT) from None
    line = text.removesuffix("\n").removesuffix("\r")
    if "\n" in line or "\r" in line:
        raise InputInvalid("more than one line was piped in: the password alone is wanted")
    return _checked(line, plan)


def _checked(text: str, plan: Plan) -> Password:
    """Return the password, after saying what it looks like. Raises InputInvalid where it cannot be one."""
    if not text.strip():
        raise InputInvalid("nothing was pasted")
    if len(text.encode(errors="surrogatepass")) >= ESCROW_LIMIT:
        raise InputInvalid(f"that is longer than {ESCROW_LIMIT // 1024} kB: no password is")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputInvalid(_NO_TEXT)
    console.say(f"got {shape(text)}")
    for odd in oddities(text, plan.registry.alphabet.alphabet()):
        console.warn(odd)
    return Password(text)


def shape(text: str) -> str:
    """Return what a person may compare without seeing it: how long it is, and the kinds of its characters."""
    kinds = {
        "capitals": string.ascii_uppercase,
        "small letters": string.ascii_lowercase,
        "digits": string.digits,
        "signs": string.punctuation,
    }
    found = [name for name, letters in kinds.items() if any(letter in letters for letter in text)]
    if any(letter not in string.printable or letter.isspace() for letter in text):
        found.append("others")
    return f"{len(text)} characters: {', '.join(found)}"


def oddities(text: str, alphabet: Alphabet) -> list[str]:
    """Return what is unlikely in a password, without any character of it."""
    odd: list[str] = []
    if text != text.strip():
        odd.append("it begins or ends with a space: part of it?")
    if any(not letter.isprintable() for letter in text):
        odd.append("it holds a control character: pasted from the wrong place?")
    if not alphabet.min_length <= len(text) <= alphabet.max_length:
        odd.append(f"the plan says {alphabet.min_length} to {alphabet.max_length} characters: pasted whole?")
    if alphabet.characters is not None and not set(text) <= set(alphabet.characters):
        odd.append("it holds characters that the plan's alphabet does not have")
    return odd


def _put(stack: Stack, registry: str, password: Password, clicked_at: datetime | None) -> Attempt:
    """Put it into the escrow; again where an execution wrote at the same moment, since then nothing was written."""

    def put() -> Attempt:
        now = datetime.now(UTC)
        return pasting.paste(stack.ledger, stack.escrow, registry, password, now=now, clicked_at=clicked_at)

    for _ in range(_TURNS):
        with suppress(Conflict):
            return put()
    return put()
