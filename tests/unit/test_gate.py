"""The gate decides once, from what was checked: go, or what is to be mended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rekey.gate import Check, decide
from rekey.model.plan import Policy, ReasonPolicy
from rekey.model.request import Reason, Request

WELL = [Check("store"), Check("escrow"), Check("registry")]
UNREADY = Check("consumer web-ci", "no such repository", waivable=True)
OPTIONAL = Check("consumer old-ci", "no such repository", waivable=True, optional=True)
PROCEED = Policy(compromised=ReasonPolicy(unready_consumers="proceed"))


def request(reason: Reason = Reason.REQUESTED) -> Request:
    return Request(
        registry="prod-images", key=reason.value, reason=reason, source="console", arrived_at=datetime.now(UTC)
    )


def test_all_well_goes() -> None:
    decision = decide(WELL, [request()], Policy())
    assert (decision.go, decision.problems, decision.waived) == (True, (), ())


def test_nothing_asked_for_is_no_reset() -> None:
    """A request that was closed since the rotation began asks no more."""
    decision = decide(WELL, [], PROCEED)
    assert not decision.go
    assert decision.reason is None
    assert decision.problems


def test_every_problem_is_named_at_once() -> None:
    decision = decide([Check("store", "may not be written"), Check("escrow"), UNREADY], [request()], Policy())
    assert not decision.go
    assert decision.problems == ("store: may not be written", "consumer web-ci: no such repository")


@pytest.mark.parametrize("what", ["store", "escrow", "registry"])
def test_store_escrow_and_registry_are_never_waived(what: str) -> None:
    decision = decide([Check(what, "down"), UNREADY], [request(Reason.COMPROMISED)], PROCEED)
    assert not decision.go
    assert decision.problems == (f"{what}: down",)


def test_an_emergency_passes_over_unready_consumers_and_says_so() -> None:
    decision = decide([*WELL, UNREADY], [request(Reason.COMPROMISED)], PROCEED)
    assert decision.go
    assert decision.waived == ("consumer web-ci: no such repository",)


def test_the_same_policy_waives_nothing_for_another_reason() -> None:
    assert not decide([*WELL, UNREADY], [request(Reason.REQUESTED)], PROCEED).go


def test_without_the_policy_a_leak_waits_for_its_consumers() -> None:
    assert not decide([*WELL, UNREADY], [request(Reason.COMPROMISED)], Policy()).go


def test_an_optional_consumer_stops_nothing() -> None:
    decision = decide([*WELL, OPTIONAL], [request()], Policy())
    assert decision.go
    assert decision.waived == ("consumer old-ci: no such repository",)


def test_the_most_urgent_request_decides() -> None:
    """A leak that came a second ago counts, whatever the rotation was begun for."""
    requests = [request(Reason.SCHEDULED), request(Reason.COMPROMISED), request(Reason.LOST)]
    decision = decide([*WELL, UNREADY], requests, PROCEED)
    assert (decision.go, decision.reason) == (True, Reason.COMPROMISED)


@pytest.mark.parametrize("policy", [Policy(), PROCEED])
def test_of_thousands_of_unready_consumers_the_first_are_named(policy: Policy) -> None:
    """A rotation's record holds them, and an item of DynamoDB ends at 400 kB: a leak must not fail at that."""
    unready = [Check(f"consumer c{number}", "no such repository", waivable=True) for number in range(3000)]
    decision = decide(unready, [request(Reason.COMPROMISED)], policy)
    named = decision.waived if policy is PROCEED else decision.problems
    assert decision.go is (policy is PROCEED)
    assert (len(named), named[0], named[-1]) == (51, "consumer c0: no such repository", "and 2950 more")
