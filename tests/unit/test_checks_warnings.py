"""What a registry warns of at the gate: it is shown a password only where that is known to be right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from rekey.contracts import Registry, Store, Stored
from rekey.errors import Denied, RekeyError, Unreachable
from rekey.model.names import Generation, StoreVersion
from rekey.model.password import Password
from rekey.steps import checks
from tests.unit.reset_states import NOW, rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekey.model.rotation import Rotation

STORED = Stored(StoreVersion("v1"), Password("of-the-store"), Generation(0))


@dataclass
class Warns:
    """A registry that warns of one thing, and a store."""

    fails: RekeyError | None = None
    store_fails: RekeyError | None = None
    shown: list[Password | None] = field(default_factory=list)

    def warnings(self, password: Password | None) -> Sequence[str]:
        self.shown.append(password)
        if self.fails:
            raise self.fails
        return ["anybody may pull"]

    def current(self) -> Stored:
        if self.store_fails:
            raise self.store_fails
        return STORED

    def said(self, of: Rotation) -> tuple[str, ...]:
        return checks.warnings(of, cast("Registry", self), cast("Store", self))


def test_the_password_is_shown_where_the_registry_took_it_a_moment_ago() -> None:
    registry = Warns()
    assert registry.said(rotation(snapshot_at=NOW)) == ("anybody may pull",)
    assert registry.shown == [STORED.password]


def test_it_is_not_where_nobody_knows_whether_it_is_right() -> None:
    """It could be one wrong login too many."""
    registry = Warns()
    registry.said(rotation(snapshot_at=None))
    assert registry.shown == [None]


@pytest.mark.parametrize("registry", [Warns(fails=Unreachable("no answer")), Warns(store_fails=Denied("no answer"))])
def test_what_cannot_be_looked_at_is_said_and_stops_nothing(registry: Warns) -> None:
    assert registry.said(rotation(snapshot_at=NOW)) == ("what outlives the password could not be looked at: no answer",)
