"""An execution that stopped before it began a rotation: what `rekey status` and `rekey rotate` say of it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import Again, Phase
from rekey.records.ledger import following
from rekey_cli.console import ExitCode
from rekey_cli.stack import Stack
from rekey_cli.watch import look
from tests.unit.cli_stack import LONG_AGO, FakeStack, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WHY = "NotFound: the secret registries/prod-images does not exist: make it"
QUICK = ("--interval", "0.02")


def stop_in_begin(stack: FakeStack, at: datetime | None = None, why: str = WHY) -> Again:
    """Write what Report writes where Begin failed."""
    now = at or datetime.now(UTC)
    due = (datetime.now().astimezone() + timedelta(days=1)).replace(hour=12, minute=30).astimezone(UTC)
    before = stack.ledger.again("prod-images")
    again = Again(registry="prod-images", tries=1, at=due, not_begun=why, not_begun_at=now, rev=f"{now}")
    stack.ledger.table.write(following(before or again.having(rev=""), again))
    return again


def facts() -> Mapping[str, str]:
    """Return the lines `name: value` of the registry's status."""
    result = run("status", "prod-images")
    assert result.exit_code == ExitCode.OK, result.stderr
    return dict(line.split(":\t", 1) for line in result.stdout.splitlines() if ":\t" in line)


@pytest.mark.parametrize("earlier", [None, Phase.FINISHED, Phase.STOPPED, Phase.PREPARING, Phase.DELIVERING], ids=str)
def test_status_says_what_is_missing_and_when_it_is_tried_again(stack: FakeStack, earlier: Phase | None) -> None:
    stack.push()
    if earlier:
        stack.rotation(earlier, started_at=LONG_AGO, finished_at=LONG_AGO, problems=("an old one",))
    stack.ask()
    stop_in_begin(stack)
    assert facts()["next"] == f"{WHY}; tried again at 12:30"
    found = json.loads(run("status", "prod-images", "--json").stdout)
    assert found["problems"][0] == WHY
    assert WHY in run("status").stdout


@pytest.mark.parametrize("phase", [Phase.READY, Phase.NEEDS_ATTENTION])
def test_what_a_person_is_to_do_is_said_too(stack: FakeStack, phase: Phase) -> None:
    stack.push()
    stack.rotation(phase, started_at=LONG_AGO)
    stop_in_begin(stack)
    assert facts()["next"] == f"{WHY}; reset it in the registry's console, then `rekey paste prod-images`"


def test_a_rotation_that_began_since_shows_its_own_state(stack: FakeStack) -> None:
    """The record is replaced when that one's execution ends: until then it is the past."""
    stack.push()
    stack.ask()
    stop_in_begin(stack)
    stack.rotation(Phase.PREPARING)
    assert "next" not in facts()


def test_where_nothing_is_open_nothing_is_missing(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(Phase.FINISHED, started_at=LONG_AGO, finished_at=LONG_AGO, outcome="finished")
    stop_in_begin(stack)
    assert "next" not in facts()


@contextmanager
def functions(stack: FakeStack) -> Iterator[None]:
    """Play the functions beside the command: take the event up, and fail in Begin."""
    over = threading.Event()

    def play() -> None:
        while not over.wait(0.02):
            if stack.take_up() is not None:
                stop_in_begin(stack)
                return

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("earlier", [None, Phase.FINISHED, Phase.STOPPED, Phase.PREPARING])
def test_rotate_ends_with_the_reason(stack: FakeStack, earlier: Phase | None) -> None:
    """It does not wait for a rotation that cannot begin; what stopped an earlier request is not taken for its end."""
    stack.push()
    stop_in_begin(stack, LONG_AGO, "PlanMissing: mended since")
    if earlier:
        stack.rotation(earlier, started_at=LONG_AGO - timedelta(days=1), finished_at=LONG_AGO, outcome="finished")
    with functions(stack):
        result = run("rotate", "prod-images", *QUICK)
    assert result.exit_code == ExitCode.FAILED
    assert f"not begun: {WHY}" in result.stderr
    assert "mended since" not in result.output
    assert f"next:\t{WHY}; tried again at 12:30\n" in result.stdout
    assert f"phase:\t{earlier.value if earlier else 'never rotated'}\n" in result.stdout


def test_rotate_goes_on_while_an_open_rotation_is_taken_up_later(stack: FakeStack) -> None:
    """It ends by itself: the reason is shown, and followed on."""
    stack.rotation(Phase.DELIVERING, started_at=LONG_AGO)
    request = stack.ask()
    stop_in_begin(stack)
    seen = look(Stack(None), "prod-images", request.key)
    assert seen.end is None
    assert seen.step == f"prod-images/1: delivering (unfinished, {WHY}; tried again at 12:30)"


def test_what_stopped_an_earlier_request_is_not_the_end_of_a_new_one(stack: FakeStack) -> None:
    """It may be mended by now: this request's own execution is waited for."""
    stop_in_begin(stack, LONG_AGO)
    seen = look(Stack(None), "prod-images", stack.ask().key)
    assert (seen.step, seen.end) == ("accepted, waiting for the rotation to begin", None)
    stop_in_begin(stack)
    seen = look(Stack(None), "prod-images", seen.request.key if seen.request else "")
    assert (seen.step, seen.end) == (f"not begun: {WHY}", ExitCode.FAILED)
