"""Begin: the lease, where the rotation stands, where to enter."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime
from rekey.contracts import Contents
from rekey.errors import NotFound, PlanMissing, Unreachable
from rekey.model.plan import read
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase
from rekey.model.state import Next, Operation, Outcome, State
from rekey.records.plans import plan_key
from rekey.runtime import Call
from rekey.steps import begin
from rekey.steps.shards import MOST_SHARDS, cut
from tests.sandbox import aws_faults
from tests.unit.bare_stack import LONGEST, MARGIN, BareStack, plan_of

if TYPE_CHECKING:
    from rekey.model.rotation import Rotation

SECOND = timedelta(seconds=1)


@pytest.fixture
def registry(opened: BareStack) -> str:
    """Push a registry's plan."""
    name = opened.new_registry()
    opened.push(name)
    return name


def run(opened: BareStack, registry: str, execution: str = "", redrive: int = 0, *, repeated: bool = False) -> State:
    state = State(format=1, operation=Operation.ROTATE, registry=registry, start=1)
    owner = execution or arn(opened, f"{registry}-new")
    call = Call("begin", owner, redrive, repeated=repeated, state=state, deadline=runtime.now() + timedelta(minutes=1))
    return begin.run(opened.bench, call)


def arn(opened: BareStack, name: str) -> str:
    machine = opened.environment["REKEY_STATE_MACHINE_ARN"]
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def latest(opened: BareStack, registry: str) -> Rotation:
    rotation = opened.ledger.latest(registry)
    assert rotation is not None
    return rotation


def store(opened: BareStack, registry: str, **fields: object) -> str:
    """Put a value into the store, as Rekey where it is of a generation, and return its version."""
    text = json.dumps({"registry": registry, "username": registry, "password": "x", **fields})
    client: Any = opened.aws.client("secretsmanager")
    token = {"ClientRequestToken": secrets.token_hex(32)} if "generation" in fields else {}
    return str(client.put_secret_value(SecretId=f"registries/{registry}", SecretString=text, **token)["VersionId"])


class TestLease:
    def test_a_living_execution_keeps_its_registry(self, opened: BareStack, registry: str) -> None:
        """Two starts at once give one reset."""
        opened.ask(registry)
        machine = opened.environment["REKEY_STATE_MACHINE_ARN"]
        alive = opened.aws.client("stepfunctions").start_execution(stateMachineArn=machine, name=registry, input="{}")
        lease = opened.own(registry, alive["executionArn"])
        state = run(opened, registry)
        assert (state.next, state.outcome) == (Next.STOP, Outcome.JOINED)
        assert opened.leases().current(registry) == lease
        assert opened.ledger.latest(registry) is None

    def test_after_a_dead_one_it_waits_for_its_functions(self, opened: BareStack, registry: str) -> None:
        opened.ask(registry)
        opened.own(registry)
        before = runtime.now()
        state = run(opened, registry)
        assert state.next is Next.WAIT
        assert state.until is not None
        lease = opened.leases().current(registry)
        assert lease is not None
        assert lease.drain_until >= before + LONGEST + MARGIN
        assert opened.ledger.latest(registry) is None  # until then it does nothing

    def test_a_redriven_execution_stops(self, opened: BareStack, registry: str) -> None:
        """The tick starts what is open: redrive is neither needed nor harmful."""
        opened.ask(registry)
        assert run(opened, registry, redrive=1).next is Next.STOP
        assert opened.leases().current(registry) is None

    def test_where_nobody_asks_the_lease_is_given_back(self, opened: BareStack, registry: str) -> None:
        assert run(opened, registry).next is Next.STOP
        lease = opened.leases().current(registry)
        assert lease is not None
        assert lease.owner is None
        assert lease.drain_until <= runtime.now()

    def test_called_again_it_goes_on_where_it_was(self, opened: BareStack, registry: str) -> None:
        """A retry after a lost answer."""
        opened.ask(registry)
        assert run(opened, registry) == run(opened, registry)
        assert latest(opened, registry).generation == 1


class TestFreshRotation:
    def test_it_is_for_the_most_urgent_request(self, opened: BareStack, registry: str) -> None:
        opened.ask(registry, "a", Reason.REQUESTED)
        opened.ask(registry, "b", Reason.COMPROMISED)
        state = run(opened, registry)
        rotation = latest(opened, registry)
        assert (state.next, state.generation, state.shards) == (Next.PREPARE, 1, (0,))
        assert (rotation.phase, rotation.reason) == (Phase.PREPARING, Reason.COMPROMISED)
        assert state.epoch == 1
        assert state.tag

    def test_the_plan_is_pinned(self, opened: BareStack, registry: str) -> None:
        opened.ask(registry)
        state = run(opened, registry)
        changed = plan_of(registry, policy={"ready_for": "5m"})
        opened.bucket.write(plan_key(registry), json.dumps({"format": 1, "plan": changed}).encode(), "text/plain")
        assert opened.bench.folder(registry, 1).plan().policy.ready_for == timedelta(minutes=30)
        assert state.plan_version == latest(opened, registry).plan_version

    def test_a_registry_that_cannot_be_read_stops_nothing_and_is_said(self, opened: BareStack, registry: str) -> None:
        store(opened, registry)
        opened.ask(registry)
        assert run(opened, registry).next is Next.PREPARE
        rotation = latest(opened, registry)
        assert "could not be read before the reset" in rotation.contents_note
        assert rotation.snapshot_at is None

    @pytest.mark.parametrize(("in_store", "generation"), [({}, 1), ({"generation": 6}, 7)])
    def test_its_number_is_above_what_the_store_holds(
        self, opened: BareStack, registry: str, in_store: dict[str, object], generation: int
    ) -> None:
        """Also where the ledger was lost."""
        store(opened, registry, **in_store)
        opened.ask(registry)
        assert run(opened, registry).generation == generation

    def test_also_where_a_person_has_written_there_since(self, opened: BareStack, registry: str) -> None:
        store(opened, registry, generation=6)
        store(opened, registry)
        opened.ask(registry)
        assert run(opened, registry).generation == 7

    def test_after_a_finished_one_comes_the_next_number(self, opened: BareStack, registry: str) -> None:
        free(opened, registry, generation=3, phase=Phase.FINISHED)
        opened.ask(registry)
        assert run(opened, registry).generation == 4


def free(opened: BareStack, registry: str, **fields: object) -> Rotation:
    """Write a rotation of an execution that has handed its lease back."""
    fence = opened.fence(registry)
    rotation = opened.rotation(fence, **fields)
    _, write = opened.leases().hand_back_write(fence, runtime.now(), may_linger=False)
    opened.table.write(write)
    return rotation


class TestAfterOneThatStopped:
    def test_the_number_is_used_again_and_what_became_of_its_attempts_is_over(
        self, opened: BareStack, registry: str
    ) -> None:
        """The registry refused then, because it was busy: that must not stop every rotation from now on."""
        fence = opened.fence(registry)
        rotation = opened.rotation(fence, generation=3, phase=Phase.STOPPED, attempts=1)
        refused = Attempt(
            registry=registry,
            generation=3,
            number=1,
            kind=AttemptKind.RESET,
            nonce="nonce",
            deadline=runtime.now(),
            called_at=runtime.now(),
            end=CallEnd.REFUSED,
            outcome=AttemptOutcome.REFUSED,
        )
        opened.ledger.save(fence, rotation, refused)
        _, write = opened.leases().hand_back_write(fence, runtime.now(), may_linger=False)
        opened.table.write(write)
        opened.ask(registry)
        assert run(opened, registry).generation == 3
        again = latest(opened, registry)
        assert (again.attempts, opened.ledger.attempts_of(again)) == (1, [])

    def test_its_snapshot_is_not_taken_for_the_new_ones(self, opened: BareStack, registry: str) -> None:
        """Else images that were pushed since would look as if the reset had changed them."""
        free(opened, registry, generation=3, phase=Phase.STOPPED)
        opened.bench.folder(registry, 3).save_snapshot(Contents({"api": {"1": "sha256:old"}}))
        store(opened, registry)
        opened.ask(registry)
        run(opened, registry)
        assert latest(opened, registry).snapshot_at is None


class TestResuming:
    @pytest.mark.parametrize(
        ("phase", "enters"),
        [
            (Phase.PREPARING, Next.PREPARE),
            (Phase.READY, Next.RESET),
            (Phase.RESETTING, Next.RESET),
            (Phase.NEEDS_ATTENTION, Next.RESET),
            (Phase.DELIVERING, Next.DELIVER),
            (Phase.VERIFYING, Next.DELIVER),
        ],
    )
    def test_it_enters_where_the_ledger_says(
        self, opened: BareStack, registry: str, phase: Phase, enters: Next
    ) -> None:
        pin(opened, registry)
        free(opened, registry, phase=phase, shards=2)
        state = run(opened, registry)
        assert (state.next, state.generation, state.shards) == (enters, 1, (0, 1))
        assert latest(opened, registry).execution == arn(opened, f"{registry}-new")

    def test_a_rotation_that_a_paste_opened_is_laid_out_first(self, opened: BareStack, registry: str) -> None:
        free(opened, registry, plan_version="", execution="")
        state = run(opened, registry)
        assert (state.next, state.shards) == (Next.RESET, (0,))
        assert opened.bench.folder(registry, 1).shard(0).entries[0].entry == "deploy-bot"

    def test_that_a_person_saved_what_the_store_has_ends_nothing(self, opened: BareStack, registry: str) -> None:
        """In AWS's console: the value goes on to name the generation."""
        pin(opened, registry)
        version = store(opened, registry, generation=1)
        free(opened, registry, phase=Phase.DELIVERING, shards=1, store_version=version)
        fields = {"username": registry, "password": "x", "registry": registry, "generation": 1, "note": "edited"}
        client: Any = opened.aws.client("secretsmanager")
        client.put_secret_value(SecretId=f"registries/{registry}", SecretString=json.dumps(fields))
        state = run(opened, registry)
        assert (state.next, state.generation) == (Next.DELIVER, 1)

    def test_one_that_the_store_has_overtaken_is_closed_and_the_next_is_above(
        self, opened: BareStack, registry: str
    ) -> None:
        """A restored ledger resumed generation 1 over 2."""
        free(opened, registry, generation=1)
        store(opened, registry, generation=2)
        opened.ask(registry)
        assert run(opened, registry).generation == 3
        old = opened.ledger.rotation(registry, 1)
        assert old is not None
        assert old.phase is Phase.FINISHED
        assert "overtaken" in old.problems[0]

    @pytest.mark.parametrize("refuses", [False, True])
    def test_where_nothing_follows_on_it_a_person_is_told_first(
        self, opened: BareStack, registry: str, *, refuses: bool
    ) -> None:
        """Whoever it has not told, nobody else tells."""
        pin(opened, registry)
        free(opened, registry, generation=1, phase=Phase.DELIVERING, shards=1)
        store(opened, registry, generation=2)
        if refuses:
            opened.aws.faults.add("events:PutEvents", aws_faults.refuse("AccessDeniedException"), times=None)
            with pytest.raises(Unreachable, match="does not take that a person is needed"):
                run(opened, registry)
            assert latest(opened, registry).phase is Phase.DELIVERING
            return
        assert run(opened, registry).next is Next.STOP
        (event,) = opened.events(registry)
        assert event["DetailType"] == "Attention Needed"
        assert "the store holds generation 2" in event["Detail"]["why"]
        assert "`rekey rotate`" in event["Detail"]["why"]
        assert latest(opened, registry).phase is Phase.FINISHED

    def test_so_is_one_that_was_under_way_whoever_has_written_there_since(
        self, opened: BareStack, registry: str
    ) -> None:
        """It would hand out its old password."""
        pin(opened, registry)
        free(opened, registry, generation=1, phase=Phase.DELIVERING, store_version="v", shards=1)
        store(opened, registry, generation=2)
        store(opened, registry)
        opened.ask(registry)
        assert run(opened, registry).generation == 3

    def test_one_whose_own_password_is_in_the_store_is_not(self, opened: BareStack, registry: str) -> None:
        version = store(opened, registry, generation=1)
        pin(opened, registry)
        free(opened, registry, generation=1, phase=Phase.DELIVERING, store_version=version, shards=1)
        assert run(opened, registry).next is Next.DELIVER

    def test_nor_where_a_person_has_written_over_it(self, opened: BareStack, registry: str) -> None:
        version = store(opened, registry, generation=1)
        store(opened, registry)
        pin(opened, registry)
        free(opened, registry, generation=1, phase=Phase.DELIVERING, store_version=version, shards=1)
        assert run(opened, registry).next is Next.DELIVER

    def test_one_whose_overtaker_a_person_has_written_over_is(self, opened: BareStack, registry: str) -> None:
        free(opened, registry, generation=1)
        store(opened, registry, generation=2)
        store(opened, registry)
        opened.ask(registry)
        assert run(opened, registry).generation == 3

    def test_nor_is_one_that_was_promoted_before_its_answer_was_read_anew(
        self, opened: BareStack, registry: str
    ) -> None:
        """The promotion was not written down, and then somebody resumed: the token is that of the first reading."""
        fence = opened.fence(registry)
        rotation = opened.rotation(fence, generation=1, phase=Phase.RESETTING, shards=1)
        pin(opened, registry)
        first = Attempt(
            registry=registry, generation=1, number=1, kind=AttemptKind.RESET, nonce="n", deadline=runtime.now()
        )
        opened.ledger.save(fence, rotation.having(attempts=1), first.having(reading=1))
        text = json.dumps({"registry": registry, "username": registry, "password": "x", "generation": 1})
        client: Any = opened.aws.client("secretsmanager")
        client.put_secret_value(
            SecretId=f"registries/{registry}", SecretString=text, ClientRequestToken=first.store_token
        )
        _, write = opened.leases().hand_back_write(fence, runtime.now(), may_linger=False)
        opened.table.write(write)
        state = run(opened, registry)
        assert (state.next, state.generation) == (Next.RESET, 1)

    def test_a_plan_that_was_broken_since_does_not_stop_it(self, opened: BareStack, registry: str) -> None:
        """What is open goes by the plan it is pinned to."""
        pin(opened, registry)
        free(opened, registry, phase=Phase.DELIVERING, shards=1)
        opened.bucket.write(plan_key(registry), b'{"format": 1, "plan": {}}', "application/json")
        assert run(opened, registry).next is Next.DELIVER


def pin(opened: BareStack, registry: str, generation: int = 1) -> None:
    opened.bench.folder(registry, generation).pin_plan(opened.bench.plans.pushed(registry)[1])


class TestBeforeAnything:
    def test_a_registry_without_a_plan_is_said_so(self, opened: BareStack) -> None:
        with pytest.raises(PlanMissing):
            run(opened, opened.new_registry())

    def test_a_missing_secret_is_said_so(self, opened: BareStack, registry: str) -> None:
        opened.aws.client("secretsmanager").delete_secret(
            SecretId=f"registries/{registry}", ForceDeleteWithoutRecovery=True
        )
        with pytest.raises(NotFound, match=f"registries/{registry}"):
            run(opened, registry)


def webhooks(count: int, *, host: str = "", key: str = "") -> list[Any]:
    entries = [
        {
            "name": f"bot-{number}",
            "type": "webhook",
            "url": f"https://{host or f'host-{number}'}/hook",
            "signing_key": {"secret": key or f"rekey/key-{number}"},
        }
        for number in range(count)
    ]
    return list(read(plan_of("prod-images", consumers=entries)).consumers)


class TestShards:
    def test_each_credential_at_each_place_is_one(self) -> None:
        assert [len(shard) for shard in cut(webhooks(3))] == [1, 1, 1]

    def test_what_shares_both_shares_a_limit(self) -> None:
        github = [
            {
                "name": f"ci-{number}",
                "type": "github-secret",
                "repository": f"acme/{number}",
                "secret": "PASSWORD",
                "auth": {"secret": f"rekey/app-{number % 2}"},
            }
            for number in range(5)
        ]
        consumers = read(plan_of("prod-images", consumers=github)).consumers
        assert [[entry.name for entry in shard] for shard in cut(consumers)] == [
            ["ci-0", "ci-2", "ci-4"],
            ["ci-1", "ci-3"],
        ]

    def test_a_plan_of_very_many_places_still_fits_one_execution(self) -> None:
        """An execution's history ends at 25,000 events."""
        entries = webhooks(3 * MOST_SHARDS + 1)
        shards = cut(entries)
        assert len(shards) == MOST_SHARDS
        assert sorted(entry.name for shard in shards for entry in shard) == sorted(entry.name for entry in entries)
