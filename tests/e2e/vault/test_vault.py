"""A whole rotation whose password is kept in a real Vault, and what a Vault that is away, or sealed, does to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import rotating
from tests.e2e.places import VAULT, Run
from tests.e2e.vault.conftest import in_vault
from tests.sandbox import faults
from tests.sandbox.vault_policy import least_policy, without
from tests.sandbox.world import ROOT

if TYPE_CHECKING:
    from tests.e2e.conftest import NewCompany
    from tests.e2e.front import Front
    from tests.sandbox.company import Company
    from tests.sandbox.vault_service import VaultService
    from tests.sandbox.wire import Request


def fields(company: Company) -> dict[str, Any]:
    return dict(company.store.in_force())


def test_a_whole_rotation(company: Company, vault: VaultService) -> None:
    """With the policy of the README and nothing more."""
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    rotating.assert_rotated(company)
    (delivery,) = [one for one in company.world.receiver.deliveries if company.name in str(one.payload)]
    assert delivery.value == company.current(), "the webhook's receiver found it by the reference alone"
    assert company.store.waiting() == []
    assert (fields(company)["generation"], fields(company)["registry"]) == (1, company.name)
    metadata = vault.call("GET", f"secret/metadata/{company.secret_name}")["data"]
    assert metadata["custom_metadata"] == {"generation": "1", "registry": company.name}
    assert metadata["current_version"] == 2, "the one found there, and the new one"


def test_the_next_rotation_follows_it(company: Company) -> None:
    assert rotating.rotate(company).status == "SUCCEEDED"
    first = company.current()
    assert rotating.request(company).status == "SUCCEEDED"
    assert fields(company)["generation"] == 2
    assert not rotating.logs_in(company, first)
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert company.evidence(2)["old_password"]["verdict"] == "refused"


def test_the_first_adoption(new_company: NewCompany) -> None:
    """The path does not exist yet."""
    company = new_company(store="vault", adopted=False)
    with pytest.raises(LookupError):
        company.store.in_force()
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert rotating.logs_in(company, company.current())
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}


def test_a_registry_that_takes_our_password(new_company: NewCompany) -> None:
    """The candidate waits where no reader looks, until the registry has taken it."""
    company = new_company("harbor", store="vault")
    seen: dict[str, str] = {}

    def look(request: Request) -> None:
        (candidate,) = company.store.waiting()
        seen.update(candidate=candidate["password"], in_force=company.current())
        seen["sent"] = str(request.json_object()["secret"])

    path = f"/api/v2.0/robots/{company.robot_id}"
    company.world.harbor.inject(faults.call(look), when=lambda one: (one.method, one.path) == ("PATCH", path))
    assert rotating.rotate(company).status == "SUCCEEDED"
    new = company.current()
    assert seen == {"candidate": new, "sent": new, "in_force": company.first_password}
    rotating.assert_rotated(company)


def test_a_right_that_is_missing_stops_it_before_the_reset(company: Company, vault: VaultService) -> None:
    """And says which."""
    policy = least_policy(vault.mount, company.secret_name)
    vault.server.write_policy(f"rekey-{company.name}", without(policy, f"/data/{company.secret_name}", "update"))
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert f'"create and update" on `secret/data/{company.secret_name}`' in rotating.problems(company)
    assert company.resets == 0
    assert company.current() == company.first_password


def test_a_token_that_ends_on_the_way_is_made_anew(company: Company, vault: VaultService) -> None:
    """Revoked between two requests of one function."""

    def revoke(request: Request) -> None:
        vault.call("POST", "auth/token/revoke", {"token": request.headers["x-vault-token"]})

    vault.door.inject(faults.call(revoke), when=in_vault(company).is_staging)
    vault.door.inject(faults.call(revoke), when=in_vault(company).is_promotion)
    assert rotating.rotate(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)


def test_no_secret_is_where_it_has_no_place(company: Company, front: Front) -> None:
    """Nor what Rekey logs in with, or a token that it got for it; also where Vault quotes what it refuses."""
    run = Run.of(company, front)
    refused = company.store.quote_once()
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert refused() == 1
    assert VAULT in {canary.name for canary in run.canaries()}
    assert run.leaks() == set()


def test_the_policy_that_these_tests_run_with_is_the_readmes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert least_policy("secret", "registries/prod-images") in text
