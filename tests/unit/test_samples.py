"""The sample events are what the functions take: each goes through its own handler's reading."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rekey.bus import PASTED, PASTED_SOURCE
from rekey.runtime import Call, Event, task_handler
from rekey.steps.notify import to_message
from rekey.steps.trigger import read_request
from rekey.steps.webhook import body_of, kept

if TYPE_CHECKING:
    from rekey.model.state import State

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "events").glob("*.json"))
NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
VERBS = {
    "begin": {"begin"},
    "reset": {"reset"},
    "distribute": {"prepare", "deliver", "verify"},
    "verify": {"verify"},
    "report": {"report"},
}
"""The functions that the state machine calls, and what it asks them for."""


class Context:
    """Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def of(*functions: str) -> list[Path]:
    return [sample for sample in SAMPLES if function_of(sample) in functions]


def function_of(sample: Path) -> str:
    return sample.name.partition("-")[0]


def read(sample: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(sample.read_text("utf-8"))
    return event


def test_every_function_has_a_sample() -> None:
    functions = {folder.name for folder in (ROOT / "functions").iterdir() if (folder / "app.py").exists()}
    assert {function_of(sample) for sample in SAMPLES} == functions


@pytest.mark.parametrize("sample", of(*VERBS), ids=lambda sample: sample.stem)
def test_a_task_reads_it(sample: Path) -> None:
    calls: list[Call] = []

    def step(call: Call) -> State | Event:
        calls.append(call)
        return call.state

    event = read(sample)
    answer = task_handler(step)(event, Context())
    if event.get("call") == "ping":
        assert answer == {"ok": True}
        return
    (call,) = calls
    assert call.verb in VERBS[function_of(sample)]
    assert call.execution.startswith("arn:aws:states:")
    assert call.state.dump() == answer
    assert (call.state.shard is not None) == (function_of(sample) == "distribute")


@pytest.mark.parametrize("sample", of("trigger"), ids=lambda sample: sample.stem)
def test_trigger_reads_it(sample: Path) -> None:
    event = read(sample)
    if "call" in event:
        assert event["call"] in ("tick", "ping")
    elif event["source"] == PASTED_SOURCE:
        assert event["detail-type"] == PASTED
    else:
        assert read_request(event, NOW).registry == event["detail"]["registry"]


@pytest.mark.parametrize("sample", of("notify"), ids=lambda sample: sample.stem)
def test_notify_reads_it(sample: Path) -> None:
    event = read(sample)
    assert event["source"] == "rekey"
    message, registry = to_message(event)
    assert registry == event["detail"]["registry"]
    assert message.subject.endswith(event["detail-type"])


@pytest.mark.parametrize("sample", of("webhook"), ids=lambda sample: sample.stem)
def test_webhook_reads_it(sample: Path) -> None:
    event = read(sample)
    detail = kept(body_of(event))
    asking: Event = {"id": "id", "source": "rekey.in/siem", "detail-type": "Credential Compromised", "detail": detail}
    assert read_request(asking, NOW).registry == detail["registry"]
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= event["headers"].keys()
