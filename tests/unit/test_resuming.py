"""Resume: who mended the plan lets the rotation go on, with the answer that was kept."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime
from rekey.errors import Conflict, InputInvalid
from rekey.model.request import Reason
from rekey.model.rotation import Again, Attempt, AttemptKind, AttemptOutcome, Phase, Rotation
from rekey.model.state import Next, Operation, State
from rekey.model.verdict import LoginVerdict
from rekey.records import resuming
from rekey.records.ledger import following
from rekey.records.plans import plan_key, to_stored
from rekey.runtime import Call
from rekey.steps import begin
from tests.sandbox import aws_faults
from tests.unit.bare_stack import BareStack, plan_of
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from rekey.model.rotation import Fence

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WRITE = "dynamodb:TransactWriteItems"
MENDED = "v2"


@pytest.fixture
def fence(opened: BareStack) -> Fence:
    return opened.fence(opened.new_registry())


def stuck(opened: BareStack, fence: Fence, **rotation: object) -> Rotation:
    """Write a rotation that waits for a person."""
    needs = {"phase": Phase.NEEDS_ATTENTION, "problems": ("no password at /data",), "wrong_logins": 3}
    return opened.rotation(fence, **{**needs, **rotation})


def tried(opened: BareStack, fence: Fence, rotation: Rotation, **fields: object) -> Attempt:
    """Write an attempt whose answer came and led nowhere."""
    attempt = Attempt.model_validate(
        {
            "registry": fence.registry,
            "generation": rotation.generation,
            "number": rotation.attempts + 1,
            "kind": AttemptKind.RESET,
            "nonce": secrets.token_hex(8),
            "deadline": NOW,
            "called_at": NOW,
            **fields,
        }
    )
    return opened.ledger.save(fence, rotation.having(attempts=attempt.number), attempt)[1]


def resume(opened: BareStack, registry: str, plan_version: str = MENDED) -> Rotation:
    return resuming.resume(opened.ledger, registry, plan_version, NOW)


class TestOnlyWhereItWaits:
    def test_a_registry_without_any_rotation_has_none_to_resume(self, opened: BareStack) -> None:
        with pytest.raises(InputInvalid, match="rekey status"):
            resume(opened, opened.new_registry())

    @pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.NEEDS_ATTENTION])
    def test_one_that_goes_on_or_is_over_is_left_alone(self, opened: BareStack, fence: Fence, phase: Phase) -> None:
        before = opened.rotation(fence, phase=phase, wrong_logins=1)
        with pytest.raises(InputInvalid):
            resume(opened, fence.registry)
        assert opened.ledger.latest(fence.registry) == before
        assert opened.ledger.again(fence.registry) is None

    def test_with_a_promoted_password_there_is_nothing_to_read(self, opened: BareStack, fence: Fence) -> None:
        """Somebody else reset the registry since: only a paste mends that."""
        before = stuck(opened, fence, promoted_at=NOW)
        with pytest.raises(InputInvalid):
            resume(opened, fence.registry)
        assert opened.ledger.latest(fence.registry) == before


STILL = {"old_version": "v1", "old_refusals": 1}
"""The store's password was not refused for good."""


class TestOnlyWhereItLeadsOn:
    @pytest.mark.parametrize(
        ("on", "outcome"),
        [
            ({"resets": 1}, AttemptOutcome.WRONG_PASTE),
            ({"old_version": "v1", "old_refusals": 2}, AttemptOutcome.WRONG_PASTE),
            ({"resets": 1}, AttemptOutcome.REFUSED),
            ({"resets": 3}, AttemptOutcome.LOST),
            ({}, AttemptOutcome.SUPERSEDED),
        ],
        ids=["wrong paste after a reset", "store's is dead", "refused", "resets used up", "superseded"],
    )
    def test_what_leads_back_to_the_same_place_says_so_and_changes_nothing(
        self, opened: BareStack, fence: Fence, on: dict[str, object], outcome: AttemptOutcome
    ) -> None:
        """Each of these would call a person again with the same words, as often as somebody resumes."""
        tried(opened, fence, stuck(opened, fence, **on), outcome=outcome)
        before = opened.ledger.latest(fence.registry)
        with pytest.raises(InputInvalid, match=f"`rekey paste {fence.registry}` leads on"):
            resume(opened, fence.registry)
        assert opened.ledger.latest(fence.registry) == before
        assert opened.ledger.again(fence.registry) is None

    def test_calls_count_anew_for_who_has_looked(self, opened: BareStack, fence: Fence) -> None:
        """The registry's API answered with a gateway's page until they were used up, and is well again."""
        tried(opened, fence, stuck(opened, fence, calls=10), outcome=AttemptOutcome.NO_EFFECT)
        assert resume(opened, fence.registry).calls == 0

    def test_after_a_wrong_paste_the_stores_password_may_be_asked_once_more(
        self, opened: BareStack, fence: Fence
    ) -> None:
        """The wrong logins were used up before that was known."""
        tried(opened, fence, stuck(opened, fence, **STILL), outcome=AttemptOutcome.WRONG_PASTE)
        assert resume(opened, fence.registry).phase is Phase.RESETTING

    def test_nor_where_only_a_person_resets_and_none_did(self, opened: BareStack, fence: Fence) -> None:
        stuck(opened, fence, reason=Reason.LOST, ready_until=NOW - MINUTE)
        with pytest.raises(InputInvalid, match="rekey paste"):
            resuming.resume(opened.ledger, fence.registry, MENDED, NOW, manual=True)


class TestGoingOn:
    def test_it_needs_nobody_any_more_and_is_taken_up_under_the_mended_plan(
        self, opened: BareStack, fence: Fence
    ) -> None:
        stuck(opened, fence)
        rotation = resume(opened, fence.registry)
        assert (rotation.phase, rotation.problems) == (Phase.RESETTING, ())
        assert (rotation.plan_version, rotation.pin_again) == (MENDED, True)
        assert opened.ledger.latest(fence.registry) == rotation
        assert opened.ledger.open_registries()[fence.registry] is True

    def test_wrong_logins_count_from_nought(self, opened: BareStack, fence: Fence) -> None:
        """A person has looked: what was read wrongly must not use up what the right password needs."""
        stuck(opened, fence)
        assert resume(opened, fence.registry).wrong_logins == 0

    @pytest.mark.parametrize("tries", [None, 7])
    def test_the_tick_starts_it_at_its_next_turn(self, opened: BareStack, fence: Fence, tries: int | None) -> None:
        """However long the tick would have waited by now."""
        stuck(opened, fence)
        if tries is not None:
            fresh = Again(registry=fence.registry, tries=tries, at=NOW + MINUTE)
            opened.table.write(following(fresh, fresh.having(rev=secrets.token_hex(8))))
        resume(opened, fence.registry)
        again = opened.ledger.again(fence.registry)
        assert again is not None
        assert (again.tries, again.at) == (0, NOW)

    def test_begin_pins_the_mended_plan_once(self, opened: BareStack) -> None:
        registry = opened.new_registry()
        opened.push(registry)
        opened.ask(registry)
        fence = opened.fence(registry)
        _begin(opened, fence)
        rotation = opened.ledger.latest(registry)
        assert rotation is not None
        opened.ledger.save_one(fence, rotation.having(phase=Phase.NEEDS_ATTENTION))
        document = plan_of(registry, policy={"ready_for": "45m"})
        resume(opened, registry, opened.bucket.write(plan_key(registry), to_stored(document), "application/json"))
        assert _begin(opened, fence).next is Next.RESET
        pinned = opened.bench.folder(registry, rotation.generation).plan()
        assert pinned.policy.ready_for == 45 * MINUTE
        taken_up = opened.ledger.latest(registry)
        assert taken_up is not None
        assert taken_up.pin_again is False

    def test_what_the_registry_refused_of_the_old_password_stands(self, opened: BareStack, fence: Fence) -> None:
        """A fact that stands is not asked again."""
        stuck(opened, fence, old_refusals=2, old_verdict=LoginVerdict.REFUSED)
        rotation = resume(opened, fence.registry)
        assert (rotation.old_refusals, rotation.old_verdict) == (2, LoginVerdict.REFUSED)


def _begin(opened: BareStack, fence: Fence) -> State:
    state = State(format=1, operation=Operation.ROTATE, registry=fence.registry, start=1)
    deadline = runtime.now() + MINUTE
    return begin.run(opened.bench, Call("begin", fence.owner, 0, repeated=False, state=state, deadline=deadline))


class TestKeptAnswer:
    def test_it_is_read_anew_and_staged_under_another_token(self, opened: BareStack, fence: Fence) -> None:
        """A version id that exists with another value fails for good."""
        before = tried(opened, fence, stuck(opened, fence), login=LoginVerdict.REFUSED, refusals=2, old_refusals=1)
        resume(opened, fence.registry)
        (after,) = opened.ledger.attempts(fence.registry, 1)
        assert (after.reading, after.login, after.refusals, after.old_refusals) == (1, None, 0, 0)
        assert after.store_token != before.store_token
        assert after.store_tokens == [after.store_token, before.store_token]

    def test_it_stays_where_it_is_in_the_escrow(self, opened: BareStack, fence: Fence) -> None:
        attempt = tried(opened, fence, stuck(opened, fence))
        opened.escrow.put(attempt, opened.escrow.envelope(attempt), b"answer")
        resume(opened, fence.registry)
        (after,) = opened.ledger.attempts(fence.registry, 1)
        assert opened.escrow.read(after) == b"answer"

    def test_each_resume_is_a_reading_of_its_own(self, opened: BareStack, fence: Fence) -> None:
        tried(opened, fence, stuck(opened, fence))
        opened.ledger.save_one(fence, resume(opened, fence.registry).having(phase=Phase.NEEDS_ATTENTION))
        resume(opened, fence.registry, "v3")
        (after,) = opened.ledger.attempts(fence.registry, 1)
        assert after.reading == 2
        assert len(set(after.store_tokens)) == 3

    def test_what_is_staged_already_is_staged_anew_and_still_found(self, opened: BareStack, fence: Fence) -> None:
        """It may have been misread, or be the only copy: the escrow had refused it, or the registry took ours."""
        before = tried(opened, fence, stuck(opened, fence), staged="v1", login=LoginVerdict.REFUSED, refusals=2)
        resume(opened, fence.registry)
        (after,) = opened.ledger.attempts(fence.registry, 1)
        assert after.staged is None
        assert after.store_tokens == [after.store_token, before.store_token]
        assert after.store_token != before.store_token
        assert (after.login, after.refusals) == (None, 0)

    def test_an_attempt_that_is_closed_is_not_opened_again(self, opened: BareStack, fence: Fence) -> None:
        before = tried(opened, fence, stuck(opened, fence), outcome=AttemptOutcome.LOST, refusals=2)
        resume(opened, fence.registry)
        assert opened.ledger.attempts(fence.registry, 1) == [before]

    def test_only_the_latest_one_is_read(self, opened: BareStack, fence: Fence) -> None:
        rotation = stuck(opened, fence)
        first = tried(opened, fence, rotation, outcome=AttemptOutcome.LOST)
        latest = opened.ledger.latest(fence.registry)
        assert latest is not None
        tried(opened, fence, latest)
        resume(opened, fence.registry)
        older, newer = opened.ledger.attempts(fence.registry, 1)
        assert (older, newer.reading) == (first, 1)


class TestAtTheSameMoment:
    def test_a_write_that_comes_between_fails_all_of_it(self, opened: BareStack, fence: Fence) -> None:
        rotation = stuck(opened, fence)
        attempt = tried(opened, fence, rotation)

        def write_first(_request: object) -> None:
            latest = opened.ledger.latest(fence.registry)
            assert latest is not None
            opened.ledger.save_one(fence, latest.having(paged_at=NOW))

        opened.aws.faults.add(WRITE, aws_faults.call_before(write_first))
        with pytest.raises(Conflict, match="resume once more"):
            resume(opened, fence.registry)
        latest = opened.ledger.latest(fence.registry)
        assert latest is not None
        assert (latest.phase, latest.plan_version, latest.paged_at) == (Phase.NEEDS_ATTENTION, "v1", NOW)
        assert opened.ledger.attempts(fence.registry, 1) == [attempt]
        assert opened.ledger.again(fence.registry) is None

    def test_a_write_to_the_attempt_alone_fails_it_too(self, opened: BareStack, fence: Fence) -> None:
        attempt = tried(opened, fence, stuck(opened, fence))

        def write_first(_request: object) -> None:
            opened.ledger.save_one(fence, attempt.having(login=LoginVerdict.ACCEPTED))

        opened.aws.faults.add(WRITE, aws_faults.call_before(write_first))
        with pytest.raises(Conflict):
            resume(opened, fence.registry)
        latest = opened.ledger.latest(fence.registry)
        assert latest is not None
        assert latest.phase is Phase.NEEDS_ATTENTION

    def test_what_an_execution_knew_from_before_is_not_so_any_more(self, opened: BareStack, fence: Fence) -> None:
        """It was about to write what it had read wrongly."""
        tried(opened, fence, stuck(opened, fence))
        rotation = opened.ledger.latest(fence.registry)
        (attempt,) = opened.ledger.attempts(fence.registry, 1)
        assert rotation is not None
        resume(opened, fence.registry)
        with pytest.raises(Conflict):
            opened.ledger.save(fence, rotation.having(wrong_logins=4), attempt.having(refusals=2))

    def test_a_lost_answer_is_no_second_reading(self, opened: BareStack, fence: Fence) -> None:
        tried(opened, fence, stuck(opened, fence))
        opened.aws.faults.add(WRITE, aws_faults.drop_after())
        rotation = resume(opened, fence.registry)
        assert opened.ledger.latest(fence.registry) == rotation
        (after,) = opened.ledger.attempts(fence.registry, 1)
        assert after.reading == 1


@pytest.mark.parametrize("names", [["deploy-bot", "second-bot"], ["renamed-bot"]], ids=["one more", "renamed"])
def test_the_mended_plans_consumers_are_the_ones_that_are_told(opened: BareStack, names: list[str]) -> None:
    with Place(opened) as place:
        place.write(phase=Phase.NEEDS_ATTENTION, gate_at=runtime.now(), problems=("look at it",))
        place.hand_back()
        document: Any = opened.bucket.read_json(f"rotations/{place.name}/1/plan.json")["plan"]
        document["consumers"] = [{**document["consumers"][0], "name": name} for name in names]
        version = opened.bucket.write(plan_key(place.name), to_stored(document), "application/json")
        resuming.resume(opened.ledger, place.name, version, runtime.now())
        place.begin()
        assert [state.entry for state in place.bench.folder(place.name, 1).shard(0).entries] == names
