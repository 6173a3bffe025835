"""Report: the end of an execution, from the ledger alone, in one transaction with the lease."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from rekey import runtime
from rekey.model.password import Password
from rekey.model.request import Reason, Request, RequestState
from rekey.model.rotation import AttemptKind, Phase, Rotation
from rekey.model.state import Outcome, State
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict, Receipt
from rekey.records import pasting
from rekey.records.folder import EntryState, ShardFile
from rekey.records.plans import to_stored
from rekey.runtime import Call
from rekey.steps import report
from tests.sandbox import aws_faults
from tests.unit.bare_stack import LONGEST, MARGIN, BareStack, plan_of

WRITE = "dynamodb:TransactWriteItems"
MINUTE = timedelta(minutes=1)
ERROR = {"Error": "Unreachable", "Cause": '{"errorMessage": "the store did not answer"}'}


class Execution:
    """One that owns a registry with a pinned plan of one consumer, and comes to its end."""

    def __init__(self, opened: BareStack, **rotation: object) -> None:
        self.opened = opened
        self.registry = opened.new_registry()
        self.fence = opened.fence(self.registry)
        folder = opened.bench.folder(self.registry, 1)
        folder.pin_plan(to_stored(plan_of(self.registry, policy={"recover_for": "1h"})))
        folder.save_shard(ShardFile(0, (EntryState("deploy-bot"),)))
        given = {"shards": 1, "heard_by": self.fence.owner, **rotation}
        self.rotation = opened.rotation(self.fence, **given)
        opened.aws.requests.clear()

    def deliver(self, outcome: ConsumerOutcome, verdict: ConsumerVerdict = ConsumerVerdict.WRITTEN) -> None:
        """Write the consumer's receipt."""
        receipt = Receipt("deploy-bot", "webhook", outcome, verdict, answered_at=runtime.now())
        self.opened.ledger.save_receipts(self.fence, 1, 0, [receipt])

    def ends(self, error: dict[str, str] | None = None) -> Outcome | None:
        """Report, and return the outcome."""
        state: State = self.opened.state(self.fence, error=error)
        call = Call("report", self.fence.owner, 0, repeated=False, state=state, deadline=runtime.now() + MINUTE)
        return report.run(self.opened.bench, call).outcome

    def takes_up(self) -> None:
        """Own the registry again, as an execution that the tick started."""
        self.fence = self.opened.fence(self.registry)
        self.opened.ledger.save_one(self.fence, self.now.having(execution=self.fence.owner, heard_by=self.fence.owner))

    @property
    def now(self) -> Rotation:
        """The rotation as it is now."""
        rotation = self.opened.ledger.rotation(self.registry, 1)
        assert rotation is not None
        return rotation

    @property
    def owned(self) -> bool:
        """Whether the lease is still held."""
        lease = self.opened.leases().current(self.registry)
        return lease is not None and lease.owner is not None

    def asked_for(self) -> str:
        """Return what was said in the events that ask for a person."""
        told = [event for event in self.opened.events(self.registry) if event["DetailType"] == "Attention Needed"]
        return "\n".join(event["Detail"]["why"] for event in told)


def good(**fields: object) -> dict[str, object]:
    """Return the fields of a rotation of which everything is proven."""
    then = runtime.now() - MINUTE
    return {
        "phase": Phase.VERIFYING,
        "old_version": "old",
        "called_at": then,
        "promoted_at": then,
        "resets": 1,
        "new_verdict": LoginVerdict.ACCEPTED,
        "old_verdict": LoginVerdict.REFUSED,
        "old_at": runtime.now(),
        "contents_unchanged": True,
        **fields,
    }


class TestEnds:
    def test_finished_is_written_down_told_and_leaves_nothing_open(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        opened.ask(execution.registry)
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.FINISHED
        assert (execution.now.phase, execution.now.outcome) == (Phase.FINISHED, "finished")
        assert not execution.owned
        assert opened.ledger.open_requests(execution.registry) == []
        assert execution.registry not in opened.ledger.open_registries()
        assert opened.told(execution.registry) == ["Rotation Finished"]
        evidence = opened.bucket.read_json(f"rotations/{execution.registry}/1/evidence.json")
        assert (evidence["outcome"], evidence["counts"]) == ("finished", {"consumers": 1, "done": 1})

    def test_what_is_left_is_unfinished_and_stays_open(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.PENDING)
        assert execution.ends() is Outcome.UNFINISHED
        assert execution.now.phase is Phase.VERIFYING
        assert not execution.owned
        assert opened.ledger.open_registries()[execution.registry] is True

    def test_its_request_is_met_all_the_same(self, opened: BareStack) -> None:
        """The reset is completed: consumers that are still to be told are the rotation's own."""
        execution = Execution(opened, **good())
        opened.ask(execution.registry)
        assert execution.ends() is Outcome.UNFINISHED
        assert opened.ledger.open_requests(execution.registry) == []

    def test_a_request_that_came_after_the_call_stays_open(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        late = Request(
            registry=execution.registry,
            key="late",
            reason=Reason.COMPROMISED,
            source="siem",
            arrived_at=runtime.now(),
        )
        opened.ledger.put_request(late)
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.FINISHED
        assert [request.key for request in opened.ledger.open_requests(execution.registry)] == ["late"]
        assert opened.ledger.open_registries()[execution.registry] is False

    def test_before_the_reset_a_failure_is_stopped_with_its_words(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.PREPARING)
        opened.ask(execution.registry)
        assert execution.ends(ERROR) is Outcome.STOPPED
        assert execution.now.problems == ("Unreachable: the store did not answer",)
        assert len(opened.ledger.open_requests(execution.registry)) == 1
        assert execution.asked_for() == "Unreachable: the store did not answer"

    def test_after_it_a_failure_is_unfinished(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.RESETTING)
        assert execution.ends(ERROR) is Outcome.UNFINISHED
        assert execution.now.phase is Phase.RESETTING

    def test_consumers_that_were_never_told_have_failed_when_the_time_is_over(self, opened: BareStack) -> None:
        """A shard whose function always fails must not keep its rotation open for ever, in silence."""
        execution = Execution(opened, **good(promoted_at=runtime.now() - 61 * MINUTE))
        assert execution.ends() is Outcome.CONSUMERS_FAILED
        assert execution.now.phase is Phase.FINISHED


class TestUnheard:
    def test_a_password_that_verify_did_not_hear_does_not_end_well(self, opened: BareStack) -> None:
        """Somebody may have reset the registry while consumers were told: what the reset heard says nothing of it."""
        execution = Execution(opened, **good(heard_by=None))
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.UNFINISHED
        assert execution.now.phase is Phase.VERIFYING


class TestTelling:
    def test_what_only_the_report_finds_out_is_told(self, opened: BareStack) -> None:
        """Every rotation that needs attention pages somebody."""
        execution = Execution(opened, **good(contents_unchanged=False, contents_note="gone: api:1"))
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.NEEDS_ATTENTION
        assert execution.now.phase is Phase.FINISHED  # nothing is left to do, and the next rotation is not held up
        assert "gone: api:1" in execution.asked_for()

    def test_what_reset_has_told_is_not_told_again(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.NEEDS_ATTENTION, problems=("paste it",))
        assert execution.ends() is Outcome.NEEDS_ATTENTION
        assert opened.told(execution.registry) == []

    def test_failed_consumers_are_told_however_often_it_was_tried_before(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.PENDING)
        execution.ends()
        execution.fence = opened.fence(execution.registry)
        rotation = opened.ledger.save_one(execution.fence, execution.now.having(execution=execution.fence.owner))
        assert rotation.outcome == "unfinished"
        execution.deliver(ConsumerOutcome.FAILED)
        assert execution.ends() is Outcome.CONSUMERS_FAILED
        assert "consumers failed" in execution.asked_for()

    def test_the_same_stop_is_told_once_and_not_at_every_try(self, opened: BareStack) -> None:
        execution = Execution(opened, phase=Phase.STOPPED, problems=("the store denies writing",))
        execution.ends()
        execution.fence = opened.fence(execution.registry)
        execution.ends()
        assert execution.asked_for() == "the store denies writing"


class TestAgain:
    def test_the_tick_waits_longer_after_every_try(self, opened: BareStack) -> None:
        execution = Execution(opened)
        waits = []
        for _ in range(3):
            before = runtime.now()
            assert execution.ends() is Outcome.UNFINISHED
            again = opened.ledger.again(execution.registry)
            assert again is not None
            waits.append(round((again.at - before).total_seconds()))
            execution.fence = opened.fence(execution.registry)
        assert waits == [60, 120, 300]

    def test_what_is_done_counts_from_nought_again(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.ends()
        execution.fence = opened.fence(execution.registry)
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.FINISHED
        again = opened.ledger.again(execution.registry)
        assert again is not None
        assert again.tries == 0

    @pytest.mark.parametrize("error", [None, ERROR])
    def test_after_a_caught_error_the_next_owner_waits(self, opened: BareStack, error: dict[str, str] | None) -> None:
        """A first call of the task may still run."""
        execution = Execution(opened)
        before = runtime.now()
        execution.ends(error)
        lease = opened.leases().current(execution.registry)
        assert lease is not None
        assert (lease.drain_until >= before + LONGEST + MARGIN) is (error is not None)


class TestAtTheSameMoment:
    def test_more_requests_than_a_transaction_holds_are_all_closed(self, opened: BareStack) -> None:
        """A source that names no leak makes a request of every alert: a flood of them must not hold the end up."""
        execution = Execution(opened, **good())
        for number in range(60):
            opened.ask(execution.registry, f"leak-{number}")
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.FINISHED
        assert opened.ledger.open_requests(execution.registry) == []
        assert execution.registry not in opened.ledger.open_registries()

    def test_a_paste_that_comes_between_is_kept_and_the_lease_is_given_back(self, opened: BareStack) -> None:
        """The person pastes the moment they hear "ready", and the execution that said so is just ending."""
        execution = Execution(opened, phase=Phase.READY)

        def paste(_request: object) -> None:
            password = Password(secrets.token_urlsafe(12))
            now = runtime.now()
            pasting.paste(opened.ledger, opened.escrow, execution.registry, password, now=now, clicked_at=None)

        opened.aws.faults.add(WRITE, aws_faults.call_before(paste))
        assert execution.ends() is Outcome.READY
        assert not execution.owned
        (attempt,) = opened.ledger.attempts_of(execution.now)
        assert (attempt.kind, attempt.outcome) == (AttemptKind.PASTED, None)
        assert (execution.now.phase, execution.now.attempts) == (Phase.READY, 1)

    def test_an_alert_that_comes_between_stays_open(self, opened: BareStack) -> None:
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.UPDATED)

        def ask(_request: object) -> None:
            opened.ask(execution.registry, "new")

        opened.aws.faults.add(WRITE, aws_faults.call_before(ask))
        assert execution.ends() is Outcome.FINISHED
        (request,) = opened.ledger.open_requests(execution.registry)
        assert request.state is RequestState.OPEN


class TestRepeated:
    def test_after_a_task_that_was_called_again_the_next_owner_waits(self, opened: BareStack) -> None:
        """However well it ended: the first call of it may still run."""
        execution = Execution(opened, **good())
        opened.bench.leases.check(execution.fence, repeated=True)
        execution.deliver(ConsumerOutcome.UPDATED)
        before = runtime.now()
        assert execution.ends() is Outcome.FINISHED
        lease = opened.leases().current(execution.registry)
        assert lease is not None
        assert lease.drain_until >= before + LONGEST + MARGIN
