"""What a report says: never better than it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rekey.contracts import Contents, Prepared
from rekey.evidence import STILL_OPEN, Findings, build, given_up, outcome_of
from rekey.model.request import Reason, Request, RequestState
from rekey.model.rotation import AttemptOutcome, Phase, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict, Receipt
from tests.unit.reset_states import NOW, SECOND, called, rotation

CALLED = NOW
DONE = [ConsumerOutcome.UPDATED, ConsumerOutcome.UNCHANGED, ConsumerOutcome.SUPERSEDED]
LEFT = [ConsumerOutcome.PENDING, ConsumerOutcome.UNREACHABLE]


def proven(**fields: object) -> Rotation:
    """Return a rotation of which everything is proven."""
    good = {
        "phase": Phase.VERIFYING,
        "old_version": "old",
        "called_at": CALLED,
        "promoted_at": CALLED + SECOND,
        "resets": 1,
        "new_verdict": LoginVerdict.ACCEPTED,
        "new_at": CALLED + SECOND,
        "heard_by": rotation().execution,
        "old_verdict": LoginVerdict.REFUSED,
        "old_at": CALLED + 5 * SECOND,
        "contents_unchanged": True,
    }
    return rotation(**{**good, **fields})


def receipt(
    consumer: str = "web-ci",
    outcome: ConsumerOutcome = ConsumerOutcome.UPDATED,
    verdict: ConsumerVerdict = ConsumerVerdict.WRITTEN,
    seconds: float = 2,
    reason: str = "",
) -> Receipt:
    answered = CALLED + timedelta(seconds=seconds)
    return Receipt(consumer, "github-secret", outcome, verdict, reason=reason, answered_at=answered)


def findings(
    *receipts: Receipt, of: Rotation | None = None, untold: tuple[str, ...] = (), requests: tuple[Request, ...] = ()
) -> Findings:
    names = [(one.consumer, one.type) for one in receipts] + [(name, "webhook") for name in untold]
    return Findings(of or proven(), [], requests, names, receipts, before=None)


def request(**fields: object) -> Request:
    given = {"key": "k", "reason": Reason.COMPROMISED, "source": "siem", "arrived_at": CALLED - 10 * SECOND}
    return Request.model_validate({"registry": "prod-images", **given, **fields})


def evidence(found: Findings, outcome: Outcome = Outcome.FINISHED) -> dict[str, Any]:
    """Return the document as its readers get it."""
    document: dict[str, Any] = json.loads(json.dumps(build(found, outcome, NOW)))
    return document


class TestOutcome:
    @pytest.mark.parametrize("outcome", DONE)
    def test_finished_is_everything_done_and_proven(self, outcome: ConsumerOutcome) -> None:
        assert outcome_of(findings(receipt(), receipt("b", outcome))) is Outcome.FINISHED

    @pytest.mark.parametrize("outcome", LEFT)
    def test_what_is_left_is_unfinished_also_beside_a_failed_one(self, outcome: ConsumerOutcome) -> None:
        found = findings(receipt("a", outcome), receipt("b", ConsumerOutcome.FAILED))
        assert outcome_of(found) is Outcome.UNFINISHED

    def test_a_consumer_without_a_receipt_is_unfinished(self) -> None:
        assert outcome_of(findings(receipt(), untold=("deploy-bot",))) is Outcome.UNFINISHED

    def test_a_failed_consumer_is_said_to_have_failed(self) -> None:
        assert outcome_of(findings(receipt(), receipt("b", ConsumerOutcome.FAILED))) is Outcome.CONSUMERS_FAILED

    def test_a_consumer_that_was_found_with_another_password_has_failed(self) -> None:
        """Delivered, and overwritten by somebody since: nobody may take that for done."""
        found = findings(receipt(), receipt("b", verdict=ConsumerVerdict.DIFFERS))
        assert outcome_of(found) is Outcome.CONSUMERS_FAILED

    @pytest.mark.parametrize("verdict", [None, LoginVerdict.UNPROVEN, LoginVerdict.UNREACHABLE])
    def test_an_unproven_password_is_unfinished(self, verdict: LoginVerdict | None) -> None:
        assert outcome_of(findings(receipt(), of=proven(new_verdict=verdict))) is Outcome.UNFINISHED

    @pytest.mark.parametrize("verdict", [None, LoginVerdict.LOCKED, LoginVerdict.UNREACHABLE])
    def test_an_old_password_of_which_nothing_is_known_is_unfinished(self, verdict: LoginVerdict | None) -> None:
        assert outcome_of(findings(receipt(), of=proven(old_verdict=verdict))) is Outcome.UNFINISHED

    def test_a_first_adoption_has_no_old_password_to_be_refused(self) -> None:
        assert outcome_of(findings(receipt(), of=proven(old_version=None, old_verdict=None))) is Outcome.FINISHED

    def test_contents_that_could_not_be_compared_stop_nothing(self) -> None:
        assert outcome_of(findings(receipt(), of=proven(contents_unchanged=None))) is Outcome.FINISHED


class TestGivenUp:
    @pytest.mark.parametrize("outcome", LEFT)
    def test_what_is_left_when_the_time_is_over_has_failed_with_its_reason(self, outcome: ConsumerOutcome) -> None:
        (given,) = given_up([receipt("a", outcome, reason="no answer")], [("a", "github-secret")], "1 day")
        assert (given.outcome, given.reason) == (ConsumerOutcome.FAILED, "given up after 1 day: no answer")

    def test_whoever_was_never_told_has_failed_too(self) -> None:
        """Else a shard whose function always fails would keep its rotation open for ever."""
        pairs = [("a", "github-secret"), ("b", "webhook")]
        given = given_up([receipt("a")], pairs, "1 day")
        assert [(one.consumer, one.outcome) for one in given] == [
            ("a", ConsumerOutcome.UPDATED),
            ("b", ConsumerOutcome.FAILED),
        ]
        assert given[1].type == "webhook"

    @pytest.mark.parametrize("outcome", [*DONE, ConsumerOutcome.FAILED])
    def test_what_was_settled_stays_as_it_is(self, outcome: ConsumerOutcome) -> None:
        settled = receipt("a", outcome)
        assert given_up([settled], [("a", "github-secret")], "1 day") == [settled]


class TestGap:
    def test_it_ends_with_the_last_consumers_answer(self) -> None:
        assert evidence(findings(receipt(seconds=2), receipt("b", seconds=7.25)))["credential_gap_s"] == 7.25

    @pytest.mark.parametrize("outcome", [*LEFT, ConsumerOutcome.FAILED])
    def test_while_a_consumer_does_not_have_it_it_is_still_open(self, outcome: ConsumerOutcome) -> None:
        """A gap that ended for all but one has not ended."""
        assert evidence(findings(receipt(), receipt("b", outcome)))["credential_gap_s"] == STILL_OPEN

    def test_an_untold_or_overwritten_consumer_keeps_it_open(self) -> None:
        assert evidence(findings(receipt(), untold=("b",)))["credential_gap_s"] == STILL_OPEN
        differs = receipt("b", verdict=ConsumerVerdict.DIFFERS)
        assert evidence(findings(receipt(), differs))["credential_gap_s"] == STILL_OPEN

    def test_without_a_reset_there_is_none(self) -> None:
        stopped = rotation(phase=Phase.STOPPED, problems=("store: may not be written",))
        assert evidence(findings(of=stopped), Outcome.STOPPED)["credential_gap_s"] is None


class TestDocument:
    def test_it_has_at_least_what_readers_count_on(self) -> None:
        """The fields that the project's interface promises, under these names."""
        contents = Contents({"api": {"1": "sha256:a", "2": "sha256:b"}, "web": {"1": "sha256:a"}})
        found = findings(receipt(), receipt("b", ConsumerOutcome.FAILED, ConsumerVerdict.UNKNOWN, reason="denied"))
        found = Findings(
            found.rotation, [called(outcome=AttemptOutcome.PROMOTED)], [], found.consumers, found.receipts, contents
        )
        document = evidence(found, Outcome.CONSUMERS_FAILED)
        assert document["registry"] == "prod-images"
        assert document["rotation"] == "prod-images/3"
        assert (document["plan_version"], document["reason"]) == ("v1", "scheduled")
        assert document["outcome"] == "consumers_failed"
        assert document["old_password"] == {"verdict": "refused", "at": "2026-03-07T02:00:05.000Z"}
        assert document["new_password"] == {"verdict": "accepted", "at": "2026-03-07T02:00:01.000Z"}
        assert document["contents"] == {"unchanged": True, "repositories": 2, "tags": 3, "digests": 2, "note": ""}
        assert document["counts"] == {"consumers": 2, "done": 1}
        assert document["consumers"][1] == {
            "name": "b",
            "type": "github-secret",
            "outcome": "failed",
            "verdict": "unknown",
            "reason": "denied",
            "answered": "2026-03-07T02:00:02.000Z",
        }
        assert (document["resets"], document["wrong_logins"]) == (1, 0)
        assert document["attempts"] == [{"number": 1, "kind": "reset", "outcome": "promoted", "said": ""}]

    def test_a_rotation_that_stopped_says_that_nothing_changed(self) -> None:
        stopped = rotation(phase=Phase.STOPPED, problems=("store: may not be written",))
        document = evidence(findings(of=stopped, untold=("web-ci",)), Outcome.STOPPED)
        assert document["password_changed"] is False
        assert document["problems"] == ["store: may not be written"]
        assert document["old_password"] == {"verdict": None, "at": None}
        assert (document["not_told"], document["counts"]) == (["web-ci"], {"consumers": 1, "done": 0})

    def test_a_first_adoption_says_why_the_old_password_has_no_verdict(self) -> None:
        document = evidence(findings(receipt(), of=proven(old_version=None, old_verdict=None, old_at=None)))
        assert document["old_password"]["verdict"] is None
        assert "no earlier password" in document["old_password"]["note"]

    def test_an_overwritten_consumer_is_not_counted_as_done(self) -> None:
        found = findings(receipt(), receipt("b", verdict=ConsumerVerdict.DIFFERS))
        assert evidence(found)["counts"] == {"consumers": 2, "done": 1}

    def test_a_request_is_met_only_by_a_reset_that_came_after_it(self) -> None:
        late = request(key="late", arrived_at=CALLED + SECOND)
        document = evidence(findings(receipt(), requests=(request(), late)))
        assert [(one["key"], one["met"]) for one in document["requests"]] == [("k", True), ("late", False)]

    def test_before_the_password_is_promoted_no_request_is_met(self) -> None:
        found = findings(of=proven(promoted_at=None), requests=(request(),))
        assert evidence(found, Outcome.UNFINISHED)["requests"][0]["met"] is False

    def test_the_time_to_refusal_counts_from_the_first_alert_that_the_reset_meets(self) -> None:
        """One that came after the call is none of this reset's, whenever the leak was."""
        late = request(key="late", arrived_at=CALLED + SECOND)
        second = request(key="second", arrived_at=CALLED - 3 * SECOND)
        assert evidence(findings(receipt(), requests=(second, late)))["alert_to_refused_s"] == 8
        assert evidence(findings(receipt(), requests=(late,)))["alert_to_refused_s"] is None

    def test_without_a_call_no_time_is_measured(self) -> None:
        found = findings(receipt(), of=proven(called_at=None), requests=(request(),))
        assert evidence(found)["alert_to_refused_s"] is None

    def test_the_time_from_alert_to_refusal_is_measured(self) -> None:
        closed = request(state=RequestState.CLOSED, closed_by=3)
        assert evidence(findings(receipt(), requests=(closed,)))["alert_to_refused_s"] == 15
        unrefused = proven(old_verdict=LoginVerdict.ACCEPTED)
        assert evidence(findings(receipt(), of=unrefused, requests=(closed,)))["alert_to_refused_s"] is None

    def test_a_refusal_from_before_the_call_proves_nothing_of_what_leaked(self) -> None:
        """What the store had was dead already: the registry's own password was another one until the call."""
        before = proven(old_at=CALLED - SECOND)
        assert evidence(findings(receipt(), of=before, requests=(request(),)))["alert_to_refused_s"] is None

    def test_warnings_and_what_was_waived_are_shown(self) -> None:
        found = findings(receipt(), of=proven(waived=("consumer b: not ready",)))
        warned = Findings(
            found.rotation, [], [], found.consumers, found.receipts, None, [Prepared("a", warning="shared by 3")]
        )
        document = evidence(warned)
        assert document["waived"] == ["consumer b: not ready"]
        assert document["warnings"] == ["a: shared by 3"]
