"""The first rotation of a registry, whatever its store holds before, and the second one after it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from rekey.model.rotation import Phase
from tests.e2e import rotating

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.conftest import NewCompany
    from tests.sandbox.company import Company


def test_a_store_without_any_value_is_filled(new_company: NewCompany) -> None:
    """Nobody told the store the password: the first rotation does, and says honestly what it could not ask."""
    company = new_company(adopted=False)
    assert rotating.rotate(company).status == "SUCCEEDED"
    evidence = company.evidence()
    assert (evidence["outcome"], evidence["counts"]) == ("finished", {"consumers": 6, "done": 6})
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["old_password"] == {
        "verdict": None,
        "at": None,
        "note": "the store holds no earlier password to ask about",
    }
    assert evidence["contents"]["unchanged"] is None
    assert "no password to read the contents with" in evidence["contents"]["note"]
    assert evidence["wrong_logins"] == 0
    assert rotating.logs_in(company, company.current())
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}


def test_no_reader_sees_a_placeholder_or_a_candidate_as_the_password(new_company: NewCompany) -> None:
    """The first version ever put is in force at once: it must not be the candidate, nor pass for a password."""
    company = new_company(adopted=False)
    rotating.rotate(company)
    texts = company.store.everything()
    holding = [text for text in texts if "password" in json.loads(text)]
    assert len(holding) == 1
    assert all(json.loads(text).get("placeholder") for text in texts if text not in holding)


def test_a_secret_with_user_name_and_password_is_taken_over(company: Company) -> None:
    """Its shape stays readable for whoever read it before, and everything else is added."""
    assert rotating.rotate(company).status == "SUCCEEDED"
    stored = _stored(company)
    assert stored["username"] == company.name
    assert stored["password"] not in ("", company.first_password)
    assert (stored["registry"], stored["generation"]) == (company.name, 1)
    (entry,) = json.loads(stored[".dockerconfigjson"])["auths"].values()
    assert base64.b64decode(entry["auth"]).decode() == f"{company.name}:{stored['password']}"


def test_the_second_rotation_follows_the_first(company: Company) -> None:
    assert rotating.rotate(company).status == "SUCCEEDED"
    first = company.current()
    assert rotating.rotate(company).status == "SUCCEEDED"
    evidence = company.evidence(2)
    assert (evidence["rotation"], evidence["outcome"]) == (f"{company.name}/2", "finished")
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["counts"] == {"consumers": 6, "done": 6}
    assert _stored(company)["generation"] == 2
    assert company.current() != first
    assert not rotating.logs_in(company, first)
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert company.resets == 2
    assert company.evidence(1)["outcome"] == "finished", "the first one's evidence stays"


def test_a_rotation_that_stopped_before_its_reset_uses_no_generation_up(company: Company) -> None:
    company.world.cloudraya.set_busy(company.name)
    assert rotating.rotate(company).error == "NotReady"
    assert rotating.tick(company).status == "SUCCEEDED"
    rotation = rotating.latest(company)
    assert (rotation.generation, rotation.phase, rotation.attempts) == (1, Phase.FINISHED, 2)
    assert _stored(company)["generation"] == 1


def _stored(company: Company) -> Mapping[str, Any]:
    return company.store.in_force()
