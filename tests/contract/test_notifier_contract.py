"""What every notifier of the adapter table promises, at its (simulated) channel (rekey.contracts.Notifier)."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import boto3
import pytest
from moto import mock_aws

from rekey import aws
from rekey.adapters import ADAPTERS, load
from rekey.contracts import Message
from rekey.errors import Denied, NotFound, Unreachable
from rekey.model.plan import SnsNotifier as SnsPart
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.contracts import Notifier
    from tests.sandbox.wire import Request

MESSAGE = Message("prod-images: password reset", "The old password is dead.", needs_a_person=True)


class NotifierCase(Protocol):
    """One channel: one that works, one that is not there, and how its service refuses or is away."""

    def notifier(self) -> Notifier: ...

    def nowhere(self) -> Notifier: ...

    def received(self) -> list[str]:
        """Return the messages that people have got."""

    def refuse(self) -> None:
        """Let the service refuse from now on."""

    def go_away(self) -> None:
        """Let the service be unreachable from now on."""


class Refusal(HttpServer):
    """An AWS endpoint that refuses everybody."""

    def act(self, _request: Request) -> Response:
        error = "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code></Error></ErrorResponse>"
        return Response.text(error, 403, "text/xml")


class SnsCase:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
        self._monkeypatch = monkeypatch
        self._refusal = refusal
        sns, self._sqs = boto3.client("sns"), boto3.client("sqs")
        self._topic = sns.create_topic(Name="people")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="inbox")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        sns.subscribe(TopicArn=self._topic, Protocol="sqs", Endpoint=attributes["QueueArn"])

    def notifier(self) -> Notifier:
        return self._to(self._topic)

    def nowhere(self) -> Notifier:
        return self._to(f"{self._topic}-nowhere")

    def received(self) -> list[str]:
        return [
            json.loads(one["Body"])["Message"] for one in self._sqs.receive_message(QueueUrl=self._queue)["Messages"]
        ]

    def refuse(self) -> None:
        self._point_at(self._refusal.url)

    def go_away(self) -> None:
        self._refusal.stop()
        self._point_at(self._refusal.url)

    def _point_at(self, url: str) -> None:
        self._monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", url)
        aws.client.cache_clear()

    @staticmethod
    def _to(topic: str) -> Notifier:
        made: Notifier = load("notifier", "sns")(SnsPart(type="sns", topic=topic))
        return made


@contextmanager
def _sns(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifierCase]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    aws.client.cache_clear()
    with Refusal() as refusal, mock_aws():
        yield SnsCase(monkeypatch, refusal)
    aws.client.cache_clear()


CASES = {"sns": _sns}


def test_every_notifier_of_the_table_is_tried() -> None:
    assert {name for kind, name in ADAPTERS if kind == "notifier"} == CASES.keys()


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifierCase]:
    with CASES[request.param](monkeypatch) as case:
        yield case


def test_a_message_arrives(case: NotifierCase) -> None:
    case.notifier().send(MESSAGE)
    assert case.received() == [MESSAGE.text]


def test_a_channel_that_is_not_there_is_named(case: NotifierCase) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        case.nowhere().send(MESSAGE)


def test_a_refusal_is_called_one(case: NotifierCase) -> None:
    case.refuse()
    with pytest.raises(Denied):
        case.notifier().send(MESSAGE)


def test_a_service_that_is_away_is_unreachable(case: NotifierCase) -> None:
    case.go_away()
    with pytest.raises(Unreachable):
        case.notifier().send(MESSAGE)
