"""Watches a rotation of the sandbox as it happens: from the execution's history, Rekey's events and the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rekey.model.verdict import ConsumerVerdict, Receipt
from rekey.records.dynamo import Table
from rekey.records.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.aws import Execution
    from tests.sandbox.company import Company
    from tests.sandbox.eventbridge import Event

Tone: TypeAlias = Literal["good", "warn", "bad", "plain"]

STEPS: Mapping[str, str] = {
    "Begin": "takes the lease, pins the plan, notes what the registry holds",
    "PrepareConsumers": "reaches every consumer while nothing is changed yet",
    "Reset": "gate, reset, answer kept, login, into the store",
    "DeliverToConsumers": "hands the new password to every consumer",
    "Verify": "asks the registry: new accepted, old refused, contents",
    "VerifyConsumers": "reads back what can be read back",
    "Report": "writes the evidence, closes the request, frees the lease",
}
_READ_EVERY = timedelta(seconds=0.25)  # the history and the ledger; reading them costs what the rotation needs too
_SETTLED = timedelta(seconds=0.8)  # by then everything that came before is read: the lines are in order


@dataclass(frozen=True)
class Happening:
    """One thing that happened: what kind, its name, and what is to be said of it."""

    at: datetime
    kind: Literal["event", "step", "consumer", "end"]
    name: str
    said: str = ""
    tone: Tone = "plain"


@dataclass
class Step:
    """How a step of the state machine stands."""

    began: datetime | None = None
    ended: datetime | None = None


class Watch:
    """One company's rotations from now on. `poll` reads; `steps`, `receipts` and `take` show what was read."""

    def __init__(self, company: Company) -> None:
        self.began = datetime.now(UTC)
        self.steps = {name: Step() for name in STEPS}
        self.receipts: dict[str, Receipt] = {}
        self.current: Execution | None = None
        """The execution that is watched or was watched last."""
        self._company = company
        self._cloud = company.world.cloud
        self._ledger = Ledger(Table(_setting(company, "REKEY_LEDGER_TABLE"), self._cloud.client("dynamodb")))
        self._arns: list[str] = []
        self._read = 0
        self._passed = 0
        self._dated: set[int] = set()
        self._next_reading = self.began
        self._waiting: list[Happening] = []

    @property
    def ended(self) -> bool:
        """Whether every execution that was started has ended."""
        return self.current is not None and self.current.status != "RUNNING"

    @property
    def outcome(self) -> str:
        """How the last execution ended, or an empty text."""
        output = self.current.output if self.current else None
        return str((output or {}).get("outcome", "")) or self._recorded_outcome()

    @property
    def generation(self) -> int:
        """The generation of the registry's latest rotation; 0 where there is none."""
        latest = self._ledger.latest(self._company.name)
        return latest.generation if latest else 0

    def poll(self) -> None:
        """Read what is new. The events each time, the rest now and then, and at once where an execution ended."""
        now = datetime.now(UTC)
        self._read_events(now)
        if now >= self._next_reading:
            self._read_execution()
            self._read_receipts()
            self._next_reading = datetime.now(UTC) + _READ_EVERY

    def expect_another(self) -> None:
        """Watch for an execution that is yet to start."""
        self.current = None
        self.steps = {name: Step() for name in STEPS}

    def finish(self) -> None:
        """Read the rest, after the end of an execution."""
        self._cloud.settle()
        self._next_reading = self.began
        self.poll()

    def take(self, *, everything: bool = False) -> list[Happening]:
        """Return what happened since the last time, in order. What is very new is kept back: more may precede it."""
        until = datetime.now(UTC) - (timedelta(0) if everything else _SETTLED)
        ready = sorted((one for one in self._waiting if everything or one.at <= until), key=lambda one: one.at)
        self._waiting = [one for one in self._waiting if one not in ready]
        return ready

    def _recorded_outcome(self) -> str:
        latest = self._ledger.latest(self._company.name)
        return latest.outcome if latest else ""

    def _read_events(self, now: datetime) -> None:
        new = self._cloud.events[self._passed :]
        self._waiting += [_told(self._put_at(passed.event) or now, passed.event) for passed in new]
        self._passed += len(new)

    def _put_at(self, event: Event) -> datetime | None:
        """Return when an event was put: it says so itself in whole seconds only."""
        for request in self._cloud.requests:
            if request.operation == "events:PutEvents" and request.order not in self._dated:
                entries = json.loads(request.body)["Entries"]
                if any(_is(event, entry) for entry in entries):
                    self._dated.add(request.order)
                    return request.at
        return None

    def _read_execution(self) -> None:
        if self.current is None or self.ended:
            new = [arn for arn in self._company.executions() if arn not in self._arns]
            if not new:
                return
            self._arns.append(new[0])
            self._read = 0
        self.current = self._cloud.execution(self._arns[-1])
        for event in self.current.history[self._read :]:
            self._read_history(event)
        self._read = len(self.current.history)

    def _read_history(self, event: Mapping[str, Any]) -> None:
        at, kind = event["timestamp"], str(event["type"])
        entered = event.get("stateEnteredEventDetails", {}).get("name")
        exited = event.get("stateExitedEventDetails", {}).get("name")
        if entered in STEPS:
            again = self.steps[entered].began is not None
            self.steps[entered] = Step(began=at)
            self._waiting.append(Happening(at, "step", entered, "once more" if again else STEPS[entered]))
        elif exited in STEPS:
            self.steps[exited].ended = at
        elif kind == "TaskFailed":
            error = str(event.get("taskFailedEventDetails", {}).get("error"))
            self._waiting.append(Happening(at, "step", "failed", error, "warn"))
        elif kind == "ExecutionSucceeded":
            self._waiting.append(Happening(at, "end", "Succeeded", self.outcome, "good"))
        elif kind in ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"):
            details = event.get("executionFailedEventDetails", {})
            said = ": ".join(str(details[part]) for part in ("error", "cause") if details.get(part))
            self._waiting.append(Happening(at, "end", "Failed", said or kind, "bad"))

    def _read_receipts(self) -> None:
        generation = self.generation
        if not generation:
            return
        for receipt in self._ledger.receipts(self._company.name, generation):
            before = self.receipts.get(receipt.consumer)
            if before != receipt:
                self.receipts[receipt.consumer] = receipt
                read_back = self.steps["VerifyConsumers"].ended or datetime.now(UTC)
                self._waiting.append(_received(receipt, before, read_back))


def _received(receipt: Receipt, before: Receipt | None, read_back: datetime) -> Happening:
    verdict = receipt.verdict
    if before is None or before.outcome is not receipt.outcome:
        tone: Tone = "good" if receipt.outcome.done else "warn" if receipt.outcome.left else "bad"
        said = f"{receipt.outcome.value}: {receipt.reason}" if receipt.reason else receipt.outcome.value
        return Happening(receipt.answered_at or read_back, "consumer", receipt.consumer, said, tone)
    tone = "bad" if verdict is ConsumerVerdict.DIFFERS else "plain" if verdict is ConsumerVerdict.UNKNOWN else "good"
    said = f"{verdict.value}: {receipt.reason}" if receipt.reason else verdict.value
    return Happening(read_back, "consumer", receipt.consumer, said, tone)


def _is(event: Event, entry: Mapping[str, str]) -> bool:
    return entry["DetailType"] == event["detail-type"] and json.loads(entry["Detail"]) == event["detail"]


def _told(at: datetime, event: Event) -> Happening:
    """Return an event on Rekey's bus in words."""
    found = event["detail"]
    detail = found if isinstance(found, dict) else {}
    name = str(event["detail-type"])
    match name:
        case "Credential Compromised":
            return Happening(at, "event", name, f"put on the bus by {event['source']}", "warn")
        case "Request Accepted":
            return Happening(at, "event", name, f"reason {detail.get('reason')}, from {detail.get('source')}")
        case "Password Reset":
            return Happening(at, "event", name, "the old password is dead", "warn")
        case "Old Password Refused":
            return Happening(at, "event", name, "twice, with the registry well in between", "good")
        case "Attention Needed" | "Request Refused":
            return Happening(at, "event", name, str(detail.get("why", "")), "bad")
        case "Rotation Finished":
            outcome = str(detail.get("outcome"))
            return Happening(at, "event", name, outcome, "good" if outcome == "finished" else "bad")
        case _:
            return Happening(at, "event", name)


def _setting(company: Company, name: str) -> str:
    return company.world.cloud.stack.functions[0].environment[name]
