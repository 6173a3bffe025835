"""Everything that happens is told on the stack's bus, and a message that fails touches no rotation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rekey.bus import Bus, Told
from rekey.errors import Denied, Unreachable
from tests.sandbox import aws_faults
from tests.sandbox.aws_faults import Answer

if TYPE_CHECKING:
    from tests.sandbox.aws_faults import Act, AwsRequest, Effect
    from tests.unit.bare_stack import BareStack

PUT = "events:PutEvents"


@pytest.fixture
def bus() -> Bus:
    return Bus("stack")


def not_taken(_request: AwsRequest, _act: Act) -> Answer:
    """Answer 200, and say in it that the entry failed: https://docs.aws.amazon.com/eventbridge API_PutEvents."""
    entry = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    body = json.dumps({"FailedEntryCount": 1, "Entries": [entry]}).encode()
    return Answer(200, (("Content-Type", "application/x-amz-json-1.1"),), body)


def test_an_event_has_source_type_and_format(opened: BareStack, registry: str, bus: Bus) -> None:
    bus.put("rekey.in/console", "Credential Compromised", {"registry": registry, "reason": "lost"})
    (event,) = opened.events(registry)
    assert event == {
        "EventBusName": "stack",
        "Source": "rekey.in/console",
        "DetailType": "Credential Compromised",
        "Detail": {"format": 1, "registry": registry, "reason": "lost"},
    }


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        (not_taken, Unreachable),
        (aws_faults.refuse(), Denied),
        (aws_faults.drop_before(), Unreachable),
        (aws_faults.server_error(), Unreachable),
    ],
)
def test_an_event_that_was_not_taken_is_an_error(
    opened: BareStack, registry: str, bus: Bus, effect: Effect, error: type[Exception]
) -> None:
    """PutEvents reports failures per entry: an answer of 200 alone says nothing."""
    opened.aws.faults.add(PUT, effect, times=None)
    with pytest.raises(error, match="the event bus"):
        bus.put("rekey.in/console", "Credential Compromised", {"registry": registry})


def test_what_is_told_names_the_registry(opened: BareStack, registry: str, bus: Bus) -> None:
    bus.tell(Told.PASSWORD_RESET, registry, rotation=f"{registry}/1", consumers=3)
    (event,) = opened.events(registry)
    assert (event["Source"], event["DetailType"]) == ("rekey", "Password Reset")
    assert event["Detail"] == {"format": 1, "registry": registry, "rotation": f"{registry}/1", "consumers": 3}


@pytest.mark.parametrize("effect", [not_taken, aws_faults.refuse(), aws_faults.drop_before()])
def test_telling_never_raises(opened: BareStack, registry: str, bus: Bus, effect: Effect) -> None:
    """A person hears of it late; the rotation goes on."""
    opened.aws.faults.add(PUT, effect, times=None)
    bus.tell(Told.ATTENTION_NEEDED, registry, why="it stands")


def test_a_text_that_is_too_long_for_an_event_is_cut(opened: BareStack, registry: str, bus: Bus) -> None:
    """An event ends at 256 KB: else it would not be taken at all, and nobody would hear of anything."""
    assert bus.tell(Told.ATTENTION_NEEDED, registry, why="x" * 300_000)
    (event,) = opened.events(registry)
    assert event["Detail"]["why"] == "x" * 8000 + "…"
