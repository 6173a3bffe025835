"""Fixtures of the tests of the store in Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.store_cases import Surroundings, VaultCase

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def surroundings() -> Iterator[Surroundings]:
    """Open what a store needs around it, a real Vault among it, for a module's tests."""
    with Surroundings() as surroundings:
        yield surroundings


@pytest.fixture
def case(surroundings: Surroundings) -> Iterator[VaultCase]:
    """Return a store in Vault at a path that no other test knows; afterwards nothing is broken."""
    case = VaultCase(surroundings)
    yield case
    case.restore()
