"""Several pastes, pastes beside a call or an answer that is kept: nothing is reset for them, and no copy is lost."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.moment import parse
from rekey.model.rotation import Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from rekey.records.codec import partition
from rekey.steps import report
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API
from tests.unit.test_reset_records import Misread

if TYPE_CHECKING:
    from rekey.model.rotation import Attempt
    from rekey.model.state import State
    from tests.sandbox.wire import Request as Wire
    from tests.unit.bare_stack import BareStack

LOGIN_AWAY = faults.answer(Response.json({}, 503, API))
UNREADABLE = faults.answer(Response.json({"done": True}), acted=True)
BUSY = faults.answer(Response.json({"message": "busy"}, 409))
MINUTE = timedelta(minutes=1)


def is_reset(request: Wire) -> bool:
    return request.path.endswith("/rotate")


def go(place: Place) -> State:
    """Let reset be called until it leads on."""
    state = place.reset()
    for _ in range(20):
        if state.next is not Next.WAIT:
            break
        state = place.reset()
    place.state = state
    return state


def fail(place: Place) -> None:
    """Let a reset end with a person who is needed."""
    while go(place).outcome is not Outcome.NEEDS_ATTENTION:
        assert len(place.api.made) <= 1
    assert len(place.api.made) == 1


def go_out_unproven(place: Place) -> None:
    """Reset and promote while the registry's login is away, which then is back."""
    asks = place.registry.inject(
        LOGIN_AWAY, when=lambda one: "authorization" in one.headers and bool(place.api.made), times=None
    )
    assert go(place).next is Next.DELIVER
    assert place.rotation.new_verdict is LoginVerdict.UNPROVEN
    place.registry.withdraw(asks)


def verify(place: Place) -> None:
    state = place.verify()
    while state.next is Next.WAIT:
        state = place.verify()
    place.state = state


def kept(place: Place) -> list[bytes]:
    """Return the answers that the escrow holds for the first rotation."""
    found = [place.bench.escrow.read(attempt) for attempt in place.bench.ledger.attempts(place.name, 1)]
    return [raw for raw in found if raw is not None]


class TestSeveral:
    """Pasted before any execution looks: the last one is wrong, and so are those that it replaced."""

    @pytest.mark.parametrize("old", [False, True], ids=["slips of the pen", "the old password"])
    def test_an_answer_that_nobody_could_read_is_followed_by_no_reset(self, opened: BareStack, *, old: bool) -> None:
        with Place(opened, max_wrong_logins=20) as place:
            place.api.inject(UNREADABLE, when=is_reset)
            fail(place)
            for _ in range(3):
                place.paste(place.first if old else secrets.token_urlsafe(12))
            assert go(place).outcome is Outcome.NEEDS_ATTENTION
            assert len(place.api.made) == 1
            assert any(b"done" in raw for raw in kept(place))

    def test_nor_is_a_lost_one_where_the_next_call_was_refused(self, opened: BareStack) -> None:
        with Place(opened, max_wrong_logins=20) as place:
            place.api.inject(faults.drop(acted=True), when=is_reset)
            place.api.inject(BUSY, when=lambda request: is_reset(request) and bool(place.api.made))
            fail(place)
            for _ in range(2):
                place.paste(place.first)
            assert go(place).outcome is Outcome.NEEDS_ATTENTION
            assert len(place.api.made) == 1

    @pytest.mark.parametrize("right_is_last", [True, False])
    def test_the_right_one_is_found_under_a_ledger_that_was_restored(
        self, opened: BareStack, *, right_is_last: bool
    ) -> None:
        """It has forgotten every rotation: what they pasted is all that knows the password in force."""
        with Place(opened, max_wrong_logins=20) as place:
            assert go(place).next is Next.DELIVER
            place.tell()
            verify(place)
            report.run(place.bench, place.call)
            forget(place)
            right = secrets.token_urlsafe(12)
            place.passwords.known[place.name] = right
            pastes = [secrets.token_urlsafe(12), right]
            for each in pastes if right_is_last else reversed(pastes):
                place.paste(each)
            place.begin()
            assert go(place).next is Next.DELIVER
            assert place.stored == right

    def test_a_forgotten_wrong_one_stops_no_leaks_reset(self, opened: BareStack) -> None:
        """Nobody pasted in this rotation: what lies there is no person who stepped in."""
        with Place(opened, max_wrong_logins=20) as place:
            assert go(place).next is Next.DELIVER
            place.paste(secrets.token_urlsafe(12))
            place.hand_back()
            forget(place)
            place.passwords.known[place.name] = secrets.token_urlsafe(12)
            place.leak()
            place.begin()
            assert go(place).next is Next.DELIVER
            assert len(place.api.made) == 2
            assert place.stored == place.api.made[1]


def forget(place: Place) -> None:
    """Let the ledger be as empty as a new one, but for the lease."""
    table, client = place.bench.ledger.table, place.opened.aws.client("dynamodb")
    for item in table.query(partition(place.name)):
        if str(item["sk"]).startswith(("rotation#", "attempt#", "receipts#")):
            key: Any = {name: {"S": str(item[name])} for name in ("pk", "sk")}
            client.delete_item(TableName=table.name, Key=key)


class ByHand(Place):
    """A registry that only a person resets."""

    def _registry(self) -> dict[str, object]:
        registry = {"name": self.name, "type": "manual", "endpoint": self.registry.url, "username": self.name}
        return {**registry, "where": "console", "max_wrong_logins": 20}


def test_by_hand_too_the_right_one_is_tried_though_a_wrong_one_came_after_it(opened: BareStack) -> None:
    """Nobody asked for these: the gate would stop the rotation, and the right one lie in the escrow."""
    with ByHand(opened) as place:
        first = secrets.token_urlsafe(12)
        assert go(place).outcome is Outcome.READY
        place.passwords.known[place.name] = first
        place.paste(first)
        assert go(place).next is Next.DELIVER
        place.tell()
        verify(place)
        report.run(place.bench, place.call)
        right = secrets.token_urlsafe(12)
        place.passwords.known[place.name] = right
        place.paste(right)
        place.paste(secrets.token_urlsafe(12))
        place.begin()
        assert go(place).next is Next.DELIVER
        assert place.stored == right


class TestBesideAnUnprovenPassword:
    """It may have been misread: then the answer that its rotation keeps is the only copy of what is in force."""

    def test_a_wrong_paste_leaves_the_answer_and_a_person_needed(self, opened: BareStack) -> None:
        with Misread(opened) as place:
            place.misread()
            go_out_unproven(place)
            verify(place)
            assert place.rotation.phase is Phase.NEEDS_ATTENTION
            report.run(place.bench, place.call)
            place.paste(secrets.token_urlsafe(12))
            place.begin()
            assert go(place).outcome is Outcome.NEEDS_ATTENTION
            (raw,) = kept(place)
            assert place.api.made[0].encode() in raw
            assert place.rotation.phase is Phase.NEEDS_ATTENTION
            assert "the pasted password is refused" in place.asked_for()[-1]

    def test_a_later_leak_that_the_gate_stops_leaves_it_too(self, opened: BareStack) -> None:
        with Misread(opened) as place:
            place.misread()
            go_out_unproven(place)
            place.hand_back()
            place.leak()
            place.begin()
            place.api.inject(faults.answer(Response.json({"error": "who are you?"}, 403)), times=None)
            state = go(place)
            assert (state.next, state.generation) == (Next.DELIVER, 1)
            (raw,) = kept(place)
            assert place.api.made[0].encode() in raw

    def test_it_goes_once_a_later_password_is_proven(self, opened: BareStack) -> None:
        with Place(opened) as place:
            go_out_unproven(place)
            right = secrets.token_urlsafe(12)
            place.passwords.known[place.name] = right
            place.paste(right)
            place.hand_back()
            place.begin()
            state = go(place)
            assert (state.next, state.generation, place.stored) == (Next.DELIVER, 2, right)
            assert place.bench.escrow.tokens(place.name) == []


class Slow(Place):
    """A reset may have its effect a minute after its call."""

    def _registry(self) -> dict[str, object]:
        part = super()._registry()
        api: Any = part["api"]
        return {**part, "api": {**api, "reset": {**api["reset"], "settle": "60s"}}}


class TestBesideACall:
    def test_a_right_one_waits_until_the_call_that_it_replaced_can_act_no_more(self, opened: BareStack) -> None:
        """Else that kills it when everybody has it, and nobody asks again."""
        with Slow(opened) as place:
            place.api.inject(faults.drop(), when=is_reset)
            assert place.reset().next is Next.WAIT
            (call,) = place.bench.ledger.attempts_of(place.rotation)
            right = secrets.token_urlsafe(12)
            place.passwords.known[place.name] = right
            place.paste(right)
            state = place.reset()
            assert state.next is Next.WAIT
            assert call.call_ended_at is not None
            assert state.until is not None
            assert parse(state.until) >= call.call_ended_at + MINUTE
            assert place.stored == place.first

    def test_nor_does_an_old_one_in_between_hurry_it(self, opened: BareStack) -> None:
        """It is closed at once otherwise, and the right one no longer knows of the call."""
        for right_comes_first in (True, False):
            with Slow(opened, max_wrong_logins=20) as place:
                place.api.inject(faults.drop(), when=is_reset)
                place.reset()
                right = secrets.token_urlsafe(12)
                place.passwords.known[place.name] = right
                place.paste(right if right_comes_first else place.first)
                if not right_comes_first:
                    place.reset()
                place.paste(place.first if right_comes_first else right)
                assert place.reset().next is Next.WAIT
                assert latest(place).promoted_at is None
                assert place.stored == place.first

    def test_also_the_second_one_does(self, opened: BareStack) -> None:
        with Slow(opened) as place:
            place.api.inject(faults.drop(), when=is_reset)
            place.reset()
            place.paste(secrets.token_urlsafe(12))
            place.paste(secrets.token_urlsafe(12))
            assert latest(place).after_call == place.bench.ledger.attempts_of(place.rotation)[0].call_ended_at

    def test_after_an_answer_there_is_nothing_to_wait_for(self, opened: BareStack) -> None:
        with Slow(opened) as place:
            place.api.inject(UNREADABLE, when=is_reset)
            place.reset()
            place.paste(place.passwords.known[place.name])
            assert latest(place).after_call is None
            assert go(place).next is Next.DELIVER


def latest(place: Place) -> Attempt:
    return place.bench.ledger.attempts_of(place.rotation)[-1]
