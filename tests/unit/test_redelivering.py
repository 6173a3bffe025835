"""Redelivering: which password may be delivered again, to whom, and what is written for it."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from rekey import runtime
from rekey.errors import Conflict, Denied, InputInvalid, PlanMissing, Unreachable
from rekey.model.password import Password
from rekey.model.request import Reason
from rekey.model.rotation import Again, Attempt, Phase, RedeliveryRequest, Rotation
from rekey.model.state import Next, Operation, Outcome, State
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict, Receipt
from rekey.records import pasting, redelivering
from rekey.records.codec import partition, rotation_key
from rekey.records.dynamo import encode
from rekey.records.ledger import following
from rekey.records.plans import from_stored, plan_key, to_stored
from rekey.runtime import Call
from rekey.steps import begin
from tests.sandbox import aws_faults
from tests.unit.bare_stack import ASKED, BareStack, plan_of
from tests.unit.test_report import Execution, good

if TYPE_CHECKING:
    from rekey.model.plan import Plan
    from rekey.model.rotation import Fence

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WRITE = "dynamodb:TransactWriteItems"
KIND = "webhook"
FAILED = ConsumerOutcome.FAILED
Document: TypeAlias = "dict[str, object]"


def entry(name: str, **changes: object) -> dict[str, object]:
    hook = {"type": KIND, "url": "http://127.0.0.1:9/hook", "signing_key": {"secret": "rekey/hook"}}
    return {"name": name, **hook, **changes}


def plan(registry: str, *consumers: dict[str, object], **changes: object) -> dict[str, object]:
    return plan_of(registry, **({"consumers": list(consumers)} if consumers else {}), **changes)


def receipt(
    consumer: str,
    outcome: ConsumerOutcome = ConsumerOutcome.UPDATED,
    verdict: ConsumerVerdict = ConsumerVerdict.ACCEPTED,
) -> Receipt:
    return Receipt(consumer, KIND, outcome, verdict)


class Done:
    """A registry with a rotation that is over, under the plan that is pushed."""

    def __init__(self, opened: BareStack, *receipts: Receipt, **rotation: object) -> None:
        self.opened, self.registry = opened, opened.new_registry()
        self.fence: Fence = opened.fence(self.registry)
        given = receipts or (receipt("deploy-bot", FAILED),)
        document = plan(self.registry, *(entry(name) for name in {one.consumer.split("/")[0] for one in given}))
        self.folder = opened.bench.folder(self.registry, 1)
        self.folder.pin_plan(to_stored(document))
        self.push(document)
        over = {"phase": Phase.FINISHED, "finished_at": NOW, "outcome": Outcome.CONSUMERS_FAILED.value, "shards": 1}
        client: Any = opened.aws.client("secretsmanager")
        text = json.dumps({"username": self.registry, "password": secrets.token_urlsafe(9)})
        version = client.create_secret(Name=f"registries/{self.registry}", SecretString=text)["VersionId"]
        self.rotation = opened.rotation(
            self.fence, **{**over, "promoted_at": NOW, "store_version": version, **rotation}
        )
        opened.ledger.save_receipts(self.fence, 1, 0, given)

    def push(self, document: dict[str, object]) -> str:
        return self.opened.bucket.write(plan_key(self.registry), to_stored(document), "application/json")

    def deliver(self, *patterns: str) -> RedeliveryRequest:
        return redelivering.deliver(self.opened.ledger, self.opened.bucket, self.registry, patterns, NOW + HOUR)

    def deliver_first(self, *patterns: str) -> None:
        self.deliver(*patterns)

    def begin_first(self, _request: object) -> None:
        assert self.begin().generation == 1

    def refuses(self, why: str, *patterns: str) -> None:
        with pytest.raises(InputInvalid, match=why):
            self.deliver(*patterns)
        assert self.opened.ledger.redelivery(self.registry) is None
        assert self.opened.ledger.again(self.registry) is None

    def begin(self, operation: Operation = Operation.ROTATE) -> State:
        """Take it up as the next execution does; the store is asked nothing: it holds no generation."""
        state = State(format=1, operation=operation, registry=self.registry, start=1)
        call = Call("begin", self.fence.owner, 0, repeated=False, state=state, deadline=runtime.now() + HOUR)
        return begin.run(self.opened.bench, call)

    def paste(self) -> None:
        """Paste what a person got in the console."""
        secret, ledger = Password(secrets.token_urlsafe(12)), self.opened.ledger
        pasting.paste(ledger, self.opened.escrow, self.registry, secret, now=NOW + HOUR, clicked_at=None)

    def told(self) -> str:
        """Return the one thing that a person was told."""
        (why,) = [one["Detail"]["why"] for one in self.opened.events(self.registry) if one["Source"] == "rekey"]
        return str(why)

    @property
    def rotations(self) -> list[Rotation]:
        found = (self.opened.ledger.rotation(self.registry, generation) for generation in (1, 2))
        return [rotation for rotation in found if rotation is not None]

    @property
    def receipts(self) -> dict[str, ConsumerOutcome]:
        return {one.consumer: one.outcome for one in self.opened.ledger.receipts(self.registry, 1)}


class TestWhere:
    def test_the_tick_takes_it_up_at_once(self, opened: BareStack) -> None:
        done = Done(opened)
        fresh = Again(registry=done.registry, tries=4, at=NOW + 9 * HOUR)
        opened.table.write(following(fresh, fresh.having(rev=secrets.token_hex(8))))
        request = done.deliver()
        assert opened.ledger.redelivery(done.registry) == request
        assert opened.ledger.latest(done.registry) == done.rotation, "an execution may be working on it"
        assert opened.ledger.open_registries()[done.registry] is False
        again = opened.ledger.again(done.registry)
        assert again is not None
        assert (again.tries, again.at) == (0, NOW + HOUR)

    def test_without_any_rotation_there_is_nothing_to_deliver(self, opened: BareStack) -> None:
        registry = opened.new_registry()
        with pytest.raises(InputInvalid, match=f"`rekey rotate {registry}` does"):
            redelivering.deliver(opened.ledger, opened.bucket, registry, (), NOW)

    def test_nor_where_none_ever_reset(self, opened: BareStack) -> None:
        Done(opened, phase=Phase.STOPPED, promoted_at=None).refuses("`rekey rotate")

    @pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.READY, Phase.RESETTING], ids=lambda phase: phase.value)
    def test_one_that_is_yet_to_reset_tells_everybody_itself(self, opened: BareStack, phase: Phase) -> None:
        Done(opened, phase=phase, promoted_at=None).refuses("is under way")

    def test_where_a_person_is_needed_it_says_for_what(self, opened: BareStack) -> None:
        for promoted_at in (NOW, None):
            problems = ("it is refused: `rekey paste`",)
            done = Done(opened, promoted_at=promoted_at, phase=Phase.NEEDS_ATTENTION, problems=problems)
            done.refuses("`rekey paste`")

    def test_after_one_that_stopped_the_password_of_the_one_before_is_in_force(self, opened: BareStack) -> None:
        done = Done(opened)
        opened.rotation(done.fence, generation=2, phase=Phase.STOPPED)
        assert done.deliver().generation == 1

    @pytest.mark.parametrize(
        ("part", "field", "named"),
        [
            ("registry", {"endpoint": "http://127.0.0.1:10"}, "`registry.endpoint`"),
            ("registry", {"username": "another"}, "`registry.username`"),
            ("store", {"name": "registries/another"}, "`store`"),
        ],
    )
    def test_not_where_the_plan_names_another_account_or_store(
        self, opened: BareStack, part: str, field: dict[str, str], named: str
    ) -> None:
        done = Done(opened)
        document: Any = plan(done.registry, entry("deploy-bot"))
        document[part] |= field
        done.push(document)
        done.refuses(f"{named} of the plan changed since {done.registry}/1.*`rekey rotate {done.registry}`")

    def test_how_one_gets_into_the_same_store_may_change(self, opened: BareStack) -> None:
        done = Done(opened)
        vault = {"type": "vault", "address": "https://vault.example.com", "path": "registries/prod"}
        first, second = ({"token": {"secret": f"rekey/vault-{name}"}} for name in ("a", "b"))
        done.folder.pin_plan(to_stored(plan(done.registry, entry("deploy-bot"), store={**vault, "auth": first})))
        done.push(plan(done.registry, entry("deploy-bot"), store={**vault, "auth": second}))
        assert done.deliver().generation == 1

    def test_not_without_a_plan(self, opened: BareStack) -> None:
        done = Done(opened)
        opened.aws.client("s3").delete_object(Bucket="stack-bucket", Key=plan_key(done.registry))
        with pytest.raises(PlanMissing):
            done.deliver()


class TestToWhom:
    def test_a_name_that_nobody_has_is_said(self, opened: BareStack) -> None:
        Done(opened).refuses("has no consumer `web-ci`", "deploy-*", "web-ci")

    def test_more_names_than_a_record_holds_are_refused(self, opened: BareStack) -> None:
        Done(opened).refuses("51 names", *[f"deploy-bot/{number}" for number in range(51)])

    def test_a_place_that_a_pattern_makes_can_be_named_before_anybody_knows_it(self, opened: BareStack) -> None:
        assert Done(opened, receipt("all/acme/a")).deliver("all/acme/b").patterns == ("all/acme/b",)

    def test_who_asks_second_takes_nothing_away_from_the_first(self, opened: BareStack) -> None:
        done = Done(opened, receipt("a"), receipt("b"))
        for patterns in (["a"], ["b", "a"], []):
            request = done.deliver(*patterns)
        assert request.patterns == ("a", "b")

    def test_what_was_asked_of_an_earlier_password_is_not_asked_of_this_one(self, opened: BareStack) -> None:
        done = Done(opened, receipt("a"), receipt("b"))
        done.deliver("a")
        opened.rotation(done.fence, generation=2, phase=Phase.FINISHED, promoted_at=NOW)
        folder = opened.bench.folder(done.registry, 2)
        folder.pin_plan(to_stored(plan(done.registry, entry("a"), entry("b"))))
        request = done.deliver("b")
        assert (request.generation, request.patterns) == (2, ("b",))


def told_again(
    before: Document, after: Document, receipts: list[Receipt], *patterns: str
) -> list[dict[str, ConsumerOutcome]]:
    pinned, pushed = (from_stored(to_stored(document)) for document in (before, after))
    found = redelivering.told_again(_each(pushed), pinned, receipts, patterns)
    again = redelivering.told_again(_each(pushed), pinned, [one for shard in found for one in shard], patterns)
    assert again == found, "cut off in between, it is done once more"
    return [{one.consumer: one.outcome for one in shard} for shard in found]


def _each(pushed: Plan) -> list[list[Any]]:
    """Cut a plan into shards of one entry."""
    return [[entry] for entry in pushed.consumers]


class TestReceipts:
    two = plan("prod", entry("a"), entry("b"))

    def test_who_has_it_keeps_the_receipt_and_who_lacks_it_is_pending(self) -> None:
        given = [receipt("a"), receipt("b", FAILED)]
        assert told_again(self.two, self.two, given) == [
            {"a": ConsumerOutcome.UPDATED},
            {"b": ConsumerOutcome.PENDING},
        ]

    @pytest.mark.parametrize(
        "lacking",
        [
            receipt("a", ConsumerOutcome.UNREACHABLE),
            receipt("a", ConsumerOutcome.PENDING),
            receipt("a", verdict=ConsumerVerdict.DIFFERS),
        ],
        ids=["not reached", "not sent", "another one since"],
    )
    def test_nor_has_it_who_was_not_reached_or_had_another_one_since(self, lacking: Receipt) -> None:
        assert told_again(self.two, self.two, [lacking, receipt("b")])[0] == {"a": ConsumerOutcome.PENDING}

    @pytest.mark.parametrize("outcome", [ConsumerOutcome.UNCHANGED, ConsumerOutcome.SUPERSEDED])
    def test_who_had_it_or_has_a_newer_one_is_left_alone(self, outcome: ConsumerOutcome) -> None:
        given = [receipt("a", outcome=outcome, verdict=ConsumerVerdict.UNKNOWN), receipt("b")]
        assert told_again(self.two, self.two, given)[0] == {"a": outcome}

    def test_what_is_new_is_pending_and_what_is_gone_has_no_receipt(self) -> None:
        after = plan("prod", entry("c"), entry("b"))
        assert told_again(self.two, after, [receipt("a"), receipt("b")]) == [
            {"c": ConsumerOutcome.PENDING},
            {"b": ConsumerOutcome.UPDATED},
        ]

    def test_an_entry_that_is_another_place_now_is_told(self) -> None:
        after = plan("prod", entry("a", url="http://127.0.0.1:9/another"), entry("b"))
        assert told_again(self.two, after, [receipt("a"), receipt("b")])[0] == {"a": ConsumerOutcome.PENDING}

    def test_of_the_places_of_a_pattern_those_that_have_it_stay(self) -> None:
        given = [receipt("a/x"), receipt("a/y", FAILED), receipt("b")]
        assert told_again(self.two, self.two, given)[0] == {
            "a/x": ConsumerOutcome.UPDATED,
            "a": ConsumerOutcome.PENDING,
        }

    @pytest.mark.parametrize(
        ("pattern", "left"), [("a", {"a"}), ("a/x", {"a/y", "a"}), ("*", {"a"}), ("*/y", {"a/x", "a"}), ("?", {"a"})]
    )
    def test_whom_a_pattern_names_is_pending_though_they_have_it(self, pattern: str, left: set[str]) -> None:
        given = [receipt("a/x"), receipt("a/y"), receipt("b")]
        assert set(told_again(self.two, self.two, given, pattern)[0]) == left


class TestBegin:
    def test_it_pins_the_plan_and_leads_to_the_consumers_without_a_reset(self, opened: BareStack) -> None:
        """One shard for each place: what was in another one is found there."""
        done = Done(opened, receipt("deploy-bot"), receipt("web-bot"), receipt("gone", FAILED))
        other = entry("second-bot", url="http://127.0.0.1:10/hook")
        version = done.push(plan(done.registry, other, entry("deploy-bot"), entry("web-bot")))
        done.deliver("web-*")
        state = done.begin()
        assert (state.next, state.operation, state.shards) == (Next.PREPARE, Operation.DELIVER, (0, 1))
        assert state.plan_version == version
        assert done.receipts == {
            "second-bot": ConsumerOutcome.PENDING,
            "deploy-bot": ConsumerOutcome.UPDATED,
            "web-bot": ConsumerOutcome.PENDING,
        }
        assert [one.consumer for one in opened.ledger.receipts(done.registry, 1, 0)] == ["second-bot"]
        assert {entry.name for entry in done.folder.plan().consumers} == {"second-bot", "deploy-bot", "web-bot"}
        assert opened.ledger.redelivery(done.registry) is None
        assert opened.ledger.open_registries()[done.registry] is True

    def test_what_was_spent_long_ago_says_nothing_of_today(self, opened: BareStack) -> None:
        spent = {"wrong_logins": 3, "logins_spent": True, "new_refusals": 1, "problems": ("look at it",)}
        done = Done(opened, old_verdict=LoginVerdict.REFUSED, **spent)
        done.deliver()
        done.begin()
        (rotation,) = done.rotations
        assert (rotation.wrong_logins, rotation.logins_spent, rotation.new_refusals) == (0, False, 0)
        assert (rotation.phase, rotation.outcome, rotation.problems) == (Phase.DELIVERING, "", ())
        assert rotation.finished_at is None
        assert rotation.reopened
        assert rotation.old_verdict is LoginVerdict.REFUSED, "a fact that stands is not asked again"

    def test_what_an_open_one_has_spent_stays_spent(self, opened: BareStack) -> None:
        """Else asking often enough would lock the account."""
        done = Done(opened, phase=Phase.VERIFYING, wrong_logins=2, outcome="")
        done.deliver()
        done.begin()
        assert done.rotations[0].wrong_logins == 2

    def test_the_next_execution_tells_nobody_once_more(self, opened: BareStack) -> None:
        done = Done(opened, receipt("deploy-bot"))
        done.deliver("*")
        done.begin()
        opened.ledger.save_receipts(done.fence, 1, 0, [receipt("deploy-bot")])
        assert done.begin().operation is Operation.DELIVER
        assert done.receipts == {"deploy-bot": ConsumerOutcome.UPDATED}

    @pytest.mark.parametrize("number", range(1, 5))
    def test_cut_off_anywhere_it_is_done_once_more(self, opened: BareStack, number: int) -> None:
        """Shard after shard is written: a receipt may be lost on the way, and never somebody who is to be told."""
        many = [receipt(f"bot-{number}") for number in range(250)]
        done = Done(opened, *many, receipt("web-bot", FAILED))
        elsewhere = "http://127.0.0.1:10/hook"
        done.push(plan(done.registry, entry("web-bot", url=elsewhere), *(entry(one.consumer) for one in many[:100])))
        done.deliver("bot-7")
        opened.aws.faults.add(WRITE, aws_faults.server_error(), nth=number, times=None)
        with pytest.raises(Unreachable):
            done.begin()
        opened.aws.faults.clear()
        assert done.begin().next is Next.PREPARE
        pending = {name for name, outcome in done.receipts.items() if outcome is ConsumerOutcome.PENDING}
        assert pending >= {"bot-7", "web-bot"}
        assert set(done.receipts) == {"web-bot", *(one.consumer for one in many[:100])}

    def test_no_execution_is_started_as_one(self, opened: BareStack) -> None:
        """By hand, that is: it would rotate whatever is open."""
        done = Done(opened)
        opened.ask(done.registry)
        with pytest.raises(InputInvalid, match=f"`rekey deliver {done.registry}`"):
            done.begin(Operation.DELIVER)

    def test_where_a_person_is_needed_nothing_is_delivered(self, opened: BareStack) -> None:
        done = Done(opened, phase=Phase.VERIFYING, outcome="")
        request = done.deliver()
        opened.ledger.save_one(done.fence, done.rotation.having(phase=Phase.NEEDS_ATTENTION))
        assert done.begin().next is Next.RESET
        assert opened.ledger.redelivery(done.registry) == request

    def test_the_next_rotation_has_told_everybody_when_it_is_over(self, opened: BareStack) -> None:
        done = Done(opened)
        done.deliver()
        opened.rotation(done.fence, generation=2, phase=Phase.FINISHED, promoted_at=NOW)
        assert done.begin().next is Next.STOP
        assert opened.ledger.redelivery(done.registry) is None
        assert not done.rotations[0].phase.open

    def test_while_that_is_under_way_it_waits(self, opened: BareStack) -> None:
        done = Done(opened)
        request = done.deliver()
        opened.rotation(done.fence, generation=2, phase=Phase.RESETTING, shards=1)
        opened.bench.folder(done.registry, 2).pin_plan(to_stored(plan(done.registry)))
        assert done.begin().generation == 2
        assert opened.ledger.redelivery(done.registry) == request

    def test_of_a_rotation_that_a_restored_ledger_has_forgotten_nothing_is_left(self, opened: BareStack) -> None:
        """Else the tick would start an execution every minute, for ever."""
        done = Done(opened)
        done.deliver()
        opened.aws.client("dynamodb").delete_item(
            TableName="stack-ledger", Key=encode({"pk": partition(done.registry), "sk": rotation_key(1)})
        )
        assert done.begin().next is Next.STOP
        assert done.registry not in opened.ledger.open_registries()

    @pytest.mark.parametrize("reason", [Reason.COMPROMISED, Reason.LOST, Reason.REQUESTED])
    @pytest.mark.parametrize("tried", [False, True], ids=["not tried yet", "tried, and stopped"])
    def test_a_new_password_goes_first_unless_that_was_tried_and_stopped(
        self, opened: BareStack, reason: Reason, *, tried: bool
    ) -> None:
        done = Done(opened, called_at=ASKED - HOUR)
        opened.ask(done.registry, reason=reason)
        if tried:
            opened.rotation(done.fence, generation=2, phase=Phase.STOPPED, finished_at=ASKED + HOUR)
        done.deliver()
        assert done.begin().generation == (1 if tried else 2)

    def test_what_stopped_before_it_was_asked_for_was_no_try_of_it(self, opened: BareStack) -> None:
        done = Done(opened, called_at=ASKED - 2 * HOUR)
        opened.rotation(done.fence, generation=2, phase=Phase.STOPPED, finished_at=ASKED - HOUR)
        opened.ask(done.registry)
        done.deliver()
        assert done.begin().generation == 2

    def test_an_open_rotation_waits_for_a_leak_alone(self, opened: BareStack) -> None:
        """Whatever else is asked for comes when it is over, as ever."""
        done = Done(opened, phase=Phase.VERIFYING, outcome="")
        opened.ask(done.registry, reason=Reason.REQUESTED)
        done.deliver()
        assert (state := done.begin()).generation == 1
        assert state.operation is Operation.DELIVER

    def test_an_answer_that_the_ledger_has_forgotten_goes_first(self, opened: BareStack) -> None:
        """It was restored from a backup: what lies in the escrow may be the only copy of the password in force."""
        done = Done(opened)
        lost = Attempt.model_validate(
            {"registry": done.registry, "generation": 2, "number": 1, "kind": "reset", "nonce": "n", "deadline": NOW}
        )
        opened.escrow.put(lost, opened.escrow.envelope(lost), b"answer")
        request = done.deliver()
        assert done.begin().generation == 2
        assert opened.ledger.redelivery(done.registry) == request

    def test_what_was_promoted_and_is_gone_from_the_store_is_told(self, opened: BareStack) -> None:
        done = Done(opened, store_version="0" * 32)
        done.deliver()
        assert done.begin().next is Next.STOP
        assert f"{done.registry}/1 is not delivered again" in done.told()
        assert opened.ledger.redelivery(done.registry) is None

    def test_when_the_gap_was_closed_is_noted_before_any_receipt_goes(self, opened: BareStack) -> None:
        """Cut off after that, the next one sees what is left of them."""
        answers = [replace(receipt(name), answered_at=NOW + timedelta(seconds=n)) for n, name in enumerate("ab")]
        done = Done(opened, *answers, outcome=Outcome.FINISHED.value, called_at=NOW)
        done.deliver("b")
        opened.aws.faults.add("s3:PutObject", aws_faults.refuse())
        with pytest.raises(Denied):
            done.begin()
        opened.aws.faults.clear()
        done.begin()
        assert done.rotations[0].gap_closed_at == NOW + timedelta(seconds=1)

    def test_a_leak_waits_until_the_shards_are_cut_anew(self, opened: BareStack) -> None:
        """Cut short before that, and opened again where the next one stops, it would have half of them."""
        done = Done(opened, called_at=ASKED - HOUR)
        done.deliver()
        opened.aws.faults.add("s3:PutObject", aws_faults.refuse())
        with pytest.raises(Denied):
            done.begin()
        opened.aws.faults.clear()
        opened.ask(done.registry)
        assert done.begin().generation == 1
        assert done.begin().generation == 2


class TestBeginCannot:
    def test_what_a_person_has_to_mend_is_told_and_holds_nothing_back(self, opened: BareStack) -> None:
        """The plan named another account when the tick came."""
        done = Done(opened)
        done.deliver()
        document: Any = plan(done.registry, entry("deploy-bot"))
        document["registry"]["username"] = "another"
        done.push(document)
        assert done.begin().next is Next.STOP
        opened.ask(done.registry, reason=Reason.REQUESTED)
        assert done.begin().generation == 2
        assert opened.ledger.redelivery(done.registry) is None
        told = done.told()
        assert f"{done.registry}/1 is not delivered again: `registry.username` of the plan changed" in told
        assert f"`rekey deliver {done.registry}` once that is mended" in told

    def test_it_is_not_forgotten_before_that_is_told(self, opened: BareStack) -> None:
        done = Done(opened)
        request = done.deliver()
        done.push(plan(done.registry, entry("deploy-bot"), store={"type": "secrets-manager", "name": "registries/b"}))
        opened.aws.faults.add("events:PutEvents", aws_faults.refuse(), times=None)
        with pytest.raises(Unreachable, match="nothing is forgotten before"):
            done.begin()
        assert opened.ledger.redelivery(done.registry) == request

    def test_an_open_rotation_goes_on_under_the_plan_it_has(self, opened: BareStack) -> None:
        done = Done(opened, phase=Phase.DELIVERING, outcome="")
        done.deliver()
        opened.bucket.write(plan_key(done.registry), to_stored({"registry": {}}), "application/json")
        state = done.begin()
        assert (state.next, state.operation, state.generation) == (Next.DELIVER, Operation.ROTATE, 1)
        assert opened.ledger.redelivery(done.registry) is None

    def test_what_another_stack_has_overtaken_is_not_delivered(self, opened: BareStack) -> None:
        done = Done(opened)
        done.deliver()
        client: Any = opened.aws.client("secretsmanager")
        fields = {"username": done.registry, "password": secrets.token_urlsafe(9), "registry": done.registry}
        text = json.dumps({**fields, "generation": 2, "rotation": f"{done.registry}/2"})
        client.put_secret_value(
            SecretId=f"registries/{done.registry}", SecretString=text, ClientRequestToken=secrets.token_hex(32)
        )
        assert done.begin().next is Next.STOP
        assert "the store holds generation 2 by now" in done.told()


class TestAtTheSameMoment:
    def test_who_wishes_more_while_it_is_taken_up_gets_that_too(self, opened: BareStack) -> None:
        done = Done(opened, receipt("a"), receipt("b"))
        done.deliver("a")
        opened.aws.faults.add(WRITE, aws_faults.call_before(lambda _: done.deliver_first("b")))
        assert done.begin().operation is Operation.DELIVER
        assert set(done.receipts.values()) == {ConsumerOutcome.PENDING}
        assert opened.ledger.redelivery(done.registry) is None

    def test_two_who_wish_at_once_are_not_lost(self, opened: BareStack) -> None:
        done = Done(opened, receipt("a"), receipt("b"))
        opened.aws.faults.add(WRITE, aws_faults.call_before(lambda _: done.deliver_first("b")))
        with pytest.raises(Conflict, match="deliver once more"):
            done.deliver("a")
        assert done.deliver("a").patterns == ("b", "a")

    def test_a_lost_answer_is_no_failure(self, opened: BareStack) -> None:
        done = Done(opened)
        opened.aws.faults.add(WRITE, aws_faults.drop_after())
        assert done.deliver() == opened.ledger.redelivery(done.registry)

    @pytest.mark.parametrize("stopped", [False, True], ids=["the first", "after one that stopped"])
    def test_a_paste_comes_before_it(self, opened: BareStack, *, stopped: bool) -> None:
        """Else two rotations would be open, and nobody would work on one of them."""
        done = Done(opened)
        if stopped:
            opened.rotation(done.fence, generation=2, phase=Phase.STOPPED)
        done.deliver()
        opened.aws.faults.add(WRITE, aws_faults.call_before(lambda _: done.paste()))
        assert done.begin().generation == 2
        assert [rotation.phase.open for rotation in done.rotations] == [False, True]

    @pytest.mark.parametrize("stopped", [False, True], ids=["the first", "after one that stopped"])
    def test_a_paste_comes_after_it(self, opened: BareStack, *, stopped: bool) -> None:
        done = Done(opened)
        if stopped:
            opened.rotation(done.fence, generation=2, phase=Phase.STOPPED)
        done.deliver()
        opened.aws.faults.add(WRITE, aws_faults.call_before(done.begin_first))
        with pytest.raises(Conflict, match="paste once more"):
            done.paste()
        assert [rotation.phase.open for rotation in done.rotations] == [True, False][: len(done.rotations)]
        done.paste()
        assert [rotation.phase.open for rotation in done.rotations] == [False, True]

    def test_one_that_is_open_again_already_is_not_passed_over(self, opened: BareStack) -> None:
        done = Done(opened)
        stopped = opened.rotation(done.fence, generation=2, phase=Phase.STOPPED)
        done.deliver()
        done.begin()
        with pytest.raises(Conflict, match=f"{done.registry}/1 was opened again"):
            opened.ledger.closed_before(stopped, stopped)


class TestReport:
    def test_the_time_to_try_begins_anew(self, opened: BareStack) -> None:
        """The password was promoted long ago: a consumer that does not answer at once is not given up for that."""
        long_ago = runtime.now() - 9 * HOUR
        for again, outcome in ((None, Outcome.CONSUMERS_FAILED), (runtime.now(), Outcome.UNFINISHED)):
            execution = Execution(opened, **good(promoted_at=long_ago, delivered_again_at=again))
            execution.deliver(ConsumerOutcome.UNREACHABLE)
            assert execution.ends() is outcome

    def test_why_the_next_one_stopped_before_that_is_no_news(self, opened: BareStack) -> None:
        again = runtime.now()
        for stopped_at, told in ((again - HOUR, ""), (again + HOUR, "no rights")):
            execution = Execution(opened, **good(delivered_again_at=again))
            stopped = {"phase": Phase.STOPPED, "outcome": Outcome.STOPPED.value, "problems": ("no rights",)}
            opened.rotation(execution.fence, generation=2, finished_at=stopped_at, execution="arn", **stopped)
            execution.deliver(ConsumerOutcome.UPDATED)
            assert execution.ends() is Outcome.FINISHED
            assert execution.asked_for() == told

    def test_the_evidence_says_that_it_was_delivered_again(self, opened: BareStack) -> None:
        """Else the credential gap of months could not be understood."""
        execution = Execution(opened, **good(delivered_again_at=runtime.now()))
        execution.deliver(ConsumerOutcome.UPDATED)
        assert execution.ends() is Outcome.FINISHED
        folder = f"rotations/{execution.registry}/1"
        evidence: Any = opened.bucket.read_json(f"{folder}/evidence.json")
        assert evidence["times"]["delivered_again"]
        assert "some waited until a person had it delivered again" in evidence["credential_gap_note"]
        assert b"Delivered again, as a person asked" in opened.bucket.read(f"{folder}/report.html")[0]

    def test_asked_for_in_the_very_middle_of_it_it_ends_all_the_same(self, opened: BareStack) -> None:
        """And is taken up by the next one: when to come back was written by who asks."""
        execution = Execution(opened, **good())
        execution.deliver(ConsumerOutcome.UPDATED)
        document = plan_of(execution.registry)
        opened.bucket.write(plan_key(execution.registry), to_stored(document), "application/json")

        def ask(_request: object) -> None:
            redelivering.deliver(opened.ledger, opened.bucket, execution.registry, ["*"], runtime.now())

        opened.aws.faults.add(WRITE, aws_faults.call_before(ask))
        assert execution.ends() is Outcome.FINISHED
        assert opened.ledger.redelivery(execution.registry) is not None
        assert opened.ledger.open_registries()[execution.registry] is False
