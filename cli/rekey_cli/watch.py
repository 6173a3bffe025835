"""Follows one request from the event that made it to the end of its rotation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from rekey.errors import NotFound
from rekey.model.request import Request, RequestState
from rekey.model.rotation import Phase, Rotation
from rekey.model.state import Outcome
from rekey_cli.console import ExitCode
from rekey_cli.stack import Stack
from rekey_cli.view import View, view_with

TAKEN_UP_WITHIN = timedelta(seconds=90)
"""Lambda tries an event it was given again after one minute."""


@dataclass(frozen=True)
class Seen:
    """One look at a request and the rotation that serves it."""

    request: Request | None
    view: View

    @property
    def step(self) -> str:
        """What goes on, in words."""
        rotation = self.view.rotation
        if self.request is None:
            return "waiting for the event to be taken up"
        if self._not_begun:
            return f"not begun: {self._not_begun}"
        if rotation is None:
            return "accepted, waiting for the rotation to begin"
        if rotation.phase in (Phase.DELIVERING, Phase.VERIFYING) and self.view.receipts:
            answered = sum(receipt.outcome.done for receipt in self.view.receipts)
            have = f"{answered} of {len(self.view.receipts)} consumers have it"
            return f"{rotation.id}: {self.view.phase}, {have}{self._left()}"
        return f"{rotation.id}: {self.view.phase}{self._left()}"

    def _left(self) -> str:
        rotation = self.view.rotation
        left = rotation is not None and (rotation.outcome == Outcome.UNFINISHED or self.view.not_begun)
        unfinished = left and rotation is not None and rotation.phase.open
        return f" (unfinished, {self.view.next_step()})" if unfinished else ""

    @property
    def _not_begun(self) -> str:
        """Why the request's execution began no rotation. What stopped an earlier one may be mended by now."""
        request, again, rotation = self.request, self.view.again, self.view.rotation
        if request is None or request.state is RequestState.CLOSED or again is None or again.not_begun_at is None:
            return ""
        begun = rotation is not None and rotation.phase.open and rotation.phase is not Phase.PREPARING
        return "" if begun or again.not_begun_at < request.arrived_at else self.view.not_begun

    @property
    def end(self) -> ExitCode | None:
        """How it ended, or None while it goes on."""
        rotation = self.view.rotation
        if self._not_begun:
            return ExitCode.FAILED
        if self.request is None or rotation is None:
            return None
        match rotation.phase:
            case Phase.READY:
                return ExitCode.NOT_OVER
            case Phase.STOPPED | Phase.NEEDS_ATTENTION:
                return ExitCode.FAILED
            case Phase.FINISHED if self.request.state is RequestState.CLOSED:
                return ExitCode.OK if rotation.outcome == Outcome.FINISHED else ExitCode.FAILED
        return None


def follow(
    look: Callable[[], Seen], show: Callable[[Seen], None], *, every: timedelta, taken_up_within: timedelta
) -> Seen:
    """Look every so often and show it, until the end; return the last look.

    Raises NotFound where nobody takes the event up in time.
    """
    give_up = time.monotonic() + taken_up_within.total_seconds()
    while True:
        seen = look()
        show(seen)
        if seen.end is not None:
            return seen
        if seen.request is None and time.monotonic() > give_up:
            raise NotFound(
                f"nobody took the event up in {taken_up_within.total_seconds():g} s: "
                "the log of the function `trigger` says why, if it refused it"
            )
        time.sleep(every.total_seconds())


def look(stack: Stack, registry: str, key: str) -> Seen:
    """Return how a request and its rotation stand."""
    request = stack.ledger.request(registry, key)
    rotation = _serving(stack, request, stack.ledger.latest(registry))
    return Seen(request, view_with(stack, registry, rotation))


def _serving(stack: Stack, request: Request | None, latest: Rotation | None) -> Rotation | None:
    """Return the rotation that serves a request; one that ended before the request came does not.

    One that stopped does, though what it had cut short goes on in its place.
    """
    if request is None:
        return None
    if request.closed_by is not None:
        return stack.ledger.rotation(request.registry, request.closed_by)
    if latest is not None and not (latest.called_at and request.is_met_by(latest.called_at)):
        latest = stack.ledger.stopped_after(latest) or latest
    ended = latest.finished_at if latest and not latest.phase.open else None
    return None if ended is not None and ended < request.arrived_at else latest
