"""Registry type `manual`: Rekey says "ready", a person clicks and pastes, and the rest is as everywhere."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import AttemptOutcome, Phase
from tests.e2e import rotating

if TYPE_CHECKING:
    from tests.e2e.conftest import NewCompany
    from tests.sandbox.company import Company


@pytest.fixture
def company(new_company: NewCompany) -> Company:
    return new_company("manual", ready_for="60s")


def test_ready_then_click_and_paste_then_finished(company: Company) -> None:
    execution = rotating.rotate(company)
    assert (execution.status, execution.states[-1]) == ("SUCCEEDED", "Ready")
    assert "choose Change Password" in rotating.asked_for_a_person(company)
    assert f"rekey paste {company.name}" in rotating.asked_for_a_person(company)
    assert rotating.logs_in(company, company.first_password)
    password = company.world.cloudraya.click_reset(company.name)
    assert rotating.paste(company, password).status == "SUCCEEDED"
    evidence = company.evidence()
    assert (evidence["outcome"], evidence["counts"]) == ("finished", {"consumers": 6, "done": 6})
    assert (evidence["old_password"]["verdict"], evidence["new_password"]["verdict"]) == ("refused", "accepted")
    assert evidence["contents"]["unchanged"] is True
    assert company.current() == password
    assert set(rotating.held_by_consumers(company).values()) == {password}
    assert rotating.open_things(company) == []
    assert rotating.kept(company) == []


def test_the_tick_leaves_a_rotation_alone_that_waits_for_a_person(company: Company) -> None:
    rotating.rotate(company)
    rotating.tick_in_vain(company)
    assert rotating.latest(company).phase is Phase.READY


def test_a_wrong_paste_is_asked_for_again_and_never_promoted(company: Company) -> None:
    company.document["registry"]["max_wrong_logins"] = 4  # two for the paste, two for the old password
    company.push_plan()
    rotating.rotate(company)
    password = company.world.cloudraya.click_reset(company.name)
    mistyped = secrets.token_urlsafe(16)
    assert rotating.paste(company, mistyped).states[-1] == "Ready"
    assert "refused by the registry" in rotating.asked_for_a_person(company)
    assert company.current() == company.first_password
    assert mistyped not in rotating.held_by_consumers(company).values()
    assert rotating.paste(company, password).states[-1] == "Finished"
    assert company.current() == password
    attempts = rotating.ledger(company).attempts(company.name, 1)
    assert [attempt.outcome for attempt in attempts] == [AttemptOutcome.WRONG_PASTE, AttemptOutcome.PROMOTED]
    assert rotating.kept(company) == []


def test_pasting_the_old_password_is_said_so_and_asked_for_again(company: Company) -> None:
    rotating.rotate(company)
    assert rotating.paste(company, company.first_password).states[-1] == "Ready"
    assert "the one in the store already" in rotating.asked_for_a_person(company)
    assert rotating.latest(company).completed is False


def test_where_nobody_clicks_it_is_closed_and_no_generation_is_used_up(new_company: NewCompany) -> None:
    company = new_company("manual", ready_for="1s")
    assert rotating.rotate(company).states[-1] == "Ready"
    execution = rotating.tick(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "nobody reset the password in time" in rotating.problems(company)
    assert rotating.latest(company).phase is Phase.STOPPED
    assert rotating.logs_in(company, company.first_password)
    rotating.tick(company)
    assert rotating.latest(company).generation == 1


def test_who_clicks_and_does_not_paste_is_called_and_a_paste_mends_it(new_company: NewCompany) -> None:
    company = new_company("manual", ready_for="1s")
    rotating.rotate(company)
    password = company.world.cloudraya.click_reset(company.name)
    assert rotating.tick(company).error == "AttentionNeeded"
    assert "the old password is dead and nobody pasted the new one" in rotating.asked_for_a_person(company)
    rotating.tick_in_vain(company)
    assert set(rotating.held_by_consumers(company).values()) == {company.first_password}
    assert rotating.paste(company, password).status == "SUCCEEDED"
    assert company.evidence()["outcome"] == "finished"
    assert set(rotating.held_by_consumers(company).values()) == {password}


def test_a_paste_that_nobody_waited_for_opens_a_rotation(company: Company) -> None:
    """Somebody reset the registry in the console: what they paste is stored and delivered."""
    password = company.world.cloudraya.click_reset(company.name)
    assert rotating.paste(company, password).status == "SUCCEEDED"
    assert company.evidence()["counts"] == {"consumers": 6, "done": 6}
    assert company.current() == password
