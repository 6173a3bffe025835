"""Whatever a rotation may meet, once: so that every call a function ever makes to AWS is made."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from rekey import runtime
from rekey.records import resuming
from rekey.records.plans import plan_key
from tests.e2e import companies, rotating
from tests.sandbox import cloudraya
from tests.sandbox.faults import answer, drop
from tests.sandbox.webhook_receiver import sign
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.e2e.front import Front
    from tests.sandbox.company import Company, Kind
    from tests.sandbox.world import World


@dataclass
class Runs:
    """Sets companies up in a world, and lets something happen to each. `webhook_key` is that of the source `soc`."""

    world: World
    front: Front
    webhook_key: str
    _made: list[Company] = field(default_factory=list)

    def all(self) -> None:
        """Let everything happen, one after the other."""
        happenings: Sequence[Callable[[], None]] = (
            self.alert_by_webhook,
            self.alert_under_a_broken_plan,
            self.later_leak_before_a_consumer_was_told,
            self.stopped_execution,
            self.failing_consumer,
            self.delivery_that_cannot_be,
            self.first_adoption,
            self.paste,
            self.resume,
            self.harbor,
            self.plan_that_went,
            self.new_day,
        )
        for happen in happenings:
            with self._closing():
                happen()

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for server in (self.world.github, self.world.receiver):
                server.clear_faults()
            self.world.cloudraya.reset_answer = cloudraya.documented_answer
            while self._made:
                companies.close(self._made.pop())

    def _company(self, kind: Kind = "cloudraya", *, adopted: bool = True) -> Company:
        self._made.append(companies.new(self.world, self.front, kind, adopted=adopted))
        return self._made[-1]

    def alert_by_webhook(self) -> None:
        """Post a leak; everything goes well."""
        company = self._company()
        body, sent_at = json.dumps({"registry": company.name, "reason": "compromised"}).encode(), str(int(time.time()))
        key = base64.b64decode(self.webhook_key.removeprefix("whsec_"))
        headers = {
            "content-type": "application/json",
            "webhook-id": "msg_1",
            "webhook-timestamp": sent_at,
            "webhook-signature": sign(key, "msg_1", sent_at, body),
        }
        url = f"{self.world.cloud.http_api.endpoint}/soc"
        company.document["accepts"]["soc"] = ["compromised"]
        company.push_plan()
        assert httpx.post(url, content=body, headers=headers, timeout=30.0).status_code == httpx.codes.ACCEPTED
        self.world.cloud.settle()
        (arn,) = rotating.executions(company)
        assert rotating.ended(company, arn).status == "SUCCEEDED"

    def alert_under_a_broken_plan(self) -> None:
        """Push a plan that is broken: the one that was used last says whose alerts are taken."""
        company = self._company()
        assert rotating.rotate(company).status == "SUCCEEDED"
        company.document["consumers"][0]["colour"] = "red"
        self.world.cloud.client("s3").put_object(
            Bucket=self.world.bucket,
            Key=plan_key(company.name),
            Body=json.dumps({"format": 1, "plan": company.document}).encode(),
        )
        assert rotating.rotate(company).error == "NotReady"

    def later_leak_before_a_consumer_was_told(self) -> None:
        """Report another leak: the open rotation is ended, and the next one tells everybody."""
        company = self._company()
        self.world.receiver.inject(drop(), when=rotating.is_write(company), times=None)
        assert rotating.rotate(company).error == "Unfinished"
        self.world.receiver.clear_faults()
        assert rotating.rotate(company, leak="another").status == "SUCCEEDED"

    def stopped_execution(self) -> None:
        """Stop one while its consumers are told; the tick has it taken up again."""
        company = self._company()
        held = self.world.receiver.hold(when=rotating.is_write(company))
        arn = rotating.start(company)
        held.wait_until_reached(rotating.PATIENCE)
        self.world.cloud.client("stepfunctions").stop_execution(executionArn=arn)
        held.release()
        assert rotating.tick(company).status == "SUCCEEDED"

    def failing_consumer(self) -> None:
        """Let one refuse for good, and deliver to it when it is mended."""
        company = self._company()
        self.world.github.inject(answer(Response.json({}, 403)), when=rotating.is_write(company), times=None)
        assert rotating.rotate(company).error == "ConsumersFailed"
        self.world.github.clear_faults()
        rotating.deliver(company)
        assert rotating.tick(company).status == "SUCCEEDED"

    def delivery_that_cannot_be(self) -> None:
        """Name another account in the plan when a delivery was asked for: Begin tells it."""
        company = self._company()
        assert rotating.rotate(company).status == "SUCCEEDED"
        rotating.deliver(company)
        company.document["registry"]["username"] = "another"
        company.push_plan()
        assert rotating.tick(company).states[-1] == "NothingToDo"
        assert "is not delivered again" in rotating.asked_for_a_person(company)

    def first_adoption(self) -> None:
        """Rotate where the store holds nothing before."""
        assert rotating.rotate(self._company(adopted=False)).status == "SUCCEEDED"

    def paste(self) -> None:
        """Reset by hand, and paste."""
        company = self._company("manual")
        assert rotating.rotate(company).states[-1] == "Ready"
        password = self.world.cloudraya.click_reset(company.name)
        assert rotating.paste(company, password).status == "SUCCEEDED"

    def resume(self) -> None:
        """Let the plan say wrongly where the new password is; then mend it and resume."""
        company = self._company()
        self.world.cloudraya.reset_answer = cloudraya.password_under("secret")
        assert rotating.rotate(company).error == "AttentionNeeded"
        company.document["registry"]["api"]["reset"] |= {"password_at": "/data/secret"}
        resuming.resume(rotating.ledger(company), company.name, company.push_plan(), runtime.now())
        assert rotating.tick(company).status == "SUCCEEDED"

    def harbor(self) -> None:
        """Rotate at a registry that takes a password of ours."""
        assert rotating.rotate(self._company("harbor")).status == "SUCCEEDED"

    def plan_that_went(self) -> None:
        """Find a registry not ready, and then delete its plan."""
        company = self._company()
        self.world.cloudraya.set_busy(company.name)
        assert rotating.request(company).error == "NotReady"
        self.world.cloud.client("s3").delete_object(Bucket=self.world.bucket, Key=plan_key(company.name))
        assert rotating.tick(company).error == "NotReady"
        company.ask()
        self.world.cloud.settle()
        assert rotating.told(company, "Request Refused")

    def new_day(self) -> None:
        """Let the tick come as the first one of its day, whatever ticked before."""
        cloud = self.world.cloud
        mark = {"pk": {"S": "tick"}, "sk": {"S": "wake"}}
        cloud.client("dynamodb").delete_item(TableName=rotating.table(cloud).name, Key=mark)
        cloud.tick_now()
        cloud.settle()
