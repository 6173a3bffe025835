"""A rotation that a later leak cut short: where the next one stops before its reset, its consumers are told."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from rekey import runtime
from rekey.model.password import Password
from rekey.model.request import Reason, Request
from rekey.model.rotation import Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import ConsumerOutcome
from rekey.records import pasting
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
        now = runtime.now()
        leak = Request(registry=place.name, key="second", reason=Reason.COMPROMISED, source="siem", arrived_at=now)
        place.bench.ledger.put_request(leak)
        place.begin()
        assert place.rotation.generation == 2
        yield place


class TestReset:
    def test_where_the_gate_stops_the_next_one_the_first_is_delivered(self, place: Place) -> None:
        place.api.inject(REFUSED, times=None)
        state = place.reset()
        assert (state.next, state.generation, state.shards) == (Next.DELIVER, 1, (0,))
        assert place.rotation.phase is Phase.STOPPED
        assert len(place.api.made) == 1

    def test_and_verified_at_its_consumers_alone(self, place: Place) -> None:
        """What the registry says, the next rotation asks: no login is spent, and no answer adopted."""
        place.api.inject(REFUSED, times=None)
        place.state = place.reset()
        place.shown.clear()
        assert place.verify().next is Next.CONSUMERS
        assert place.shown == []

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

    def paste(self, place: Place, password: str) -> State:
        """Paste, and return where the next execution comes to."""
        now, ledger = runtime.now(), place.bench.ledger
        pasting.paste(ledger, place.bench.escrow, place.name, Password(password), now=now, clicked_at=None)
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
        assert waiting.rotation.phase is Phase.STOPPED
        assert waiting.stored == waiting.passwords.known[waiting.name]

    def test_and_asks_for_no_reset_that_was_made(self, waiting: Place) -> None:
        """The paste came before the first report: what asked for that rotation is met all the same."""
        assert waiting.bench.ledger.open_requests(waiting.name)
        waiting.state = self.paste(waiting, secrets.token_urlsafe(12))
        report.run(waiting.bench, waiting.call)
        assert waiting.bench.ledger.open_requests(waiting.name) == []

    def test_a_right_one_tells_everybody(self, waiting: Place) -> None:
        by_hand = secrets.token_urlsafe(12)
        waiting.passwords.known[waiting.name] = by_hand
        state = self.paste(waiting, by_hand)
        assert (state.next, state.generation, waiting.stored) == (Next.DELIVER, 2, by_hand)


class TestReport:
    @pytest.mark.parametrize(
        ("receipt", "outcome", "cut_short"),
        [(ConsumerOutcome.UPDATED, "finished", False), (ConsumerOutcome.PENDING, "unfinished", True)],
    )
    def test_both_are_written_down(
        self, opened: BareStack, receipt: ConsumerOutcome, outcome: str, *, cut_short: bool
    ) -> None:
        """The first with what its consumers said, the second with why it stopped; what is left is tried again."""
        execution = Execution(opened, **good(phase=Phase.FINISHED, cut_short=True))
        execution.deliver(receipt)
        stopped = {"phase": Phase.STOPPED, "problems": ("registry: refused",), "execution": execution.fence.owner}
        opened.rotation(execution.fence, generation=2, **stopped)
        assert execution.ends() is Outcome.STOPPED
        evidence = [
            opened.bucket.read_json(f"rotations/{execution.registry}/{number}/evidence.json")["outcome"]
            for number in (1, 2)
        ]
        assert evidence == [outcome, "stopped"]
        assert (execution.now.phase, execution.now.cut_short) == (Phase.FINISHED, cut_short)
        assert "registry: refused" in execution.asked_for()
        assert ("Rotation Finished" in opened.told(execution.registry)) is not cut_short
        assert not execution.owned
