"""A wrong paste at a registry that Rekey resets itself: the store's password says whether a person is needed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.errors import InputInvalid
from rekey.model.rotation import AttemptOutcome, Phase
from rekey.model.state import Next, Outcome
from rekey.records import resuming
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.state import State
    from tests.unit.bare_stack import BareStack


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    with Place(opened) as place:
        yield place


def outcome(place: Place) -> Outcome | None:
    """Let reset be called until it leads to the report, and return with what."""
    state: State = place.reset()
    for _ in range(9):
        if state.next is not Next.WAIT:
            break
        state = place.reset()
    return state.outcome


def test_a_slip_of_the_pen_blocks_no_rotation(place: Place) -> None:
    """The store's password is still good: this rotation stops, and the next one resets as if nothing had been."""
    place.paste(secrets.token_urlsafe(12))
    assert outcome(place) is Outcome.STOPPED
    assert place.rotation.phase is Phase.STOPPED
    assert place.rotation.problems[0].startswith("the pasted password is refused by the registry. ")
    assert place.api.made == []
    place.hand_back()
    place.begin()  # its request is open
    assert place.reset().next is Next.DELIVER
    assert place.stored == place.api.made[0]


def test_neither_does_the_password_that_the_store_has(place: Place) -> None:
    place.paste(place.first)
    assert outcome(place) is Outcome.STOPPED
    assert place.rotation.problems[0].startswith("the pasted password is the one in the store already. ")
    assert (place.api.made, place.refused) == ([], 0)


def test_where_the_stores_is_dead_a_person_is_told_once(place: Place) -> None:
    """Somebody reset in the console: nobody but them has the password, and nothing is reset without them."""
    place.passwords.known[place.name] = secrets.token_urlsafe(12)
    place.paste(place.first)
    assert outcome(place) is Outcome.NEEDS_ATTENTION
    (said,) = place.asked_for()
    assert said.startswith("the pasted password is the one in the store already: ")
    assert place.rotation.problems == (said,)
    assert outcome(place) is Outcome.NEEDS_ATTENTION
    assert (place.api.made, len(place.asked_for())) == ([], 1)
    assert place.refused == 2


def test_where_the_registry_cannot_be_asked_it_is_asked_again(place: Place) -> None:
    """Neither stopped nor a person called before somebody has said whether the store's is good."""
    place.registry.inject(
        faults.answer(Response.json({}, 503, API)), when=lambda request: "authorization" in request.headers, times=None
    )
    place.paste(place.first)
    assert outcome(place) is None
    (attempt,) = place.bench.ledger.attempts_of(place.rotation)
    assert attempt.outcome is AttemptOutcome.WRONG_PASTE
    place.registry.clear_faults()
    assert outcome(place) is Outcome.STOPPED


def test_what_a_resume_cannot_mend_it_does_not_begin(place: Place) -> None:
    place.passwords.known[place.name] = secrets.token_urlsafe(12)
    place.paste(place.first)
    assert outcome(place) is Outcome.NEEDS_ATTENTION
    with pytest.raises(InputInvalid, match="rekey paste"):
        resuming.resume(place.bench.ledger, place.name, place.rotation.plan_version, runtime.now())
    place.paste(place.passwords.known[place.name])
    assert outcome(place) is None
    assert place.stored == place.passwords.known[place.name]
