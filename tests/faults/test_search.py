"""The reset protocol, explored: the invariants hold in every state, and no guard can be left out."""

from dataclasses import replace

import pytest

from tests.faults.search.configurations import ALL
from tests.faults.search.guards import REMOVALS, Removal, search
from tests.faults.search.model import Configuration

_A_PART = 8_000


@pytest.mark.parametrize("configuration", ALL, ids=lambda configuration: configuration.name)
def test_every_invariant_holds_in_every_state(configuration: Configuration) -> None:
    """Whatever fails and whoever comes in between: no password is lost, none is reset by accident, no old one wins."""
    found = search(replace(configuration, most=_A_PART))

    assert not found.problem, "\n".join([found.problem, *found.trace])


@pytest.mark.parametrize("removal", [r for r in REMOVALS if not r.slow], ids=lambda removal: removal.guard)
def test_the_protocol_fails_without_this_guard(removal: Removal) -> None:
    """Each guard is there for something that happens, and the search is able to see it."""
    found = search(removal.configuration, removal.guard)

    assert found.problem
    assert len(found.trace) > 1
