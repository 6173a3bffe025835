"""Plays EventBridge: takes what was put on a bus to the targets of the rules that match, and calls the schedules."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, cast

from moto.events.models import EventPattern

from tests.sandbox.aws_intrinsics import Json, TemplateError
from tests.sandbox.wire import next_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from moto.events.utils import EventMessageType

    from tests.sandbox.aws_async import Send
    from tests.sandbox.aws_faults import Answer, AwsRequest
    from tests.sandbox.aws_kinds import Place
    from tests.sandbox.template import Rule, Schedule, Target

Event: TypeAlias = "dict[str, Json]"

# Moto's matcher takes every filter it does not know for a match, so the ones it knows are listed here.
_FILTERS = {"anything-but", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"}


class UndeliverableError(Exception):
    """A target did not take an event."""


@dataclass(frozen=True, slots=True)
class PassedEvent:
    """An event that was put on a bus, as targets get it, and the names of the rules that matched."""

    order: int
    bus: str
    event: Event
    rules: tuple[str, ...]


class EventBridge:
    """The rules of a stack at work.

    `send` takes a text to a target by its ARN and raises UndeliverableError; the dead-letter queue gets what was not
    taken at the `tries`-th time (185 tries in 24 hours on AWS). `events` is everything that was put, in order.
    """

    def __init__(self, rules: Sequence[Rule], send: Send, place: Place, *, tries: int = 3, pause: float = 0.05) -> None:
        self.events: list[PassedEvent] = []
        self._patterns = [(rule, load_pattern(rule.pattern)) for rule in rules]
        self._send = send
        self._place = place
        self._tries = tries
        self._pause = pause
        self._closing = threading.Event()
        self._deliveries: list[threading.Thread] = []

    def observe(self, request: AwsRequest, answer: Answer) -> None:
        """Take the accepted entries of a PutEvents that was answered; of any other request nothing."""
        if (request.service, request.action, answer.status) != ("events", "PutEvents", 200):
            return
        asked, given = json.loads(request.body)["Entries"], json.loads(answer.body)["Entries"]
        for entry, result in zip(asked, given, strict=True):
            if "EventId" in result:
                self._take(entry, result["EventId"])

    def deliver(self, target: Target, event: Event) -> None:
        """Send an event (or the target's own input) to a target, and what it does not take to its dead-letter queue."""
        text = target.input if target.input is not None else json.dumps(event)
        for attempt in range(1, self._tries + 1):
            try:
                self._send(target.arn, text)
            except UndeliverableError:
                if attempt == self._tries and target.dead_letter:
                    self._send(target.dead_letter, text)
                elif self._closing.wait(self._pause):
                    return
            else:
                return

    @property
    def busy(self) -> bool:
        """Whether an event is on its way to a target."""
        return any(delivery.is_alive() for delivery in list(self._deliveries))

    def settle(self, within: float) -> None:
        """Return when every event that passed was delivered or given up. Raises TimeoutError after `within` seconds."""
        deadline = time.monotonic() + within
        for delivery in list(self._deliveries):
            delivery.join(max(0.0, deadline - time.monotonic()))
            if delivery.is_alive():
                raise TimeoutError(f"An event was not delivered within {within} s")
            self._deliveries.remove(delivery)

    def close(self) -> None:
        """Try nothing again, and wait for deliveries under way."""
        self._closing.set()
        for delivery in self._deliveries:
            delivery.join()

    def _take(self, entry: Mapping[str, str], event_id: str) -> None:
        bus = entry.get("EventBusName", "default").rpartition("/")[2]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event: Event = {
            "version": "0",
            "id": event_id,
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": self._place.account,
            "time": now,
            "region": self._place.region,
            "resources": list(entry.get("Resources", [])),
            "detail": json.loads(entry["Detail"]),
        }
        matching = [
            rule
            for rule, pattern in self._patterns
            if rule.bus == bus and pattern.matches_event(cast("EventMessageType", event))
        ]
        self.events.append(PassedEvent(next_order(), bus, event, tuple(rule.name for rule in matching)))
        for target in (target for rule in matching for target in rule.targets):
            delivery = threading.Thread(target=self.deliver, args=(target, event), name="eventbridge", daemon=True)
            self._deliveries.append(delivery)
            delivery.start()


class Scheduler:
    """Calls the targets of schedules, at their own rate or at another one.

    `deliver` sends the schedule's input to a target.
    """

    def __init__(self, schedules: Sequence[Schedule], deliver: Callable[[Target, Event], None]) -> None:
        self._schedules = schedules
        self._deliver = deliver
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, every: float | None = None) -> None:
        """Call each schedule's targets every `every` seconds, or at the rate the template gives."""
        for schedule in self._schedules:
            thread = threading.Thread(
                target=self._run, args=(schedule, every or schedule.seconds), name="scheduler", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Call nothing any more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._stopping.clear()

    def _run(self, schedule: Schedule, every: float) -> None:
        while not self._stopping.wait(every):
            for target in schedule.targets:
                self._deliver(target, {})


def load_pattern(text: str) -> EventPattern:
    """Return the matcher of an event pattern. Raises TemplateError for a filter the matcher would get wrong."""
    for name in _filter_names(json.loads(text)):
        if name not in _FILTERS:
            raise TemplateError(f"The sandbox does not know the filter {name} of an event pattern")
    return EventPattern.load(text)


def _filter_names(node: Json) -> Iterator[str]:
    match node:
        case {"$or": list(several), **rest}:
            for one in [*several, rest]:
                yield from _filter_names(one)
        case dict():
            for child in node.values():
                yield from _filter_names(child)
        case list():
            for one in node:
                if isinstance(one, dict):
                    yield from one
