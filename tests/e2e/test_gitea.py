"""A real Gitea: it takes our password, shows no mark of a change, and its tokens outlive the password."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import AttemptOutcome, CallEnd
from tests.e2e import rotating
from tests.e2e.front import by
from tests.e2e.places import TOKEN, Run
from tests.sandbox import faults
from tests.sandbox.gitea_door import sets_password
from tests.sandbox.wire import Response
from tests.servers.requirement import require

if TYPE_CHECKING:
    from tests.e2e.conftest import NewCompany
    from tests.sandbox.company import Company
    from tests.sandbox.gitea_door import GiteaDoor
    from tests.sandbox.wire import Request

DAY = timedelta(hours=24)


@pytest.fixture(autouse=True)
def gitea() -> None:
    """Skip where there is no Gitea."""
    require("gitea")


@pytest.fixture
def company(new_company: NewCompany) -> Company:
    """Set one up whose registry is a Gitea."""
    return new_company("gitea")


def door(company: Company) -> GiteaDoor:
    return company.world.gitea_api


def calls(company: Company) -> list[Request]:
    is_set = sets_password(company.username)
    return [one for one in door(company).requests() if is_set(one)]


def test_a_whole_rotation(company: Company) -> None:
    """Two statements: the old password is dead, and whoever took a bearer with it can pull for a day."""
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    rotating.assert_rotated(company)
    assert len(calls(company)) == 1
    evidence = company.evidence()
    assert evidence["wrong_logins"] == 2, "the old one, refused twice, and nothing else"
    (bearer,) = evidence["old_tokens"]["tokens"]
    assert (bearer["kind"], bearer["verdict"]) == ("bearer", "accepted")
    lives = datetime.fromisoformat(bearer["ends"]) - datetime.fromisoformat(bearer["taken"])
    assert abs(lives - DAY) < timedelta(seconds=5)
    assert datetime.fromisoformat(bearer["taken"]) <= datetime.fromisoformat(evidence["times"]["called"])
    assert datetime.fromisoformat(bearer["tried"]) >= datetime.fromisoformat(evidence["times"]["promoted"])
    (warning,) = evidence["warnings"]
    assert f"still opens it, until {bearer['ends']}" in warning


def test_no_secret_and_no_token_of_it_leaks(company: Company) -> None:
    """A bearer of the old password is one more secret, in one function's memory."""
    run = Run.of(company, door(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert run.leaks() == set()
    tokens = {canary.text for canary in run.canaries() if canary.name == TOKEN}
    assert any(token.count(".") == 2 for token in tokens), "or there would be nothing to find"


def test_the_candidate_is_in_the_store_and_read_back_before_the_call(company: Company) -> None:
    """And no reader sees it there until the registry has taken it."""
    seen: dict[str, object] = {}

    def look(request: Request) -> None:
        seen["waiting"] = [fields["password"] for fields in company.store.waiting()]
        seen["current"] = company.current()
        seen["sent"] = request.json_object()["password"]

    door(company).inject(faults.call(look), when=sets_password(company.username))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert seen == {"waiting": [company.current()], "sent": company.current(), "current": company.first_password}


@pytest.mark.parametrize("lost", ["dropped", "gateway"])
def test_an_answer_lost_after_the_set_is_settled_by_a_login(company: Company, lost: str) -> None:
    """One set: there is no mark of a change, so the candidate is logged in with, and promoted."""
    fault = faults.drop(acted=True) if lost == "dropped" else faults.gateway_page(acted=True)
    door(company).inject(fault, when=sets_password(company.username))
    assert rotating.rotate(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(calls(company)) == 1
    (attempt,) = rotating.attempts(company)
    assert (attempt.end, attempt.change_mark, attempt.outcome) == (CallEnd.UNKNOWN, None, AttemptOutcome.PROMOTED)
    assert company.evidence()["wrong_logins"] == 2


@pytest.mark.parametrize("lost", ["dropped", "gateway"])
def test_a_call_lost_before_the_set_is_settled_by_the_old_password(company: Company, lost: str) -> None:
    """The candidate is refused twice and the old one accepted: nothing was set, and the next attempt sets its own."""
    fault = faults.drop() if lost == "dropped" else faults.gateway_page()
    door(company).inject(fault, when=sets_password(company.username))
    execution = rotating.rotate(company)
    if execution.status != "SUCCEEDED":
        assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(calls(company)) == 2
    first, second = rotating.attempts(company)
    assert (first.end, first.refusals, first.outcome) == (CallEnd.UNKNOWN, 2, AttemptOutcome.NO_EFFECT)
    assert second.outcome is AttemptOutcome.PROMOTED


def test_a_set_that_another_one_overtook_asks_for_a_person(company: Company) -> None:
    """What the registry then refuses is not ours to overwrite."""
    theirs = f"{company.first_password}-theirs"

    def overtake(_request: Request) -> None:
        company.registry.set_password(company.username, theirs)

    door(company).inject(faults.call(overtake, acted=True), when=sets_password(company.username))
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "AttentionNeeded")
    assert "said it took the password, and refuses it" in rotating.asked_for_a_person(company)
    assert company.current() == company.first_password
    assert rotating.written(company) == []
    assert rotating.logs_in(company, theirs)
    assert rotating.paste(company, theirs).status == "SUCCEEDED"
    assert set(rotating.held_by_consumers(company).values()) == {theirs}


def test_a_set_that_was_confirmed_goes_out_unproven_where_nobody_can_be_asked(company: Company) -> None:
    """And no time is spent on tokens: the evidence says that they were not tried."""
    new = by(company.username, lambda shown: shown != company.first_password)
    door(company).inject(faults.gateway_page(), when=new, times=None)
    rotating.rotate(company)
    assert company.current() == company.made[-1]
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert rotating.latest(company).new_verdict == "unproven"
    door(company).clear_faults()
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    (bearer,) = company.evidence()["old_tokens"]["tokens"]
    assert (bearer["verdict"], bearer["tried"]) == (None, None)
    assert bearer["note"].startswith("not tried")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"prohibit_login": True}, "is prohibited from signing in"), ({"active": False}, "is not active")],
)
def test_a_user_that_no_password_would_help_stops_before_the_call(
    company: Company, change: dict[str, bool], said: str
) -> None:
    company.world.gitea.change_user(company.username, **change)
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert said in rotating.problems(company)
    assert calls(company) == []
    assert company.current() == company.first_password
    assert set(rotating.held_by_consumers(company).values()) == {company.first_password}


def test_two_factor_login_stops_before_the_call(company: Company) -> None:
    """Nobody could prove a new password, and no `docker login` would take it."""
    company.world.gitea.enrol_totp(company.username, company.first_password)
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "turn two-factor login off" in rotating.problems(company)
    assert calls(company) == []
    assert company.current() == company.first_password


def test_a_refused_set_uses_nothing_up_and_the_tick_tries_again(company: Company) -> None:
    """The administrator's right was taken away after the check: nothing was set."""
    admin, gitea = f"rekey-{company.name}", company.world.gitea

    def take_away(_request: Request) -> None:
        gitea.change_user(admin, admin=False)

    door(company).inject(faults.call(take_away), when=sets_password(company.username))
    execution = rotating.rotate(company)
    gitea.change_user(admin, admin=True)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "HTTP 403" in rotating.problems(company)
    assert company.made == []
    assert company.current() == company.first_password
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert rotating.latest(company).generation == 1


def test_a_password_that_gitea_does_not_take_says_what_to_change(company: Company) -> None:
    said = {"message": "password must be at least 60 characters", "url": "https://gitea.test/api/swagger"}
    door(company).inject(faults.answer(Response.json({**said}, 400)), when=sets_password(company.username))
    assert rotating.rotate(company).error == "NotReady"
    assert "asks for 60 characters: set the plan's `alphabet.min_length` to that" in rotating.problems(company)
    assert company.made == []


def test_what_outlives_the_password_is_said_at_the_gate(company: Company) -> None:
    """A public user, a personal access token and `must_change_password` stop nothing, and stand in the evidence."""
    gitea = company.world.gitea
    token = gitea.token(company.username, company.first_password, ["read:package"])
    gitea.change_user(company.username, visibility="public", must_change_password=True)
    assert rotating.rotate(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    warnings = company.evidence()["warnings"]
    assert [one.startswith("registry: ") for one in warnings] == [True, True, True]
    public, tokens, must_change = warnings
    assert f"anybody may pull {company.username}/api" in public
    assert "personal access tokens" in tokens
    assert "`must_change_password`" in must_change
    assert list(rotating.latest(company).warnings) == [one.removeprefix("registry: ") for one in warnings]
    assert rotating.logs_in(company, token)
    assert token not in json.dumps(company.evidence())
    (bearer,) = company.evidence()["old_tokens"]["tokens"]
    assert bearer["verdict"] == "inconclusive", "anybody opens what is public"


def test_a_rotation_that_stops_at_the_gate_says_it_too(company: Company) -> None:
    gitea = company.world.gitea
    gitea.change_user(company.username, visibility="public")
    company.world.receiver.stop()
    try:
        assert rotating.request(company).error == "NotReady"
    finally:
        company.world.receiver.start()
    (warning,) = company.evidence()["warnings"]
    assert "anybody may pull" in warning


def test_the_first_adoption(new_company: NewCompany) -> None:
    """The store holds nothing, so there is no old password to ask, and none to take a token with."""
    company = new_company("gitea", adopted=False)
    door(company).inject(faults.drop(acted=True), when=sets_password(company.username))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert company.made == [company.current()]
    assert rotating.logs_in(company, company.current())
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert company.evidence()["old_tokens"] == {
        "note": "not tried: the store held no earlier password to take one with",
        "tokens": [],
    }
