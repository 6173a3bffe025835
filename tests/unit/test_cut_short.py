"""A rotation that a later leak cut short: where the next one stops before its reset, its consumers are told."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.rotation import AttemptKind, Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import ConsumerOutcome, LoginVerdict
from rekey.records.plans import to_stored
from rekey.steps import report
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.test_report import Execution, good

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.state import State
    from tests.unit.bare_stack import BareStack


REFUSED = faults.answer(Response.json({"error": "who are you?"}, 403))


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    """Let the first rotation reset and tell nobody; then a second leak cuts it short."""
    with Place(opened) as place:
        assert place.reset().next is Next.DELIVER
        place.hand_back()
        place.leak()
        place.begin()
        assert place.rotation.generation == 2
        yield place


def assert_goes_on(place: Place) -> None:
    """See that the second rotation stopped, and that the first one is the registry's open one again."""
    stopped, first = place.bench.ledger.rotation(place.name, 2), place.rotation
    assert stopped is not None
    assert stopped.phase is Phase.STOPPED
    assert (first.generation, first.phase, first.cut_short) == (1, Phase.DELIVERING, False)
    assert first.execution == place.owner
    assert place.bench.ledger.open_registries()[place.name] is True


def end(place: Place) -> State:
    """Verify until it leads on, and report."""
    place.state = place.state.model_copy(update={"generation": 1})
    while place.verify().next is Next.WAIT:
        pass
    return report.run(place.bench, place.call)


class TestReset:
    def test_where_the_gate_stops_the_next_one_the_first_is_delivered(self, place: Place) -> None:
        place.api.inject(REFUSED, times=None)
        state = place.reset()
        assert (state.next, state.generation, state.shards) == (Next.DELIVER, 1, (0,))
        assert_goes_on(place)
        assert len(place.api.made) == 1
        assert place.rotation.problems == ()

    def test_where_it_passes_the_next_one_tells_everybody(self, place: Place) -> None:
        state = place.reset()
        assert (state.next, state.generation) == (Next.DELIVER, 2)
        assert len(place.api.made) == 2

    def test_what_is_not_in_force_any_more_is_not_delivered(self, place: Place, opened: BareStack) -> None:
        """Somebody put another password into the store."""
        client: Any = opened.aws.client("secretsmanager")
        text = json.dumps({"username": place.name, "password": secrets.token_urlsafe(12)})
        client.put_secret_value(SecretId=f"registries/{place.name}", SecretString=text)
        place.api.inject(REFUSED, times=None)
        assert place.reset().outcome is Outcome.STOPPED

    def test_what_a_person_only_saved_again_is_in_force_still(self, place: Place, opened: BareStack) -> None:
        client: Any = opened.aws.client("secretsmanager")
        text = json.dumps({"username": place.name, "password": place.stored, "note": "edited"})
        client.put_secret_value(SecretId=f"registries/{place.name}", SecretString=text)
        place.api.inject(REFUSED, times=None)
        assert (place.reset().next, place.rotation.generation) == (Next.DELIVER, 1)

    @pytest.mark.parametrize("mended", [False, True])
    def test_a_call_that_is_repeated_leads_to_the_same(self, place: Place, *, mended: bool) -> None:
        """Its answer was lost: the rotation that stopped is not begun again beside the one that goes on."""
        place.api.inject(REFUSED, times=None)
        first = place.reset()
        if mended:
            place.api.clear_faults()
        assert place.reset() == first
        assert_goes_on(place)
        assert len(place.api.made) == 1

    def test_the_store_of_its_own_plan_is_looked_at(self, place: Place, opened: BareStack) -> None:
        """A plan that was pushed since may name another one."""
        client: Any = opened.aws.client("secretsmanager")
        elsewhere = f"registries/{place.name}-new"
        text = json.dumps({"username": place.name, "password": place.stored})
        client.create_secret(Name=elsewhere, SecretString=text)
        folder = place.bench.folder(place.name, 2)
        document: Any = opened.bucket.read_json(f"rotations/{place.name}/2/plan.json")["plan"]
        document["store"]["name"] = elsewhere
        folder.pin_plan(to_stored(document))
        place.api.inject(REFUSED, times=None)
        assert place.reset().next is Next.DELIVER
        assert_goes_on(place)

    def test_nor_is_a_rotation_that_ended_by_itself(self, place: Place) -> None:
        first = place.bench.ledger.rotation(place.name, 1)
        assert first is not None
        place.bench.ledger.save_one(place.lease.fence(place.name), first.having(cut_short=False))
        place.api.inject(REFUSED, times=None)
        assert place.reset().outcome is Outcome.STOPPED


class TestPaste:
    """A paste cuts a rotation short whose consumers are still to be told. It may be a wrong one."""

    @pytest.fixture
    def waiting(self, opened: BareStack) -> Iterator[Place]:
        with Place(opened) as place:
            assert place.reset().next is Next.DELIVER
            yield place

    def paste(self, place: Place, password: str, *, handed_back: bool = False) -> State:
        """Paste, and return where the next execution comes to."""
        place.paste(password)
        if not handed_back:
            place.hand_back()
        place.begin()
        state = place.reset()
        while state.next is Next.WAIT:
            state = place.reset()
        return state

    @pytest.mark.parametrize("same", [False, True])
    def test_a_wrong_one_leaves_nobody_behind(self, waiting: Place, *, same: bool) -> None:
        """A slip of the pen, and the very password that is in force."""
        state = self.paste(waiting, waiting.stored if same else secrets.token_urlsafe(12))
        assert (state.next, state.generation, state.shards) == (Next.DELIVER, 1, (0,))
        assert_goes_on(waiting)
        assert waiting.stored == waiting.passwords.known[waiting.name]

    def test_and_asks_for_no_reset_that_was_made(self, waiting: Place) -> None:
        """The paste came before the first report: what asked for that rotation is met all the same."""
        assert waiting.bench.ledger.open_requests(waiting.name)
        waiting.state = self.paste(waiting, secrets.token_urlsafe(12))
        report.run(waiting.bench, waiting.call)
        assert waiting.bench.ledger.open_requests(waiting.name) == []
        assert len(waiting.api.made) == 1

    def test_what_stops_the_execution_then_leaves_nobody_behind(self, waiting: Place) -> None:
        """Nothing was delivered yet, nor reported: the tick finds the rotation, which asks for no other reset."""
        self.paste(waiting, secrets.token_urlsafe(12))
        waiting.hand_back()
        waiting.begin()
        assert (waiting.state.next, waiting.state.generation) == (Next.DELIVER, 1)
        assert len(waiting.api.made) == 1

    def test_a_consumer_that_is_still_away_is_told_by_a_later_try(self, waiting: Place) -> None:
        waiting.tell(ConsumerOutcome.UNREACHABLE)
        end(waiting)
        waiting.state = self.paste(waiting, secrets.token_urlsafe(12), handed_back=True)
        waiting.tell(ConsumerOutcome.UNREACHABLE)
        assert end(waiting).outcome is Outcome.UNFINISHED
        assert waiting.bench.ledger.open_registries()[waiting.name] is True
        assert len([why for why in waiting.asked_for() if "the pasted password is refused" in why]) == 1
        waiting.begin()
        assert (waiting.state.next, waiting.state.generation) == (Next.DELIVER, 1)
        waiting.tell(ConsumerOutcome.UPDATED)
        assert end(waiting).outcome is Outcome.FINISHED
        assert "Rotation Finished" in waiting.opened.told(waiting.name)
        assert waiting.name not in waiting.bench.ledger.open_registries()

    def test_each_wrong_one_is_told(self, waiting: Place) -> None:
        waiting.tell(ConsumerOutcome.UPDATED)
        end(waiting)
        for number in (1, 2, 3):
            waiting.state = self.paste(waiting, secrets.token_urlsafe(12), handed_back=True)
            report.run(waiting.bench, waiting.call)
            assert len(waiting.asked_for()) == number

    def test_a_second_one_takes_the_number_of_the_first(self, waiting: Place) -> None:
        self.paste(waiting, secrets.token_urlsafe(12))
        state = self.paste(waiting, secrets.token_urlsafe(12))
        assert (state.next, state.generation) == (Next.DELIVER, 1)
        assert_goes_on(waiting)
        by_hand = secrets.token_urlsafe(12)
        waiting.passwords.known[waiting.name] = by_hand
        state = self.paste(waiting, by_hand)
        assert (state.next, state.generation, waiting.stored) == (Next.DELIVER, 2, by_hand)
        assert waiting.rotation.generation == 2

    def test_a_late_call_of_the_first_rotation_does_not_take_it(self, waiting: Place) -> None:
        """It is the next one's: who has a receipt of the first would never get it."""
        by_hand = secrets.token_urlsafe(12)
        waiting.passwords.known[waiting.name] = by_hand
        ledger = waiting.bench.ledger
        waiting.paste(by_hand)
        waiting.reset()
        assert [one.kind for one in ledger.attempts(waiting.name, 1)] == [AttemptKind.RESET]
        waiting.hand_back()
        waiting.begin()
        state = waiting.reset()
        assert (state.next, state.generation, waiting.stored) == (Next.DELIVER, 2, by_hand)

    def test_the_verify_that_it_meets_asks_nothing(self, waiting: Place) -> None:
        """The first rotation is closed, its password dead: nobody opens it again, and no login is spent on it."""
        by_hand = secrets.token_urlsafe(12)
        waiting.passwords.known[waiting.name] = by_hand
        ledger = waiting.bench.ledger
        waiting.paste(by_hand)
        waiting.shown.clear()
        waiting.state = waiting.state.model_copy(update={"generation": 1})
        assert waiting.verify().next is Next.CONSUMERS
        first = ledger.rotation(waiting.name, 1)
        assert first is not None
        assert (first.phase, waiting.shown, waiting.asked_for()) == (Phase.FINISHED, [], [])

    def test_the_password_in_force_proves_a_rotation_whose_wrong_logins_were_spent(self, opened: BareStack) -> None:
        """The registry took it, and a person has looked: else only a needless reset led on."""
        with Place(opened, max_wrong_logins=2) as place:
            assert place.reset().next is Next.DELIVER
            place.write(phase=Phase.NEEDS_ATTENTION, wrong_logins=2, logins_spent=True, problems=("spent",))
            state = self.paste(place, place.stored)
            assert (state.next, state.generation) == (Next.DELIVER, 1)
            place.state = state
            assert place.verify().next is not Next.REPORT
            assert place.rotation.new_verdict is LoginVerdict.ACCEPTED
            assert not place.rotation.logins_spent

    def test_a_report_whose_answer_was_lost_says_the_same_again(self, waiting: Place) -> None:
        waiting.state = self.paste(waiting, secrets.token_urlsafe(12))
        waiting.tell(ConsumerOutcome.UPDATED)
        first = end(waiting).outcome
        told = waiting.opened.told(waiting.name).count("Rotation Finished")
        assert report.run(waiting.bench, waiting.call).outcome is first is Outcome.STOPPED
        assert (told, waiting.opened.told(waiting.name).count("Rotation Finished")) == (1, 2)

    def test_the_execution_that_it_meets_calls_nobody(self, waiting: Place) -> None:
        """Its report finds another rotation in the place of its own, which the next tick begins.

        What its own one met is closed: two pastes later nobody would know, and it would ask for another reset.
        """
        ledger = waiting.bench.ledger
        waiting.paste(secrets.token_urlsafe(12))
        waiting.state = waiting.state.model_copy(update={"generation": 1})
        report.run(waiting.bench, waiting.call)
        assert waiting.asked_for() == []
        assert ledger.open_requests(waiting.name) == []

    def test_a_right_one_tells_everybody(self, waiting: Place) -> None:
        by_hand = secrets.token_urlsafe(12)
        waiting.passwords.known[waiting.name] = by_hand
        state = self.paste(waiting, by_hand)
        assert (state.next, state.generation, waiting.stored) == (Next.DELIVER, 2, by_hand)


class TestReport:
    @pytest.mark.parametrize(
        ("receipt", "outcome"), [(ConsumerOutcome.UPDATED, "finished"), (ConsumerOutcome.PENDING, "unfinished")]
    )
    def test_both_are_written_down(self, opened: BareStack, receipt: ConsumerOutcome, outcome: str) -> None:
        """The first with what its consumers said, the second with why it stopped; what is left is tried again."""
        execution = Execution(opened, **good(phase=Phase.VERIFYING))
        execution.deliver(receipt)
        stopped = {"phase": Phase.STOPPED, "problems": ("registry: refused",), "execution": execution.fence.owner}
        opened.rotation(execution.fence, generation=2, **stopped)
        assert execution.ends() == ("stopped" if outcome == "finished" else outcome), "the execution did not end well"
        evidence = [
            opened.bucket.read_json(f"rotations/{execution.registry}/{number}/evidence.json")["outcome"]
            for number in (1, 2)
        ]
        assert evidence == [outcome, "stopped"]
        assert execution.now.outcome == outcome
        assert "registry: refused" in execution.asked_for()
        assert ("Rotation Finished" in opened.told(execution.registry)) is (outcome == "finished")
        assert not execution.owned
