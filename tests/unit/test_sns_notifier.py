"""Notifier `sns`: what a person gets, and what SNS would not take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from rekey import aws
from rekey.contracts import Message
from rekey.model.plan import SnsNotifier as SnsPart
from rekey.notifiers.sns import SnsNotifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Inbox = tuple[SnsPart, "Callable[[], tuple[str, str]]"]


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """Return a topic, and what reads the one message that came to a subscriber of it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        aws.client.cache_clear()
        sns, sqs = boto3.client("sns"), boto3.client("sqs")
        topic = sns.create_topic(Name="people")["TopicArn"]
        queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

        def read() -> tuple[str, str]:
            (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
            body = json.loads(message["Body"])
            return body["Subject"], body["Message"]

        yield SnsPart(type="sns", topic=topic), read
        aws.client.cache_clear()


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("prod-images: password reset", "prod-images: password reset"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("  Größe — done ", "Gr e done"),
        ("x" * 150, "x" * 99),
        ("\n", "Rekey"),
        ("", "Rekey"),
    ],
)
def test_the_subject_is_one_that_sns_takes(inbox: Inbox, subject: str, expected: str) -> None:
    """One line of at most 99 ASCII characters, never empty."""
    part, read = inbox
    SnsNotifier(part).send(Message(subject, "text", needs_a_person=False))
    assert read()[0] == expected


def test_the_text_arrives_as_it_is(inbox: Inbox) -> None:
    part, read = inbox
    text = "The old password is dead.\nConsumers to tell: 3 — größer als 2"
    SnsNotifier(part).send(Message("subject", text, needs_a_person=True))
    assert read() == ("subject", text)


@pytest.mark.parametrize("character", ["x", "ü"])
def test_a_text_too_long_for_sns_is_cut_and_says_so(inbox: Inbox, character: str) -> None:
    """Cut between characters, not inside one."""
    part, read = inbox
    SnsNotifier(part).send(Message("subject", character * 300_000, needs_a_person=False))
    _, text = read()
    assert len(text.encode()) <= 256 * 1024
    kept, _, said = text.partition("\n")
    assert set(kept) == {character}
    assert said == "(cut: the rest is in the rotation's report)"
