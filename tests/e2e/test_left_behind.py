"""Nobody is left with a dead password, and no password is left in the escrow, because something else came first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekey.records.codec import partition
from tests.e2e import rotating

if TYPE_CHECKING:
    from tests.sandbox.world import Company

OF_A_ROTATION = ("rotation#", "attempt#", "receipts#")


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
