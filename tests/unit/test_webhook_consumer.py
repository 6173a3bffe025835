"""Consumer `webhook`: signed, deduplicated by its id, and without the password."""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.consumers.webhook import WebhookConsumer
from rekey.contracts import Prepared
from rekey.errors import CredentialUnusable, NotSent, Unfit
from rekey.model.plan import WebhookConsumer as WebhookPart
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from tests.contract.world import ROTATED_AT, World, new_world
from tests.sandbox import faults
from tests.sandbox.certificates import Authority
from tests.sandbox.webhook_receiver import WebhookReceiver, new_secret
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rekey.contracts import Delivery


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with new_world(monkeypatch) as world:
        yield world


@pytest.fixture
def key() -> str:
    return new_secret()


@pytest.fixture
def receiver(key: str) -> Iterator[WebhookReceiver]:
    with WebhookReceiver(key) as receiver:
        yield receiver


@pytest.fixture
def part(world: World, receiver: WebhookReceiver, key: str) -> WebhookPart:
    return part_at(world, receiver.url, key)


def part_at(world: World, url: str, key: str, ca: str | None = None, name: str = "tool") -> WebhookPart:
    path = world.never_to_be_said("hook-T0K3N")
    signing = world.credential(f"webhook-{name}", url, key=key)
    return WebhookPart(name=name, type="webhook", url=f"{url}/{path}", signing_key=signing, ca=ca)


def prepare(world: World, part: WebhookPart) -> Sequence[Prepared]:
    async def act() -> Sequence[Prepared]:
        async with world.shard() as shard:
            return await WebhookConsumer(part, shard).prepare()

    return asyncio.run(act())


def deliver(world: World, delivery: Delivery, *parts: WebhookPart, deadline: datetime | None = None) -> list[Receipt]:
    """Deliver to one entry after the other, in one shard."""

    async def act() -> list[Receipt]:
        async with world.shard(deadline) as shard:
            return [await WebhookConsumer(part, shard).deliver(delivery, Prepared(part.name)) for part in parts]

    return asyncio.run(act())


def test_a_message_says_everything_but_the_password(world: World, receiver: WebhookReceiver, part: WebhookPart) -> None:
    """Who may read the store finds the password by the reference; the message alone opens nothing."""
    delivery = world.delivery()
    (receipt,) = deliver(world, delivery, part)
    assert (receipt.consumer, receipt.outcome) == ("tool", ConsumerOutcome.UPDATED)
    (taken,) = receiver.deliveries
    assert taken.payload == {
        "type": "rekey.password.rotated",
        "timestamp": "2026-03-07T02:00:00.000Z",
        "data": {
            "registry": "prod-images",
            "endpoint": "registry.example.com",
            "username": "robot",
            "generation": 7,
            "rotation": "prod-images/7",
            "store": dict(delivery.store),
        },
    }
    assert datetime.fromisoformat(str(taken.payload["timestamp"])) == ROTATED_AT
    (request,) = receiver.requests()
    world.assert_nothing_said([request.body.decode(), repr(dict(request.headers))])


def test_sent_again_it_is_the_same_message(world: World, receiver: WebhookReceiver, part: WebhookPart) -> None:
    """A message whose answer was lost is taken once; another generation, or another entry, is another message."""
    delivery = world.delivery()
    receiver.inject(faults.drop(acted=True))
    (lost,) = deliver(world, delivery, part)
    assert lost.outcome is ConsumerOutcome.UNREACHABLE
    (again,) = deliver(world, delivery, part)
    assert again.outcome is ConsumerOutcome.UPDATED
    assert len(receiver.requests()) == 2
    assert len(receiver.deliveries) == 1
    deliver(world, world.delivery(8), part)
    deliver(world, delivery, part.model_copy(update={"name": "other-tool"}))
    assert len(receiver.deliveries) == 3


def test_a_wrong_key_is_refused_and_fails(world: World, receiver: WebhookReceiver) -> None:
    (receipt,) = deliver(world, world.delivery(), part_at(world, receiver.url, new_secret()))
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert "compare its key with rekey/webhook-tool" in receipt.reason
    assert receiver.deliveries == []


def test_preparing_connects_and_says_nothing(world: World, receiver: WebhookReceiver, part: WebhookPart) -> None:
    """No request at all: it might set the automation going."""
    assert prepare(world, part) == [Prepared("tool")]
    assert receiver.requests() == []


def test_an_address_without_a_listener_is_found_before_the_reset(
    world: World, receiver: WebhookReceiver, part: WebhookPart
) -> None:
    receiver.stop()
    with pytest.raises(NotSent, match=rf"the webhook at {receiver.host}: no connection \(ConnectionRefusedError\)"):
        prepare(world, part)


def test_a_private_authority_is_trusted_only_if_the_plan_names_it(world: World, key: str) -> None:
    authority = Authority()
    with WebhookReceiver(key, tls=authority.server_context()) as receiver:
        untrusting = part_at(world, receiver.url, key, name="untrusting")
        with pytest.raises(NotSent, match="certificate is not trusted"):
            prepare(world, untrusting)
        (receipt,) = deliver(world, world.delivery(), untrusting)
        assert receipt.outcome is ConsumerOutcome.UNREACHABLE
        assert "certificate is not trusted" in receipt.reason
        trusting = part_at(world, receiver.url, key, authority.pem)
        assert prepare(world, trusting) == [Prepared("tool")]
        assert deliver(world, world.delivery(), trusting)[0].outcome is ConsumerOutcome.UPDATED


def test_an_authority_that_is_none_is_found_before_the_reset(world: World, key: str) -> None:
    authority = Authority()
    with WebhookReceiver(key, tls=authority.server_context()) as receiver:
        broken = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"
        with pytest.raises(Unfit, match="not a PEM certificate"):
            prepare(world, part_at(world, receiver.url, key, broken))


def encoded(count: int) -> str:
    return base64.b64encode(secrets.token_bytes(count)).decode()


@pytest.mark.parametrize(
    ("prefix", "count", "suffix"),
    [
        ("", 0, ""),
        ("whsec_", 0, ""),
        ("whsec_", 23, ""),
        ("whsec_", 65, ""),
        ("", 32, ""),
        ("whsec_", 32, "é"),
        ("whsec_", 32, "%"),
    ],
)
def test_a_signing_key_that_is_none_is_found_before_the_reset(
    world: World, receiver: WebhookReceiver, prefix: str, count: int, suffix: str
) -> None:
    part = part_at(world, receiver.url, f"{prefix}{encoded(count)}{suffix}")
    world.canaries.discard("")
    world.canaries.discard("whsec_")
    with pytest.raises(CredentialUnusable, match="is no signing key: write `whsec_` and base64 of 24 to 64 bytes") as e:
        prepare(world, part)
    world.assert_nothing_said([str(e.value)])
    (receipt,) = deliver(world, world.delivery(), part)
    assert receipt.outcome is ConsumerOutcome.FAILED
    assert receiver.requests() == []


@pytest.mark.parametrize("count", [24, 64])
def test_the_shortest_and_the_longest_key(world: World, count: int) -> None:
    key = f"whsec_{encoded(count)}"
    with WebhookReceiver(key) as receiver:
        deliver(world, world.delivery(), part_at(world, receiver.url, key))
        assert len(receiver.deliveries) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, (ConsumerOutcome.UPDATED, "")),
        (202, (ConsumerOutcome.UPDATED, "")),
        (204, (ConsumerOutcome.UPDATED, "")),
        (302, (ConsumerOutcome.FAILED, "a redirect, which is not followed")),
        (308, (ConsumerOutcome.FAILED, "a redirect, which is not followed")),
        (400, (ConsumerOutcome.FAILED, "it does not take the message")),
        (401, (ConsumerOutcome.FAILED, "it refuses the signature")),
        (404, (ConsumerOutcome.FAILED, "there is no receiver any more")),
        (410, (ConsumerOutcome.FAILED, "there is no receiver any more")),
        (408, (ConsumerOutcome.UNREACHABLE, "not now")),
        (429, (ConsumerOutcome.UNREACHABLE, "not now")),
        (500, (ConsumerOutcome.UNREACHABLE, "it is not well")),
        (503, (ConsumerOutcome.UNREACHABLE, "it is not well")),
    ],
)
def test_what_an_answer_means(
    world: World, receiver: WebhookReceiver, part: WebhookPart, status: int, expected: tuple[ConsumerOutcome, str]
) -> None:
    """And no reason holds the address's path, which may be all that keeps it secret, nor a word of the answer."""
    receiver.inject(faults.answer(Response(status, b"" if status == 204 else b"QUOTED")))
    (receipt,) = deliver(world, world.delivery(), part)
    outcome, said = expected
    assert receipt.outcome is outcome
    assert said in receipt.reason
    assert bool(receipt.reason) == bool(said)
    world.assert_nothing_said([repr(receipt)])
    assert "QUOTED" not in receipt.reason


def test_a_receiver_that_is_busy_is_left_alone_for_as_long_as_it_asks(
    world: World, receiver: WebhookReceiver, part: WebhookPart
) -> None:
    """The shard's other entries at this host wait for the next pass, with the time."""
    other = part.model_copy(update={"name": "other-tool"})
    receiver.inject(faults.answer(Response(429, b"", {"Retry-After": "60"})))
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    busy, held = deliver(world, world.delivery(), part, other, deadline=deadline)
    assert (busy.outcome, held.outcome) == (ConsumerOutcome.UNREACHABLE, ConsumerOutcome.PENDING)
    assert "no request may leave before 20" in held.reason
    assert len(receiver.requests()) == 1


def test_what_was_taken_is_written_and_no_more(world: World, part: WebhookPart) -> None:
    """Nobody can be asked what a receiver did; for what was not taken there is nothing to say."""
    delivery = world.delivery()
    (receipt,) = deliver(world, delivery, part)

    async def verified(one: Receipt) -> Receipt:
        async with world.shard() as shard:
            return await WebhookConsumer(part, shard).verify(delivery, one)

    assert asyncio.run(verified(receipt)).verdict is ConsumerVerdict.WRITTEN
    failed = Receipt("tool", "webhook", ConsumerOutcome.FAILED, reason="x")
    assert asyncio.run(verified(failed)) == failed
