"""What reset makes of what is on the record: of an earlier reading, rotation or call, and of who came in between."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rekey import gate, runtime
from rekey.errors import Denied, Unreachable
from rekey.model.rotation import Attempt, AttemptKind, AttemptOutcome, CallEnd, Phase
from rekey.model.state import Next, Outcome
from rekey.model.verdict import LoginVerdict
from rekey.records import resuming
from tests.sandbox import aws_faults, faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API, BASIC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.wire import Request as Wire
    from tests.unit.bare_stack import BareStack

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SEAL, WRITE = "kms:Encrypt", "dynamodb:TransactWriteItems"
GETTING_READY = 2
"""The first sealing is the gate's, the second stands between the claim and the call."""


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    with Place(opened) as place:
        yield place


def is_reset(request: Wire) -> bool:
    return request.path.endswith("/rotate")


def attempts(place: Place) -> list[Attempt]:
    return place.bench.ledger.attempts_of(place.rotation)


def _misread(place: Place) -> None:
    """Let the registry reset, and the plan name another place in its answer than the password's."""
    other = faults.answer(Response.json({"result": [{"secret": secrets.token_urlsafe(12)}]}), acted=True)
    place.api.inject(other, when=is_reset)
    while place.reset().outcome is not Outcome.NEEDS_ATTENTION:
        assert len(place.api.made) == 1


def _reset_by_hand(place: Place) -> None:
    place.passwords.known[place.name] = secrets.token_urlsafe(12)
    place.paste(place.passwords.known[place.name])


class TestCalledAt:
    """The moment that decides which requests a reset meets."""

    def test_what_a_person_says_of_a_paste_stands_against_a_call_without_effect(self, place: Place) -> None:
        """A call was sent after the leak and never arrived; the pasted password is older than the leak."""
        other, clicked = secrets.token_urlsafe(12), runtime.now() - HOUR
        place.passwords.known[place.name] = other
        later = place.leak()
        place.api.inject(faults.drop(), when=is_reset, times=None)
        place.reset()
        assert place.rotation.called_at is not None
        place.paste(other, clicked)
        assert place.reset().next is Next.DELIVER
        assert place.stored == other
        assert place.rotation.called_at == clicked
        assert not later.is_met_by(clicked)

    def test_of_a_paste_of_which_nobody_says_it_a_call_without_proof_says_nothing(self, place: Place) -> None:
        other = secrets.token_urlsafe(12)
        place.passwords.known[place.name] = other
        place.api.inject(faults.drop(), when=is_reset, times=None)
        place.reset()
        place.paste(other)
        assert place.reset().next is Next.DELIVER
        assert (place.stored, place.rotation.called_at) == (other, None)

    def test_a_call_that_killed_the_old_password_dates_the_paste_that_follows(self, place: Place) -> None:
        """It was good before the call and is refused since: whatever is in force is younger."""
        unreadable = faults.answer(Response.json({"done": True}), acted=True)
        place.api.inject(unreadable, when=is_reset)
        while place.reset().outcome is not Outcome.NEEDS_ATTENTION:
            assert len(place.api.made) == 1
        (called,) = attempts(place)
        place.paste(place.api.made[0])
        assert place.reset().next is Next.DELIVER
        assert called.called_at is not None
        assert (place.stored, place.rotation.called_at) == (place.api.made[0], called.called_at)

    def test_where_nobody_had_asked_the_old_one_verify_dates_it(self, place: Place) -> None:
        """What was read from the answer is refused; a person resets, and does not say when."""
        _misread(place)
        (called,) = attempts(place)
        assert called.old_refusals == 0
        _reset_by_hand(place)
        assert (place.reset().next, place.rotation.called_at) == (Next.DELIVER, None)
        while place.verify().next is Next.WAIT:
            pass
        assert place.rotation.old_verdict is LoginVerdict.REFUSED
        assert place.rotation.called_at == called.called_at
        assert gate.met(place.bench.ledger.open_requests(place.name), place.rotation)

    def test_before_that_no_execution_resets_over_the_paste(self, place: Place) -> None:
        """The leak that it may meet is open still."""
        _misread(place)
        _reset_by_hand(place)
        assert place.reset().next is Next.DELIVER
        place.hand_back()
        place.begin()
        assert (place.state.next, place.state.generation) == (Next.DELIVER, 1)

    @pytest.mark.parametrize("known", [{"old_verdict": LoginVerdict.ACCEPTED}, {"logins_spent": True}])
    def test_once_nobody_will_date_it_the_leak_is_met_by_the_next(self, place: Place, known: dict[str, object]) -> None:
        _misread(place)
        _reset_by_hand(place)
        assert place.reset().next is Next.DELIVER
        place.write(**known)
        place.hand_back()
        place.begin()
        assert place.state.generation == 2

    def test_a_leak_that_came_after_the_call_is_met_by_the_next(self, place: Place) -> None:
        _misread(place)
        place.leak()
        _reset_by_hand(place)
        assert place.reset().next is Next.DELIVER
        place.hand_back()
        place.begin()
        assert place.state.generation == 2

    def test_a_second_call_that_the_registry_refuses_leaves_the_firsts_time(self, place: Place) -> None:
        """The first one's answer was lost: it is the one that killed the old password."""
        place.api.inject(faults.drop(acted=True), when=is_reset)
        refused = faults.answer(Response.json({"message": "busy"}, 409))
        place.api.inject(refused, when=lambda request: is_reset(request) and bool(place.api.made))
        while place.reset().outcome is not Outcome.NEEDS_ATTENTION:
            assert len(place.api.made) == 1
        first, second = attempts(place)
        assert (first.outcome, second.end) == (AttemptOutcome.LOST, CallEnd.REFUSED)
        assert (place.rotation.resets, place.rotation.called_at) == (1, first.called_at)

    def test_a_second_call_that_is_answered_is_the_one_that_counts(self, place: Place) -> None:
        place.api.inject(faults.drop(acted=True), when=is_reset)
        while place.reset().next is not Next.DELIVER:
            assert len(place.api.made) < 3
        _, second = attempts(place)
        assert (place.stored, place.rotation.called_at) == (place.api.made[1], second.called_at)


def _put_as_rekey(place: Place, fields: dict[str, object]) -> None:
    client: Any = place.opened.aws.client("secretsmanager")
    name, text = f"registries/{place.name}", json.dumps(fields)
    client.put_secret_value(SecretId=name, SecretString=text, ClientRequestToken=secrets.token_hex(32))


class TestStore:
    @pytest.mark.parametrize("by_hand", [False, True])
    def test_a_generation_that_came_while_it_got_ready_is_not_reset_over(self, place: Place, *, by_hand: bool) -> None:
        """Begin had asked; somebody else brought a later one between the claim and the call.

        A person's own value over that one changes nothing.
        """
        client: Any = place.opened.aws.client("secretsmanager")

        def overtake(_: object) -> None:
            theirs = {"username": place.name, "password": place.first}
            later = {"registry": place.name, "username": place.name, "password": place.first, "generation": 4}
            _put_as_rekey(place, later)
            if by_hand:
                client.put_secret_value(SecretId=f"registries/{place.name}", SecretString=json.dumps(theirs))

        place.opened.aws.faults.add(SEAL, aws_faults.call_before(overtake), nth=GETTING_READY)
        assert place.reset().outcome is Outcome.STOPPED
        assert "the store has had generation 4 by now" in place.rotation.problems[0]
        assert place.api.made == []

    @pytest.mark.parametrize("overtaken", [False, True])
    def test_a_candidate_that_is_gone_is_staged_again_unless_a_later_one_removed_it(
        self, place: Place, *, overtaken: bool
    ) -> None:
        """The answer lies in the escrow still: nobody has to reset for it."""
        later = {"registry": place.name, "username": place.name, "password": "theirs", "generation": 4}

        def is_of(request: aws_faults.AwsRequest, words: bytes) -> bool:
            return words in request.body and place.name.encode() in request.body

        moves: list[str] = []

        def changed(request: aws_faults.AwsRequest, act: aws_faults.Act) -> aws_faults.Answer:
            moves.append(request.operation)
            if overtaken:
                _put_as_rekey(place, later)
            return aws_faults.refuse("InvalidParameterException")(request, act)

        move = "secretsmanager:UpdateSecretVersionStage"
        place.opened.aws.faults.add(move, changed, where=lambda one: is_of(one, b"AWSCURRENT"))
        gone = place.opened.aws.faults.add(
            "secretsmanager:GetSecretValue",
            aws_faults.refuse("ResourceNotFoundException"),
            where=lambda one: bool(moves) and is_of(one, b'"VersionId"'),
        )
        if overtaken:
            assert place.reset().outcome is Outcome.NEEDS_ATTENTION
            assert attempts(place)[0].outcome is AttemptOutcome.SUPERSEDED
        else:
            with pytest.raises(Unreachable, match="it is staged again"):
                place.reset()
            assert place.stored == place.first
            assert place.reset().next is Next.DELIVER
            assert [place.stored] == place.api.made
        assert gone.struck

    def test_a_candidate_of_an_earlier_reading_is_found(self, opened: BareStack) -> None:
        """The escrow has lost the answer, so what was staged is the only copy; a person resumes: another reading."""
        with Place(opened, max_wrong_logins=1) as place:
            made: list[str] = place.api.made
            escrow = aws_faults.refuse()
            kept = opened.aws.faults.add(
                WRITE, escrow, where=lambda request: b"stack-escrow" in request.body and bool(made)
            )
            lie = faults.answer(Response.json({}, 401, {**API, **BASIC}))
            place.registry.inject(lie, when=lambda request: "authorization" in request.headers and bool(made))
            while place.reset().outcome is not Outcome.NEEDS_ATTENTION:
                assert len(made) == 1
            assert kept.struck
            for token in place.bench.escrow.tokens(place.name):
                place.bench.escrow.discard(place.name, token)
            resuming.resume(place.bench.ledger, place.name, place.rotation.plan_version, runtime.now())
            assert place.reset().next is Next.DELIVER
            assert made == [place.stored]
            assert attempts(place)[0].reading == 1


class Misread(Place):
    """The plan's `password_at` leads to something else than the password."""

    def _registry(self) -> dict[str, object]:
        part = super()._registry()
        api: Any = part["api"]
        return {**part, "api": {**api, "reset": {**api["reset"], "password_at": "/result/0/id"}}}

    def misread(self) -> None:
        """Answer the reset with the password where the plan does not look."""

        def rotate(_request: Wire, _act: object) -> Response:
            password = secrets.token_urlsafe(24)
            self.passwords.set_password(self.name, password)
            self.api.made.append(password)
            return Response.json({"result": [{"id": secrets.token_urlsafe(8), "secret": password}]})

        self.api.inject(rotate, when=lambda request: request.path.endswith("/rotate"))


class TestEscrow:
    @pytest.mark.parametrize("times", [1, 2])
    def test_an_answer_that_it_refused_is_kept_once_the_login_does_not_confirm_what_was_read(
        self, opened: BareStack, times: int
    ) -> None:
        """What was staged instead may be something else, and the answer the only copy of the password."""
        with Misread(opened, settings={"escrow_within": timedelta(0)}) as place:
            place.misread()
            refused = place.opened.aws.faults.add(
                WRITE,
                aws_faults.refuse(),
                where=lambda one: b"-escrow" in one.body and bool(place.api.made),
                times=times,
            )
            while place.reset().outcome is not Outcome.NEEDS_ATTENTION:
                assert len(place.api.made) == 1
            assert refused.struck == times
            (attempt,) = attempts(place)
            raw = place.bench.escrow.read(attempt)
            assert raw is not None
            assert place.api.made[0].encode() in raw

    def test_that_it_has_the_answer_is_not_said_where_it_refused_to_the_end(self, opened: BareStack) -> None:
        with Misread(opened, settings={"escrow_within": timedelta(0)}) as place:
            place.misread()
            place.opened.aws.faults.add(
                WRITE,
                aws_faults.refuse(),
                where=lambda one: b"-escrow" in one.body and bool(place.api.made),
                times=None,
            )
            while place.reset(6 * SECOND).outcome is not Outcome.NEEDS_ATTENTION:
                assert len(place.api.made) == 1
            (why,) = place.rotation.problems
            assert "the escrow did not take the answer" in why
            assert "`rekey paste`" in why
            assert "kept" not in why
            assert place.bench.escrow.tokens(place.name) == []

    def test_an_answer_that_it_took_late_is_kept_where_the_function_died_before_it_wrote_that(
        self, opened: BareStack
    ) -> None:
        with Misread(opened, settings={"escrow_within": timedelta(0)}) as place:
            place.misread()
            faults_of_aws = place.opened.aws.faults
            faults_of_aws.add(
                WRITE, aws_faults.refuse(), where=lambda one: b"-escrow" in one.body and bool(place.api.made)
            )
            died = faults_of_aws.add(
                WRITE, aws_faults.refuse(), where=lambda one: b'"login"' in one.body and b'"refused"' in one.body
            )
            with pytest.raises(Denied):
                place.reset()
            assert died.struck
            while place.reset().outcome is not Outcome.NEEDS_ATTENTION:
                assert len(place.api.made) == 1
            (why,) = place.rotation.problems
            assert "The answer is kept" in why
            assert len(place.bench.escrow.tokens(place.name)) == 1

    def test_a_proven_paste_also_ends_the_answer_of_the_unproven_rotation_that_it_overtook(self, place: Place) -> None:
        lie = faults.answer(Response.json({}, 401, {**API, **BASIC}))
        place.registry.inject(lie, when=lambda request: "authorization" in request.headers and bool(place.api.made))
        place.reset()
        place.api.inject(faults.answer(Response.json({}, 503)), times=None)
        assert place.reset().next is Next.DELIVER
        assert len(place.bench.escrow.tokens(place.name)) == 1
        place.api.clear_faults()
        by_hand = secrets.token_urlsafe(12)
        place.passwords.known[place.name] = by_hand
        place.paste(by_hand)
        place.hand_back()
        place.begin()
        assert place.reset().next is Next.DELIVER
        assert (place.rotation.generation, place.stored) == (2, by_hand)
        assert [attempt.kind for attempt in attempts(place)] == [AttemptKind.PASTED]
        assert place.bench.escrow.tokens(place.name) == []

    def test_a_stray_that_turns_out_wrong_leaves_a_person_needed(self, place: Place) -> None:
        """What the person was called for stands; a reset would forget it."""
        place.write(phase=Phase.NEEDS_ATTENTION, gate_at=runtime.now(), problems=("look at it",))
        stray = Attempt(
            registry=place.name,
            generation=1,
            number=7,
            kind=AttemptKind.PASTED,
            nonce=secrets.token_hex(16),
            deadline=runtime.now(),
        )
        place.bench.escrow.put(stray, place.bench.escrow.envelope(stray), secrets.token_urlsafe(12).encode())
        state = place.reset()
        while state.next is Next.WAIT:
            state = place.reset()
        assert (attempts(place)[0].kind, attempts(place)[0].outcome) == (AttemptKind.ADOPTED, AttemptOutcome.STALE)
        assert (state.outcome, place.rotation.phase) == (Outcome.NEEDS_ATTENTION, Phase.NEEDS_ATTENTION)
        assert place.rotation.problems == ("look at it",)
        assert place.api.made == []


class TestOldPassword:
    def test_while_the_registry_is_not_well_it_is_not_asked_whether_the_call_acted(self, place: Place) -> None:
        """It would refuse the right password too, and two of that would count."""
        place.api.inject(faults.drop(acted=True), when=is_reset)
        unwell = faults.answer(Response.json({}, 503))
        place.api.inject(unwell, when=lambda request: request.path == "/status" and bool(place.api.made), times=None)
        for _ in range(3):
            assert place.reset().next is Next.WAIT
        (attempt,) = attempts(place)
        assert (attempt.end, attempt.outcome, attempt.old_refusals) == (CallEnd.UNKNOWN, None, 0)
        assert (place.refused, place.rotation.wrong_logins, len(place.api.made)) == (0, 0, 1)
