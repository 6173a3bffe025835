"""`rekey rotate`: the event it puts, what it refuses beforehand, and the end it waits for."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey.errors import NotFound
from rekey.model.request import Reason, Request, RequestState
from rekey.model.rotation import Phase, Rotation
from rekey.model.verdict import ConsumerOutcome, Receipt
from rekey.steps.trigger import read_request
from rekey_cli.console import ExitCode
from rekey_cli.stack import Stack
from rekey_cli.view import View
from rekey_cli.watch import Seen, follow, look
from tests.unit.cli_stack import LONG_AGO, FakeStack, run
from tests.unit.plan_documents import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = ("--interval", "0.02")


def seen(phase: Phase | None = None, *, closed: bool = False, asked: bool = True, **fields: Any) -> Seen:  # noqa: ANN401
    """Return a look at a request."""
    request = Request(
        registry="prod-images",
        key="k",
        reason=Reason.REQUESTED,
        source="console",
        arrived_at=LONG_AGO,
        state=RequestState.CLOSED if closed else RequestState.OPEN,
    )
    receipts = fields.pop("receipts", ())
    rotation = Rotation(
        registry="prod-images",
        generation=3,
        phase=phase or Phase.PREPARING,
        reason=Reason.REQUESTED,
        plan_version="1",
        started_at=LONG_AGO,
        execution="arn",
        **fields,
    )
    return Seen(request if asked else None, View("prod-images", rotation if phase else None, receipts=receipts))


@pytest.mark.parametrize(
    ("look", "step", "end"),
    [
        (seen(asked=False), "waiting for the event to be taken up", None),
        (seen(), "accepted, waiting for the rotation to begin", None),
        (seen(Phase.PREPARING), "prod-images/3: preparing", None),
        (seen(Phase.RESETTING), "prod-images/3: resetting", None),
        (seen(Phase.READY), "prod-images/3: ready", ExitCode.NOT_OVER),
        (
            seen(
                Phase.DELIVERING,
                receipts=(
                    Receipt("a", "webhook", ConsumerOutcome.UPDATED),
                    Receipt("b", "webhook", ConsumerOutcome.PENDING),
                ),
            ),
            "prod-images/3: delivering, 1 of 2 consumers have it",
            None,
        ),
        (
            seen(Phase.VERIFYING, outcome="unfinished", closed=True),
            "prod-images/3: verifying (unfinished, tried again within a minute)",
            None,
        ),
        (seen(Phase.STOPPED, outcome="stopped"), "prod-images/3: stopped", ExitCode.FAILED),
        (seen(Phase.NEEDS_ATTENTION), "prod-images/3: needs attention", ExitCode.FAILED),
        (seen(Phase.FINISHED, outcome="finished", closed=True), "prod-images/3: finished", ExitCode.OK),
        (seen(Phase.FINISHED, outcome="consumers_failed", closed=True), "prod-images/3: finished", ExitCode.FAILED),
        # The request came after the reset was called: its own rotation is still to come.
        (seen(Phase.FINISHED, outcome="finished"), "prod-images/3: finished", None),
    ],
)
def test_each_state_has_its_words_and_its_exit_code(look: Seen, step: str, end: ExitCode | None) -> None:
    """0 only where everything is done."""
    assert (look.step, look.end) == (step, end)


def test_it_looks_until_the_end_and_shows_every_look() -> None:
    looks = iter(
        [seen(asked=False), seen(), seen(Phase.RESETTING), seen(Phase.FINISHED, outcome="finished", closed=True)]
    )
    shown: list[str] = []
    end = follow(
        lambda: next(looks),
        lambda look: shown.append(look.step),
        every=timedelta(0),
        taken_up_within=timedelta(minutes=1),
    )
    assert end.end is ExitCode.OK
    assert len(shown) == 4
    assert next(looks, None) is None


def test_an_event_nobody_takes_up_is_given_up() -> None:
    with pytest.raises(NotFound, match="the log of the function `trigger` says why"):
        follow(
            lambda: seen(asked=False),
            lambda _: None,
            every=timedelta(milliseconds=1),
            taken_up_within=timedelta(milliseconds=20),
        )


def test_a_request_that_was_taken_up_is_waited_for() -> None:
    """However long: the time limit is the event's, not the rotation's."""
    looks = iter([*[seen()] * 50, seen(Phase.STOPPED)])
    follow(lambda: next(looks), lambda _: None, every=timedelta(milliseconds=1), taken_up_within=timedelta(0))


def test_the_event_is_one_that_trigger_reads(stack: FakeStack) -> None:
    stack.push()
    result = run("rotate", "prod-images", "--reason", "lost", "--no-watch")
    assert result.exit_code == ExitCode.OK
    assert "✓ asked for a new password of prod-images: lost" in result.stderr
    request = stack.take_up()
    assert request is not None
    assert (request.registry, request.reason, request.source) == ("prod-images", Reason.LOST, "console")


def test_each_asking_is_a_request_of_its_own_and_its_event_twice_is_still_one(stack: FakeStack) -> None:
    """EventBridge delivers at least once, and an event is put again where the first answer was lost."""
    stack.push()
    for _ in range(2):
        run("rotate", "prod-images", "--no-watch")
    events = stack.events()
    keys = [read_request({**event, "id": str(n)}, LONG_AGO).key for n, event in enumerate([*events, *events])]
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


def test_the_key_of_the_request_is_known_beforehand(stack: FakeStack) -> None:
    stack.push()
    said = json.loads(run("rotate", "prod-images", "--no-watch", "--json").stdout)
    request = stack.take_up()
    assert request is not None
    assert said == {"registry": "prod-images", "request": request.key}


@pytest.mark.parametrize(
    ("accepts", "said"),
    [
        ({"console": ["requested", "lost"]}, "takes requested, lost from the source `console`, not compromised"),
        ({"siem": ["compromised"]}, "takes nothing from the source `console`, not compromised"),
    ],
)
def test_what_trigger_would_refuse_is_refused_here(stack: FakeStack, accepts: object, said: str) -> None:
    """There the reason stands only in a log."""
    stack.push(changed(("accepts", accepts)))
    result = run("rotate", "prod-images", "-r", "compromised")
    assert result.exit_code == ExitCode.FAILED
    assert said in result.stderr
    assert stack.events() == []


def test_a_registry_without_a_plan_is_not_asked_for(stack: FakeStack) -> None:
    stack.push()
    result = run("rotate", "prod-imges")
    assert result.exit_code == ExitCode.FAILED
    assert "did you mean `prod-images`?" in result.stderr
    assert stack.events() == []


@contextmanager
def functions(stack: FakeStack, then: Callable[[Request], object]) -> Iterator[None]:
    """Play the functions beside the command: take the event up, then do what the test says."""
    over = threading.Event()

    def play() -> None:
        while not over.wait(0.02):
            request = stack.take_up()
            if request is not None:
                then(request)
                return

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_it_follows_the_rotation_to_its_end(stack: FakeStack) -> None:
    """Steps on stderr, the end on stdout; an earlier rotation of the registry is not taken for this one."""
    stack.push()
    stack.rotation(Phase.FINISHED, started_at=LONG_AGO, finished_at=LONG_AGO, outcome="consumers_failed")

    def rotate(request: Request) -> None:
        now = datetime.now(UTC)
        stack.rotation(Phase.FINISHED, generation=2, started_at=now, finished_at=now, outcome="finished")
        stack.close(request, generation=2)

    with functions(stack, rotate):
        result = run("rotate", "prod-images", *QUICK)
    assert result.exit_code == ExitCode.OK
    assert "rotation:\tprod-images/2\n" in result.stdout
    assert "prod-images/2: finished" in result.stderr
    assert "prod-images/1" not in result.output


@pytest.mark.parametrize(
    ("phase", "fields", "code"),
    [
        (Phase.READY, {"outcome": "ready"}, ExitCode.NOT_OVER),
        (Phase.STOPPED, {"outcome": "stopped", "problems": ("no rights",)}, ExitCode.FAILED),
    ],
)
def test_an_end_that_is_not_the_good_one_is_an_exit_code(
    stack: FakeStack, phase: Phase, fields: dict[str, object], code: ExitCode
) -> None:
    stack.push()
    with functions(stack, lambda _: stack.rotation(phase, **fields)):
        result = run("rotate", "prod-images", *QUICK, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["phase"] == phase.value


def test_one_that_stopped_is_the_end_though_an_earlier_one_goes_on_in_its_place(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(Phase.DELIVERING, started_at=LONG_AGO)

    def stop(_: Request) -> None:
        now = datetime.now(UTC)
        stack.rotation(Phase.STOPPED, generation=2, started_at=now, finished_at=now, problems=("no rights",))

    with functions(stack, stop):
        result = run("rotate", "prod-images", *QUICK)
    assert result.exit_code == ExitCode.FAILED
    assert "prod-images/2: stopped" in result.stderr
    assert "no rights" in result.output


def test_a_request_that_is_met_already_follows_the_one_that_met_it(stack: FakeStack) -> None:
    """A wrong paste came in between, and its rotation stopped: that is not the end of what was asked for."""
    stack.push()
    request, now = stack.ask(), datetime.now(UTC)
    stack.rotation(Phase.DELIVERING, called_at=now, promoted_at=now)
    stack.rotation(Phase.STOPPED, generation=2, finished_at=now, problems=("wrong paste",))
    found = look(Stack(None), "prod-images", request.key).view.rotation
    assert found is not None
    assert found.generation == 1


def test_leaving_stops_nothing_and_says_so(stack: FakeStack) -> None:
    stack.push()
    # A shell that runs the tests in the background has Python ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with functions(stack, lambda _: os.kill(os.getpid(), signal.SIGINT)):
            result = run("rotate", "prod-images", *QUICK)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert "it goes on without you: `rekey status prod-images`" in result.stderr
