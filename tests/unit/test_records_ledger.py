"""The ledger: every write names the lease it is made under and the record it follows from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Conflict, Fenced, FormatUnknown
from rekey.model.request import Reason, Request, RequestState
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, Phase
from rekey.model.verdict import ConsumerOutcome, LoginVerdict, Receipt
from rekey.records.codec import partition, rotation_key
from rekey.records.dynamo import Write
from rekey.records.ledger import CHUNK
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from rekey.model.rotation import Fence
    from tests.unit.bare_stack import BareStack

WRITE = "dynamodb:TransactWriteItems"
NOW = datetime(2026, 1, 31, 2, 0, 0, 123_456, tzinfo=UTC)


@pytest.fixture
def fence(opened: BareStack, registry: str) -> Fence:
    return opened.fence(registry)


def claim(registry: str, number: int = 1, generation: int = 1) -> Attempt:
    return Attempt(
        registry=registry,
        generation=generation,
        number=number,
        kind=AttemptKind.RESET,
        nonce="nonce",
        deadline=NOW,
        old_before=LoginVerdict.ACCEPTED,
    )


class TestRecords:
    def test_they_come_back_as_they_went(self, opened: BareStack, fence: Fence) -> None:
        """Times to the microsecond, words as what they are."""
        rotation = opened.rotation(fence, called_at=NOW, new_verdict=LoginVerdict.UNPROVEN, waived=("a", "b"))
        rotation, attempt = opened.ledger.save(fence, rotation.having(attempts=1), claim(fence.registry))
        assert opened.ledger.rotation(fence.registry, 1) == rotation
        assert opened.ledger.attempts(fence.registry, 1) == [attempt]
        assert (rotation.called_at, attempt.deadline) == (NOW, NOW)

    def test_the_latest_rotation_is_the_one_with_the_highest_number(self, opened: BareStack, fence: Fence) -> None:
        """Numbers sort as numbers: 10 after 9."""
        for generation in (9, 10, 2):
            opened.rotation(fence, generation=generation)
        latest = opened.ledger.latest(fence.registry)
        assert latest is not None
        assert latest.generation == 10
        assert opened.ledger.latest(opened.new_registry()) is None

    def test_attempts_are_those_of_one_rotation_oldest_first(self, opened: BareStack, fence: Fence) -> None:
        rotation = opened.rotation(fence)
        for number in (2, 10, 1):
            opened.ledger.save_one(fence, claim(fence.registry, number))
        opened.ledger.save_one(fence, claim(fence.registry, 1, generation=11))
        assert [one.number for one in opened.ledger.attempts_of(rotation)] == [1, 2, 10]

    def test_attempts_of_a_rotation_that_stopped_are_not_its_successors(self, opened: BareStack, fence: Fence) -> None:
        """They have the same number: what the registry refused then says nothing about now."""
        opened.rotation(fence)
        for number in (1, 2, 3):
            opened.ledger.save_one(fence, claim(fence.registry, number))
        successor = opened.ledger.rotation(fence.registry, 1)
        assert successor is not None
        again = successor.having(attempts=3, attempts_before=2)
        assert [one.number for one in opened.ledger.attempts_of(again)] == [3]

    @pytest.mark.parametrize(
        ("change", "named"), [({"format": 2}, "format 2"), ({"phase": "dreaming"}, "phase"), ({"more": 1}, "more")]
    )
    def test_what_a_later_release_wrote_is_refused_and_not_guessed(
        self, opened: BareStack, fence: Fence, change: dict[str, object], named: str
    ) -> None:
        item = {**opened.rotation(fence).model_dump(mode="json"), **change}
        key = {"pk": partition(fence.registry), "sk": rotation_key(1)}
        opened.table.write(Write(key=key, item=item, condition=""))
        with pytest.raises(FormatUnknown, match=named):
            opened.ledger.rotation(fence.registry, 1)


class TestFence:
    def test_a_stale_owner_cannot_write_anything(self, opened: BareStack, fence: Fence) -> None:
        """Invariant 4: whatever an old execution's function still tries, nothing comes of it."""
        rotation = opened.rotation(fence)
        request = opened.ask(fence.registry)
        opened.own(fence.registry, "another")
        with pytest.raises(Fenced):
            opened.ledger.save_one(fence, rotation.having(told=True))
        with pytest.raises(Fenced):
            opened.ledger.save(fence, rotation.having(attempts=1), claim(fence.registry))
        with pytest.raises(Fenced):
            opened.ledger.save_receipts(fence, 1, 0, [Receipt("a", "webhook", ConsumerOutcome.UPDATED)])
        with pytest.raises(Fenced):
            opened.ledger.close(fence, [request], 1)
        assert opened.ledger.rotation(fence.registry, 1) == rotation
        assert opened.ledger.attempts(fence.registry, 1) == []
        assert opened.ledger.receipts(fence.registry, 1) == []
        assert opened.ledger.open_requests(fence.registry) == [request]


class TestOrder:
    def test_a_duplicate_of_the_same_execution_cannot_write_over_what_followed(
        self, opened: BareStack, fence: Fence
    ) -> None:
        """It has the same epoch: what tells it is the record that it follows from."""
        rotation = opened.rotation(fence)
        newer = opened.ledger.save_one(fence, rotation.having(told=True))
        with pytest.raises(Conflict):
            opened.ledger.save_one(fence, rotation.having(wrong_logins=1))
        assert opened.ledger.rotation(fence.registry, 1) == newer

    def test_two_claims_from_the_same_state_are_one(self, opened: BareStack, fence: Fence) -> None:
        rotation = opened.rotation(fence)
        opened.ledger.save(fence, rotation.having(attempts=1), claim(fence.registry))
        with pytest.raises(Conflict):
            opened.ledger.save(fence, rotation.having(attempts=1), claim(fence.registry))
        assert len(opened.ledger.attempts(fence.registry, 1)) == 1

    def test_a_rotation_and_its_attempt_are_written_together_or_not_at_all(
        self, opened: BareStack, fence: Fence
    ) -> None:
        rotation, attempt = opened.ledger.save(fence, opened.rotation(fence), claim(fence.registry))
        stale = attempt.having(rev="stale", outcome=AttemptOutcome.PROMOTED)
        with pytest.raises(Conflict):
            opened.ledger.save(fence, rotation.having(told=True), stale)
        assert opened.ledger.rotation(fence.registry, 1) == rotation

    def test_every_write_makes_a_new_revision(self, opened: BareStack, fence: Fence) -> None:
        first = opened.rotation(fence)
        second = opened.ledger.save_one(fence, first)
        assert first.rev != second.rev != ""

    def test_a_lost_answer_of_its_own_write_is_success(self, opened: BareStack, fence: Fence) -> None:
        """Acted, and then every connection was cut until the client gave up: asked again, it is found done."""
        rotation = opened.rotation(fence)
        opened.aws.faults.add(WRITE, aws_faults.drop_after())
        saved = opened.ledger.save_one(fence, rotation.having(told=True))
        assert opened.ledger.rotation(fence.registry, 1) == saved

    def test_also_where_dynamodb_has_forgotten_the_requests_token(self, opened: BareStack, fence: Fence) -> None:
        """The second try then fails its own condition, and what comes back is what it was to write."""
        rotation = opened.rotation(fence)

        def act_under_another_token(request: aws_faults.AwsRequest, act: aws_faults.Act) -> aws_faults.Answer:
            writes = json.loads(request.body)["TransactItems"]
            opened.aws.client("dynamodb").transact_write_items(TransactItems=writes)
            return act()

        opened.aws.faults.add(WRITE, act_under_another_token)
        saved = opened.ledger.save_one(fence, rotation.having(told=True))
        assert opened.ledger.rotation(fence.registry, 1) == saved


class TestOpenThings:
    @pytest.mark.parametrize("phase", list(Phase))
    def test_an_unfinished_rotation_is_found_and_a_finished_one_is_not(
        self, opened: BareStack, fence: Fence, phase: Phase
    ) -> None:
        rotation = opened.rotation(fence)
        assert opened.ledger.open_registries()[fence.registry] is True
        opened.ledger.save_one(fence, rotation.having(phase=phase))
        assert opened.ledger.open_registries().get(fence.registry, False) is phase.open

    def test_a_rotation_that_ends_late_does_not_hide_its_successor(self, opened: BareStack, fence: Fence) -> None:
        """A paste overtakes a rotation while its execution still writes to it."""
        old = opened.ledger.save_one(fence, opened.rotation(fence).having(phase=Phase.FINISHED))
        opened.rotation(fence, generation=2)
        opened.ledger.save_one(fence, old.having(old_refusals=1))
        assert opened.ledger.open_registries()[fence.registry] is True

    def test_an_open_request_is_found_until_it_is_closed(self, opened: BareStack, fence: Fence) -> None:
        request = opened.ask(fence.registry)
        assert opened.ledger.open_registries()[fence.registry] is False
        opened.ledger.close(fence, [request], 4)
        assert fence.registry not in opened.ledger.open_registries()
        closed = opened.ledger.request(fence.registry, request.key)
        assert closed is not None
        assert (closed.state, closed.closed_by) == (RequestState.CLOSED, 4)

    def test_requests_of_other_registries_are_not_mixed_in(self, opened: BareStack, registry: str) -> None:
        """One name may begin another."""
        opened.ask(registry)
        opened.ask(f"{registry}-eu", "other")
        assert [request.key for request in opened.ledger.open_requests(registry)] == ["leak"]


class TestRequests:
    def test_the_same_key_joins_what_is_there(self, opened: BareStack, registry: str) -> None:
        first = opened.ask(registry)
        again = Request(
            registry=registry, key="leak", reason=Reason.REQUESTED, source="other", arrived_at=NOW + timedelta(days=1)
        )
        there, new = opened.ledger.put_request(again)
        assert (there, new) == (first, False)
        assert opened.ledger.open_requests(registry) == [first]

    def test_a_closed_one_is_not_opened_again(self, opened: BareStack, fence: Fence) -> None:
        """A replayed alert changes nothing."""
        opened.ledger.close(fence, [opened.ask(fence.registry)], 1)
        there = opened.ask(fence.registry)
        assert there.state is RequestState.CLOSED
        assert opened.ledger.open_requests(fence.registry) == []
        assert fence.registry not in opened.ledger.open_registries()

    def test_a_lost_answer_still_makes_it_new(self, opened: BareStack, registry: str) -> None:
        opened.aws.faults.add(WRITE, aws_faults.drop_after())
        request = Request(registry=registry, key="k", reason=Reason.LOST, source="console", arrived_at=NOW)
        assert opened.ledger.put_request(request)[1] is True

    def test_they_come_oldest_first_with_those_that_the_rotation_met(self, opened: BareStack, fence: Fence) -> None:
        requests = [
            Request(
                registry=fence.registry,
                key=str(age),
                reason=Reason.COMPROMISED,
                source="siem",
                arrived_at=NOW - timedelta(minutes=age),
            )
            for age in (1, 3, 2, 4)
        ]
        kept = [opened.ledger.put_request(request)[0] for request in requests]
        opened.ledger.close(fence, [kept[0]], 7)
        opened.ledger.close(fence, [kept[1]], 6)
        assert [request.key for request in opened.ledger.open_requests(fence.registry)] == ["4", "2"]
        assert [request.key for request in opened.ledger.requests_of(fence.registry, 7)] == ["4", "2", "1"]


class TestReceipts:
    @pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK + 50])
    def test_they_come_back_in_order_whatever_their_number(self, opened: BareStack, fence: Fence, count: int) -> None:
        """An item ends at 400 kB: 200 go into one."""
        receipts = [
            Receipt(f"all/acme/service-{number}", "github-secret", ConsumerOutcome.UPDATED, reason="x" * 300)
            for number in range(count)
        ]
        opened.ledger.save_receipts(fence, 1, 0, receipts)
        assert opened.ledger.receipts(fence.registry, 1) == receipts
        items = opened.table.query(partition(fence.registry), "receipts#")
        assert [len(item["receipts"]) for item in items] == [
            min(CHUNK, count - first) for first in range(0, count, CHUNK)
        ]

    def test_each_shard_writes_its_own(self, opened: BareStack, fence: Fence) -> None:
        first = Receipt("a", "webhook", ConsumerOutcome.UPDATED)
        second = Receipt("b", "webhook", ConsumerOutcome.PENDING)
        opened.ledger.save_receipts(fence, 1, 0, [first])
        opened.ledger.save_receipts(fence, 1, 11, [second])
        opened.ledger.save_receipts(fence, 2, 0, [first])
        assert opened.ledger.receipts(fence.registry, 1, 1) == []
        assert opened.ledger.receipts(fence.registry, 1, 11) == [second]
        assert opened.ledger.receipts(fence.registry, 1) == [first, second]

    def test_a_later_pass_writes_over_the_earlier_one(self, opened: BareStack, fence: Fence) -> None:
        for outcome in (ConsumerOutcome.PENDING, ConsumerOutcome.UPDATED):
            opened.ledger.save_receipts(fence, 1, 0, [Receipt("a", "webhook", outcome)])
        assert [one.outcome for one in opened.ledger.receipts(fence.registry, 1)] == [ConsumerOutcome.UPDATED]
