"""The webhook receiver takes what is signed for it, once, and nothing else."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.sandbox.webhook_receiver import WebhookReceiver, new_secret, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.wire import JsonObject

NOW: Final = 1_700_000_000
BODY = b'{"type": "password.rotated", "secret": "registries/prod-images"}'


def standing_still(secret: str, read: Callable[[JsonObject], str] | None = None) -> WebhookReceiver:
    """Make a receiver for which it is always `NOW`."""
    return WebhookReceiver(secret, read=read, clock=lambda: NOW)


class Sender:
    """Sends to a receiver, signing with a secret."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.key = base64.b64decode(secret.removeprefix("whsec_"))

    def send(
        self, message_id: str = "msg_1", *, body: bytes = BODY, age: int = 0, altered: dict[str, str] | None = None
    ) -> int:
        timestamp = str(NOW - age)
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(self.key, message_id, timestamp, body),
        }
        return httpx.post(f"{self.url}/hooks/rekey", content=body, headers=headers | (altered or {})).status_code


def test_the_specifications_own_example_verifies() -> None:
    """The example of the Standard Webhooks libraries: a signature that is not made by this code."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signed_message_is_taken_once() -> None:
    with standing_still(secret := new_secret()) as receiver:
        sender = Sender(receiver.url, secret)
        assert [sender.send(), sender.send(), sender.send("msg_2")] == [200, 200, 200]
        assert [delivery.id for delivery in receiver.deliveries] == ["msg_1", "msg_2"]
        assert receiver.deliveries[0].payload == {"type": "password.rotated", "secret": "registries/prod-images"}
        assert receiver.deliveries[0].order < receiver.deliveries[1].order


@pytest.mark.parametrize("age", [300, -300])
def test_a_message_within_the_tolerance_is_taken(age: int) -> None:
    with standing_still(secret := new_secret()) as receiver:
        assert Sender(receiver.url, secret).send(age=age) == 200


def test_one_fitting_signature_of_several_is_enough() -> None:
    """While a signing secret is changed, a message carries two."""
    with standing_still(secret := new_secret()) as receiver:
        sender, timestamp = Sender(receiver.url, secret), str(NOW)
        both = f"v1,AAAA {sign(sender.key, 'msg_1', timestamp, BODY)}"
        assert sender.send(altered={"webhook-signature": both, "webhook-timestamp": timestamp}) == 200


@pytest.mark.parametrize(
    "altered",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW + 7)},
        {"webhook-timestamp": "yesterday"},
    ],
)
def test_what_is_not_signed_so_is_refused(altered: dict[str, str]) -> None:
    with standing_still(secret := new_secret()) as receiver:
        assert Sender(receiver.url, secret).send(altered=altered) == 401
        assert receiver.deliveries == []


def test_another_secret_an_old_message_and_no_json_are_refused() -> None:
    with standing_still(secret := new_secret()) as receiver:
        assert Sender(receiver.url, new_secret()).send() == 401
        assert Sender(receiver.url, secret).send(age=301) == 401
        assert Sender(receiver.url, secret).send(age=-301) == 401
        assert Sender(receiver.url, secret).send(body=b"password") == 400
        assert httpx.get(receiver.url).status_code == 405
        assert receiver.deliveries == []


def test_the_reference_is_read_and_a_failure_lets_it_come_again() -> None:
    store: dict[str, str] = {}

    def read(payload: JsonObject) -> str:
        return store[str(payload["secret"])]

    with standing_still(secret := new_secret(), read=read) as receiver:
        sender = Sender(receiver.url, secret)
        assert sender.send() == 503
        store["registries/prod-images"] = "value"
        assert sender.send() == 200
        assert [delivery.value for delivery in receiver.deliveries] == ["value"]
