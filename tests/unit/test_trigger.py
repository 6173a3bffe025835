"""From an event or a tick to a durable request, and from there to one execution."""

from __future__ import annotations

import itertools
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime
from rekey.bus import PASTED, PASTED_SOURCE
from rekey.errors import InputInvalid, RekeyError, Unreachable
from rekey.model.password import Password
from rekey.model.request import Reason, RequestState
from rekey.model.rotation import Again, Phase
from rekey.records import pasting
from rekey.records.codec import partition
from rekey.records.dynamo import Write
from rekey.records.starts import Starts
from rekey.steps import trigger
from rekey.steps.trigger import execution_name, read_request
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.rotation import Fence
    from rekey.runtime import Event
    from tests.unit.bare_stack import BareStack

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
START, DESCRIBE, WRITE = "states:StartExecution", "states:DescribeExecution", "dynamodb:TransactWriteItems"
_ids = (f"event-{number}" for number in itertools.count(1))


@pytest.fixture
def registry(opened: BareStack) -> Iterator[str]:
    """Push a registry's plan; afterwards nothing of it is open."""
    name = opened.new_registry()
    opened.push(name)
    opened.aws.requests.clear()
    yield name
    leave_nothing_open(opened, name)


def leave_nothing_open(opened: BareStack, name: str) -> None:
    """Close what a test left open of a registry: every sweep looks at all of them."""
    opened.aws.faults.clear()
    for mark in opened.table.query("open"):
        if str(mark["sk"]).split("#")[1] == name:
            opened.table.write(Write(key={"pk": "open", "sk": str(mark["sk"])}, delete=True, condition=""))
    for arn in executions(opened, name):
        end(opened, arn)


def event(registry: object, reason: str = "compromised", source: str = "siem", **detail: object) -> Event:
    return {
        "id": next(_ids),
        "source": f"rekey.in/{source}",
        "detail-type": "Credential Compromised",
        "detail": {"registry": registry, "reason": reason, **detail},
    }


def send(opened: BareStack, given: Event) -> Event:
    return trigger.run(opened.bench, given, runtime.now() + timedelta(minutes=1))


def tick(opened: BareStack, registry: str, now: datetime | None = None) -> bool:
    """Return whether a tick started this registry."""
    return registry in trigger.sweep(opened.bench, now or runtime.now())


def executions(opened: BareStack, registry: str) -> list[str]:
    """Return the ARNs of the registry's executions."""
    states: Any = opened.aws.client("stepfunctions")
    machine = opened.environment["REKEY_STATE_MACHINE_ARN"]
    found = states.list_executions(stateMachineArn=machine)["executions"]
    prefix = execution_name(registry, 0).removesuffix("0")
    return [one["executionArn"] for one in found if one["name"].startswith(prefix)]


def end(opened: BareStack, arn: str) -> None:
    """End an execution, if it runs."""
    states: Any = opened.aws.client("stepfunctions")
    if states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        states.stop_execution(executionArn=arn)


def again(opened: BareStack, fence: Fence, at: datetime) -> None:
    opened.ledger.save_one(fence, Again(registry=fence.registry, tries=1, at=at))


class TestAccept:
    def test_an_alert_becomes_an_open_request_and_an_execution(self, opened: BareStack, registry: str) -> None:
        answer = send(opened, event(registry, leak="case-1", exposed_at="2026-01-31T09:00:00+07:00"))
        (request,) = opened.ledger.open_requests(registry)
        assert answer == {"request": request.key, "started": [registry]}
        assert (request.reason, request.source) == (Reason.COMPROMISED, "siem")
        assert request.exposed_at == NOW
        assert opened.told(registry) == ["Request Accepted"]
        assert len(executions(opened, registry)) == 1

    def test_the_executions_input_holds_identifiers_and_nothing_else(self, opened: BareStack, registry: str) -> None:
        send(opened, event(registry, password=secrets.token_hex(8), host="evil.example"))
        (started,) = [json.loads(one.body) for one in opened.aws.requests if one.operation == START]
        text = f'{{"format":1,"operation":"rotate","registry":"{registry}","start":1}}'
        assert started["input"] == text  # canonical: the same start is the same input
        assert started["name"] == execution_name(registry, 1)

    def test_a_doubled_alert_joins_the_request_that_is_there(self, opened: BareStack, registry: str) -> None:
        """Invariant 10: duplicate alerts for one leak cause one reset."""
        answers = [send(opened, event(registry, leak="case-1")) for _ in range(3)]
        assert len({str(answer["request"]) for answer in answers}) == 1
        assert [answer["started"] for answer in answers] == [[registry], [], []]
        assert opened.told(registry) == ["Request Accepted", "Request Joined", "Request Joined"]
        assert len(opened.ledger.open_requests(registry)) == 1
        assert len(executions(opened, registry)) == 1

    def test_an_event_that_lambda_delivers_twice_is_one_request(self, opened: BareStack, registry: str) -> None:
        given = event(registry)
        assert send(opened, given)["request"] == send(opened, given)["request"]

    def test_a_replay_of_a_closed_leak_starts_nothing(self, opened: BareStack, registry: str) -> None:
        given = event(registry, leak="case-1")
        send(opened, given)
        (request,) = opened.ledger.open_requests(registry)
        opened.ledger.close(opened.fence(registry), [request], 1)
        for arn in executions(opened, registry):
            end(opened, arn)
        assert send(opened, given) == {"request": request.key, "started": []}
        closed = opened.ledger.request(registry, request.key)
        assert closed is not None
        assert closed.state is RequestState.CLOSED

    def test_another_leak_while_one_is_served_is_kept_for_later(self, opened: BareStack, registry: str) -> None:
        send(opened, event(registry, leak="case-1"))
        assert send(opened, event(registry, leak="case-2"))["started"] == []
        assert len(opened.ledger.open_requests(registry)) == 2

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"detail-type": "Anything Else"}, "detail-type"),
            ({"source": "aws.health"}, "source"),
            ({"detail": "text"}, "detail"),
            ({"reason": "fun"}, "reason"),
            ({"reason": None}, "reason"),
            ({"leak": ""}, "leak"),
            ({"leak": 7}, "leak"),
            ({"leak": "x" * 257}, "leak"),
            ({"exposed_at": "yesterday"}, "exposed_at"),
            ({"detected_at": "2026-01-31T02:00:00"}, "detected_at"),
        ],
    )
    def test_an_event_that_breaks_the_rules_changes_nothing_and_is_told(
        self, opened: BareStack, registry: str, change: dict[str, object], named: str
    ) -> None:
        given = event(registry)
        for key, value in change.items():
            if key in given:
                given[key] = value
            else:
                given["detail"] = {"registry": registry, "reason": "compromised", key: value}
        answer = send(opened, given)
        assert named in str(answer["refused"])
        assert opened.ledger.open_requests(registry) == []
        assert executions(opened, registry) == []
        if isinstance(given["detail"], dict):
            assert opened.told(registry) == ["Request Refused"]

    @pytest.mark.parametrize("name", ["../other", "Prod Images", "", None, 7, "a" * 64])
    def test_a_name_that_is_none_reaches_nothing(self, opened: BareStack, name: object) -> None:
        """Invariant 11: it would become part of keys and paths."""
        opened.aws.requests.clear()
        with pytest.raises(InputInvalid, match="registry"):
            read_request(event(name), NOW)
        assert "refused" in send(opened, event(name))
        assert not [one for one in opened.aws.requests if one.service in ("s3", "dynamodb", "states")]

    @pytest.mark.parametrize(
        ("reason", "source"),
        [("requested", "siem"), ("compromised", "console"), ("compromised", "unknown"), ("scheduled", "console")],
    )
    def test_the_plan_says_which_source_may_give_which_reason(
        self, opened: BareStack, registry: str, reason: str, source: str
    ) -> None:
        answer = send(opened, event(registry, reason, source))
        assert "accepts" in str(answer["refused"])
        assert opened.ledger.open_requests(registry) == []

    def test_a_registry_without_a_plan_is_refused(self, opened: BareStack) -> None:
        name = opened.new_registry()
        assert "no plan" in str(send(opened, event(name))["refused"])
        assert opened.told(name) == ["Request Refused"]

    def test_where_the_ledger_cannot_be_written_lambda_tries_again(self, opened: BareStack, registry: str) -> None:
        """Nothing is said to be accepted that is not written down."""
        opened.aws.faults.add(WRITE, aws_faults.drop_before(), times=None)
        with pytest.raises(Unreachable):
            send(opened, event(registry))
        assert opened.told(registry) == []


class TestStart:
    def test_a_request_whose_start_failed_stays_open_and_the_tick_comes_back(
        self, opened: BareStack, registry: str
    ) -> None:
        """A request is an item first and an execution second."""
        opened.aws.faults.add(START, aws_faults.drop_before(), times=None)
        with pytest.raises(Unreachable):
            send(opened, event(registry))
        assert len(opened.ledger.open_requests(registry)) == 1
        opened.aws.faults.clear()
        assert tick(opened, registry)
        assert executions(opened, registry)[0].endswith("-1")

    def test_counted_and_not_started_is_started_under_the_same_number(self, opened: BareStack, registry: str) -> None:
        """A trigger died between the two."""
        opened.ask(registry)
        assert Starts(opened.table).advance(registry, 0)
        assert tick(opened, registry)
        assert Starts(opened.table).last(registry) == 1
        assert len(executions(opened, registry)) == 1

    def test_started_and_its_answer_lost_is_not_started_twice(self, opened: BareStack, registry: str) -> None:
        opened.aws.faults.add(START, aws_faults.drop_after())
        send(opened, event(registry))
        assert not tick(opened, registry)
        assert len(executions(opened, registry)) == 1

    def test_after_one_that_ended_comes_the_next_number(self, opened: BareStack, registry: str) -> None:
        send(opened, event(registry))
        end(opened, executions(opened, registry)[0])
        assert tick(opened, registry)
        names = sorted(arn.rpartition(":")[2] for arn in executions(opened, registry))
        assert names == [execution_name(registry, 1), execution_name(registry, 2)]

    def test_while_one_runs_no_other_is_started(self, opened: BareStack, registry: str) -> None:
        send(opened, event(registry))
        assert not tick(opened, registry)
        assert Starts(opened.table).last(registry) == 1

    def test_while_a_living_one_owns_the_registry_no_other_is_started(self, opened: BareStack, registry: str) -> None:
        """However it was started."""
        opened.ask(registry)
        machine = opened.environment["REKEY_STATE_MACHINE_ARN"]
        by_hand = f"by-hand-{registry}"
        started = opened.aws.client("stepfunctions").start_execution(stateMachineArn=machine, name=by_hand, input="{}")
        opened.own(registry, started["executionArn"])
        assert not tick(opened, registry)
        end(opened, started["executionArn"])
        assert tick(opened, registry)

    def test_an_owner_that_does_not_exist_any_more_is_dead(self, opened: BareStack, registry: str) -> None:
        opened.ask(registry)
        machine = opened.environment["REKEY_STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        opened.own(registry, f"{machine}:never-was")
        assert tick(opened, registry)

    @pytest.mark.parametrize("left", ["lease", "rotation"])
    def test_the_name_of_one_that_was_at_work_is_not_used_again(
        self, opened: BareStack, registry: str, left: str
    ) -> None:
        """It was deleted, or AWS forgot it after 90 days: a new one of that name would pass for it."""
        machine = opened.environment["REKEY_STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        assert Starts(opened.table).advance(registry, 0)
        fence = opened.fence(registry, f"{machine}:{execution_name(registry, 1)}")
        if left == "rotation":
            opened.rotation(fence, phase=Phase.FINISHED)
            _, write = opened.leases().hand_back_write(fence, runtime.now(), may_linger=False)
            opened.table.write(write)
        opened.ask(registry)
        assert trigger.start(opened.bench, registry)
        (started,) = executions(opened, registry)
        assert started.endswith(execution_name(registry, 2))

    def test_names_that_a_restored_ledger_has_forgotten_are_passed_over(self, opened: BareStack, registry: str) -> None:
        """One turn of the tick is enough: a leak does not wait a minute for each."""
        for number in range(6):
            send(opened, event(registry, leak=f"case-{number}"))
            for arn in executions(opened, registry):
                end(opened, arn)
        there = len(executions(opened, registry))
        key = {"pk": {"S": partition(registry)}, "sk": {"S": "starts"}}
        opened.aws.client("dynamodb").delete_item(TableName=opened.table.name, Key=key)
        assert send(opened, event(registry, leak="new"))["started"] == [registry]
        assert len(executions(opened, registry)) == there + 1

    def test_two_names_never_share_an_execution(self) -> None:
        """Step Functions ends a name at 80 characters."""
        longest = execution_name("a" * 63, 10**12)
        assert len(longest) <= 80
        assert execution_name("a", 11) != execution_name("a1", 1)


class TestTick:
    def test_what_nobody_asks_for_is_left_alone(self, opened: BareStack, registry: str) -> None:
        assert not tick(opened, registry)

    def test_an_open_request_is_due(self, opened: BareStack, registry: str) -> None:
        opened.ask(registry)
        assert tick(opened, registry)

    @pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.RESETTING, Phase.DELIVERING, Phase.VERIFYING])
    def test_an_unfinished_rotation_is_due_whatever_ended_its_execution(
        self, opened: BareStack, registry: str, phase: Phase
    ) -> None:
        opened.rotation(opened.fence(registry), phase=phase)
        assert tick(opened, registry)

    @pytest.mark.parametrize("phase", [Phase.FINISHED, Phase.STOPPED])
    def test_a_rotation_that_ended_is_not(self, opened: BareStack, registry: str, phase: Phase) -> None:
        opened.rotation(opened.fence(registry), phase=phase)
        assert not tick(opened, registry)

    def test_nothing_is_started_before_its_time(self, opened: BareStack, registry: str) -> None:
        fence = opened.fence(registry)
        opened.rotation(fence)
        again(opened, fence, NOW)
        assert not tick(opened, registry, NOW - SECOND)
        assert tick(opened, registry, NOW)

    def test_needs_attention_is_left_to_the_person(self, opened: BareStack, registry: str) -> None:
        opened.rotation(opened.fence(registry), phase=Phase.NEEDS_ATTENTION)
        assert not tick(opened, registry)

    def test_until_one_pastes(self, opened: BareStack, registry: str) -> None:
        opened.rotation(opened.fence(registry), phase=Phase.NEEDS_ATTENTION)
        paste(opened, registry)
        assert tick(opened, registry)

    def test_ready_is_left_alone_until_its_time_is_over(self, opened: BareStack, registry: str) -> None:
        opened.rotation(opened.fence(registry), phase=Phase.READY, ready_until=NOW)
        assert not tick(opened, registry, NOW - SECOND)
        assert tick(opened, registry, NOW)

    def test_or_until_one_pastes(self, opened: BareStack, registry: str) -> None:
        opened.rotation(opened.fence(registry), phase=Phase.READY, ready_until=NOW)
        paste(opened, registry)
        assert tick(opened, registry, NOW - SECOND)

    def test_a_paste_starts_by_its_own_event_and_by_the_tick_where_that_is_lost(
        self, opened: BareStack, registry: str
    ) -> None:
        paste(opened, registry)
        pasted: Event = {"source": PASTED_SOURCE, "detail-type": PASTED, "detail": {"format": 1, "registry": registry}}
        assert send(opened, pasted) == {"started": [registry]}
        end(opened, executions(opened, registry)[0])
        assert tick(opened, registry)

    def test_one_registry_that_cannot_be_read_stops_no_other(self, opened: BareStack, registry: str) -> None:
        """And the tick fails all the same: an alarm counts that."""
        other = opened.new_registry()
        opened.push(other)
        opened.ask(other)
        opened.ask(registry)
        key = {"pk": partition(other), "sk": "again"}
        opened.table.write(Write(key=key, item={"format": 2}))
        with pytest.raises(RekeyError, match="format 2"):
            tick(opened, registry)
        assert len(executions(opened, registry)) == 1
        opened.table.write(Write(key=key, delete=True, condition=""))
        opened.ledger.close(opened.fence(other), opened.ledger.open_requests(other), 1)


def paste(opened: BareStack, registry: str) -> None:
    password = Password(secrets.token_urlsafe(12))
    pasting.paste(opened.ledger, opened.escrow, registry, password, now=NOW, clicked_at=None)
