"""A person who has not come is called again, and a broken plan does not turn a leak's alert away."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.model.request import Reason
from rekey.model.rotation import Phase, Rotation
from rekey.records.plans import plan_key, to_stored
from tests.sandbox import aws_faults
from tests.unit.bare_stack import BareStack, plan_of
from tests.unit.test_trigger import NOW, SECOND, WRITE, event, executions, leave_nothing_open, send, tick

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = timedelta(days=1)
WHY = "paste the right one"
OTHERS = [phase for phase in Phase if phase is not Phase.NEEDS_ATTENTION]
PUT_EVENTS = "events:PutEvents"


@pytest.fixture
def registry(opened: BareStack) -> Iterator[str]:
    """Push a registry's plan; afterwards nothing of it is open."""
    name = opened.new_registry()
    opened.push(name)
    opened.aws.requests.clear()
    yield name
    leave_nothing_open(opened, name)


def needing(opened: BareStack, registry: str, phase: Phase = Phase.NEEDS_ATTENTION, **fields: object) -> Rotation:
    """Write a rotation that needs a person, or one in another phase."""
    given = {"phase": phase, "problems": (WHY,), "paged_at": NOW, **fields}
    return opened.rotation(opened.fence(registry), **given)


def latest(opened: BareStack, registry: str) -> Rotation:
    rotation = opened.ledger.latest(registry)
    assert rotation is not None
    return rotation


def asked_for(opened: BareStack, registry: str) -> list[str]:
    """Return what was said in the events that ask for a person."""
    told = [event for event in opened.events(registry) if event["DetailType"] == "Attention Needed"]
    return [event["Detail"]["why"] for event in told]


class TestEveryDay:
    def test_a_person_is_called_again_after_a_day_and_not_before(self, opened: BareStack, registry: str) -> None:
        needing(opened, registry)
        assert not tick(opened, registry, NOW + DAY - SECOND)
        assert asked_for(opened, registry) == []
        assert not tick(opened, registry, NOW + DAY)
        assert asked_for(opened, registry) == [WHY]
        assert latest(opened, registry).paged_at == NOW + DAY

    def test_once_a_day_and_not_once_a_minute(self, opened: BareStack, registry: str) -> None:
        needing(opened, registry)
        for now in (NOW + DAY, NOW + DAY + 60 * SECOND, NOW + 2 * DAY - SECOND, NOW + 2 * DAY):
            tick(opened, registry, now)
        assert asked_for(opened, registry) == [WHY, WHY]

    def test_one_of_which_it_is_not_known_when_anybody_was_called(self, opened: BareStack, registry: str) -> None:
        needing(opened, registry, paged_at=None)
        tick(opened, registry, NOW)
        assert asked_for(opened, registry) == [WHY]

    def test_who_is_to_click_is_told_once_where_the_bus_did_not_take_it(self, opened: BareStack, registry: str) -> None:
        needing(opened, registry, Phase.READY, paged_at=None, problems=(), ready_until=NOW + DAY)
        for now in (NOW, NOW + 60 * SECOND):
            tick(opened, registry, now)
        (said,) = asked_for(opened, registry)
        assert f"`rekey paste {registry}`" in said

    @pytest.mark.parametrize("phase", OTHERS)
    def test_nobody_is_called_for_what_needs_nobody(self, opened: BareStack, registry: str, phase: Phase) -> None:
        needing(opened, registry, phase)
        opened.ask(registry)
        tick(opened, registry, NOW + DAY)
        assert asked_for(opened, registry) == []

    def test_it_is_told_before_it_is_written(self, opened: BareStack, registry: str) -> None:
        """Cut off in between it is told twice, rather than a day later."""
        needing(opened, registry)
        written: list[object] = []
        note = aws_faults.call_before(lambda _: written.append(latest(opened, registry).paged_at))
        opened.aws.faults.add(PUT_EVENTS, note)
        tick(opened, registry, NOW + DAY)
        assert written == [NOW]

    def test_whoever_writes_at_that_moment_goes_first(self, opened: BareStack, registry: str) -> None:
        """A resume: the tick must neither undo it nor fail."""
        needing(opened, registry)

        def resume(_request: object) -> None:
            now = latest(opened, registry)
            opened.ledger.note(now, now.having(phase=Phase.RESETTING, problems=()))

        opened.aws.faults.add(WRITE, aws_faults.call_before(resume))
        tick(opened, registry, NOW + DAY)
        assert latest(opened, registry).phase is Phase.RESETTING


class TestANewLeak:
    def test_it_calls_a_person_at_once_and_stays_open(self, opened: BareStack, registry: str) -> None:
        needing(opened, registry, paged_at=runtime.now())
        before = runtime.now()
        send(opened, event(registry, leak="case-1"))
        assert opened.told(registry) == ["Request Accepted", "Attention Needed"]
        assert asked_for(opened, registry) == [WHY]
        assert len(opened.ledger.open_requests(registry)) == 1
        rotation = latest(opened, registry)
        assert rotation.phase is Phase.NEEDS_ATTENTION
        assert rotation.paged_at is not None
        assert rotation.paged_at >= before

    def test_the_same_leak_again_does_not_and_another_one_does(self, opened: BareStack, registry: str) -> None:
        needing(opened, registry, paged_at=runtime.now())
        for leak in ("case-1", "case-1", "case-2"):
            send(opened, event(registry, leak=leak))
        assert opened.told(registry).count("Attention Needed") == 2
        assert len(opened.ledger.open_requests(registry)) == 2

    @pytest.mark.parametrize("reason", [Reason.REQUESTED, Reason.LOST])
    def test_another_request_does_not(self, opened: BareStack, registry: str, reason: Reason) -> None:
        needing(opened, registry, paged_at=runtime.now())
        send(opened, event(registry, reason.value, "console"))
        assert opened.told(registry) == ["Request Accepted"]

    @pytest.mark.parametrize("phase", OTHERS)
    def test_nor_does_one_while_nobody_is_needed(self, opened: BareStack, registry: str, phase: Phase) -> None:
        needing(opened, registry, phase)
        send(opened, event(registry))
        assert opened.told(registry) == ["Request Accepted"]


class TestABrokenPlan:
    def test_the_plan_that_was_used_last_says_whose_alerts_are_taken(self, opened: BareStack, registry: str) -> None:
        """A mistake in a plan must not cost the leak that is reported while it is being mended."""
        used(opened, registry)
        broken(opened, registry)
        assert send(opened, event(registry))["started"] == [registry]
        assert len(opened.ledger.open_requests(registry)) == 1
        assert "accepts" in str(send(opened, event(registry, "requested", "siem"))["refused"])

    def test_while_the_one_that_is_pushed_can_be_read_it_alone_says_so(self, opened: BareStack, registry: str) -> None:
        used(opened, registry)
        changed = plan_of(registry, accepts={"console": ["requested"]})
        opened.bucket.write(plan_key(registry), to_stored(changed), "application/json")
        assert "accepts" in str(send(opened, event(registry))["refused"])
        assert "request" in send(opened, event(registry, "requested", "console"))

    @pytest.mark.parametrize("fields", [None, {"shards": 0}])
    def test_where_none_was_used_the_alert_is_refused_and_that_is_told(
        self, opened: BareStack, registry: str, fields: dict[str, object] | None
    ) -> None:
        """Also where a paste opened a rotation that no plan is pinned to yet."""
        if fields is not None:
            opened.rotation(opened.fence(registry), **fields)
        broken(opened, registry)
        assert "the plan cannot be used" in str(send(opened, event(registry))["refused"])
        assert opened.told(registry) == ["Request Refused"]
        assert executions(opened, registry) == []


def used(opened: BareStack, registry: str) -> None:
    """Let a rotation have ended that was pinned to the plan as it is now."""
    opened.bench.folder(registry, 1).pin_plan(opened.bench.plans.pushed(registry)[1])
    opened.rotation(opened.fence(registry), phase=Phase.FINISHED, shards=1)
    opened.aws.requests.clear()


def broken(opened: BareStack, registry: str) -> None:
    opened.bucket.write(plan_key(registry), b'{"format": 1, "plan": {}}', "application/json")
