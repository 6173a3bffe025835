"""A registry that takes our password: it is in the store before the call, so no answer can lose it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import AttemptOutcome, CallEnd
from tests.e2e import rotating
from tests.e2e.front import by
from tests.sandbox import faults
from tests.sandbox.harbor import API
from tests.sandbox.harbor_robots import made_up
from tests.sandbox.wire import Response
from tests.sandbox.world import SHORT

if TYPE_CHECKING:
    from tests.e2e.conftest import NewCompany
    from tests.e2e.front import Front
    from tests.sandbox.company import Company
    from tests.sandbox.harbor import Harbor
    from tests.sandbox.wire import Fault, Predicate, Request

PROVE_WITHIN = int(SHORT["ProveWithin"])
"""Seconds; it asks at most once a second."""


@pytest.fixture
def company(new_company: NewCompany) -> Company:
    """Set one up whose registry is a Harbor."""
    return new_company("harbor")


def is_set(company: Company) -> Predicate:
    """Return what picks the calls that set this robot's secret."""
    return lambda request: (request.method, request.path) == ("PATCH", f"{API}/robots/{company.robot_id}")


def calls(company: Company) -> list[Request]:
    return [one for one in company.world.harbor.requests() if is_set(company)(one)]


def test_a_whole_rotation(company: Company) -> None:
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    rotating.assert_rotated(company)
    assert len(calls(company)) == 1
    assert company.evidence()["wrong_logins"] == 2, "the old one, refused twice, and nothing else"


def test_the_candidate_is_in_the_store_and_read_back_before_the_call(company: Company) -> None:
    """And no reader sees it there until the registry has taken it."""
    seen: dict[str, str] = {}

    def look(request: Request) -> None:
        (candidate,) = company.store.waiting()
        seen.update(candidate=candidate["password"], in_force=company.current())
        seen["sent"] = str(request.json_object()["secret"])

    company.world.harbor.inject(faults.call(look), when=is_set(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert seen == {"candidate": company.current(), "sent": company.current(), "in_force": company.first_password}


@pytest.mark.parametrize("lost", ["dropped", "gateway"])
def test_an_answer_lost_after_the_set_is_settled_by_the_mark_and_a_login(company: Company, lost: str) -> None:
    """One set: the candidate is logged in with and promoted, and no wrong login is spent on finding out."""
    fault = faults.drop(acted=True) if lost == "dropped" else faults.gateway_page(acted=True)
    company.world.harbor.inject(fault, when=is_set(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(calls(company)) == 1
    (attempt,) = rotating.attempts(company)
    assert (attempt.end, attempt.mark_moved, attempt.outcome) == (CallEnd.UNKNOWN, True, AttemptOutcome.PROMOTED)
    assert company.evidence()["wrong_logins"] == 2


@pytest.mark.parametrize("lost", ["dropped", "gateway"])
def test_a_call_lost_before_the_set_is_settled_by_the_mark_alone(company: Company, front: Front, lost: str) -> None:
    """Nothing moved, so nothing was set: the next attempt's candidate is the first that anybody is asked about."""
    fault = faults.drop() if lost == "dropped" else faults.gateway_page()
    company.world.harbor.inject(fault, when=is_set(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(calls(company)) == 2
    first, second = rotating.attempts(company)
    assert (first.end, first.mark_moved, first.outcome) == (CallEnd.UNKNOWN, False, AttemptOutcome.NO_EFFECT)
    assert second.outcome is AttemptOutcome.PROMOTED
    unset = str(calls(company)[0].json_object()["secret"])
    assert [one for one in front.requests() if by(company.username, lambda shown: shown == unset)(one)] == []


def test_a_mark_that_somebody_else_moved_is_no_set(company: Company) -> None:
    """The call was lost and an administrator edited the robot: the candidate is refused, the old one still good."""
    harbor = company.world.harbor
    harbor.inject(faults.call(lambda _: harbor.disable(company.robot_id, disabled=False)), when=is_set(company))
    harbor.inject(faults.drop(), when=is_set(company))
    execution = rotating.rotate(company)
    if execution.status != "SUCCEEDED":
        assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    first, second = rotating.attempts(company)
    assert (first.mark_moved, first.refusals, first.outcome) == (True, 2, AttemptOutcome.NO_EFFECT)
    assert second.outcome is AttemptOutcome.PROMOTED
    assert rotating.latest(company).wrong_logins == 4


def test_a_secret_that_harbor_made_up_is_not_taken_for_ours(company: Company) -> None:
    """Somebody's proxy emptied the body: Harbor rotated to a secret of its own, and one more set brings ours."""
    harbor = company.world.harbor
    harbor.inject(_rotates_to_another(harbor, company), when=is_set(company))
    execution = rotating.rotate(company)
    if execution.status != "SUCCEEDED":
        assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company, resets=2)
    first, second = rotating.attempts(company)
    assert (first.end, first.outcome) == (CallEnd.UNKNOWN, AttemptOutcome.LOST)
    assert second.outcome is AttemptOutcome.PROMOTED


def _rotates_to_another(harbor: Harbor, company: Company) -> Fault:
    def fault(_request: Request, _act: object) -> Response:
        made = harbor.robots.refresh(harbor.robots.get(company.robot_id), "")
        return Response.json({"secret": made})

    return fault


def test_a_registry_that_refuses_the_right_password_for_a_while(company: Company, front: Front) -> None:
    """The outcome is unknown and the user database is down: a 401 then is no refusal, and the candidate is promoted."""
    harbor = company.world.harbor
    harbor.inject(faults.drop(acted=True), when=is_set(company))
    new = by(company.username, lambda shown: shown != company.first_password)
    unauthorized = Response(401, b"{}", {"Content-Type": "application/json", "Www-Authenticate": 'Basic realm="x"'})
    front.inject(faults.answer(unauthorized), when=new)
    assert rotating.rotate(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert [attempt.refusals for attempt in rotating.attempts(company)] == [1]


def test_an_unproven_password_goes_out_only_after_the_sets_own_answer(company: Company, front: Front) -> None:
    """With an unknown outcome and nobody to ask nobody knows what was set: it waits, and delivers nothing."""
    company.world.harbor.inject(faults.drop(acted=True), when=is_set(company))
    new = by(company.username, lambda shown: shown != company.first_password)
    front.inject(faults.gateway_page(), when=new, times=None)
    arn = rotating.start(company)
    rotating.wait_until(lambda: len([one for one in front.requests() if new(one)]) > 2 * PROVE_WITHIN)
    assert company.current() == company.first_password
    assert rotating.written(company) == []
    front.clear_faults()
    assert rotating.ended(company, arn).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(calls(company)) == 1


def test_a_set_that_was_confirmed_goes_out_unproven_where_nobody_can_be_asked(company: Company, front: Front) -> None:
    new = by(company.username, lambda shown: shown != company.first_password)
    front.inject(faults.gateway_page(), when=new, times=None)
    rotating.rotate(company)
    assert company.current() == company.made[-1]
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert rotating.latest(company).new_verdict == "unproven"
    front.clear_faults()
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)


@pytest.mark.parametrize("why", ["disabled", "expired", "read-only"])
def test_a_robot_that_no_secret_would_help_stops_before_the_call(company: Company, why: str) -> None:
    harbor = company.world.harbor
    if why == "disabled":
        harbor.disable(company.robot_id)
    elif why == "expired":
        harbor.expire(company.robot_id)
    else:
        harbor.read_only = True
    execution = rotating.rotate(company)
    harbor.read_only = False
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert f"is {why}" in rotating.problems(company) or "read-only mode" in rotating.problems(company)
    assert calls(company) == []
    assert rotating.attempts(company) == []
    assert company.current() == company.first_password
    assert set(rotating.held_by_consumers(company).values()) == {company.first_password}


def test_a_refused_set_uses_nothing_up_and_the_tick_tries_again(company: Company) -> None:
    """Read-only mode began after the check: nothing was set, and the candidate is not promoted."""
    harbor = company.world.harbor

    def set_read_only(_request: Request) -> None:
        harbor.read_only = True

    harbor.inject(faults.call(set_read_only), when=is_set(company))
    execution = rotating.rotate(company)
    harbor.read_only = False
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "HTTP 403" in rotating.problems(company)
    assert company.made == []
    assert company.current() == company.first_password
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert rotating.latest(company).generation == 1


def test_a_set_that_another_one_overtook_asks_for_a_person(company: Company) -> None:
    """Two racing calls both get 200: what the registry then refuses is not ours to overwrite."""
    harbor, theirs = company.world.harbor, made_up()

    def overtake(_request: Request) -> None:
        harbor.robots.refresh(harbor.robots.get(company.robot_id), theirs)

    harbor.inject(faults.call(overtake, acted=True), when=is_set(company))
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "AttentionNeeded")
    assert "said it took the password, and refuses it" in rotating.asked_for_a_person(company)
    assert company.current() == company.first_password
    assert rotating.written(company) == []
    assert rotating.logs_in(company, theirs)
    assert len(calls(company)) == 1
    assert rotating.paste(company, theirs).status == "SUCCEEDED"
    assert company.current() == theirs
    assert set(rotating.held_by_consumers(company).values()) == {theirs}


def test_the_first_adoption(new_company: NewCompany) -> None:
    """The store holds nothing, so there is no old password to ask; a lost answer is settled all the same."""
    company = new_company("harbor", adopted=False)
    company.world.harbor.inject(faults.drop(acted=True), when=is_set(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert company.made == [company.current()]
    assert rotating.logs_in(company, company.current())
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
