"""What is not proven: how long it is tried, what a person is told of it, and whether the password changed at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rekey.evidence import Findings, outcome_of, unproven
from rekey.model.rotation import Attempt, AttemptOutcome, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict
from tests.unit.reset_states import NOW, called, provable, rotation
from tests.unit.test_evidence import evidence, findings, proven, receipt

UNKNOWN = [None, LoginVerdict.LOCKED, LoginVerdict.UNREACHABLE, LoginVerdict.INCONCLUSIVE]


def over(found: Findings) -> Findings:
    """Return what is found when the plan's `recover_for` is over."""
    return replace(found, given_up=True)


def needs(found: Findings) -> str:
    """Return what a person is told, of what needs one."""
    assert outcome_of(found) is Outcome.NEEDS_ATTENTION
    return "\n".join(unproven(found))


def test_what_is_proven_needs_nobody() -> None:
    for found in (findings(receipt()), over(findings(receipt()))):
        assert unproven(found) == []
        assert outcome_of(found) is Outcome.FINISHED


class TestOldPassword:
    def test_one_that_is_still_accepted_needs_a_person_at_once(self) -> None:
        """Verify has asked for a while: trying on would say the same, and the leak stays open."""
        told = needs(findings(receipt(), of=proven(old_verdict=LoginVerdict.ACCEPTED)))
        assert told == "the registry still accepts the old password: look for a second credential, or reset it by hand"

    def test_not_while_consumers_are_left(self) -> None:
        found = findings(receipt(outcome=ConsumerOutcome.PENDING), of=proven(old_verdict=LoginVerdict.ACCEPTED))
        assert outcome_of(found) is Outcome.UNFINISHED

    @pytest.mark.parametrize("verdict", UNKNOWN)
    def test_where_no_more_wrong_login_may_be_spent_a_person_tries_it(self, verdict: LoginVerdict | None) -> None:
        told = needs(findings(receipt(), of=proven(old_verdict=verdict, logins_spent=True)))
        assert told == "the wrong logins are used up and the old password was not refused twice: try it by hand"

    @pytest.mark.parametrize("verdict", UNKNOWN)
    def test_so_it_is_when_the_time_to_try_is_over(self, verdict: LoginVerdict | None) -> None:
        """Else a registry that is locked for good would keep the rotation open in silence."""
        found = findings(receipt(), of=proven(old_verdict=verdict))
        assert outcome_of(found) is Outcome.UNFINISHED
        assert needs(over(found)) == (
            "the time to try is over and the old password was not refused twice: try it by hand"
        )


class TestNewPassword:
    @pytest.mark.parametrize("verdict", [*UNKNOWN, LoginVerdict.UNPROVEN])
    def test_one_that_was_never_accepted_needs_a_person_where_it_is_tried_no_more(
        self, verdict: LoginVerdict | None
    ) -> None:
        found = findings(receipt(), of=proven(new_verdict=verdict))
        assert outcome_of(found) is Outcome.UNFINISHED
        spent = findings(receipt(), of=proven(new_verdict=verdict, logins_spent=True))
        assert needs(spent) == "the wrong logins are used up and the new password was never accepted: try it by hand"
        assert needs(over(found)) == "the time to try is over and the new password was never accepted: try it by hand"

    @pytest.mark.parametrize("heard_by", [None, "an earlier execution"])
    def test_one_that_was_not_tried_after_the_delivery_needs_a_person_where_it_is_tried_no_more(
        self, heard_by: str | None
    ) -> None:
        of = proven(heard_by=heard_by)
        assert outcome_of(findings(receipt(), of=of)) is Outcome.UNFINISHED
        said = "and the new password was not tried after it was delivered: try it by hand"
        spent = findings(receipt(), of=proven(heard_by=heard_by, logins_spent=True))
        assert needs(spent) == f"the wrong logins are used up {said}"
        assert needs(over(findings(receipt(), of=of))) == f"the time to try is over {said}"

    def test_everything_that_is_not_proven_is_told_at_once(self) -> None:
        of = proven(new_verdict=LoginVerdict.UNPROVEN, old_verdict=None, contents_unchanged=False, contents_note="gone")
        told = unproven(over(findings(receipt(), of=of)))
        assert [any(word in line for line in told) for word in ("contents", "new password", "old password")] == [
            True
        ] * 3

    def test_contents_that_differ_need_a_person(self) -> None:
        found = findings(receipt(), of=proven(contents_unchanged=False, contents_note="gone: api:1"))
        assert needs(found) == "the registry's contents differ: gone: api:1"


class TestConsumers:
    @pytest.mark.parametrize("outcome", [ConsumerOutcome.UPDATED, ConsumerOutcome.UNCHANGED])
    def test_one_of_which_nobody_knows_whether_it_has_it_is_asked_until_the_time_is_over(
        self, outcome: ConsumerOutcome
    ) -> None:
        unknown = receipt("b", outcome, ConsumerVerdict.UNKNOWN), receipt("c", outcome, ConsumerVerdict.UNKNOWN)
        found = findings(receipt(), *unknown)
        assert outcome_of(found) is Outcome.UNFINISHED
        assert needs(over(found)) == "consumers took the password and could not be verified: b, c"

    @pytest.mark.parametrize("outcome", [ConsumerOutcome.FAILED, ConsumerOutcome.SUPERSEDED])
    def test_one_that_did_not_take_it_is_not_asked(self, outcome: ConsumerOutcome) -> None:
        found = findings(receipt(), receipt("b", outcome, ConsumerVerdict.UNKNOWN))
        assert outcome_of(found) in (Outcome.CONSUMERS_FAILED, Outcome.FINISHED)
        assert unproven(found) == []

    @pytest.mark.parametrize("verdict", [ConsumerVerdict.WRITTEN, ConsumerVerdict.MATCHES, ConsumerVerdict.ACCEPTED])
    def test_one_that_was_verified_as_far_as_its_service_can_be_is_done(self, verdict: ConsumerVerdict) -> None:
        assert outcome_of(findings(receipt(), receipt("b", verdict=verdict))) is Outcome.FINISHED


class TestPasswordChanged:
    @pytest.mark.parametrize(
        ("of", "attempts", "changed"),
        [
            (rotation(), [], False),
            (rotation(wrong_logins=2), [called(outcome=AttemptOutcome.REFUSED)], False),
            (rotation(), [called(outcome=AttemptOutcome.NO_EFFECT, old_refusals=1)], False),
            (rotation(resets=1), [called()], None),
            (rotation(resets=1), [called(outcome=AttemptOutcome.LOST)], None),
            (rotation(resets=1), [provable(outcome=AttemptOutcome.LOST, old_refusals=2)], True),
            (rotation(resets=1), [provable(old_refusals=2)], True),
            (rotation(resets=1, answered_at=NOW), [called()], True),
            (rotation(promoted_at=NOW), [], True),
            (proven(), [called(outcome=AttemptOutcome.PROMOTED)], True),
        ],
        ids=[
            "before the call",
            "refused",
            "no effect",
            "called",
            "nobody can say",
            "the old one is dead",
            "nobody understands the answer, and the old one is dead",
            "answered",
            "pasted",
            "promoted",
        ],
    )
    def test_it_is_said_as_far_as_it_is_known(
        self, of: Rotation, attempts: list[Attempt], *, changed: bool | None
    ) -> None:
        """None: a reset was called, and nobody can say. "Unchanged" would let a person close the leak."""
        found = replace(findings(of=of), attempts=attempts)
        assert evidence(found, Outcome.UNFINISHED)["password_changed"] is changed
