"""The reset protocol, explored: the invariants hold in every state, and no guard can be left out."""

import pytest

from tests.faults.search.configurations import ALL, part_of
from tests.faults.search.guards import REMOVALS, Removal, search
from tests.faults.search.model import Configuration


@pytest.mark.parametrize("configuration", ALL, ids=lambda configuration: configuration.name)
def test_every_invariant_holds_in_every_state(configuration: Configuration) -> None:
    """Whatever fails and whoever comes in between: no password is lost, none is reset by accident, no old one wins."""
    found = search(part_of(configuration))

    assert not found.problem, "\n".join([found.problem, *found.trace])


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.guard)
def test_the_protocol_fails_without_this_guard(removal: Removal) -> None:
    """Each guard is there for something that happens, and the search is able to see it."""
    found = search(removal.configuration, removal.guard)

    assert found.problem
    assert len(found.trace) > 1
