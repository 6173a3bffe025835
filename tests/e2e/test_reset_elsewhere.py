"""Somebody resets in the vendor's console while consumers are told: the rotation must not end well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import rotating

if TYPE_CHECKING:
    from tests.sandbox.company import Company


def test_before_verify_a_person_is_told_and_a_paste_mends_it(company: Company) -> None:
    """The reset itself heard its password accepted: only Verify can hear that it is dead."""
    held = company.world.github.hold(when=rotating.is_write(company))
    arn = rotating.start(company)
    held.wait_until_reached(rotating.PATIENCE)
    theirs = company.world.cloudraya.click_reset(company.name)
    held.release()
    execution = rotating.ended(company, arn)
    assert (execution.status, execution.error) == ("FAILED", "AttentionNeeded")
    assert "somebody reset it elsewhere" in rotating.asked_for_a_person(company)
    evidence = company.evidence()
    assert (evidence["outcome"], evidence["new_password"]["verdict"]) == ("needs_attention", "refused")
    assert len(rotating.reset_calls(company)) == 1
    assert rotating.paste(company, theirs).status == "SUCCEEDED"
    assert company.current() == theirs
    assert set(rotating.held_by_consumers(company).values()) == {theirs}
