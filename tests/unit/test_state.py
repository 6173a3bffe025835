"""What passes between the states of the machine: identifiers, one format, nothing unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rekey.errors import FormatUnknown, InputInvalid
from rekey.model.state import Next, Operation, Outcome, State

INPUT: dict[str, Any] = {"format": 1, "operation": "rotate", "registry": "prod-images", "start": 17}


def test_an_executions_input_is_read() -> None:
    state = State.read(INPUT)
    assert (state.operation, state.registry, state.start, state.shards) == (Operation.ROTATE, "prod-images", 17, ())


def test_a_state_survives_the_way_through_the_machine() -> None:
    """Every function returns the whole state, and the next one reads it."""
    state = State.read(INPUT).to(Next.RESET).model_copy(update={"shards": (0, 1), "epoch": 4, "tag": "t"})
    assert State.read(state.dump()) == state


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_is_refused(number: object) -> None:
    with pytest.raises(FormatUnknown, match="format"):
        State.read({**INPUT, "format": number})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"registry": "../other"}, "registry"),
        ({"registry": "Prod"}, "registry"),
        ({"operation": "erase"}, "operation"),
        ({"start": "many"}, "start"),
        ({"password": "anything"}, "password"),
        ({"next": "elsewhere"}, "next"),
    ],
)
def test_what_is_wrong_is_named_and_never_quoted(change: dict[str, object], named: str) -> None:
    """An unknown field is refused: execution history keeps every input for ever."""
    with pytest.raises(InputInvalid, match=named) as caught:
        State.read({**INPUT, **change})
    assert "anything" not in str(caught.value)
    assert "../other" not in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_what_is_no_state_at_all_is_refused(document: object) -> None:
    with pytest.raises((FormatUnknown, InputInvalid)):
        State.read(document)


def test_a_wait_has_its_time_as_step_functions_reads_it_and_the_next_step_has_none() -> None:
    """TimestampPath: RFC 3339 in UTC, with a Z."""
    until = datetime(2026, 1, 31, 2, 0, 0, 250_000, tzinfo=UTC)
    waiting = State.read(INPUT).to(Next.WAIT, until=until)
    assert waiting.dump()["until"] == "2026-01-31T02:00:00.250Z"
    assert waiting.dump()["next"] == "wait"
    assert "until" not in waiting.to(Next.RESET).dump()


def test_the_way_to_report_may_name_the_outcome() -> None:
    assert State.read(INPUT).to_report(Outcome.READY).dump()["outcome"] == "ready"
    assert "outcome" not in State.read(INPUT).to_report().dump()


def test_the_fence_is_of_this_executions_acquisition() -> None:
    state = State.read({**INPUT, "epoch": 4, "tag": "t"})
    fence = state.fence("arn", 1)
    assert (fence.registry, fence.owner, fence.redrive, fence.epoch, fence.tag) == ("prod-images", "arn", 1, 4, "t")
