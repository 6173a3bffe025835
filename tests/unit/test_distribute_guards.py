"""No consumer is told before the store has the new password, and none is forgotten that was not prepared."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from rekey import adapters, runtime
from rekey.contracts import Prepared
from rekey.errors import Defect
from rekey.model.request import Reason
from rekey.model.rotation import Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from rekey.records.folder import EntryState, ShardFile
from rekey.records.plans import to_stored
from rekey.runtime import Call
from rekey.steps import distribute
from tests.sandbox.webhook_receiver import WebhookReceiver, new_secret
from tests.unit.bare_stack import BareStack, plan_of
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        self.lay_out("deploy-bot")
        return self

    def lay_out(self, *names: str, **policy: object) -> None:
        """Pin a plan with these entries, in one shard, that nobody has prepared."""
        hook = {
            "type": "webhook",
            "url": f"{self.receiver.url}/hook",
            "signing_key": {"secret": f"rekey/{self.name}-hook"},
        }
        plan = plan_of(
            self.name, registry=self._registry(), consumers=[{**hook, "name": name} for name in names], **policy
        )
        folder = self.bench.folder(self.name, 1)
        folder.pin_plan(to_stored(plan))
        folder.save_shard(ShardFile(0, tuple(EntryState(name) for name in names)))

    def __exit__(self, *_: object) -> None:
        self.receiver.stop()
        super().__exit__()

    def keep(self, names: Sequence[str], *others: Receipt) -> None:
        """Write that these have the password, and what else there is."""
        have = [Receipt(name, "webhook", ConsumerOutcome.UPDATED, ConsumerVerdict.WRITTEN) for name in names]
        self.bench.ledger.replace_receipts(self.lease.fence(self.name), 1, [[*have, *others]])

    def forget_credential(self) -> None:
        """Delete what the webhook is signed with: the consumer cannot be prepared."""
        client = self.opened.aws.client("secretsmanager")
        client.delete_secret(SecretId=f"rekey/{self.name}-hook", ForceDeleteWithoutRecovery=True)

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
    place.distribute("prepare")
    assert place.reset().next is Next.DELIVER
    assert place.distribute("deliver") == {"shard": 0, "left": False}
    assert place.outcomes == [ConsumerOutcome.UPDATED]
    (delivery,) = place.receiver.deliveries
    told: Any = delivery.payload["data"]
    assert told["store"]["version"] == place.rotation.store_version
    assert place.rotation.told


def test_what_was_never_prepared_is_not_ready(opened: BareStack) -> None:
    """Its function may have died: nobody knows whether the password could be brought there."""
    with Told(opened, Reason.REQUESTED) as place:
        stopped = place.reset()
        assert stopped.outcome is Outcome.STOPPED
        assert place.rotation.problems == ("consumer deploy-bot: was never prepared: see the log of distribute",)
        assert place.api.made == []
    with Told(opened, Reason.REQUESTED) as place:
        place.distribute("prepare")
        assert place.reset().next is Next.DELIVER


def test_in_an_emergency_it_is_passed_over_and_said(place: Told) -> None:
    place.lay_out("deploy-bot", policy={"compromised": {"unready_consumers": "proceed"}})
    assert place.reset().next is Next.DELIVER
    assert place.rotation.waived == ("consumer deploy-bot: was never prepared: see the log of distribute",)


def test_a_defect_in_one_adapter_stops_no_other_entry(place: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    place.lay_out("first", "second")
    load = adapters.load

    def broken(kind: adapters.Kind, name: str) -> Any:  # noqa: ANN401 (as adapters.load)
        def make(part: Any, shard: Any) -> Any:  # noqa: ANN401
            adapter = load(kind, name)(part, shard)
            if part.name == "first":
                monkeypatch.setattr(adapter, "prepare", fails)
            return adapter

        return make

    async def fails() -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(adapters, "load", broken)
    assert place.distribute("prepare") == {"shard": 0, "left": True}
    states = place.bench.folder(place.name, 1).shard(0).entries
    assert [state.problem for state in states] == ["a defect in the adapter (ValueError): see the log", ""]
    assert len(states[1].consumers) == 1


@pytest.mark.parametrize("names", [["deploy-bot"], ["deploy-bot/a", "deploy-bot/b"]], ids=["one", "of a pattern"])
def test_who_has_it_is_not_said_to_lack_it_where_its_service_is_away_since(place: Told, names: list[str]) -> None:
    """As where a password is delivered again: every entry is prepared anew, and some have it."""
    place.distribute("prepare")
    assert place.reset().next is Next.DELIVER
    place.distribute("deliver")
    place.keep(names)
    away = EntryState("deploy-bot", problem="was not there", transient=True)
    place.bench.folder(place.name, 1).save_shard(ShardFile(0, (away,), prepared=True))
    place.forget_credential()
    assert place.distribute("deliver") == {"shard": 0, "left": False}
    assert place.outcomes == [ConsumerOutcome.UPDATED] * len(names)


def test_what_is_left_of_more_receipts_than_there_are_is_none(place: Told) -> None:
    """The one that stood for the whole entry was the first of a second item of 200."""
    place.distribute("prepare")
    assert place.reset().next is Next.DELIVER
    names = [f"deploy-bot/{number}" for number in range(200)]
    place.keep(names, Receipt("deploy-bot", "webhook", ConsumerOutcome.PENDING))
    known = EntryState("deploy-bot", tuple(Prepared(name) for name in names))
    place.bench.folder(place.name, 1).save_shard(ShardFile(0, (known,), prepared=True))
    assert place.distribute("deliver") == {"shard": 0, "left": False}
    assert place.distribute("verify") == {"shard": 0, "left": False}
    assert place.outcomes == [ConsumerOutcome.UPDATED] * 200


def _refuses(place: Told, verb: str) -> None:
    with pytest.raises(Defect, match=r"no promoted password: no consumer is told before that"):
        place.distribute(verb)
    assert place.receiver.deliveries == []
    assert place.outcomes == []
    assert not place.rotation.told
