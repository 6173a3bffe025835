"""What every registry promises (`rekey.contracts.Registry` and its kinds), against a real registry."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.adapters import ADAPTERS, load
from rekey.contracts import Answer, GeneratesPassword, Manual, TakesPassword, Token
from rekey.errors import Denied, NotSent, OutOfTime, Unintelligible, Unreachable
from rekey.model.old_token import TokenKind
from rekey.model.password import Password
from rekey.model.verdict import LoginVerdict
from tests.contract.registry_cases import CASES, GeneratingCase, ManualCase, RegistryCase, TakingCase
from tests.sandbox import faults
from tests.sandbox.aws import AwsSandbox
from tests.sandbox.gitea import Gitea
from tests.sandbox.images import push_samples
from tests.sandbox.registry import Registry
from tests.sandbox.wire import Response
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.registry_cases import RealRegistry

TYPES = sorted(name for kind, name in ADAPTERS if kind == "registry")
GENERATING = [name for name in TYPES if issubclass(load("registry", name), GeneratesPassword)]
TAKING = [name for name in TYPES if issubclass(load("registry", name), TakesPassword)]
MANUAL = [name for name in TYPES if issubclass(load("registry", name), Manual)]
WITHIN = timedelta(seconds=10)


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as aws:
        yield aws


class Reals:
    """Real registries, each started when it is first asked for."""

    def __init__(self, leave: ExitStack) -> None:
        self._leave = leave
        self._known: dict[str, RealRegistry] = {}

    def of(self, name: str) -> RealRegistry:
        """Return the one in which the users of this type of the plan are."""
        server = "gitea" if name == "gitea" else "registry"
        if server not in self._known:
            program = require(server)
            made: Gitea | Registry = Gitea(program) if server == "gitea" else Registry(program)
            self._leave.enter_context(made)
            self._known[server] = made
        return self._known[server]


@pytest.fixture(scope="module")
def reals() -> Iterator[Reals]:
    with ExitStack() as leave:
        yield Reals(leave)


def make(name: str, real: RealRegistry, aws: AwsSandbox, leave: ExitStack) -> RegistryCase:
    case = CASES[name](real, aws, leave)
    assert type(case.adapter) is load("registry", name)
    return case


@pytest.fixture(params=TYPES)
def case(request: pytest.FixtureRequest, reals: Reals, aws: AwsSandbox) -> Iterator[RegistryCase]:
    """Every registry of the table; one without a case fails here."""
    with ExitStack() as leave:
        yield make(request.param, reals.of(request.param), aws, leave)


@pytest.fixture(params=GENERATING)
def generating(request: pytest.FixtureRequest, reals: Reals, aws: AwsSandbox) -> Iterator[GeneratingCase]:
    with ExitStack() as leave:
        case = make(request.param, reals.of(request.param), aws, leave)
        assert isinstance(case, GeneratingCase)
        yield case


@pytest.fixture(params=TAKING)
def taking(request: pytest.FixtureRequest, reals: Reals, aws: AwsSandbox) -> Iterator[TakingCase]:
    with ExitStack() as leave:
        case = make(request.param, reals.of(request.param), aws, leave)
        assert isinstance(case, TakingCase)
        yield case


@pytest.fixture(params=TYPES)
def of_its_own(request: pytest.FixtureRequest, aws: AwsSandbox) -> Iterator[RegistryCase]:
    """Make a case whose real registry may be stopped."""
    with ExitStack() as leave:
        yield make(request.param, Reals(leave).of(request.param), aws, leave)


def still_in_force(case: RegistryCase) -> bool:
    return case.adapter.login(case.password).verdict is LoginVerdict.ACCEPTED


def test_every_registry_is_of_a_kind() -> None:
    assert sorted([*GENERATING, *TAKING, *MANUAL]) == TYPES == sorted(CASES)


def test_its_check_passes_and_changes_nothing(case: RegistryCase) -> None:
    case.adapter.check()
    assert still_in_force(case)


def test_it_says_that_nothing_answers(of_its_own: RegistryCase) -> None:
    of_its_own.take_away()
    asks = of_its_own.adapter.reach if isinstance(of_its_own.adapter, Manual) else of_its_own.adapter.check
    with pytest.raises(Unreachable):
        asks()
    assert not of_its_own.adapter.healthy()


def test_a_right_and_a_wrong_password(case: RegistryCase) -> None:
    wrong = Password(secrets.token_urlsafe(16))
    assert case.adapter.login(case.password).verdict is LoginVerdict.ACCEPTED
    refused = case.adapter.login(wrong)
    assert refused.verdict is LoginVerdict.REFUSED
    assert wrong.reveal() not in repr(refused)
    assert case.adapter.healthy()


def test_a_registry_that_is_down_says_nothing_of_the_password(of_its_own: RegistryCase) -> None:
    of_its_own.real.stop()
    assert of_its_own.adapter.login(of_its_own.password).verdict is LoginVerdict.UNREACHABLE
    assert not of_its_own.adapter.healthy()
    with pytest.raises(Unreachable):
        of_its_own.adapter.contents(of_its_own.password, WITHIN)


def test_its_contents(of_its_own: RegistryCase) -> None:
    case = of_its_own
    pushed = push_samples(case.real.url, case.user, case.password.reveal(), namespace=case.namespace)
    assert case.adapter.contents(case.password, WITHIN).repositories == pushed
    with pytest.raises(Denied):
        case.adapter.contents(Password("wrong"), WITHIN)
    with pytest.raises(OutOfTime):
        case.adapter.contents(case.password, timedelta(0))


def test_tokens_that_a_password_gives_are_taken_and_tried(case: RegistryCase) -> None:
    """One verdict each, in their order; a registry that takes the password itself gives none."""
    taken = case.adapter.take_tokens(case.password, WITHIN)
    assert all(one.text.reveal() not in repr(one) for one in taken)
    said = case.adapter.try_tokens(taken, case.password, WITHIN)
    assert len(said) == len(taken)
    with pytest.raises(OutOfTime):
        case.adapter.take_tokens(case.password, timedelta(0))
    made_up = Token(TokenKind.BEARER, Password("made-up"), None)
    assert [one.verdict for one in case.adapter.try_tokens([made_up], case.password, timedelta(0))] == [
        LoginVerdict.UNREACHABLE
    ]


def test_a_registry_that_is_down_says_nothing_of_a_token(of_its_own: RegistryCase) -> None:
    made_up = Token(TokenKind.BEARER, Password("made-up"), None)
    of_its_own.real.stop()
    with pytest.raises(Unreachable):
        of_its_own.adapter.take_tokens(of_its_own.password, WITHIN)
    (said,) = of_its_own.adapter.try_tokens([made_up], of_its_own.password, WITHIN)
    assert said.verdict is LoginVerdict.UNREACHABLE


@pytest.mark.parametrize("known", [True, False])
def test_its_warnings_are_words_and_change_nothing(case: RegistryCase, *, known: bool) -> None:
    said = case.adapter.warnings(case.password if known else None)
    assert all(case.password.reveal() not in one for one in said)
    assert still_in_force(case)


def test_no_thread_stays(case: RegistryCase) -> None:
    """A server's thread ends with its connection; one that watches a request would live for seconds more."""
    before = set(threading.enumerate())
    case.adapter.check()
    case.adapter.login(case.password)
    case.adapter.contents(case.password, WITHIN)
    case.adapter.try_tokens(case.adapter.take_tokens(case.password, WITHIN), case.password, WITHIN)
    case.adapter.warnings(case.password)
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_its_alphabet_is_the_plans(case: RegistryCase) -> None:
    assert 1 <= case.adapter.alphabet.min_length <= case.adapter.alphabet.max_length


@pytest.mark.parametrize("name", MANUAL)
def test_a_manual_one_says_what_a_person_does(name: str, reals: Reals, aws: AwsSandbox) -> None:
    with ExitStack() as leave:
        case = make(name, reals.of(name), aws, leave)
        assert isinstance(case, ManualCase)
        assert case.adapter.where == "press the button"
        assert case.adapter.settle == timedelta(seconds=3)


class TestGenerating:
    """Makes the password up, shows it once, and the old one is dead at that instant."""

    def test_a_reset(self, generating: GeneratingCase) -> None:
        """One call; the answer, kept as bytes and read later, holds the password that is in force now."""
        adapter = generating.adapter
        adapter.prepare_reset()
        answer = adapter.reset()
        assert generating.resets() == 1
        assert adapter.refusal(answer) is None
        kept = Answer.from_bytes(answer.to_bytes())
        assert adapter.password_in(kept) == adapter.password_in(answer) == Password(generating.made[0])
        assert adapter.login(adapter.password_in(kept)).verdict is LoginVerdict.ACCEPTED
        assert adapter.login(generating.password).verdict is LoginVerdict.REFUSED

    def test_its_times_are_the_plans(self, generating: GeneratingCase) -> None:
        assert timedelta(0) < generating.adapter.reset_timeout <= timedelta(minutes=1)
        assert generating.adapter.settle >= timedelta(0)

    def test_preparing_changes_nothing(self, generating: GeneratingCase) -> None:
        generating.adapter.prepare_reset()
        assert generating.resets() == 0
        assert still_in_force(generating)

    def test_what_was_not_prepared_is_not_sent(self, generating: GeneratingCase) -> None:
        with pytest.raises(NotSent):
            generating.adapter.reset()
        assert generating.resets() == 0

    def test_what_cannot_be_sent_was_not_sent(self, generating: GeneratingCase) -> None:
        generating.adapter.prepare_reset()
        generating.api.stop()
        with pytest.raises(NotSent):
            generating.adapter.reset()
        assert still_in_force(generating)

    @pytest.mark.parametrize("acted", [True, False])
    def test_a_lost_answer_is_no_answer_and_no_reason_to_call_again(
        self, generating: GeneratingCase, *, acted: bool
    ) -> None:
        generating.adapter.prepare_reset()
        generating.api.inject(faults.drop(acted=acted))
        with pytest.raises(Unreachable) as caught:
            generating.adapter.reset()
        assert not isinstance(caught.value, NotSent)
        assert generating.resets() == 1
        assert still_in_force(generating) is not acted

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 423, 429])
    def test_a_definite_refusal(self, generating: GeneratingCase, status: int) -> None:
        generating.adapter.prepare_reset()
        generating.api.inject(faults.answer(Response.json({"message": "no, and here is a s3cret"}, status)))
        refusal = generating.adapter.refusal(generating.adapter.reset())
        assert refusal is not None
        assert str(status) in refusal
        assert "s3cret" not in refusal
        assert generating.resets() == 1
        assert still_in_force(generating)

    @pytest.mark.parametrize("status", [200, 202, 204, 302, 500, 502, 503, 504])
    def test_anything_else_is_kept_and_read(self, generating: GeneratingCase, status: int) -> None:
        """It may hold the only copy of the password: nothing but the text decides."""
        adapter = generating.adapter
        adapter.prepare_reset()
        generating.api.inject(faults.answer(Response(status, b"" if status == 204 else b"<html>a s3cret</html>")))
        answer = adapter.reset()
        assert answer.status == status
        assert adapter.refusal(answer) is None
        with pytest.raises(Unintelligible) as caught:
            adapter.password_in(answer)
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in repr(answer)
        assert generating.resets() == 1


class TestTaking:
    """Takes a password of our choice; the old one is dead at that instant."""

    def test_a_set(self, taking: TakingCase) -> None:
        """One call; the registry then takes our password and no other."""
        adapter, ours = taking.adapter, taking.adapter.candidate()
        adapter.prepare_reset()
        answer = adapter.set(ours)
        assert adapter.took(answer)
        assert adapter.refusal(answer) is None
        assert (taking.calls(), taking.sets()) == (1, [ours.reveal()])
        assert adapter.login(ours).verdict is LoginVerdict.ACCEPTED
        assert adapter.login(taking.password).verdict is LoginVerdict.REFUSED

    def test_candidates_are_new_and_of_its_alphabet(self, taking: TakingCase) -> None:
        alphabet = taking.adapter.alphabet
        made = [taking.adapter.candidate() for _ in range(50)]
        assert len(set(made)) == 50
        for candidate in made:
            assert alphabet.min_length <= len(candidate.reveal()) <= alphabet.max_length
            assert alphabet.characters is None or set(candidate.reveal()) <= set(alphabet.characters)

    def test_its_times_are_the_plans(self, taking: TakingCase) -> None:
        assert timedelta(0) < taking.adapter.reset_timeout <= timedelta(minutes=1)
        assert taking.adapter.settle >= timedelta(0)

    def test_preparing_changes_nothing(self, taking: TakingCase) -> None:
        taking.adapter.prepare_reset()
        taking.adapter.change_mark()
        assert (taking.calls(), taking.sets()) == (0, [])
        assert still_in_force(taking)

    def test_what_was_not_prepared_is_not_sent(self, taking: TakingCase) -> None:
        with pytest.raises(NotSent):
            taking.adapter.set(taking.adapter.candidate())
        assert taking.calls() == 0

    def test_nothing_is_never_set(self, taking: TakingCase) -> None:
        taking.adapter.prepare_reset()
        with pytest.raises(NotSent):
            taking.adapter.set(Password(""))
        assert taking.calls() == 0
        assert still_in_force(taking)

    def test_what_cannot_be_sent_was_not_sent(self, taking: TakingCase) -> None:
        taking.adapter.prepare_reset()
        taking.api.stop()
        with pytest.raises(NotSent):
            taking.adapter.set(taking.adapter.candidate())
        assert still_in_force(taking)

    @pytest.mark.parametrize("acted", [True, False])
    def test_a_lost_answer_is_settled_by_its_mark_and_a_login(self, taking: TakingCase, *, acted: bool) -> None:
        """No call is made twice; the mark, where there is one, moves exactly where the password did."""
        adapter, ours = taking.adapter, taking.adapter.candidate()
        adapter.prepare_reset()
        before = adapter.change_mark()
        taking.api.inject(faults.drop(acted=acted))
        with pytest.raises(Unreachable) as caught:
            adapter.set(ours)
        assert not isinstance(caught.value, NotSent)
        assert ours.reveal() not in str(caught.value)
        assert taking.calls() == 1
        assert before is None or (adapter.change_mark() != before) is acted
        assert (adapter.login(ours).verdict is LoginVerdict.ACCEPTED) is acted
        assert still_in_force(taking) is not acted

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
    def test_a_definite_refusal(self, taking: TakingCase, status: int) -> None:
        taking.adapter.prepare_reset()
        taking.api.inject(faults.answer(taking.no(status)))
        answer = taking.adapter.set(taking.adapter.candidate())
        refusal = taking.adapter.refusal(answer)
        assert refusal is not None
        assert str(status) in refusal
        assert "s3cret" not in refusal
        assert not taking.adapter.took(answer)
        assert (taking.calls(), taking.sets()) == (1, [])

    @pytest.mark.parametrize("status", [202, 302, 403, 408, 429, 500, 502, 503, 504])
    def test_anything_else_says_nothing(self, taking: TakingCase, status: int) -> None:
        """A gateway's page is no word of the registry's: it may have come after the call had its effect."""
        taking.adapter.prepare_reset()
        taking.api.inject(faults.gateway_page(status, acted=True))
        answer = taking.adapter.set(taking.adapter.candidate())
        assert not taking.adapter.took(answer)
        assert taking.adapter.refusal(answer) is None
        assert taking.calls() == 1
