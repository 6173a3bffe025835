"""A Vault that is sealed before, during or after a reset: the rotation goes on where it was, once it is unsealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.e2e.vault.conftest import in_vault
from tests.sandbox import faults

if TYPE_CHECKING:
    from tests.sandbox.company import Company
    from tests.sandbox.vault_service import VaultService
    from tests.sandbox.wire import Predicate


def test_sealed_right_after_the_reset_it_ends_in_a_complete_rotation_with_one_reset(
    company: Company, vault: VaultService
) -> None:
    """Unsealed when the tick has come back for it in vain: nothing was delivered meanwhile, and nothing reset again."""
    company.world.cloudraya.inject(
        faults.call(lambda _: vault.server.seal(), acted=True), when=rotating.is_reset(company)
    )
    arn = rotating.start(company)
    assert rotating.ended(company, arn).status == "FAILED"
    rotating.tick(company)
    assert vault.server.health == 503
    assert rotating.latest(company).phase is Phase.RESETTING
    assert len(rotating.kept(company)) == 1, "the answer waits in the escrow"
    assert rotating.written(company) == []
    assert rotating.told(company, "Password Reset")
    vault.server.unseal()
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    assert len(rotating.reset_calls(company)) == 1


@pytest.mark.parametrize("at", ["staging", "promotion"])
@pytest.mark.parametrize("acted", [False, True])
def test_a_vault_that_seals_itself_on_the_way(company: Company, vault: VaultService, at: str, *, acted: bool) -> None:
    """Before or after the write: what it did is found again."""
    when: Predicate = getattr(in_vault(company), f"is_{at}")
    vault.door.inject(faults.call(lambda _: vault.server.seal(), acted=acted), when=when)
    rotating.rotate(company)
    assert vault.server.health == 503
    vault.server.unseal()
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)


def test_a_sealed_vault_before_the_reset_changes_nothing(company: Company, vault: VaultService) -> None:
    vault.server.seal()
    execution = rotating.rotate(company)
    assert execution.status == "FAILED"
    assert "is sealed: unseal it" in f"{execution.error} {execution.cause} {rotating.asked_for_a_person(company)}"
    vault.server.unseal()
    assert company.resets == 0
    assert rotating.logs_in(company, company.first_password)
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
