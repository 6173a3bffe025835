"""Contract case: receivers of signed webhooks, one entry each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekey.model.plan import WebhookConsumer
from rekey.model.verdict import ConsumerVerdict
from tests.contract.consumer_case import ConsumerCase
from tests.sandbox.webhook_receiver import WebhookReceiver

if TYPE_CHECKING:
    from rekey.contracts import Delivery
    from tests.contract.world import World
    from tests.sandbox.wire import Request


class WebhookCase(ConsumerCase[WebhookReceiver]):
    type = "webhook"
    verdict = ConsumerVerdict.WRITTEN
    can_be_unchanged = False

    def __init__(self, world: World, server: WebhookReceiver, count: int, key: str) -> None:
        super().__init__(world, server, count)
        self.key = world.credential("webhook", server.url, key=key)
        self.path = world.never_to_be_said("T0NLY-WE-KNOW")

    def parts(self) -> list[WebhookConsumer]:
        return [
            WebhookConsumer(
                name=name, type="webhook", url=f"{self.server.url}/{self.path}/{name}", signing_key=self.key
            )
            for name in self.names()
        ]

    def names(self) -> list[str]:
        return [f"tool-{number}" for number in range(self.count)]

    def has(self, consumer: str, delivery: Delivery) -> bool:
        told = {
            request.path.rpartition("/")[2]: request.json_object()["data"] for request in self.server.requests("POST")
        }
        expected = {
            "registry": delivery.registry,
            "endpoint": delivery.endpoint,
            "username": delivery.username,
            "generation": delivery.generation,
            "rotation": delivery.rotation,
            "store": dict(delivery.store),
        }
        return told.get(consumer) == expected and len(self.server.deliveries) >= 1

    def is_write(self, request: Request) -> bool:
        return request.method == "POST"
