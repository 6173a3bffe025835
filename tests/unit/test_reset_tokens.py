"""What the old password gave is taken just before the call and tried after promote: in memory, and never in the way."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey import runtime
from rekey.errors import Denied
from rekey.model.old_token import TokenKind
from rekey.model.password import Password
from rekey.model.state import Next
from rekey.model.verdict import LoginVerdict
from rekey.steps.reset import old_tokens
from rekey.steps.reset.old_tokens import GIVES_NONE, WITHIN
from rekey.steps.reset.work import Work
from tests.sandbox import aws_faults, faults
from tests.sandbox.wire import Response
from tests.unit.bare_stack import BareStack
from tests.unit.reset_place import FUNCTION, Place
from tests.unit.reset_states import attempt
from tests.unit.token_place import LIFETIME, REPOSITORY, TokenPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rekey.model.old_token import OldToken
    from tests.sandbox.wire import Request


@pytest.fixture(scope="module")
def opened() -> Iterator[BareStack]:
    with BareStack() as opened:
        yield opened


@pytest.fixture
def place(opened: BareStack) -> Iterator[TokenPlace]:
    with TokenPlace(opened) as place:
        yield place


def of(place: Place) -> dict[TokenKind, OldToken]:
    return {one.kind: one for one in place.rotation.old_tokens}


def takes_tokens(request: Request) -> bool:
    return request.query.get("offline_token") == "true"


def gets_one_again(request: Request) -> bool:
    return (request.method, request.path) == ("POST", "/token")


def test_what_outlives_the_password_is_said_with_its_end(place: TokenPlace) -> None:
    before = runtime.now()
    assert place.reset().next is Next.DELIVER
    bearer, refresh = of(place)[TokenKind.BEARER], of(place)[TokenKind.REFRESH]
    assert (bearer.verdict, refresh.verdict) == (LoginVerdict.ACCEPTED, LoginVerdict.ACCEPTED)
    assert bearer.ends_at is not None
    assert timedelta(seconds=LIFETIME - 2) < bearer.ends_at - before < timedelta(seconds=LIFETIME + 30)
    assert refresh.ends_at is None
    assert f"/v2/{REPOSITORY}/tags/list" in bearer.said


def test_what_died_with_it_is_refused(place: TokenPlace) -> None:
    place.outlive = False
    assert place.reset().next is Next.DELIVER
    assert {one.verdict for one in place.rotation.old_tokens} == {LoginVerdict.REFUSED}


def test_they_are_taken_before_the_call_and_tried_after_promote(place: TokenPlace) -> None:
    """With the old password, which the registry has just taken; and never shown in between."""
    place.reset()
    (call,) = place.api.requests("POST")
    (taken,) = [one for one in place.registry.requests() if takes_tokens(one)]
    shown = [one for one in place.registry.requests() if one.bearer() == place.given.bearers[_number_taken(place)]]
    tried = [one for one in place.registry.requests() if gets_one_again(one)]
    assert taken.order < call.order < min(one.order for one in [*shown, *tried])
    promoted = place.rotation.promoted_at
    assert promoted is not None
    assert all(one.tried_at is not None and one.tried_at >= promoted for one in place.rotation.old_tokens)


def _number_taken(place: TokenPlace) -> int:
    """Return which of the bearers came with a refresh token."""
    given = [one for one in place.registry.requests() if one.path == "/token" and one.method == "GET"]
    right = [one for one in given if "authorization" in one.headers]
    return next(number for number, one in enumerate(right) if takes_tokens(one))


def test_they_are_in_no_record_and_in_no_log(
    place: TokenPlace, opened: BareStack, capsys: pytest.CaptureFixture[str]
) -> None:
    place.reset()
    kept = json.dumps(list(opened.table.query(f"registry#{place.name}")), default=str)
    sent = b"".join(request.body for request in opened.aws.requests).decode()
    said = "".join(capsys.readouterr())
    given = [*place.given.bearers, *place.given.refresh]
    assert len(given) > 2
    for token in given:
        assert token not in kept + sent + said
        assert token.rpartition(".")[2] not in kept + sent + said


def test_an_invocation_that_dies_loses_them(place: TokenPlace, opened: BareStack) -> None:
    """They were in its memory alone: the next one goes on without, and the evidence says that they were not tried."""
    opened.aws.faults.add(
        "secretsmanager:UpdateSecretVersionStage",
        aws_faults.refuse(),
        where=lambda request: b"AWSCURRENT" in request.body and bool(place.api.made),
    )
    with pytest.raises(Denied):
        place.reset()
    assert place.reset().next is Next.DELIVER
    assert place.rotation.promoted_at is not None
    assert [(one.kind, one.verdict, one.tried_at) for one in place.rotation.old_tokens] == [
        (TokenKind.BEARER, None, None),
        (TokenKind.REFRESH, None, None),
    ]
    assert [one for one in place.registry.requests() if gets_one_again(one)] == []


def test_each_attempt_takes_its_own(place: TokenPlace) -> None:
    """The first call had no effect: the second one's are those of just before the reset."""
    place.api.inject(faults.drop(acted=False), when=lambda request: request.path.endswith("/rotate"))
    state = place.reset()
    while state.next is Next.WAIT:
        state = place.reset()
    assert state.next is Next.DELIVER
    assert len([one for one in place.registry.requests() if takes_tokens(one)]) == 2
    assert {one.verdict for one in place.rotation.old_tokens} == {LoginVerdict.ACCEPTED}


def test_a_lost_answer_leaves_them_untried(place: TokenPlace) -> None:
    place.api.inject(faults.drop(acted=True), when=lambda request: request.path.endswith("/rotate"))
    state = place.reset()
    while state.next is Next.WAIT:
        state = place.reset()
    assert state.next is Next.DELIVER
    assert place.rotation.resets == 2
    assert [(one.verdict, one.tried_at) for one in place.rotation.old_tokens] == [(None, None), (None, None)]
    assert all(one.taken_at for one in place.rotation.old_tokens)


@pytest.mark.parametrize("answer", [Response(503), Response.json({}), Response.json({}, 403), Response.text("<html>")])
def test_a_token_server_that_gives_none_is_noted_and_nothing_more(place: TokenPlace, answer: Response) -> None:
    place.registry.inject(faults.answer(answer), when=takes_tokens)
    assert place.reset().next is Next.DELIVER
    assert place.rotation.old_tokens == ()
    assert place.rotation.old_tokens_note.startswith("none could be taken before the reset: ")


def test_one_that_hangs_holds_the_reset_up_for_seconds_alone(place: TokenPlace) -> None:
    hold = place.registry.hold(when=takes_tokens)
    began = runtime.now()
    assert place.reset().next is Next.DELIVER
    assert runtime.now() - began < FUNCTION / 2
    called = place.rotation.called_at
    assert called is not None
    assert called - began > WITHIN * 0.9, "it was waited for"
    assert "the time for it is up" in place.rotation.old_tokens_note
    hold.release()


def test_one_that_hangs_after_the_reset_holds_delivery_up_for_seconds_alone(place: TokenPlace) -> None:
    hold = place.registry.hold(when=gets_one_again)
    began = runtime.now()
    assert place.reset().next is Next.DELIVER
    assert runtime.now() - began < FUNCTION / 2
    said = {one.kind: one.verdict for one in place.rotation.old_tokens}
    assert said == {TokenKind.BEARER: LoginVerdict.ACCEPTED, TokenKind.REFRESH: LoginVerdict.UNREACHABLE}
    hold.release()


@pytest.mark.parametrize(("spare", "taken"), [(WITHIN / 2, 0), (WITHIN * 20, 2)])
def test_they_are_not_taken_where_the_call_would_be_late_for_it(
    place: TokenPlace, spare: timedelta, taken: int
) -> None:
    """The call and its escrow write come first."""
    work = Work(place.bench, place.call)
    deadline = runtime.now() + work.limits.call + spare
    work.attempt = attempt(deadline=deadline)
    noted = old_tokens.take(work, Password(place.first))
    assert len(work.tokens) == taken
    assert bool(noted["old_tokens_note"]) is not bool(taken)
    assert len([one for one in place.registry.requests() if takes_tokens(one)]) == bool(taken)


def test_a_registry_that_takes_the_password_itself_gives_none(opened: BareStack) -> None:
    with Place(opened) as place:
        assert place.reset().next is Next.DELIVER
        assert (place.rotation.old_tokens, place.rotation.old_tokens_note) == ((), GIVES_NONE)


def test_none_is_taken_with_a_password_that_the_registry_refuses(place: TokenPlace) -> None:
    """It proves nothing about what others hold, and would be one more wrong login."""
    place.passwords.known[place.name] = "changed-elsewhere"
    state = place.reset()
    while state.next is Next.WAIT:
        state = place.reset()
    assert [one for one in place.registry.requests() if takes_tokens(one)] == []
    assert place.rotation.old_tokens == ()


def test_where_the_new_password_could_not_be_asked_about_no_time_is_spent(place: TokenPlace) -> None:
    """It went out unproven: the registry does not answer, and consumers wait."""
    place.registry.inject(
        faults.answer(Response(503)), when=lambda request: bool(place.api.made) and request.path == "/v2/", times=None
    )
    state = place.reset()
    while state.next is Next.WAIT:
        state = place.reset()
    assert state.next is Next.DELIVER
    assert place.rotation.new_verdict is LoginVerdict.UNPROVEN
    assert {one.verdict for one in place.rotation.old_tokens} == {None}
    assert [one for one in place.registry.requests() if gets_one_again(one)] == []
