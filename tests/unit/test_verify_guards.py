"""Between two refusals of the old password the registry must be well: one that is not refuses everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey.model.request import Reason
from rekey.model.state import Next
from rekey.model.verdict import LoginVerdict
from tests.sandbox import faults
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.bare_stack import BareStack

UNWELL = faults.answer(Response.json({}, 503))


@pytest.fixture
def place(opened: BareStack) -> Iterator[Place]:
    """Make one whose old password was refused once since its new one is promoted and proven."""
    with Place(opened, Reason.REQUESTED) as place:
        assert place.reset().next is Next.DELIVER
        assert place.verify().next is Next.WAIT
        assert (place.rotation.old_refusals, place.rotation.old_verdict) == (1, None)
        place.shown.clear()
        place.opened.aws.requests.clear()
        yield place


def test_where_it_is_not_well_nothing_is_spent_and_nothing_said(place: Place) -> None:
    place.api.inject(UNWELL, times=None)
    assert place.verify().next is Next.CONSUMERS
    assert place.refused == 0
    rotation = place.rotation
    assert (rotation.old_refusals, rotation.wrong_logins, rotation.old_verdict) == (1, 1, None)
    assert place.opened.told(place.name) == []


def test_once_it_is_well_the_second_one_counts(place: Place) -> None:
    place.api.inject(UNWELL, times=None)
    place.verify()
    place.api.clear_faults()
    assert place.verify().next is Next.CONSUMERS
    assert place.rotation.old_verdict is LoginVerdict.REFUSED
    assert place.rotation.wrong_logins == 2
    assert place.opened.told(place.name) == ["Old Password Refused"]
