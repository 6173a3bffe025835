"""No consumer is told before the store has the new password: deliver and verify refuse to begin."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from rekey import runtime
from rekey.errors import Defect
from rekey.model.rotation import Phase
from rekey.model.state import Next
from rekey.model.verdict import ConsumerOutcome
from rekey.records.plans import to_stored
from rekey.runtime import Call
from rekey.steps import distribute
from tests.sandbox.webhook_receiver import WebhookReceiver, new_secret
from tests.unit.bare_stack import BareStack, plan_of
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.runtime import Event


class Told(Place):
    """One whose consumer is a webhook that somebody answers."""

    def __enter__(self) -> Self:
        super().__enter__()
        key = new_secret()
        self.receiver = WebhookReceiver(key).start()
        name = f"rekey/{self.name}-hook"
        credential = {"registries": [self.name], "hosts": [self.receiver.host], "key": key}
        self.opened.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(credential))
        hook = {
            "name": "deploy-bot",
            "type": "webhook",
            "url": f"{self.receiver.url}/hook",
            "signing_key": {"secret": name},
        }
        plan = plan_of(self.name, registry=self._registry(), consumers=[hook])
        self.bench.folder(self.name, 1).pin_plan(to_stored(plan))
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.stop()
        super().__exit__()

    def distribute(self, verb: str) -> Event:
        """Call the function once, on the one shard there is."""
        state = self.state.model_copy(update={"shard": 0})
        deadline = runtime.now() + timedelta(seconds=20)
        return distribute.run(self.bench, Call(verb, self.owner, 0, repeated=False, state=state, deadline=deadline))

    @property
    def outcomes(self) -> list[ConsumerOutcome]:
        """What came of the consumer, if anything is written down."""
        return [receipt.outcome for receipt in self.bench.ledger.receipts(self.name, 1)]


@pytest.fixture
def place(opened: BareStack) -> Iterator[Told]:
    with Told(opened) as place:
        yield place


def staged(place: Told) -> str:
    """Return the version id of the store's secret: what a rotation that staged, and got no further, might name."""
    found = place.bench.store(place.bench.folder(place.name, 1).plan()).current()
    assert found is not None
    return found.version


@pytest.mark.parametrize("verb", ["deliver", "verify"])
def test_without_a_promoted_password_nobody_is_told(place: Told, verb: str) -> None:
    place.write(phase=Phase.DELIVERING)
    _refuses(place, verb)


@pytest.mark.parametrize("verb", ["deliver", "verify"])
def test_a_version_that_is_staged_is_not_promoted(place: Told, verb: str) -> None:
    place.write(phase=Phase.DELIVERING, store_version=staged(place))
    _refuses(place, verb)


def test_once_it_is_promoted_they_are(place: Told) -> None:
    assert place.reset().next is Next.DELIVER
    assert place.distribute("deliver") == {"shard": 0, "left": False}
    assert place.outcomes == [ConsumerOutcome.UPDATED]
    (delivery,) = place.receiver.deliveries
    told: Any = delivery.payload["data"]
    assert told["store"]["version"] == place.rotation.store_version
    assert place.rotation.told


def _refuses(place: Told, verb: str) -> None:
    with pytest.raises(Defect, match=r"no promoted password: no consumer is told before that"):
        place.distribute(verb)
    assert place.receiver.deliveries == []
    assert place.outcomes == []
    assert not place.rotation.told
