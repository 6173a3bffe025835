"""The one public door: who sent it is proven, the schema's fields are kept, nothing else goes on."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime, standard_webhooks
from rekey.errors import Denied
from rekey.standard_webhooks import TOLERANCE, verify
from rekey.steps import webhook
from rekey.steps.bench import Bench
from tests.sandbox import aws_faults
from tests.sandbox.webhook_receiver import new_secret, sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rekey.runtime import Event
    from tests.unit.bare_stack import BareStack

KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
"""Of the example that the Standard Webhooks libraries share: signed by none of our code."""
EXAMPLE = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
BODY = b'{"test": 2432232314}'
THEN = datetime.fromtimestamp(1614265330, UTC)


class Sender:
    """A security tool that shares a key with the source `siem`, for one registry."""

    def __init__(self, opened: BareStack) -> None:
        self.opened = opened
        self.registry = opened.new_registry()
        self.secret = new_secret()
        name = f"rekey/{self.registry}"
        document = {"registries": [self.registry], "key": self.secret}
        opened.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(document))
        settings = replace(opened.bench.settings, webhook_sources={"siem": {"secret": name}})
        self.bench = Bench(settings)

    def request(
        self,
        body: bytes | None = None,
        *,
        age: int = 0,
        message_id: str = "msg_1",
        headers: Mapping[str, str] | None = None,
    ) -> Event:
        """Return a signed request as API Gateway hands it over; `headers` replace its own."""
        body = body if body is not None else self.alert()
        stamp = str(int(time.time()) - age)
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(key, message_id, stamp, body),
        }
        return {
            "rawPath": "/siem",
            "headers": {**signed, **(headers or {})},
            "body": body.decode(),
            "isBase64Encoded": False,
        }

    def alert(self, **fields: object) -> bytes:
        """Return the body of an alert."""
        return json.dumps({"registry": self.registry, "reason": "compromised", **fields}).encode()

    def send(self, event: Event) -> int:
        """Hand a request to the function, and return the status it answers."""
        answer = webhook.run(self.bench, event, runtime.now() + timedelta(minutes=1))
        return int(str(answer["statusCode"]))

    @property
    def put(self) -> list[dict[str, Any]]:
        """The details of the events that were put on the bus."""
        return [event["Detail"] for event in self.opened.events(self.registry)]


@pytest.fixture
def sender(opened: BareStack) -> Sender:
    return Sender(opened)


class TestSignature:
    def test_the_specifications_own_example_verifies(self) -> None:
        assert verify(KEY, EXAMPLE, BODY, THEN) == EXAMPLE["webhook-id"]

    def test_what_we_sign_is_what_it_signs(self) -> None:
        assert standard_webhooks.headers(KEY, EXAMPLE["webhook-id"], THEN, BODY) == EXAMPLE

    @pytest.mark.parametrize("minutes", [-4, 4])
    def test_a_clock_may_be_a_little_off(self, minutes: int) -> None:
        assert verify(KEY, EXAMPLE, BODY, THEN + timedelta(minutes=minutes))

    @pytest.mark.parametrize("off", [TOLERANCE + timedelta(seconds=1), -TOLERANCE - timedelta(seconds=1)])
    def test_an_old_message_may_be_a_replay(self, off: timedelta) -> None:
        with pytest.raises(Denied, match="too old"):
            verify(KEY, EXAMPLE, BODY, THEN + off)

    def test_one_fitting_signature_of_several_is_enough(self) -> None:
        """While a key is changed a message carries two."""
        both = f"v1,AAAA {EXAMPLE['webhook-signature']}"
        assert verify(KEY, {**EXAMPLE, "webhook-signature": both}, BODY, THEN)

    @pytest.mark.parametrize(
        "change",
        [
            {"webhook-signature": ""},
            {"webhook-signature": "v1,AAAA"},
            {"webhook-signature": EXAMPLE["webhook-signature"].removeprefix("v1,")},
            {"webhook-signature": EXAMPLE["webhook-signature"].replace("v1,", "v1a,")},
            {"webhook-id": "msg_other"},
            {"webhook-id": ""},
            {"webhook-timestamp": "1614265331"},
            {"webhook-timestamp": ""},
            {"webhook-timestamp": "-1614265330"},
            {"webhook-timestamp": "１６１４２６５３３０"},  # noqa: RUF001 (digits, and none of ASCII)
            {"webhook-timestamp": "9" * 5000},
        ],
    )
    def test_anything_else_is_refused_without_saying_what_would_fit(self, change: Mapping[str, str]) -> None:
        with pytest.raises(Denied) as caught:
            verify(KEY, {**EXAMPLE, **change}, BODY, THEN)
        assert EXAMPLE["webhook-signature"] not in str(caught.value)

    @pytest.mark.parametrize("header", sorted(EXAMPLE))
    def test_a_header_that_came_twice_is_refused(self, header: str) -> None:
        """An HTTP API joins the two with a comma."""
        doubled = f"{EXAMPLE[header]},{EXAMPLE[header]}"
        with pytest.raises(Denied):
            verify(KEY, {**EXAMPLE, header: doubled}, BODY, THEN)

    def test_the_body_is_signed(self) -> None:
        with pytest.raises(Denied):
            verify(KEY, EXAMPLE, BODY + b" ", THEN)


class TestRequest:
    def test_a_signed_alert_becomes_an_event_of_its_source(self, sender: Sender) -> None:
        assert sender.send(sender.request()) == 202
        (event,) = sender.opened.events(sender.registry)
        assert (event["Source"], event["DetailType"]) == ("rekey.in/siem", "Credential Compromised")
        assert event["Detail"] == {
            "format": 1,
            "registry": sender.registry,
            "reason": "compromised",
            "leak": "msg_1",
        }

    def test_only_the_fields_of_the_schema_go_on(self, sender: Sender) -> None:
        """An alert may carry the live password (invariant 1), or a host of its own (invariant 11)."""
        leaked = secrets.token_urlsafe(12)
        body = sender.alert(
            leak="case-1", exposed_at="2026-01-31T02:00:00Z", password=leaked, endpoint="evil.example", match=[leaked]
        )
        assert sender.send(sender.request(body)) == 202
        assert sender.put == [
            {
                "format": 1,
                "registry": sender.registry,
                "reason": "compromised",
                "leak": "case-1",
                "exposed_at": "2026-01-31T02:00:00Z",
            }
        ]

    def test_a_body_in_base64_is_signed_as_it_was_before(self, sender: Sender) -> None:
        event = sender.request()
        encoded = base64.b64encode(str(event["body"]).encode()).decode()
        assert sender.send({**event, "body": encoded, "isBase64Encoded": True}) == 202
        assert len(sender.put) == 1

    def test_a_message_that_is_sent_again_is_the_same_leak(self, sender: Sender) -> None:
        """So its event joins the request that is there."""
        event = sender.request(message_id="msg_7")
        assert [sender.send(event), sender.send(event)] == [202, 202]
        assert [detail["leak"] for detail in sender.put] == ["msg_7", "msg_7"]

    @pytest.mark.parametrize(
        ("headers", "age"),
        [
            ({"webhook-signature": "v1,AAAA"}, 0),
            ({"webhook-signature": ""}, 0),
            ({"webhook-id": "another"}, 0),
            ({}, 301),
            ({}, -360),  # of a clock that runs ahead; a second more would be over before it is looked at
        ],
    )
    def test_a_bad_or_old_signature_is_refused_and_puts_nothing(
        self, sender: Sender, headers: dict[str, str], age: int
    ) -> None:
        assert sender.send(sender.request(age=age, headers=headers)) == 401
        assert sender.put == []

    def test_another_sources_signature_is_refused(self, sender: Sender, opened: BareStack) -> None:
        other = Sender(opened)
        assert sender.send(other.request(sender.alert())) == 401

    @pytest.mark.parametrize("path", ["/", "/other", "/siem/more", "/SIEM", ""])
    def test_an_unknown_source_is_refused(self, sender: Sender, path: str) -> None:
        assert sender.send({**sender.request(), "rawPath": path}) == 401
        assert sender.put == []

    def test_without_sources_it_is_off(self, sender: Sender) -> None:
        sender.bench = sender.opened.bench
        assert sender.send(sender.request()) == 401

    def test_a_source_asks_only_for_the_registries_its_key_is_for(self, sender: Sender, opened: BareStack) -> None:
        """The key says so itself."""
        body = sender.alert(registry="another")
        assert sender.send(sender.request(body)) == 401
        assert opened.events("another") == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b'"text"',
            b"{",
            b"\xff\xfe",
            b"[" * 50_000,
            b'{"registry": 7, "reason": "compromised"}',
            b'{"registry": "a", "leak": ["x"]}',
        ],
    )
    def test_a_body_that_is_no_alert_is_refused(self, sender: Sender, body: bytes) -> None:
        event = sender.request()
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        assert sender.send(event) in (400, 401)
        assert sender.put == []

    @pytest.mark.parametrize("encoded", [False, True])
    def test_a_body_that_is_too_long_is_refused_unread(self, sender: Sender, *, encoded: bool) -> None:
        body = sender.alert(leak="x" * webhook.BODY_LIMIT)
        event = sender.request(body)
        if encoded:
            event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        assert sender.send(event) == 400
        assert sender.put == []

    @pytest.mark.parametrize(
        "change",
        [
            {"body": "not base64!", "isBase64Encoded": True},
            {"body": "é", "isBase64Encoded": True},
            {"body": "\ud800"},
            {"headers": None},
            {"body": None},
        ],
    )
    def test_a_request_that_is_malformed_is_refused(self, sender: Sender, change: Event) -> None:
        assert sender.send({**sender.request(), **change}) == 400

    def test_an_id_that_names_no_leak_is_refused_before_it_is_accepted(self, sender: Sender) -> None:
        """Trigger would refuse the event, and the sender would take it for taken."""
        assert sender.send(sender.request(message_id="m" * 257)) == 400

    @pytest.mark.parametrize("effect", [aws_faults.refuse(), aws_faults.drop_before(), aws_faults.server_error()])
    def test_what_could_not_be_put_is_not_answered_as_taken(
        self, sender: Sender, opened: BareStack, effect: aws_faults.Effect
    ) -> None:
        """Also where the fault is this stack's own: the sender tries again."""
        opened.aws.faults.add("events:PutEvents", effect, times=None)
        assert sender.send(sender.request()) == 503

    def test_a_key_that_cannot_be_fetched_now_is_no_refusal(self, sender: Sender, opened: BareStack) -> None:
        opened.aws.faults.add("secretsmanager:GetSecretValue", aws_faults.drop_before(), times=None)
        assert sender.send(sender.request()) == 503

    def test_a_key_that_is_none_says_nothing_of_itself(self, sender: Sender) -> None:
        text = json.dumps({"registries": [sender.registry], "key": "whsec_short"})
        client = sender.opened.aws.client("secretsmanager")
        client.put_secret_value(SecretId=f"rekey/{sender.registry}", SecretString=text)
        answer = webhook.run(sender.bench, sender.request(), runtime.now())
        assert answer["statusCode"] == 401
        assert "rekey/" not in str(answer["body"])
