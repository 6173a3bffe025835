"""A whole rotation whose password is kept in a real Vault, and what a Vault that is away, or sealed, does to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.sandbox import faults
from tests.sandbox.vault_policy import least_policy, without
from tests.sandbox.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import NewCompany
    from tests.sandbox.vault_service import VaultService
    from tests.sandbox.wire import Predicate, Request
    from tests.sandbox.world import Company


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


def promotes(company: Company) -> Predicate:
    """Return what picks the write to the readers' path."""
    return lambda request: request.method == "POST" and request.path.endswith(f"/data/{company.secret_name}")


def stages(company: Company) -> Predicate:
    """Return what picks the write of a candidate; the check's has no password in it."""
    path = f"/data/rekey/{company.secret_name}/"
    return lambda request: request.method == "POST" and path in request.path and b'"password"' in request.body


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


@pytest.mark.parametrize("at", [stages, promotes], ids=["stage", "promote"])
@pytest.mark.parametrize("acted", [False, True])
def test_a_vault_that_seals_itself_on_the_way(
    company: Company,
    vault: VaultService,
    at: Any,
    *,
    acted: bool,  # noqa: ANN401
) -> None:
    """Before or after the write: what it did is found again."""
    vault.door.inject(faults.call(lambda _: vault.server.seal(), acted=acted), when=at(company))
    rotating.rotate(company)
    assert vault.server.health == 503
    vault.server.unseal()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert_rotated(company)


def test_a_sealed_vault_before_the_reset_changes_nothing(company: Company, vault: VaultService) -> None:
    vault.server.seal()
    execution = rotating.rotate(company)
    assert execution.status == "FAILED"
    assert "is sealed: unseal it" in str(execution.cause) + rotating_log(company)
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

    vault.door.inject(faults.call(revoke), when=promotes(company), nth=2)  # the first is the check's
    vault.door.inject(faults.call(revoke), when=stages(company))
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert_rotated(company)


def test_no_secret_of_vault_is_written_down(company: Company, vault: VaultService) -> None:
    """Neither what Rekey logs in with nor a token that it got for it."""
    assert rotating.rotate(company).status == "SUCCEEDED"
    tokens = {one.headers.get("x-vault-token", "") for one in vault.door.requests()} - {""}
    held = company.store.login["secret_id"]  # type: ignore[attr-defined]
    logs = [line for lines in company.world.cloud.lambdas.logs.values() for line in lines]
    events = [str(passed.event) for passed in company.world.cloud.events]
    assert tokens
    for secret in (held, *tokens):
        assert not [line for line in [*logs, *events] if secret in line]


def rotating_log(company: Company) -> str:
    """Return what the functions wrote."""
    return "\n".join(line for lines in company.world.cloud.lambdas.logs.values() for line in lines)


def test_the_policy_that_these_tests_run_with_is_the_readmes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert least_policy("secret", "registries/prod-images") in text
