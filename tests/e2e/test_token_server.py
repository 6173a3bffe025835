"""A registry behind the distribution project's token server: what its tokens grant, and what outlives a password."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.e2e import companies, rotating
from tests.e2e.front import Front
from tests.e2e.places import TOKEN, Run
from tests.sandbox import faults
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.company import Company
    from tests.sandbox.token_registry import TokenRegistry
    from tests.sandbox.wire import Request
    from tests.sandbox.world import World

LIFETIME = timedelta(minutes=15)


@pytest.fixture
def registry(world: World) -> TokenRegistry:
    require("token-server")
    return world.token_registry


@pytest.fixture
def door(registry: TokenRegistry) -> Iterator[Front]:
    with Front(registry) as door:
        yield door


@pytest.fixture
def company(world: World, registry: TokenRegistry, door: Front) -> Iterator[Company]:
    """Set one up whose registry takes tokens alone, and is reset by CloudRaya's API."""
    made = companies.new(world, door, "cloudraya", registry)
    yield made
    world.clear_faults()
    companies.close(made)


def at_reset(company: Company, registry: TokenRegistry) -> None:
    """Let the token server forget its refresh tokens at the moment of the reset, as one that revokes them would."""

    def forget(_request: Request) -> None:
        registry.tokens.stop()
        registry.tokens.start()

    company.world.cloudraya.inject(faults.call(forget), when=rotating.is_reset(company))


def test_a_whole_rotation(company: Company) -> None:
    """The old password is dead; who took a token with it goes on for a quarter of an hour, or for ever."""
    execution = rotating.rotate(company)
    assert (execution.status, execution.error) == ("SUCCEEDED", None)
    new, evidence = company.current(), company.evidence()
    assert company.made == [new]
    assert rotating.logs_in(company, new)
    assert not rotating.logs_in(company, company.first_password)
    assert set(rotating.held_by_consumers(company).values()) == {new}
    assert (evidence["outcome"], evidence["wrong_logins"]) == ("finished", 2)
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["contents"]["unchanged"] is True
    bearer, refresh = evidence["old_tokens"]["tokens"]
    assert (bearer["kind"], bearer["verdict"]) == ("bearer", "accepted")
    assert (refresh["kind"], refresh["verdict"], refresh["ends"]) == ("refresh", "accepted", None)
    lives = datetime.fromisoformat(bearer["ends"]) - datetime.fromisoformat(bearer["taken"])
    assert abs(lives - LIFETIME) < timedelta(seconds=5)
    assert f"GET /v2/{company.username}/api/tags/list, which is closed without a password" in bearer["note"]
    until, revoke = evidence["warnings"]
    assert bearer["ends"] in until
    assert "Revoke" in revoke


def test_what_was_revoked_at_the_reset_is_refused(company: Company, registry: TokenRegistry) -> None:
    at_reset(company, registry)
    assert rotating.rotate(company).status == "SUCCEEDED"
    verdicts = {one["kind"]: one["verdict"] for one in company.evidence()["old_tokens"]["tokens"]}
    assert verdicts == {"bearer": "accepted", "refresh": "refused"}


def test_no_token_leaks(company: Company, door: Front) -> None:
    run = Run.of(company, door)
    assert rotating.rotate(company).status == "SUCCEEDED"
    assert run.leaks() == set()
    shown = {canary.text for canary in run.canaries() if canary.name == TOKEN}
    assert len(shown) > 2, "the old password's bearer, the one it refreshed, the new password's"


def test_the_page_says_until_when(company: Company) -> None:
    rotating.rotate(company)
    client, key = company.world.cloud.client("s3"), f"rotations/{company.name}/1/report.html"
    page = client.get_object(Bucket=company.world.bucket, Key=key)["Body"].read().decode()
    bearer, _ = company.evidence()["old_tokens"]["tokens"]
    assert "A bearer token of the old password" in page
    assert f'datetime="{bearer["ends"]}"' in page


def test_a_token_server_that_is_away_holds_up_no_leaks_reset(company: Company, registry: TokenRegistry) -> None:
    """Nobody can be asked about either password; the reset itself needs none, and goes out unproven."""
    registry.tokens.stop()
    try:
        rotating.rotate(company)
        assert company.resets == 1
        assert company.current() == company.made[-1]
        assert rotating.latest(company).new_verdict == "unproven"
    finally:
        registry.tokens.start()
    assert rotating.tick(company).status == "SUCCEEDED"
    evidence = company.evidence()
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["old_tokens"]["tokens"] == []
    assert "was not accepted before the reset" in evidence["old_tokens"]["note"]


def test_a_plan_that_does_not_name_the_token_server_sends_it_nothing(company: Company) -> None:
    """Nothing can be proven then, so a rotation that can wait stops before the reset."""
    del company.document["registry"]["token_host"]
    company.push_plan()
    assert rotating.request(company).error == "NotReady"
    assert "`token_host`" in rotating.problems(company)
    assert company.resets == 0


def test_a_user_without_a_right_in_the_plans_repository_is_not_taken_to_be_proven(company: Company) -> None:
    """It gets a token, which grants nothing: a rotation that can wait stops, and says what to mend."""
    company.document["registry"]["repositories"] = ["somebody-else/web"]
    company.push_plan()
    assert rotating.request(company).error == "NotReady"
    assert f"give {company.username} the right to pull from somebody-else/web" in rotating.problems(company)
    assert company.resets == 0
