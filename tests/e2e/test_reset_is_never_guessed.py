"""The outcome of a reset is never guessed, its call never repeated, and an answer is on disk before it is read."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rekey.contracts import Answer
from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.e2e.front import by
from tests.sandbox import cloudraya
from tests.sandbox.aws_faults import call_after, refuse
from tests.sandbox.faults import drop, gateway_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.front import Front
    from tests.sandbox.cloudraya import Reset
    from tests.sandbox.company import Company
    from tests.sandbox.wire import Response


def test_an_answer_that_was_lost_is_reset_once_more_when_the_old_password_is_surely_dead(company: Company) -> None:
    """Nobody has the new password, and a person hears of it at once."""
    company.world.cloudraya.inject(drop(acted=True), when=rotating.is_reset(company))
    execution = rotating.rotate(company)
    assert (execution.status, company.evidence()["outcome"]) == ("SUCCEEDED", "finished")
    assert company.resets == 2
    assert company.evidence()["resets"] == 2
    assert "its new password is lost" in rotating.asked_for_a_person(company)
    assert company.current() == company.world.cloudraya.resets(company.name)[-1].password
    assert rotating.kept(company) == []


def test_an_answer_that_was_lost_before_the_reset_took_effect_leads_to_one_reset(company: Company) -> None:
    """The old password is still good once the call can have no more effect: it had none."""
    company.world.cloudraya.inject(drop(acted=False), when=rotating.is_reset(company))
    execution = rotating.rotate(company)
    assert (execution.status, company.evidence()["outcome"]) == ("SUCCEEDED", "finished")
    assert company.resets == 1
    assert company.evidence()["resets"] == 1


@pytest.mark.parametrize(
    "answered",
    [cloudraya.html_with_password, cloudraya.password_under("secret"), cloudraya.empty_answer],
    ids=["html", "another key", "empty"],
)
def test_an_answer_whose_password_cannot_be_found_is_kept(
    company: Company, answered: Callable[[Reset], Response]
) -> None:
    company.world.cloudraya.reset_answer = answered
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "AttentionNeeded")
    _needs_a_person(company, "no password at /data/password", "kept in the escrow", "`password_at`", "`rekey paste`")
    assert company.resets == 1
    assert company.current() == company.first_password


def test_a_gateways_page_is_an_answer_that_is_kept_and_no_reason_to_call_again(company: Company) -> None:
    company.world.cloudraya.inject(gateway_page(acted=True), when=rotating.is_reset(company))
    assert rotating.rotate(company).error == "AttentionNeeded"
    _needs_a_person(company, "HTTP 502", "kept in the escrow")
    (attempt,) = rotating.ledger(company).attempts(company.name, 1)
    kept = rotating.escrow(company).read(attempt)
    assert kept is not None
    assert b"502 Bad Gateway" in Answer.from_bytes(kept).body
    assert company.resets == 1


def test_a_gateways_page_while_the_old_password_is_still_good_was_no_reset(company: Company) -> None:
    company.world.cloudraya.inject(gateway_page(), when=rotating.is_reset(company))
    execution = rotating.rotate(company)
    assert (execution.status, company.evidence()["outcome"]) == ("SUCCEEDED", "finished")
    assert company.resets == 1
    assert rotating.kept(company) == [], "the page is thrown away when its attempt is closed"


def test_the_way_out_is_a_paste(company: Company) -> None:
    company.world.cloudraya.reset_answer = cloudraya.html_answer
    rotating.rotate(company)
    (reset,) = company.world.cloudraya.resets(company.name)
    assert rotating.paste(company, reset.password).status == "SUCCEEDED"
    assert company.evidence()["outcome"] == "finished"
    assert set(rotating.held_by_consumers(company).values()) == {reset.password}
    assert rotating.kept(company) == [], "the answer that was kept goes when a password is proven"
    assert company.resets == 1


def test_a_paste_after_a_misread_answer_is_not_reset_over(company: Company) -> None:
    """Nobody says when they clicked: that the old password was good before the call, and is dead, says enough."""
    other = secrets.token_urlsafe(12)
    company.world.cloudraya.reset_answer = lambda reset: cloudraya.documented_answer(replace(reset, password=other))
    assert rotating.rotate(company).error == "AttentionNeeded"
    _needs_a_person(company, "the plan's `password_at` may be wrong", "`rekey paste`")
    theirs = company.world.cloudraya.click_reset(company.name)
    assert rotating.paste(company, theirs).status == "SUCCEEDED"
    assert company.evidence()["outcome"] == "finished"
    assert rotating.open_things(company) == []
    rotating.tick_in_vain(company)
    assert (company.current(), len(rotating.reset_calls(company))) == (theirs, 1)


def test_a_definite_refusal_changes_nothing_and_is_tried_again_by_itself(company: Company) -> None:
    company.world.cloudraya.set_busy(company.name)
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "the registry refused to reset: HTTP 400" in rotating.problems(company)
    assert company.resets == 0
    assert rotating.latest(company).phase is Phase.STOPPED
    assert rotating.kept(company) == []
    assert [key.split("#")[0] for key in rotating.open_things(company)] == ["request"]
    rotating.tick_in_vain(company)  # not before `again_at`
    assert rotating.tick(company).status == "SUCCEEDED"
    assert company.resets == 1
    assert rotating.open_things(company) == []


def test_a_function_killed_right_after_the_answer_was_kept_resumes_without_another_reset(company: Company) -> None:
    cloud = company.world.cloud
    killed = cloud.faults.add(
        "dynamodb:TransactWriteItems", call_after(cloud.lambdas.kill_caller), where=rotating.keeps_an_answer(company)
    )
    execution = rotating.rotate(company)
    assert killed.struck == 1
    assert execution.status == "SUCCEEDED"
    assert execution.states.count("Reset") == 1, "the Task was tried again, from the escrow"
    assert len(rotating.reset_calls(company)) == 1
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}


def test_an_escrow_that_refuses_costs_no_password(company: Company) -> None:
    """Then it is read and staged at once."""
    company.world.cloud.faults.add(
        "dynamodb:TransactWriteItems", refuse(), times=None, where=rotating.keeps_an_answer(company)
    )
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert len(rotating.reset_calls(company)) == 1
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}


def test_the_answer_is_kept_before_anything_reads_it(company: Company, front: Front) -> None:
    """Reset call, escrow, and only then the login, the store, or any other call to AWS that could fail."""
    rotating.rotate(company)
    (call,) = rotating.reset_calls(company)
    requests = company.world.cloud.requests
    keeps = rotating.keeps_an_answer(company)
    (kept,) = [one for one in requests if one.operation == "dynamodb:TransactWriteItems" and keeps(one)]
    between = [one for one in requests if call.order < one.order < kept.order and one.caller == kept.caller]
    assert [one.operation for one in between] == []
    is_new = by(company.name, lambda given: given == company.current())
    assert kept.order < min(one.request.order for one in front.exchanges if is_new(one.request))
    (staged,) = company.store.stagings()
    assert kept.order < staged


def _needs_a_person(company: Company, *said: str) -> None:
    """Check that a person is called and told how to go on, that one call was made, and that no tick makes another."""
    for text in said:
        assert text in rotating.asked_for_a_person(company)
        assert text in rotating.problems(company)
    assert rotating.latest(company).phase is Phase.NEEDS_ATTENTION
    before = rotating.kept(company)
    rotating.tick_in_vain(company)
    assert len(rotating.reset_calls(company)) == 1
    assert rotating.kept(company) == before
    assert rotating.written(company) == []
