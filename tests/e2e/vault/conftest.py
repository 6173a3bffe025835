"""Companies whose password is in the sandbox's Vault, which is unsealed after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sandbox.vault_company import InVault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import NewCompany
    from tests.sandbox.company import Company
    from tests.sandbox.vault_service import VaultService


@pytest.fixture
def company(new_company: NewCompany) -> Company:
    """Set one up whose password is in Vault."""
    return new_company(store="vault")


@pytest.fixture
def vault(company: Company) -> Iterator[VaultService]:
    """Return the Vault; afterwards it is unsealed."""
    vault = company.world.vault
    yield vault
    if vault.server.health != 200:
        vault.server.unseal()


def in_vault(company: Company) -> InVault:
    """Return the company's place."""
    assert isinstance(company.store, InVault)
    return company.store
