"""What the tests ask of a company and look at, beside what `Company` itself can."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rekey.bus import PASTED, PASTED_SOURCE
from rekey.model.password import Password
from rekey.records import pasting, redelivering
from rekey.records.bucket import Bucket
from rekey.records.dynamo import Table
from rekey.records.escrow import Escrow
from rekey.records.lease import Leases
from rekey.records.ledger import Ledger
from rekey.records.starts import Starts
from rekey.steps.trigger import execution_name
from tests.sandbox.cloudraya import RESET_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rekey.model.rotation import Attempt, Lease, Rotation
    from tests.sandbox.aws import Cloud, Execution
    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.company import Company
    from tests.sandbox.wire import Predicate, Request

PATIENCE = 60.0  # seconds
_POLL = 0.05


def environment(cloud: Cloud) -> Mapping[str, str]:
    """Return the environment of `reset`: names of tables and keys stand there."""
    return cloud.stack.function("reset").environment


def table(cloud: Cloud, which: str = "LEDGER") -> Table:
    """Return a table of the stack, LEDGER or ESCROW, as the product reads it."""
    return Table(environment(cloud)[f"REKEY_{which}_TABLE"], cloud.client("dynamodb"))


def ledger(company: Company) -> Ledger:
    """Return the ledger."""
    return Ledger(table(company.world.cloud))


def escrow(company: Company) -> Escrow:
    """Return the escrow."""
    cloud = company.world.cloud
    return Escrow(table(cloud, "ESCROW"), environment(cloud)["REKEY_ESCROW_KEY_ID"], cloud.client("kms"))


def kept(company: Company) -> list[str]:
    """Return the keys of the answers that the escrow holds for this registry."""
    return escrow(company).tokens(company.name)


def latest(company: Company) -> Rotation:
    """Return the registry's latest rotation."""
    found = ledger(company).latest(company.name)
    if found is None:
        raise LookupError(f"{company.name} has no rotation")
    return found


def lease(company: Company) -> Lease:
    """Return the registry's lease."""
    cloud = company.world.cloud
    found = Leases(table(cloud), lambda _: False, timedelta(0), timedelta(0)).current(company.name)
    if found is None:
        raise LookupError(f"{company.name} was never owned")
    return found


def open_things(company: Company) -> list[str]:
    """Return the keys of what the ledger calls open for this registry."""
    keys = [str(item["sk"]) for item in table(company.world.cloud).query("open")]
    return [key for key in keys if key.split("#")[1] == company.name]


def executions(company: Company) -> list[str]:
    """Return the ARNs of the executions that `trigger` started for this registry, oldest first."""
    cloud = company.world.cloud
    machine = cloud.machine_arn.replace(":stateMachine:", ":execution:")
    last = Starts(table(cloud)).last(company.name)
    return [f"{machine}:{execution_name(company.name, number)}" for number in range(1, last + 1)]


def start(company: Company, reason: str = "compromised", source: str = "siem", **detail: str) -> str:
    """Ask for a rotation, and return the ARN of the execution that came of it."""
    before = len(executions(company))
    company.ask(reason, source, **detail)
    company.world.cloud.settle()
    started = executions(company)[before:]
    if not started:
        raise LookupError("the event started no execution")
    return started[0]


def rotate(company: Company, reason: str = "compromised", source: str = "siem", **detail: str) -> Execution:
    """Ask for a rotation, and return its execution once it has ended and everything that it told has arrived."""
    return ended(company, start(company, reason, source, **detail))


def ended(company: Company, arn: str) -> Execution:
    """Return an execution once it has ended and everything that it told has arrived."""
    execution = company.world.cloud.wait_for(arn)
    company.world.cloud.settle()
    return execution


def request(company: Company) -> Execution:
    """Rotate for a reason that can wait."""
    return rotate(company, "requested", "console")


def paste(company: Company, password: str) -> Execution:
    """Paste a password as `rekey paste` does, and return the execution that came of it once it has ended."""
    known = len(executions(company))
    now = datetime.now(UTC)
    pasting.paste(ledger(company), escrow(company), company.name, Password(password), now=now, clicked_at=None)
    company.world.cloud.put_event(PASTED_SOURCE, PASTED, {"format": 1, "registry": company.name})
    company.world.cloud.settle()
    return ended(company, executions(company)[known])


def deliver(company: Company, *patterns: str) -> None:
    """Ask that the password in force be delivered again, as `rekey deliver` does: the tick comes for it."""
    bucket = Bucket(company.world.bucket, company.world.cloud.client("s3"))
    redelivering.deliver(ledger(company), bucket, company.name, patterns, datetime.now(UTC))


def tick(company: Company, within: float = PATIENCE) -> Execution:
    """Let the tick come until it starts something for this registry, and return that execution once it has ended."""
    known = len(executions(company))
    wait_until(lambda: _tick(company) > known, within)
    return ended(company, executions(company)[known])


def tick_in_vain(company: Company) -> None:
    """Let the tick come now, and see that it starts nothing for this registry."""
    known = len(executions(company))
    assert _tick(company) == known


def _tick(company: Company) -> int:
    company.world.cloud.tick_now()
    return len(executions(company))


def wait_until(holds: Callable[[], bool], within: float = PATIENCE) -> None:
    """Return once a condition holds. Raises TimeoutError after `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not become so within {within} s")
        time.sleep(_POLL)


def told(company: Company, what: str) -> list[dict[str, Any]]:
    """Return the details of this registry's events of one type, in order."""
    events: list[dict[str, Any]] = [passed.event for passed in company.world.cloud.events]
    mine = [event for event in events if event["source"] == "rekey" and event["detail"]["registry"] == company.name]
    return [event["detail"] for event in mine if event["detail-type"] == what]


def asked_for_a_person(company: Company) -> str:
    """Return what was said in the events that ask for a person."""
    return "\n".join(str(detail["why"]) for detail in told(company, "Attention Needed"))


def problems(company: Company, generation: int = 1) -> str:
    """Return the problems that the evidence names."""
    return "\n".join(company.evidence(generation)["problems"])


def outcomes(company: Company, generation: int = 1) -> dict[str, str]:
    """Return how the delivery to each consumer ended, by the evidence."""
    return {consumer["name"]: consumer["outcome"] for consumer in company.evidence(generation)["consumers"]}


def logs_in(company: Company, password: str) -> bool:
    """Whether the registry takes this password, asked past the door."""
    return company.registry.lets_in(company.username, password)


def held_by_consumers(company: Company) -> dict[str, str]:
    """Return the password that each consumer which can be looked into has."""
    held = company.github_secrets()
    for namespace, name in company.pull_secrets:
        entries: dict[str, Any] = company.world.kubernetes.auths(namespace, name)
        (mine,) = [entry for entry in entries.values() if entry["username"] == company.username]
        held[f"{namespace}/{name}"] = str(mine["password"])
    return held


def is_reset(company: Company) -> Predicate:
    """Return what picks the reset calls of this registry at the control plane."""
    path = RESET_PATH.format(id=company.name)
    return lambda request: request.path == path


def reset_calls(company: Company) -> list[Request]:
    """Return the reset calls that arrived at the control plane, whatever came of them."""
    return [one for one in company.world.cloudraya.requests() if is_reset(company)(one)]


def is_write(company: Company) -> Predicate:
    """Return what picks the writes to this company's consumers.

    GitHub is also asked to write nothing at all, to see whether one may.
    """
    org = f"org-{company.name}"

    def fits(request: Request) -> bool:
        if request.method == "POST":
            return request.path == f"/hooks/{company.name}"
        return request.method == "PUT" and org in request.path and len(request.body) > len("{}")

    return fits


def written(company: Company) -> list[Request]:
    """Return the writes that arrived at this company's consumers, whatever came of them."""
    world, fits = company.world, is_write(company)
    servers = (world.github, world.kubernetes, world.receiver)
    return [one.request for server in servers for one in server.exchanges if fits(one.request)]


def keeps_an_answer(company: Company) -> Callable[[AwsRequest], bool]:
    """Return what picks the write that keeps a registry's answer; the gate's own try of the escrow has attempt 0."""
    name = table(company.world.cloud, "ESCROW").name

    def fits(request: AwsRequest) -> bool:
        puts = [write.get("Put", {}) for write in json.loads(request.body)["TransactItems"]]
        items = [put["Item"] for put in puts if put.get("TableName") == name]
        return any(
            item["pk"] == {"S": company.name} and "sealed" in item and item["attempt"] != {"N": "0"} for item in items
        )

    return fits


def attempts(company: Company) -> list[Attempt]:
    """Return the attempts of the company's first rotation."""
    return ledger(company).attempts(company.name, 1)


def assert_rotated(company: Company, *, resets: int = 1) -> None:
    """Assert what is so after every first rotation that ended well, seen from outside."""
    new = company.current()
    assert new != company.first_password
    assert company.made[-1] == new
    assert company.resets == resets
    assert logs_in(company, new)
    assert not logs_in(company, company.first_password)
    assert set(held_by_consumers(company).values()) == {new}
    assert company.others_untouched()
    evidence = company.evidence()
    assert (evidence["outcome"], evidence["resets"]) == ("finished", resets)
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["contents"]["unchanged"] is True, evidence["contents"]["note"]
    assert kept(company) == []
    assert open_things(company) == []
    assert lease(company).owner is None
