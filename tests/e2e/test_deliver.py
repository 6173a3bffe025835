"""`rekey deliver`: the password in force reaches whom lacks it. Nothing is reset, and nobody else is written to."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e import rotating
from tests.sandbox.faults import answer
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from tests.sandbox.company import Company
    from tests.sandbox.wire import Predicate

REFUSED = answer(Response.json({"message": "refused by the sandbox"}, 403))
GONE = answer(Response.json({"message": "gone"}, 410))
WEB = "web-ci"
BOT = "deploy-bot"


def _to_bot(company: Company) -> Predicate:
    """Return what picks the writes to the webhook's receiver."""
    is_write = rotating.is_write(company)
    return lambda request: request.method == "POST" and is_write(request)


def _without_bot(company: Company) -> None:
    """Rotate, with one consumer that refuses for good; then that is mended."""
    company.world.receiver.inject(GONE, when=_to_bot(company), times=None)
    assert rotating.rotate(company).error == "ConsumersFailed"
    company.world.receiver.clear_faults()


def _count(company: Company) -> Counter[str]:
    return Counter(request.method + request.path for request in rotating.written(company))


def _assert_all_have_it(company: Company) -> None:
    rotating.assert_rotated(company)
    assert len(rotating.reset_calls(company)) == 1
    assert rotating.open_things(company) == []
    assert rotating.kept(company) == []
    assert company.evidence()["outcome"] == "finished"
    assert set(rotating.outcomes(company).values()) == {"updated"}


def test_a_consumer_that_failed_and_is_mended_gets_it_and_no_other_is_written_to(company: Company) -> None:
    _without_bot(company)
    before = _count(company)
    rotating.deliver(company)
    assert rotating.tick(company).status == "SUCCEEDED"
    _assert_all_have_it(company)
    assert (_count(company) - before).total() == 1
    evidence = company.evidence()
    assert evidence["times"]["delivered_again"]
    assert isinstance(evidence["credential_gap_s"], float)
    assert [told["outcome"] for told in rotating.told(company, "Rotation Finished")] == ["consumers_failed", "finished"]
    rotating.tick_in_vain(company)


def test_the_registry_is_asked_before_anybody_is_told(company: Company) -> None:
    """Somebody has reset it since: what the store holds opens nothing any more."""
    _without_bot(company)
    company.world.cloudraya.click_reset(company.name)
    before = _count(company)
    rotating.deliver(company, "*")
    assert rotating.tick(company).error == "AttentionNeeded"
    assert _count(company) == before
    assert "somebody reset it elsewhere" in rotating.asked_for_a_person(company)
    assert company.evidence()["new_password"]["verdict"] == "refused"
    assert rotating.open_things(company) == []
    assert rotating.rotate(company, "lost", "console").status == "SUCCEEDED"
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}


def test_whom_it_names_is_told_again_though_they_have_it(company: Company) -> None:
    """Somebody wrote another value over it, as no receipt can know. A receiver does not take the message for the first.

    What was the credential gap stays what it was: nobody lacked it.
    """
    assert rotating.rotate(company).status == "SUCCEEDED"
    before, gap = _count(company), company.evidence()["credential_gap_s"]
    rotating.deliver(company, WEB, "deploy-*")
    assert rotating.tick(company).status == "SUCCEEDED"
    again = _count(company) - before
    assert sum(number for place, number in again.items() if "/web/" in place) == 1
    assert again.total() == 2
    assert company.evidence()["credential_gap_s"] == gap
    messages = [request for request in rotating.written(company) if request.method == "POST"]
    assert len({message.headers["webhook-id"] for message in messages}) == len(messages) == 2


def test_who_is_new_in_the_plan_gets_it_and_who_left_it_is_gone_from_the_evidence(company: Company) -> None:
    assert rotating.rotate(company).status == "SUCCEEDED"
    before = _count(company)
    bot = next(entry for entry in company.document["consumers"] if entry["name"] == BOT)
    consumers = [entry for entry in company.document["consumers"] if entry["name"] not in (WEB, BOT)]
    company.document["consumers"] = [copy.deepcopy(bot) | {"name": "second-bot"}, *consumers]
    company.push_plan()
    rotating.deliver(company)
    assert rotating.tick(company).status == "SUCCEEDED"
    assert list((_count(company) - before).values()) == [1]
    outcomes = rotating.outcomes(company)
    assert outcomes["second-bot"] == "updated"
    assert WEB not in outcomes
    assert company.evidence()["counts"] == {"consumers": 5, "done": 5}


def test_a_repository_that_a_pattern_has_made_since_gets_it(company: Company) -> None:
    """Nobody knows of it before the pattern is expanded: no receipt waits for it."""
    assert rotating.rotate(company).status == "SUCCEEDED"
    new = f"org-{company.name}/svc-new"
    company.world.github.add_repository(new)
    company.world.github.set_secret(new, "REGISTRY_PASSWORD", company.first_password)
    rotating.deliver(company)
    assert rotating.tick(company).status == "SUCCEEDED"
    assert company.world.github.secret(new, "REGISTRY_PASSWORD") == company.current()


def test_it_goes_on_where_its_execution_was_stopped(company: Company) -> None:
    _without_bot(company)
    rotating.deliver(company)
    held = company.world.receiver.hold(when=_to_bot(company))
    company.world.cloud.tick_now()
    held.wait_until_reached(rotating.PATIENCE)
    company.world.cloud.client("stepfunctions").stop_execution(executionArn=rotating.executions(company)[-1])
    held.release()
    assert rotating.tick(company).status == "SUCCEEDED"
    _assert_all_have_it(company)


def test_asked_while_a_rotation_tells_its_consumers_it_comes_after_that(company: Company) -> None:
    held = company.world.receiver.hold(when=_to_bot(company))
    arn = rotating.start(company)
    held.wait_until_reached(rotating.PATIENCE)
    rotating.deliver(company, WEB)
    held.release()
    assert rotating.ended(company, arn).status == "SUCCEEDED"
    assert rotating.open_things(company) == [f"delivery#{company.name}"]
    assert rotating.tick(company).status == "SUCCEEDED"
    _assert_all_have_it(company)
    assert sum(number for place, number in _count(company).items() if "/web/" in place) == 2


def test_a_later_leak_is_not_kept_waiting(company: Company) -> None:
    """The next rotation tells everybody, and there is nothing to deliver again."""
    _without_bot(company)
    rotating.deliver(company)
    assert rotating.rotate(company, leak="another").status == "SUCCEEDED"
    assert company.resets == 2
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}
    assert set(rotating.outcomes(company, 2).values()) == {"updated"}
    assert rotating.tick(company).states[-1] == "NothingToDo"
    assert rotating.open_things(company) == []
    rotating.tick_in_vain(company)


def test_a_leak_that_cannot_begin_holds_it_up_no_longer_than_that_takes(company: Company) -> None:
    _without_bot(company)
    kubernetes = company.world.kubernetes
    kubernetes.inject(REFUSED, when=lambda request: f"org-{company.name}" in request.path, times=None)
    assert rotating.rotate(company, leak="another").error == "NotReady"
    rotating.deliver(company)
    rotating.tick(company)
    assert rotating.outcomes(company)[BOT] == "updated"
    assert company.resets == 1
    kubernetes.clear_faults()
    assert rotating.tick(company).status == "SUCCEEDED"
    assert company.resets == 2
    assert rotating.open_things(company) == []
