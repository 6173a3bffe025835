"""No consumer is told before the store has the new password and it has been tried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.e2e.front import by
from tests.sandbox.cloudraya import documented_answer
from tests.sandbox.faults import answer, call, drop
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.front import Front
    from tests.sandbox.cloudraya import Reset
    from tests.sandbox.company import Company
    from tests.sandbox.wire import Predicate, Request


@dataclass(frozen=True)
class Told:
    """What was so when a consumer was told: the store's current password, and whether the registry took it."""

    stored: str
    good: bool


@pytest.fixture
def spied(company: Company) -> Sequence[Told]:
    """Put a spy at every consumer, which looks at store and registry before a write is taken."""
    seen: list[Told] = []

    def look(_request: Request) -> None:
        stored = company.current()
        seen.append(Told(stored, good=rotating.logs_in(company, stored)))

    world = company.world
    for server in (world.github, world.kubernetes, world.receiver):
        server.inject(call(look), when=rotating.is_write(company), times=None)
    return seen


def test_the_store_has_the_password_and_the_registry_takes_it_when_a_consumer_is_told(
    company: Company, spied: Sequence[Told]
) -> None:
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert list(spied) == [Told(company.current(), good=True)] * 6
    assert company.current() != company.first_password


def test_login_comes_before_staging_promoting_and_the_first_consumer(company: Company, front: Front) -> None:
    rotating.rotate(company)
    new = company.current()
    logins = [one.request for one in front.exchanges if by(company.name, lambda given: given == new)(one.request)]
    (staged,), (promoted,) = company.store.stagings(), company.store.promotions()
    written = [one.order for one in rotating.written(company)]
    assert logins[0].order < staged < promoted < min(written)


def test_a_password_that_the_registry_refuses_reaches_neither_store_nor_consumer(
    company: Company, spied: Sequence[Told]
) -> None:
    """Only a definite refusal holds delivery back: the answer is kept, a person is called, nothing is reset again."""
    company.world.cloudraya.reset_answer = _wrong
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "AttentionNeeded")
    assert not spied
    assert company.current() == company.first_password
    assert len(rotating.kept(company)) == 1
    assert "the registry refuses the password that was read from its answer" in rotating.asked_for_a_person(company)
    assert "The answer is kept" in rotating.problems(company)
    rotating.tick_in_vain(company)
    assert len(rotating.reset_calls(company)) == 1
    assert rotating.latest(company).phase is Phase.NEEDS_ATTENTION


def test_one_refusal_alone_is_no_refusal(company: Company, front: Front) -> None:
    """A registry whose user database is down answers 401 to the right password."""
    refused = Response.json({"errors": [{"code": "UNAUTHORIZED"}]}, 401, {"WWW-Authenticate": 'Basic realm="x"'})
    front.inject(answer(refused), when=_with_new(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert company.evidence()["wrong_logins"] == 3


@pytest.mark.parametrize("status", [429, None], ids=["locked", "unreachable"])
def test_a_registry_that_cannot_be_asked_holds_delivery_back_only_for_a_while(
    company: Company, front: Front, spied: Sequence[Told], status: int | None
) -> None:
    """Its positive answer is in hand: after `prove_within` the password goes out unproven, and is proven later."""
    cut = drop() if status is None else answer(Response.text("not now\n", status))
    front.inject(cut, when=_with_new(company), times=None)
    warned: list[bool] = []

    def lift(_: Request) -> None:
        warned.append(company.store.is_unproven())
        front.clear_faults()

    lifted = call(lift, acted=True)
    company.world.receiver.inject(lifted, when=rotating.is_write(company))
    execution = rotating.rotate(company)
    assert execution.status == "SUCCEEDED"
    assert "CloseAttempt" in execution.states, "the answer stays in the escrow until the password is proven"
    assert [told.stored for told in spied] == [company.current()] * 6
    evidence = company.evidence()
    assert evidence["new_password"]["verdict"] == "accepted"
    called, promoted = (datetime.fromisoformat(evidence["times"][name]) for name in ("called", "promoted"))
    assert (promoted - called).total_seconds() > 2, "the sandbox's `prove_within`"
    assert rotating.kept(company) == []
    assert (warned, company.store.is_unproven()) == ([True], False), "readers of the store are told, while it is so"


def _wrong(reset: Reset) -> Response:
    """Answer with another password than the one that was set, as a plan with a wrong `password_at` would read."""
    return documented_answer(type(reset)(reset.managed, reset.password[::-1]))


def _with_new(company: Company) -> Predicate:
    return by(company.name, lambda given: given != company.first_password)
