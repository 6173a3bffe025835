"""An answer that nobody takes, one that is not understood any more, and what is told before it is written down."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from rekey import runtime
from rekey.errors import Denied
from rekey.model.request import Reason
from rekey.model.rotation import AttemptOutcome, Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from rekey.records.plans import to_stored
from rekey.steps.reset import call
from tests.sandbox import aws_faults, faults
from tests.sandbox.harbor import Harbor
from tests.sandbox.harbor_robots import made_up
from tests.sandbox.wire import Response
from tests.unit.bare_stack import BareStack, plan_of
from tests.unit.registry_api import Passwords
from tests.unit.reset_place import FUNCTION, NOTHING, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.aws_faults import AwsRequest

STORE, WRITE = "secretsmanager:PutSecretValue", "dynamodb:TransactWriteItems"
SECOND = timedelta(seconds=1)
HURRIED = {"escrow_within": NOTHING}
"""So that a function of a few seconds may call, and is over before its test is long."""


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    with Place(opened, settings=HURRIED) as place:
        yield place


def refuse(place: Place, times: int | None) -> None:
    """Let the escrow, and then the store, refuse the registry's answer so many times."""
    aws = place.opened.aws
    aws.faults.add(WRITE, aws_faults.refuse(), where=lambda request: keeps(place, request), times=times)
    aws.faults.add(STORE, aws_faults.refuse(), where=lambda _: bool(place.api.made), times=times)


def keeps(place: Place, request: AwsRequest) -> bool:
    return b"stack-escrow" in request.body and bool(place.api.made)


def tries(place: Place) -> list[AwsRequest]:
    """Return the escrow's refused writes of an answer."""
    return [one for one in place.opened.aws.requests if b'"sealed"' in one.body and one.status == 400]


class TestKeep:
    def test_an_answer_that_comes_when_the_time_is_nearly_over_is_kept_all_the_same(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing else begins so late, and what is kept is what the next invocation finds."""
        answered = faults.call(lambda _: monkeypatch.setattr(call, "LAST_TRIES", FUNCTION))
        place.api.inject(answered, when=lambda request: request.path.endswith("/rotate"))
        assert place.reset().next is Next.WAIT
        assert len(place.bench.escrow.tokens(place.name)) == 1
        monkeypatch.undo()
        assert (place.reset().next, len(place.api.made), place.stored) == (Next.DELIVER, 1, place.api.made[0])

    def test_between_two_tries_it_waits(self, place: Place) -> None:
        """Else the few seconds that are left are thousands of requests to services that are in trouble."""
        refuse(place, times=2)
        assert place.reset().next is Next.DELIVER
        assert place.stored == place.api.made[0]
        first, second = tries(place)
        assert second.at - first.at >= SECOND

    def test_what_both_refuse_until_the_end_is_said_before_the_function_is_cut_off(self, place: Place) -> None:
        refuse(place, times=None)
        began = runtime.now()
        with pytest.raises(Denied, match="escrow"):
            place.reset(6 * SECOND)
        assert runtime.now() - began < 5 * SECOND
        assert len(tries(place)) <= 5
        assert place.rotation.answered_at is None


class TestTelling:
    def test_that_a_person_is_needed_is_told_before_it_is_written(self, place: Place) -> None:
        """Cut off in between it is told twice, rather than never."""
        place.write(phase=Phase.RESETTING, gate_at=runtime.now(), resets=3)
        told = place.when_told()
        assert place.reset().outcome is Outcome.NEEDS_ATTENTION
        assert [rotation.phase for rotation in told] == [Phase.RESETTING]
        assert place.rotation.phase is Phase.NEEDS_ATTENTION
        assert place.rotation.paged_at is not None
        assert place.rotation.problems == tuple(place.asked_for())

    def test_and_is_told_once(self, place: Place) -> None:
        place.write(phase=Phase.RESETTING, gate_at=runtime.now(), resets=3)
        place.reset()
        paged_at = place.rotation.paged_at
        assert place.reset().outcome is Outcome.NEEDS_ATTENTION
        assert len(place.asked_for()) == 1
        assert place.rotation.paged_at == paged_at


class TestAnotherPlan:
    def test_an_answer_that_the_plans_type_does_not_read_any_more_is_kept_and_a_person_asked(
        self, place: Place
    ) -> None:
        """Somebody pushed another registry type while an answer waited, and resumed."""
        answer = Response.json({"result": []})
        place.api.inject(faults.answer(answer, acted=True), when=lambda request: request.path.endswith("/rotate"))
        place.reset()
        folder = place.bench.folder(place.name, 1)
        manual: Any = plan_of(place.name)["registry"]
        folder.pin_plan(to_stored(plan_of(place.name, registry={**manual, "endpoint": place.registry.url})))
        place.write(phase=Phase.RESETTING, problems=())
        assert place.reset().outcome is Outcome.NEEDS_ATTENTION
        assert "registry type is now `manual`" in place.asked_for()[-1]
        assert len(place.bench.escrow.tokens(place.name)) == 1
        assert place.stored == place.first


class Taking(Place):
    """One whose registry takes a password of ours."""

    def __enter__(self) -> Self:
        self.harbor = Harbor().start()
        self.first = made_up()
        self.robot = self.harbor.add_robot("ci", self.first, project="shop", accounts=Passwords())
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.harbor.stop()

    def _credential(self) -> dict[str, str]:
        return {"username": "admin", "password": self.harbor.admin}

    def _registry(self) -> dict[str, object]:
        api = {"url": self.harbor.url, "login": {"secret": f"rekey/{self.name}"}, "robot_id": self.robot.id}
        return {
            "name": self.name,
            "type": "harbor",
            "endpoint": self.harbor.url,
            "username": self.robot.name,
            "api": api | {"timeout": "1s"},
        }


class TestTaking:
    @pytest.fixture
    def taking(self, opened: BareStack) -> Iterator[Taking]:
        with Taking(opened, Reason.REQUESTED) as taking:
            yield taking

    def test_what_is_in_the_store_is_what_the_registry_got(self, taking: Taking) -> None:
        assert taking.reset().next is Next.DELIVER
        assert taking.harbor.sets(taking.robot.id) == [taking.stored]
        assert taking.rotation.new_verdict is LoginVerdict.ACCEPTED

    def test_a_store_that_fails_before_the_call_stops_it_with_nothing_changed(self, taking: Taking) -> None:
        """Invariant 7: it is staged first. The gate has proven the store a moment ago, and now it refuses."""
        taking.opened.aws.faults.add(STORE, aws_faults.refuse(), nth=2, times=None)
        assert taking.reset().outcome is Outcome.STOPPED
        assert taking.harbor.sets(taking.robot.id) == []
        assert "AccessDenied" in taking.rotation.problems[0]
        (attempt,) = taking.bench.ledger.attempts(taking.name, 1)
        assert (attempt.outcome, attempt.called_at) == (AttemptOutcome.NOT_CALLED, None)
        assert (taking.rotation.phase, taking.rotation.resets) == (Phase.STOPPED, 0)

    def test_after_a_reset_whose_answer_was_lost_it_is_tried_again_instead(self, taking: Taking) -> None:
        """Stopped, the rotation would forget that the old password is dead, and every later one would stop on it."""
        taking.write(resets=1, gate_at=runtime.now(), phase=Phase.RESETTING)
        taking.opened.aws.faults.add(STORE, aws_faults.refuse(), times=None)
        assert taking.reset().next is Next.WAIT
        (attempt,) = taking.bench.ledger.attempts(taking.name, 1)
        assert (attempt.outcome, attempt.called_at) == (AttemptOutcome.NOT_CALLED, None)
        assert (taking.rotation.phase, taking.rotation.resets) == (Phase.RESETTING, 1)
