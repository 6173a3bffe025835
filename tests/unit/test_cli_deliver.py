"""`rekey deliver`: what a person reads, and what the tick then finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model.rotation import Phase
from rekey.model.verdict import ConsumerOutcome, Receipt
from rekey.records.codec import partition, receipts_key
from rekey.records.dynamo import Write
from rekey.records.plans import to_stored
from tests.unit.cli_stack import FakeStack, run
from tests.unit.plan_documents import good

if TYPE_CHECKING:
    from rekey.model.rotation import RedeliveryRequest


@pytest.fixture
def failed(stack: FakeStack) -> FakeStack:
    """Return a stack with a rotation that is over, and one consumer that has not got the password."""
    stack.push()
    stack.bucket.write("rotations/prod-images/1/plan.json", to_stored(good()), "application/json")
    then = datetime.now(UTC)
    stack.rotation(Phase.FINISHED, outcome="consumers_failed", promoted_at=then, finished_at=then)
    receipt = Receipt("web-ci", "github-secret", ConsumerOutcome.FAILED, reason="401: give the app access")
    key = {"pk": partition("prod-images"), "sk": receipts_key(1, 0, 0)}
    stack.ledger.table.write(Write(key=key, item={"format": 1, "receipts": [receipt.to_record()]}, condition=""))
    return stack


def request(stack: FakeStack) -> RedeliveryRequest:
    found = stack.ledger.redelivery("prod-images")
    assert found is not None
    return found


def test_it_says_when_it_is_taken_up_and_where_to_look(failed: FakeStack) -> None:
    result = run("deliver", "prod-images")
    assert (result.exit_code, result.stdout) == (0, "")
    said = " ".join(result.stderr.split())
    assert "prod-images/1 is to be delivered again: the next tick takes that up" in said
    assert "`rekey status prod-images` shows how it goes" in said
    assert request(failed).patterns == ()
    assert failed.ledger.open_registries() == {"prod-images": False}


def test_names_say_who_is_told_though_they_have_it(failed: FakeStack) -> None:
    assert run("deliver", "prod-images", "web-*", "deploy-bot").exit_code == 0
    assert request(failed).patterns == ("web-*", "deploy-bot")


def test_status_says_that_it_waits(failed: FakeStack) -> None:
    run("deliver", "prod-images")
    said = " ".join(run("status", "prod-images").stdout.split())
    assert "prod-images/1 is to be delivered again, as was asked for at" in said
    assert "then `rekey deliver" not in said
    assert failed.ledger.redelivery("prod-images") is not None


def test_a_name_that_the_plan_has_not_is_a_message(failed: FakeStack) -> None:
    result = run("deliver", "prod-images", "web-cl")
    assert result.exit_code == 1
    assert "the plan of prod-images has no consumer `web-cl`" in result.stderr
    assert failed.ledger.redelivery("prod-images") is None


@pytest.mark.usefixtures("stack")
def test_a_registry_that_nobody_rotated_is_a_message() -> None:
    result = run("deliver", "prod-images")
    assert result.exit_code == 1
    assert "`rekey rotate prod-images` does" in result.stderr


def test_why_the_next_one_stopped_long_ago_is_not_what_comes_next(failed: FakeStack) -> None:
    """It was told then, and this one was opened after it."""
    then = datetime.now(UTC)
    said = {"problems": ("no rights in May",), "outcome": "stopped"}
    failed.rotation(Phase.STOPPED, generation=2, finished_at=then - timedelta(days=200), **said)
    failed.rotation(Phase.DELIVERING, outcome="", promoted_at=then - timedelta(days=300), delivered_again_at=then)
    assert "May" not in run("status", "prod-images").stdout
