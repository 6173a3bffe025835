"""Reset does what the protocol says, writes it down, and asks again: with a small API and a registry behind it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Fenced, Unreachable
from rekey.model.rotation import AttemptOutcome, CallEnd, Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from tests.sandbox import aws_faults, faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API, BASIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.state import State
    from tests.unit.bare_stack import BareStack

MOVE = "secretsmanager:UpdateSecretVersionStage"
SEAL = "kms:Encrypt"
GETTING_READY = 2
"""The first sealing is the gate's, the second stands between the claim and the call."""


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    with Place(opened) as place:
        yield place


def test_one_invocation_leads_from_the_gate_to_delivery(place: Place) -> None:
    assert place.reset().next is Next.DELIVER
    assert place.api.made == [place.stored]
    assert (place.rotation.phase, place.rotation.resets) == (Phase.DELIVERING, 1)
    assert place.rotation.new_verdict is LoginVerdict.ACCEPTED
    assert place.bench.escrow.tokens(place.name) == []


def test_called_again_it_does_nothing_again(place: Place) -> None:
    place.reset()
    before = place.rotation
    assert place.reset().next is Next.DELIVER
    assert (len(place.api.made), place.rotation) == (1, before)


def test_a_reset_call_that_cannot_fit_into_the_function_stops_before_anything_happened(place: Place) -> None:
    """And says which of the two to change, instead of claiming and giving back for ever."""
    state = place.reset(timedelta(seconds=12))
    assert state.outcome is Outcome.STOPPED
    assert "ResetTimeout" in place.rotation.problems[0]
    assert (place.api.made, place.rotation.attempts) == ([], 0)


def test_a_second_invocation_leaves_a_claim_alone_until_its_deadline(place: Place, opened: BareStack) -> None:
    """Its invocation may be about to call."""
    waits: list[State] = []
    opened.aws.faults.add(SEAL, aws_faults.call_before(lambda _: waits.append(place.reset())), nth=GETTING_READY)
    assert place.reset().next is Next.DELIVER
    assert [state.next for state in waits] == [Next.WAIT]
    assert len(place.api.made) == 1


def test_what_the_registry_refused_once_it_is_asked_again_by_the_next_rotation(place: Place) -> None:
    """It was busy; the request stayed open, and the number of the rotation that stopped is used again."""
    busy = faults.answer(Response.json({"message": "busy"}, 409))
    place.api.inject(busy, when=lambda request: request.path.endswith("/rotate"))
    assert place.reset().outcome is Outcome.STOPPED
    (attempt,) = place.bench.ledger.attempts(place.name, 1)
    assert (attempt.end, attempt.outcome) == (CallEnd.REFUSED, AttemptOutcome.REFUSED)
    assert place.rotation.resets == 0
    place.hand_back()
    place.begin()
    assert place.reset().next is Next.DELIVER
    assert (place.rotation.generation, place.stored) == (1, place.api.made[0])


def test_wrong_logins_end_with_the_budget(opened: BareStack) -> None:
    """They lock accounts: each is counted, and a person is asked before the account is gone."""
    with Place(opened, max_wrong_logins=1) as place:
        answer = Response.json({"result": [{"secret": "not-the-password"}]})
        place.api.inject(faults.answer(answer), when=lambda request: request.path.endswith("/rotate"))
        place.reset()
        assert place.reset().outcome is Outcome.NEEDS_ATTENTION
        assert "used up" in place.asked_for()[0]
        assert place.rotation.wrong_logins == 1
        assert len(place.bench.escrow.tokens(place.name)) == 1
        assert place.stored == place.first


def test_a_registry_that_is_not_well_after_one_refusal_holds_nothing_back(place: Place) -> None:
    """One refusal is none, and a positive answer is in hand: promoted, said to be unproven, the answer kept."""
    place.registry.inject(
        faults.answer(Response.json({}, 401, {**API, **BASIC})),
        when=lambda request: "authorization" in request.headers and bool(place.api.made),
    )
    assert place.reset().next is Next.WAIT
    assert place.rotation.new_verdict is None
    place.api.inject(faults.answer(Response.json({}, 503)), times=None)
    assert place.reset().next is Next.DELIVER
    assert place.rotation.new_verdict is LoginVerdict.UNPROVEN
    assert place.stored == place.api.made[0]
    assert place.warned
    assert len(place.bench.escrow.tokens(place.name)) == 1


def reset_until_it_delivers(place: Place) -> None:
    while place.reset().next is not Next.DELIVER:
        assert len(place.api.made) == 1


def go_out_unproven(place: Place) -> None:
    """Reset and promote while nobody can be asked; afterwards Verify heard the password accepted."""
    away = faults.answer(Response.json({}, 503))
    place.registry.inject(away, when=lambda one: "authorization" in one.headers and bool(place.api.made), times=None)
    reset_until_it_delivers(place)
    assert place.warned
    place.registry.clear_faults()
    while place.verify().next is not Next.RESET:
        assert place.rotation.phase is Phase.VERIFYING


def takes_mark_off(request: aws_faults.AwsRequest) -> bool:
    return b"REKEY_UNPROVEN" in request.body and b"MoveToVersionId" not in request.body


def test_what_went_out_unproven_is_no_longer_called_so_when_it_is_proven(place: Place) -> None:
    go_out_unproven(place)
    assert place.reset().next is Next.DELIVER
    assert (place.warned, place.bench.escrow.tokens(place.name)) == (False, [])


def test_a_mark_is_known_before_it_is_made(place: Place) -> None:
    """Cut off between the two, the function that hears the password accepted has to take it off."""
    place.registry.inject(
        faults.answer(Response.json({}, 503)),
        when=lambda request: "authorization" in request.headers and bool(place.api.made),
        times=None,
    )
    place.opened.aws.faults.add(MOVE, aws_faults.drop_after(), times=None, where=lambda one: b"AWSCURRENT" in one.body)
    with pytest.raises(Unreachable):
        reset_until_it_delivers(place)
    assert (place.warned, place.rotation.phase) == (True, Phase.RESETTING)
    place.opened.aws.faults.clear()
    place.registry.clear_faults()
    assert place.reset().next is Next.DELIVER
    assert place.rotation.new_verdict is LoginVerdict.ACCEPTED
    assert not place.warned


def test_a_mark_that_may_not_be_taken_off_holds_nothing_back(place: Place) -> None:
    """Without that right a proven password goes on being called unproven, and the answer in the escrow goes."""
    go_out_unproven(place)
    kept = place.opened.aws.faults.add(MOVE, aws_faults.refuse(), times=None, where=takes_mark_off)
    assert place.reset().next is Next.DELIVER
    assert kept.struck
    assert (place.warned, place.bench.escrow.tokens(place.name)) == (True, [])


def test_a_store_that_is_away_is_asked_again_to_take_a_mark_off(place: Place) -> None:
    go_out_unproven(place)
    away = place.opened.aws.faults.add(MOVE, aws_faults.drop_before(), times=None, where=takes_mark_off)
    with pytest.raises(Unreachable):
        place.reset()
    place.opened.aws.faults.remove(away)
    assert (place.warned, len(place.bench.escrow.tokens(place.name))) == (True, 1)
    assert place.reset().next is Next.DELIVER
    assert (place.warned, place.bench.escrow.tokens(place.name)) == (False, [])


def test_an_owner_that_lost_the_lease_after_its_claim_does_not_call(place: Place, opened: BareStack) -> None:
    def take_over(_request: object) -> None:
        opened.own(place.name)

    opened.aws.faults.add(SEAL, aws_faults.call_before(take_over), nth=GETTING_READY)
    with pytest.raises(Fenced):
        place.reset()
    assert place.api.made == []
