"""The reset protocol, explored: invariants hold, a good end stays in reach, and no guard can be left out."""

from dataclasses import replace
from functools import cache

import pytest

from rekey.acts import Way
from tests.faults.search.configurations import ALL, CONSOLE, IN_PART, LIE, MISREAD, MOST, RESTORE, TAKES_LIE, part_of
from tests.faults.search.explore import NEEDLESS, NO_END, Found, Search
from tests.faults.search.guards import REMOVALS, Removal, never_calls, only_asks_people, search
from tests.faults.search.model import Configuration, Guard, Model

GUARDED_IN_PART = {Guard.PASTE_DATED}
"""With these guards their configuration is looked at in part: further than where it fails without, not to the end."""
CALLING = [configuration for configuration in ALL if configuration.way is not Way.MANUAL]


@cache
def _searched(configuration: Configuration) -> Found:
    """Search a configuration once, whoever asks for it."""
    return search(configuration)


@pytest.mark.parametrize("configuration", ALL, ids=lambda configuration: configuration.name)
def test_every_invariant_holds_and_a_good_end_stays_in_reach(configuration: Configuration) -> None:
    """Whatever fails and whoever comes in between: no password is lost, none is reset by accident, no old one wins.

    In every state with one fault less than `--all` looks at; of those in IN_PART in the first, and without the end.
    """
    found = _searched(part_of(configuration))

    assert not found.problem, "\n".join([found.problem, *found.trace])
    assert found.complete == (configuration not in IN_PART)


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.guard)
def test_the_protocol_fails_without_this_guard_and_holds_with_it(removal: Removal) -> None:
    """Each guard is there for something that happens, and what the search then sees comes of nothing else."""
    found = search(removal.configuration, removal.guard)
    guarded = _searched(replace(removal.configuration, most=MOST))

    assert removal.missed_in(found), found.problem
    assert len(found.trace) > 1
    assert not guarded.problem, "\n".join([guarded.problem, *guarded.trace])
    assert guarded.complete == (removal.guard not in GUARDED_IN_PART)


@pytest.mark.parametrize(
    "configuration",
    [
        *(replace(configuration, faults=0) for configuration in CALLING),
        *(part_of(configuration) for configuration in (LIE, TAKES_LIE, CONSOLE, RESTORE, MISREAD)),
    ],
    ids=lambda configuration: f"{configuration.name}, faults: {configuration.faults}",
)
def test_a_protocol_that_never_calls_comes_to_no_good_end(configuration: Configuration) -> None:
    """It breaks no invariant: only the search for a good end from every state finds it out."""
    found = Search(Model(configuration, decide=never_calls)).run()

    assert found.problem == NO_END


@pytest.mark.parametrize("configuration", CALLING, ids=lambda configuration: configuration.name)
def test_a_protocol_that_only_asks_people_asks_them_needlessly(configuration: Configuration) -> None:
    """A person is an end where the protocol cannot go on, and nowhere else."""
    found = Search(Model(replace(configuration, faults=0), decide=only_asks_people)).run()

    assert found.problem == NEEDLESS
