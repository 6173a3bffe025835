"""Events that tell become messages to people, a channel apart from the next."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime
from rekey.bus import Told
from rekey.errors import Denied, InputInvalid
from rekey.steps import notify
from rekey.steps.notify import to_message
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from rekey.runtime import Event
    from tests.unit.bare_stack import BareStack

PUBLISH = "sns:Publish"


def event(told: str, **detail: object) -> Event:
    return {"source": "rekey", "detail-type": told, "detail": {"format": 1, "registry": "prod-images", **detail}}


def sent(opened: BareStack) -> int:
    return sum(request.operation == PUBLISH for request in opened.aws.requests)


def run(opened: BareStack, told: Told, registry: str) -> Event:
    return notify.run(opened.bench, event(told, registry=registry), runtime.now() + timedelta(minutes=1))


def push(opened: BareStack, registry: str, *channels: dict[str, Any]) -> None:
    topics = [opened.aws.client("sns").create_topic(Name=f"{registry}-{number}") for number in range(len(channels))]
    notifiers = [
        {"type": "sns", "topic": topic["TopicArn"], **channel} for topic, channel in zip(topics, channels, strict=True)
    ]
    opened.push(registry, notify=notifiers)


class TestMessage:
    @pytest.mark.parametrize("told", list(Told))
    def test_every_event_that_tells_has_one(self, told: Told) -> None:
        message, registry = to_message(event(told.value, rotation="prod-images/3"))
        assert registry == "prod-images"
        assert told.value in message.subject
        assert "prod-images/3" in message.text
        assert message.needs_a_person == (told is Told.ATTENTION_NEEDED)

    def test_what_a_person_has_to_know_stands_first(self) -> None:
        message, _ = to_message(event(Told.ATTENTION_NEEDED, why="paste it", rotation="prod-images/3"))
        assert message.text.splitlines() == ["paste it", "", "registry: prod-images", "rotation: prod-images/3"]

    def test_a_subject_is_what_mail_takes(self) -> None:
        message, _ = to_message(event(Told.ATTENTION_NEEDED, registry="ü" * 200))
        assert message.subject.isascii()
        assert len(message.subject) <= 100

    @pytest.mark.parametrize(
        "wrong", [{}, {"detail-type": "Credential Compromised"}, {"detail-type": "Password Reset", "detail": "text"}]
    )
    def test_what_tells_nothing_is_refused(self, wrong: Event) -> None:
        with pytest.raises(InputInvalid):
            to_message(wrong)


class TestChannels:
    def test_every_channel_of_the_plan_gets_it(self, opened: BareStack, registry: str) -> None:
        push(opened, registry, {}, {})
        assert run(opened, Told.PASSWORD_RESET, registry) == {"sent": 2}
        assert sent(opened) == 2

    def test_one_for_attention_only_gets_nothing_else(self, opened: BareStack, registry: str) -> None:
        push(opened, registry, {"only_attention": True}, {})
        assert run(opened, Told.PASSWORD_RESET, registry) == {"sent": 1}
        assert run(opened, Told.ATTENTION_NEEDED, registry) == {"sent": 2}

    def test_one_that_fails_stops_no_other_and_the_event_is_tried_again(self, opened: BareStack, registry: str) -> None:
        """Lambda tries it again where this raises."""
        push(opened, registry, {}, {}, {})
        opened.aws.faults.add(PUBLISH, aws_faults.refuse("AuthorizationError", 403), nth=2)
        with pytest.raises(Denied):
            run(opened, Told.ATTENTION_NEEDED, registry)
        assert sent(opened) == 3

    def test_without_a_plan_there_is_nobody_to_tell(self, opened: BareStack, registry: str) -> None:
        assert run(opened, Told.REQUEST_REFUSED, registry) == {"sent": 0}

    def test_the_message_goes_out_as_it_is(self, opened: BareStack, registry: str) -> None:
        push(opened, registry, {})
        queue = opened.aws.client("sqs").create_queue(QueueName=registry)["QueueUrl"]
        arn = f"arn:aws:sqs:{opened.aws.place.region}:{opened.aws.place.account}:{registry}"
        topic = f"arn:aws:sns:{opened.aws.place.region}:{opened.aws.place.account}:{registry}-0"
        opened.aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        run(opened, Told.ATTENTION_NEEDED, registry)
        (message,) = opened.aws.client("sqs").receive_message(QueueUrl=queue)["Messages"]
        body = json.loads(message["Body"])
        assert body["Subject"] == f"Rekey {registry}: Attention Needed"
