"""A finished rotation leaves evidence with the values that people and machines count on, and nothing open behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.request import RequestState
from rekey.model.rotation import Phase
from tests.e2e import companies, rotating

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.front import Front
    from tests.sandbox.aws import Execution
    from tests.sandbox.company import Company
    from tests.sandbox.world import World


@pytest.fixture(scope="module")
def company(world: World, front: Front) -> Iterator[Company]:
    company = companies.new(world, front)
    yield company
    companies.close(company)


@pytest.fixture(scope="module")
def execution(company: Company) -> Execution:
    return rotating.rotate(company, leak="leak-1")


@pytest.fixture(scope="module")
def evidence(company: Company, execution: Execution) -> dict[str, Any]:
    assert execution.status == "SUCCEEDED"
    return company.evidence()


def test_the_evidence_says_that_everything_is_done(company: Company, evidence: dict[str, Any]) -> None:
    facts = {key: evidence[key] for key in ("format", "registry", "rotation", "reason", "outcome", "problems")}
    assert facts == {
        "format": 1,
        "registry": company.name,
        "rotation": f"{company.name}/1",
        "reason": "compromised",
        "outcome": "finished",
        "problems": [],
    }
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["contents"] == {"unchanged": True, "repositories": 3, "tags": 6, "digests": 4, "note": ""}
    assert evidence["counts"] == {"consumers": 6, "done": 6}
    assert evidence["resets"] == 1
    assert evidence["wrong_logins"] == 2, "a refusal counts when it comes twice"


def test_the_evidence_is_true(company: Company, evidence: dict[str, Any]) -> None:
    assert company.resets == evidence["resets"]
    assert rotating.logs_in(company, company.current())
    assert not rotating.logs_in(company, company.first_password)
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert company.others_untouched()


def test_every_consumer_has_an_honest_verdict(company: Company, evidence: dict[str, Any]) -> None:
    """`written` where the service cannot be read, `matches` where it was read back."""
    org = f"org-{company.name}"
    verdicts = {consumer["name"]: (consumer["type"], consumer["verdict"]) for consumer in evidence["consumers"]}
    assert verdicts == {
        "web-ci": ("github-secret", "written"),
        f"all-services/{org}/svc-billing": ("github-secret", "written"),
        f"all-services/{org}/svc-search": ("github-secret", "written"),
        f"prod-cluster/{org}-shop/registry": ("kubernetes-pull-secret", "matches"),
        f"prod-cluster/{org}-jobs/registry": ("kubernetes-pull-secret", "matches"),
        "deploy-bot": ("webhook", "written"),
    }
    assert {consumer["outcome"] for consumer in evidence["consumers"]} == {"updated"}
    assert {consumer["reason"] for consumer in evidence["consumers"]} == {""}


def test_the_credential_gap_lasts_from_the_reset_call_to_the_last_write(evidence: dict[str, Any]) -> None:
    answered = max(datetime.fromisoformat(consumer["answered"]) for consumer in evidence["consumers"])
    called = datetime.fromisoformat(evidence["times"]["called"])
    assert evidence["credential_gap_s"] == pytest.approx((answered - called).total_seconds(), abs=0.002)
    assert evidence["credential_gap_s"] > 0


def test_the_plan_version_is_that_of_the_plan_that_was_pushed(company: Company, evidence: dict[str, Any]) -> None:
    versions = company.world.cloud.client("s3").list_object_versions(
        Bucket=company.world.bucket, Prefix=f"plans/{company.name}.json"
    )["Versions"]
    (newest,) = [version["VersionId"] for version in versions if version["IsLatest"]]
    assert evidence["plan_version"] == newest


def test_the_files_of_the_rotation_are_there(company: Company, evidence: dict[str, Any]) -> None:
    prefix = f"rotations/{evidence['rotation']}/"
    found = company.world.cloud.client("s3").list_objects_v2(Bucket=company.world.bucket, Prefix=prefix)["Contents"]
    assert {item["Key"].removeprefix(prefix) for item in found} == {
        "plan.json",
        "snapshot.json",
        "shard-0.json",
        "shard-1.json",
        "shard-2.json",
        "evidence.json",
        "report.html",
    }


@pytest.mark.usefixtures("evidence")
def test_nothing_stays_open(company: Company) -> None:
    rotation, lease = rotating.latest(company), rotating.lease(company)
    assert rotation.phase is Phase.FINISHED
    assert lease.owner is None
    assert lease.drain_until <= datetime.now(UTC), "no call was cut off, so nobody has to wait"
    assert rotating.open_things(company) == []
    assert rotating.kept(company) == []


@pytest.mark.usefixtures("evidence")
def test_what_was_deleted_from_the_escrow_leaves_only_a_tombstone(company: Company) -> None:
    items = rotating.table(company.world.cloud, "ESCROW").query(company.name)
    assert [item["deleted"] for item in items] == [True] * len(items)
    assert all(item.keys() == {"pk", "sk", "format", "deleted"} for item in items)


@pytest.mark.usefixtures("evidence")
def test_the_request_is_closed_by_the_rotation(company: Company) -> None:
    (request,) = rotating.ledger(company).requests_of(company.name, 1)
    assert (request.state, request.closed_by) == (RequestState.CLOSED, 1)


@pytest.mark.usefixtures("evidence")
def test_everything_that_happened_was_told(company: Company) -> None:
    assert [detail["reason"] for detail in rotating.told(company, "Request Accepted")] == ["compromised"]
    assert [detail["consumers"] for detail in rotating.told(company, "Password Reset")] == [4]
    assert len(rotating.told(company, "Old Password Refused")) == 1
    assert [detail["outcome"] for detail in rotating.told(company, "Rotation Finished")] == ["finished"]
    assert rotating.told(company, "Attention Needed") == []


@pytest.mark.usefixtures("evidence")
def test_the_tick_finds_nothing_to_do(company: Company) -> None:
    rotating.tick_in_vain(company)


def test_the_execution_carries_identifiers_and_a_few_hundred_bytes(execution: Execution) -> None:
    inputs = [
        event["stateEnteredEventDetails"]["input"] for event in execution.history if "stateEnteredEventDetails" in event
    ]
    assert max(map(len, inputs)) < 1000
