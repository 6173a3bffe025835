"""What reset tells and counts, and what it takes back: the password's death, refusals of the old one."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import http, runtime
from rekey.contracts import Answer
from rekey.errors import Denied
from rekey.model.password import Password
from rekey.model.request import Reason
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome
from rekey.model.state import Next
from rekey.model.verdict import LoginVerdict
from tests.sandbox import aws_faults, faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API, BASIC

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.sandbox.wire import Request as Wire
    from tests.unit.bare_stack import BareStack

WRITE = "dynamodb:TransactWriteItems"


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    with Place(opened, Reason.REQUESTED, {"prove_within": timedelta(minutes=1)}) as place:
        yield place


def is_reset(request: Wire) -> bool:
    return request.path.endswith("/rotate")


def led_out(place: Place) -> Next | None:
    """Call the function until it does not ask to be called again."""
    state = place.reset()
    while state.next is Next.WAIT:
        state = place.reset()
    return state.next


def lie(place: Place, logins: Collection[int]) -> None:
    """Let the registry answer 401 to the old password at these logins, whatever it is to answer."""
    well, seen, old = place.registry.answer, [], http.basic(place.name, Password(place.first))

    def answer(request: Wire) -> Response:
        if request.headers.get("authorization") == old:
            seen.append(request)
            if len(seen) in logins:
                return Response.json({}, 401, {**API, **BASIC})
        return well(request)

    place.registry.answer = answer


class TestRefusals:
    def test_one_before_the_old_password_was_accepted_counts_no_more(self, place: Place) -> None:
        """The call had no effect; then the registry lies once before the next one: that is its first refusal."""
        place.api.inject(faults.drop(), when=is_reset)
        lie(place, (2, 4))
        assert led_out(place) is Next.DELIVER
        first, second = place.bench.ledger.attempts_of(place.rotation)
        assert (first.outcome, first.old_refusals) == (AttemptOutcome.NO_EFFECT, 0)
        assert second.old_before is LoginVerdict.ACCEPTED
        assert "Old Password Refused" not in place.opened.told(place.name)
        assert len(place.api.made) == 1

    def test_in_verify_neither(self, place: Place) -> None:
        """The old one lives on, beside the new one."""
        assert led_out(place) is Next.DELIVER
        place.also.append(place.first)
        lie(place, (1, 3))
        for _ in range(4):
            place.verify()
        assert place.rotation.wrong_logins == 2
        assert (place.rotation.old_verdict, place.rotation.old_refusals) == (LoginVerdict.ACCEPTED, 0)
        assert "Old Password Refused" not in place.opened.told(place.name)


class TestReset:
    def test_a_gateways_page_tells_nobody_that_the_old_password_is_dead(self, place: Place) -> None:
        place.api.inject(faults.gateway_page(), when=is_reset)
        assert led_out(place) is Next.DELIVER
        assert place.opened.told(place.name).count("Password Reset") == 1
        (called,) = place.api.made
        assert place.stored == called

    def test_cut_off_before_it_is_written_down_who_finds_the_answer_tells(self, place: Place) -> None:
        refuse = aws_faults.refuse("AccessDeniedException")
        place.opened.aws.faults.add(WRITE, refuse, where=lambda request: b'"answered_at": {"S"' in request.body)
        with pytest.raises(Denied):
            place.reset()
        assert place.opened.told(place.name) == []
        assert led_out(place) is Next.DELIVER
        assert place.opened.told(place.name) == ["Password Reset"]
        assert place.rotation.answered_at is not None
        assert len(place.api.made) == 1

    def test_of_an_answer_that_the_ledger_forgot_it_is_told_when_it_is_in_force(self, place: Place) -> None:
        """It is a reset, too, that happened."""
        now, password = runtime.now(), secrets.token_urlsafe(12)
        forgotten = Attempt(
            registry=place.name,
            generation=1,
            number=1,
            kind=AttemptKind.RESET,
            nonce=secrets.token_hex(16),
            deadline=now,
            called_at=now,
        )
        body = json.dumps({"result": [{"secret": password}]}).encode()
        escrow = place.bench.escrow
        escrow.put(forgotten, escrow.envelope(forgotten), Answer(200, body).to_bytes())
        place.passwords.known[place.name] = password
        assert led_out(place) is Next.DELIVER
        assert (place.stored, place.rotation.resets, place.api.made) == (password, 1, [])
        assert place.opened.told(place.name) == ["Password Reset"]
