"""One rotation per registry at a time, fenced; generation N never overwrites N+1."""

from __future__ import annotations

import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rekey.model.rotation import Phase
from tests.e2e import rotating
from tests.e2e.front import by
from tests.sandbox.aws_faults import error_answer

if TYPE_CHECKING:
    from tests.e2e.front import Front
    from tests.sandbox.aws_faults import Act, Answer, AwsRequest
    from tests.sandbox.company import Company

LATER = 7
"""A generation that somebody else has brought already."""


def test_two_alerts_at_once_cause_one_reset_which_meets_both(company: Company) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda leak: company.ask(leak=leak), ["leak-1", "leak-2"]))
    company.world.cloud.settle()
    (arn,) = rotating.executions(company)
    assert rotating.ended(company, arn).status == "SUCCEEDED"
    assert len(rotating.reset_calls(company)) == 1
    requests = rotating.ledger(company).requests_of(company.name, 1)
    assert [request.closed_by for request in requests] == [1, 1]
    rotating.tick_in_vain(company)


def test_fifty_alerts_of_one_leak_at_once_cause_one_reset(company: Company) -> None:
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: company.ask(leak="leak-1"), range(50)))
    company.world.cloud.settle()
    (arn,) = rotating.executions(company)
    rotating.ended(company, arn)
    assert len(rotating.reset_calls(company)) == 1
    assert len(rotating.told(company, "Request Accepted")) == 1
    assert len(rotating.told(company, "Request Joined")) == 49
    rotating.tick_in_vain(company)


def test_executions_started_at_once_cause_one_reset(company: Company) -> None:
    """Whoever may start executions by hand may start many: the lease lets one of them, or the event's own, act."""
    cloud = company.world.cloud
    company.ask()
    document = {"format": 1, "operation": "rotate", "registry": company.name}
    with ThreadPoolExecutor(10) as pool:
        started = pool.map(lambda number: cloud.start_execution({**document, "start": number}), range(901, 911))
        by_hand = [cloud.wait_for(arn) for arn in started]
    cloud.settle()
    ends = by_hand + [cloud.wait_for(arn) for arn in rotating.executions(company)]
    assert {execution.status for execution in ends} == {"SUCCEEDED"}
    assert sorted(execution.states[-1] for execution in ends if execution.states[-1] != "NothingToDo") == ["Finished"]
    assert len(rotating.reset_calls(company)) == 1
    assert company.evidence()["outcome"] == "finished"


def test_a_step_of_an_execution_that_lost_the_lease_does_nothing(company: Company) -> None:
    execution = rotating.rotate(company)
    cloud, before = company.world.cloud, len(rotating.written(company))
    called = {"arn": execution.arn, "redrive": 0}
    for function, verb in [("reset", "reset"), ("distribute", "deliver"), ("verify", "verify")]:
        payload = {"call": verb, "execution": called, "state": {**(execution.output or {}), "shard": 0}}
        result = cloud.lambdas.invoke(function, json.dumps(payload).encode())
        assert json.loads(result.payload)["errorType"] == "Fenced", function
    assert len(rotating.written(company)) == before
    assert len(rotating.reset_calls(company)) == 1


def test_a_redriven_execution_does_nothing(company: Company) -> None:
    """What it left is the tick's: its data may be old, and another one may have gone on."""
    cloud = company.world.cloud
    held = company.world.cloudraya.hold(when=lambda request: request.path.endswith(f"/registries/{company.name}"))
    arn = rotating.start(company)
    held.wait_until_reached(rotating.PATIENCE)
    cloud.client("stepfunctions").stop_execution(executionArn=arn)
    cloud.lambdas.kill("reset")
    held.release()
    cloud.redrive(arn)
    execution = rotating.ended(company, arn)
    assert (execution.status, execution.error) == ("FAILED", "Unfinished")
    assert rotating.reset_calls(company) == []
    assert rotating.lease(company).redrive == 0
    assert rotating.tick(company).status == "SUCCEEDED"
    rotating.assert_rotated(company)
    rotating.tick_in_vain(company)


def test_a_call_that_was_given_up_and_still_runs_ends_before_the_next_generation(company: Company) -> None:
    """Its answer was lost, and the state machine called again. What it still holds is an old password by then."""
    world, given_up = company.world, list[threading.Thread]()
    held = world.github.hold(when=rotating.is_write(company))

    def lose(request: AwsRequest, act: Act) -> Answer:
        given_up.append(threading.Thread(target=act))
        given_up[0].start()
        held.wait_until_reached()
        return error_answer(request.service, 503, "ServiceException", "the answer was lost")

    world.cloud.faults.add("lambda:Invoke", lose, where=lambda request: b'"deliver"' in request.body)
    try:
        assert rotating.rotate(company).status == "SUCCEEDED"
        second = rotating.start(company, leak="another")
        rotating.wait_until(lambda: world.cloud.execution(second).states[-1:] == ["WaitForDrain"])
    finally:
        held.release()
        for thread in given_up:
            thread.join()
    assert rotating.ended(company, second).status == "SUCCEEDED"
    assert company.resets == 2
    assert set(rotating.held_by_consumers(company).values()) == {company.current()}


def test_a_pull_secret_with_a_later_generation_is_left_alone(company: Company, front: Front) -> None:
    namespace, name = company.pull_secrets[0]
    later = secrets.token_urlsafe(18)
    marks = {f"{company.name}.rekey.dev/generation": str(LATER)}
    company.world.kubernetes.add_pull_secret(
        namespace,
        name,
        {front.host: {"username": company.name, "password": later}},
        metadata={"annotations": {**marks}},
    )
    assert rotating.rotate(company).status == "SUCCEEDED"
    consumer = f"prod-cluster/{namespace}/{name}"
    assert rotating.outcomes(company).pop(consumer) == "superseded"
    held = rotating.held_by_consumers(company)
    assert held.pop(f"{namespace}/{name}") == later
    assert set(held.values()) == {company.current()}


def test_a_later_generation_in_the_store_is_left_alone(company: Company, front: Front) -> None:
    """Somebody promotes it while this rotation tries its own password: nothing is promoted or delivered over it."""
    held = front.hold(when=by(company.name, lambda given: given != company.first_password))
    arn = rotating.start(company)
    held.wait_until_reached(rotating.PATIENCE)
    password = secrets.token_urlsafe(18)
    later = {"registry": company.name, "username": company.name, "password": password, "generation": LATER}
    company.store.overtake(later)
    held.release()
    assert rotating.ended(company, arn).error == "AttentionNeeded"
    assert company.current() == password
    assert rotating.written(company) == []
    assert "the store holds a higher generation" in rotating.asked_for_a_person(company)
    assert rotating.latest(company).phase is Phase.NEEDS_ATTENTION
    rotating.tick_in_vain(company)
