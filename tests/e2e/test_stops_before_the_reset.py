"""Whatever is not ready ends before the reset, says what to mend, and leaves the password as it is."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import Phase
from rekey.records.plans import plan_key
from tests.e2e import rotating
from tests.sandbox.aws_faults import refuse

if TYPE_CHECKING:
    from tests.e2e.conftest import NewCompany
    from tests.e2e.front import Front
    from tests.sandbox.aws import Execution
    from tests.sandbox.company import Company


def test_an_unknown_key_of_the_plan(company: Company) -> None:
    """Pushed past `plan push`, which would not have let it through: the request is refused, and says where."""
    company.document["consumers"][0]["colour"] = "red"
    _push_raw(company)
    company.ask("requested", "console")
    company.world.cloud.settle()
    assert rotating.executions(company) == []
    (refused,) = rotating.told(company, "Request Refused")
    assert "consumers[0].colour" in refused["why"]
    _nothing_happened(company)


def test_an_unknown_key_of_a_plan_that_was_pushed_after_the_request(company: Company) -> None:
    company.world.cloudraya.set_busy(company.name)
    rotating.request(company)
    company.document["registry"]["passwd"] = True
    _push_raw(company)
    execution = rotating.tick(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "registry.passwd" in rotating.asked_for_a_person(company)
    assert rotating.lease(company).owner is None
    _nothing_happened(company)


def test_a_registry_without_a_plan(company: Company) -> None:
    company.world.cloud.client("s3").delete_object(Bucket=company.world.bucket, Key=plan_key(company.name))
    company.ask("requested", "console")
    company.world.cloud.settle()
    assert rotating.executions(company) == []
    (refused,) = rotating.told(company, "Request Refused")
    assert "rekey plan push" in refused["why"]


def test_missing_credentials(company: Company) -> None:
    """All of them are named at once."""
    missing = [f"rekey/{company.name}-{which}" for which in ("api", "github", "cluster", "webhook")]
    for secret in missing:
        company.world.cloud.client("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    said = [f"the secret {secret} does not exist" for secret in missing]
    _stopped(rotating.request(company), company, *said, "create it")


@pytest.mark.parametrize("adopted", [True, False], ids=["with a password in the store", "at the first adoption"])
def test_an_unreachable_registry(new_company: NewCompany, front: Front, *, adopted: bool) -> None:
    company = new_company(adopted=adopted)
    front.stop()
    try:
        execution = rotating.request(company)
    finally:
        front.start()
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    problems = rotating.problems(company)
    assert [said for said in ("endpoint: ", front.host, "no connection") if said not in problems] == []
    assert problems in rotating.asked_for_a_person(company)
    assert (rotating.reset_calls(company), rotating.written(company)) == ([], [])


def test_an_unreachable_control_plane(company: Company) -> None:
    company.world.cloudraya.stop()
    try:
        execution = rotating.request(company)
    finally:
        company.world.cloudraya.start()
    _stopped(execution, company, "the registry's API", "no connection")


def test_a_password_that_the_registry_does_not_take_any_more(company: Company) -> None:
    """Somebody reset it elsewhere, and a rotation that can wait does not reset on top of that."""
    company.world.cloudraya.click_reset(company.name)
    execution = rotating.request(company)
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert "`rekey paste` the right one" in rotating.problems(company)
    assert rotating.reset_calls(company) == []


def test_a_store_that_denies_writing(company: Company) -> None:
    refused = company.store.refuse_writing()
    execution = rotating.request(company)
    assert refused()
    _stopped(execution, company, company.store.denial)


def test_a_store_that_does_not_exist(company: Company) -> None:
    company.document["store"] = company.store.elsewhere
    company.push_plan()
    assert rotating.request(company).error == "NotReady"
    assert company.store.not_there in rotating.asked_for_a_person(company)
    _nothing_happened(company)


def test_an_escrow_key_that_denies_sealing(company: Company) -> None:
    company.world.cloud.faults.add("kms:Encrypt", refuse(), times=None)
    _stopped(rotating.request(company), company, "escrow", "KMS key: AccessDenied")


def test_a_github_token_without_rights(company: Company) -> None:
    world = company.world
    token = world.github.access.create_token(f"org-{company.name}", permissions={"metadata": "read", "secrets": "read"})
    fields = {"registries": [company.name], "hosts": [world.github.host], "token": token}
    secret = f"rekey/{company.name}-github"
    world.cloud.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(fields))
    _stopped(rotating.request(company), company, "web-ci", secret, "`Secrets: read and write`")


def test_a_cluster_that_does_not_let_us_write(company: Company) -> None:
    world = company.world
    fields = {"registries": [company.name], "hosts": [world.kubernetes.host]}
    token = world.kubernetes.access.create_token(f"reader-{company.name}")
    world.cloud.client("secretsmanager").put_secret_value(
        SecretId=f"rekey/{company.name}-cluster", SecretString=json.dumps({**fields, "token": token})
    )
    _stopped(rotating.request(company), company, "prod-cluster", "by a Role")


def test_a_pattern_that_matches_nothing(company: Company) -> None:
    company.document["consumers"][1]["repositories"] = f"org-{company.name}/none-*"
    company.push_plan()
    _stopped(rotating.request(company), company, "all-services", "matches no repository")


def test_an_optional_consumer_stops_nothing(company: Company) -> None:
    company.document["consumers"][1]["repositories"] = f"org-{company.name}/none-*"
    company.document["consumers"][1]["optional"] = True
    company.push_plan()
    assert rotating.request(company).error == "ConsumersFailed"
    assert rotating.outcomes(company)["all-services"] == "failed"
    assert company.resets == 1


def test_once_it_is_mended_the_tick_goes_on_by_itself(company: Company) -> None:
    refused = company.store.refuse_writing()
    assert rotating.request(company).error == "NotReady"
    company.store.allow_writing()
    assert refused()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert company.evidence()["outcome"] == "finished"


def test_a_leak_stops_too_unless_the_plan_says_that_it_goes_on(company: Company) -> None:
    _revoke(company)
    _stopped(rotating.rotate(company), company, "was revoked or has ended")


def test_a_leak_goes_on_without_the_unready_consumer_where_the_plan_says_so(new_company: NewCompany) -> None:
    company = new_company(compromised={"unready_consumers": "proceed"})
    _revoke(company)
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("FAILED", "ConsumersFailed")
    evidence = company.evidence()
    assert evidence["old_password"]["verdict"] == "refused"
    assert Counter(rotating.outcomes(company).values()) == {"failed": 2, "updated": 3}
    assert any("web-ci" in waived for waived in evidence["waived"])
    assert company.resets == 1


def test_proceeding_never_waives_the_store(new_company: NewCompany) -> None:
    company = new_company(compromised={"unready_consumers": "proceed"})
    company.store.refuse_writing()
    _stopped(rotating.rotate(company), company, company.store.denial)


def _stopped(execution: Execution, company: Company, *said: str) -> None:
    """Check that it ended before the reset, in evidence, event and message with what to mend."""
    assert (execution.status, execution.error) == ("FAILED", "NotReady")
    assert execution.states[-1] == "NotReady"
    assert company.evidence()["outcome"] == "stopped"
    assert company.evidence()["password_changed"] is False
    for text in said:
        assert text in rotating.problems(company)
        assert text in rotating.asked_for_a_person(company)
    assert rotating.latest(company).phase is Phase.STOPPED
    assert "request" in [key.split("#")[0] for key in rotating.open_things(company)], "it is tried again"
    _nothing_happened(company)


def _nothing_happened(company: Company) -> None:
    assert company.resets == 0
    assert company.current() == company.first_password
    assert rotating.logs_in(company, company.first_password)
    assert rotating.written(company) == []
    assert set(rotating.held_by_consumers(company).values()) == {company.first_password}


def _push_raw(company: Company) -> None:
    body = json.dumps({"format": 1, "plan": company.document}).encode()
    company.world.cloud.client("s3").put_object(Bucket=company.world.bucket, Key=plan_key(company.name), Body=body)


def _revoke(company: Company) -> None:
    company.world.github.access.revoke(company.github_token)
