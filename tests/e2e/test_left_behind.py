"""Nobody is left with a dead password, and no password is left in the escrow, because something else came first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekey.model.rotation import Phase
from rekey.records.codec import partition
from tests.e2e import rotating
from tests.sandbox.faults import answer, drop
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from tests.sandbox.company import Company

LATE = "web-ci"
REFUSED = answer(Response.json({"message": "refused by the sandbox"}, 403))
OF_A_ROTATION = ("rotation#", "attempt#", "receipts#")


def test_a_later_leak_that_stops_at_the_gate_leaves_no_consumer_behind(company: Company) -> None:
    """The rotation before was closed for it; what that one had not told is told while the next one cannot begin."""
    world = company.world
    writes = rotating.is_write(company)
    world.github.inject(drop(), when=lambda one: writes(one) and "/web/" in one.path, times=None)
    assert rotating.rotate(company).error == "Unfinished"
    world.kubernetes.inject(REFUSED, when=lambda one: f"org-{company.name}" in one.path, times=None)
    world.github.clear_faults()
    assert rotating.rotate(company, leak="second").error == "NotReady"
    assert company.resets == 1
    held = rotating.held_by_consumers(company)
    assert set(held.values()) == {company.current()}, held
    assert rotating.outcomes(company, 1)[LATE] == "updated"
    ledger = rotating.ledger(company)
    first, second = ledger.rotation(company.name, 1), ledger.rotation(company.name, 2)
    assert first is not None
    assert second is not None
    assert (first.phase, second.phase) == (Phase.FINISHED, Phase.STOPPED)
    world.kubernetes.clear_faults()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert company.resets == 2
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert rotating.open_things(company) == []


def test_a_paste_beside_a_store_that_is_further_is_no_password_lost(company: Company) -> None:
    """The ledger forgot its rotations; the paste's own one is overtaken by the store, its password is the only copy."""
    assert rotating.rotate(company).status == "SUCCEEDED"
    _forget(company)
    password = company.world.cloudraya.click_reset(company.name)
    assert rotating.paste(company, password).status == "SUCCEEDED"
    assert company.current() == password
    assert set(rotating.held_by_consumers(company).values()) == {password}
    assert rotating.latest(company).generation > 1
    assert (rotating.kept(company), rotating.open_things(company)) == ([], [])


def test_a_wrong_paste_there_is_told_and_resets_nothing(company: Company) -> None:
    assert rotating.rotate(company).status == "SUCCEEDED"
    _forget(company)
    before = company.current()
    assert rotating.paste(company, f"{before}x").error == "NotReady"
    assert "a pasted password lay in the escrow" in rotating.asked_for_a_person(company)
    assert (company.current(), company.resets) == (before, 1)
    assert (rotating.kept(company), rotating.open_things(company)) == ([], [])


def _forget(company: Company) -> None:
    """Take what the ledger knows of the registry's rotations, as a restore from an early backup does."""
    cloud = company.world.cloud
    table = rotating.table(cloud)
    for item in table.query(partition(company.name)):
        if str(item["sk"]).startswith(OF_A_ROTATION):
            key = {"pk": {"S": str(item["pk"])}, "sk": {"S": str(item["sk"])}}
            cloud.client("dynamodb").delete_item(TableName=table.name, Key=key)
