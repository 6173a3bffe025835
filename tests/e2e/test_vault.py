"""A whole rotation whose password is kept in a real Vault, and what a Vault that is away, or sealed, does to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.e2e.places import VAULT, Run
from tests.sandbox import faults
from tests.sandbox.vault_company import InVault
from tests.sandbox.vault_policy import least_policy, without
from tests.sandbox.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import NewCompany
    from tests.e2e.front import Front
    from tests.sandbox.company import Company
    from tests.sandbox.vault_service import VaultService
    from tests.sandbox.wire import Predicate, Request


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


def fields(company: Company) -> dict[str, Any]:
    return dict(company.store.in_force())


def in_vault(company: Company) -> InVault:
    assert isinstance(company.store, InVault)
    return company.store


def assert_rotated(company: Company, *, resets: int = 1) -> None:
    """Assert what is so after every rotation that ended well, seen from outside."""
    new = company.current()
    assert new != company.first_password
    assert company.resets == resets
    assert rotating.logs_in(company, new)
    assert not rotating.logs_in(company, company.first_password)
    assert set(rotating.held_by_consumers(company).values()) == {new}
    mine = [one for one in company.world.receiver.deliveries if company.name in str(one.payload)]
    assert mine[-1].value == new, "the webhook's receiver found it by the reference alone"
    evidence = company.evidence()
    assert (evidence["outcome"], evidence["resets"]) == ("finished", resets)
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["old_password"]["verdict"] == "refused"
    assert rotating.kept(company) == []
    assert rotating.open_things(company) == []
    assert company.store.waiting() == []
    assert rotating.lease(company).owner is None


def test_a_whole_rotation(company: Company, vault: VaultService) -> None:
    """With the policy of the README and nothing more."""
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    assert_rotated(company)
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
    assert_rotated(company)


def test_sealed_right_after_the_reset_it_ends_in_a_complete_rotation_with_one_reset(
    company: Company, vault: VaultService
) -> None:
    """Unsealed when the tick has come back for it in vain: nothing was delivered meanwhile, and nothing reset again."""
    company.world.cloudraya.inject(
        faults.call(lambda _: vault.server.seal(), acted=True), when=rotating.is_reset(company)
    )
    arn = rotating.start(company)
    assert rotating.ended(company, arn).status == "FAILED"
    rotating.tick(company)
    assert vault.server.health == 503
    assert rotating.latest(company).phase is Phase.RESETTING
    assert len(rotating.kept(company)) == 1, "the answer waits in the escrow"
    assert rotating.written(company) == []
    assert rotating.told(company, "Password Reset")
    vault.server.unseal()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert_rotated(company)
    assert len(rotating.reset_calls(company)) == 1


@pytest.mark.parametrize("at", ["staging", "promotion"])
@pytest.mark.parametrize("acted", [False, True])
def test_a_vault_that_seals_itself_on_the_way(company: Company, vault: VaultService, at: str, *, acted: bool) -> None:
    """Before or after the write: what it did is found again."""
    when: Predicate = getattr(in_vault(company), f"is_{at}")
    vault.door.inject(faults.call(lambda _: vault.server.seal(), acted=acted), when=when)
    rotating.rotate(company)
    assert vault.server.health == 503
    vault.server.unseal()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert_rotated(company)


def test_a_sealed_vault_before_the_reset_changes_nothing(company: Company, vault: VaultService) -> None:
    vault.server.seal()
    execution = rotating.rotate(company)
    assert execution.status == "FAILED"
    assert "is sealed: unseal it" in f"{execution.error} {execution.cause} {rotating.asked_for_a_person(company)}"
    vault.server.unseal()
    assert company.resets == 0
    assert rotating.logs_in(company, company.first_password)
    assert rotating.tick(company).status == "SUCCEEDED"
    assert_rotated(company)


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
    assert_rotated(company)


def test_no_secret_is_where_it_has_no_place(company: Company, front: Front) -> None:
    """Nor what Rekey logs in with, or a token that it got for it; also where Vault quotes what it refuses."""
    run = Run(company, front)
    refused = company.store.quote_once()
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert refused() == 1
    assert VAULT in {canary.name for canary in run.canaries()}
    assert run.leaks() == set()


def test_the_policy_that_these_tests_run_with_is_the_readmes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert least_policy("secret", "registries/prod-images") in text
