"""A stack for the command line: what it speaks to, in moto, and what the functions would have done."""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
import yaml
from moto import mock_aws
from typer.testing import CliRunner, Result

from rekey.model.request import Reason, Request
from rekey.model.rotation import Attempt, Phase, Rotation
from rekey.records.bucket import Bucket
from rekey.records.codec import partition, rotation_key
from rekey.records.dynamo import Table, Write
from rekey.records.escrow import Escrow
from rekey.records.ledger import Ledger, following, open_mark
from rekey.records.plans import plan_key, to_stored
from rekey.steps.trigger import read_request
from rekey_cli.main import app
from tests.unit.plan_documents import good

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REGION: Final = "eu-west-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
NAMES = {
    "REKEY_STACK": "rekey-test",
    "REKEY_LEDGER_TABLE": "rekey-test-ledger",
    "REKEY_ESCROW_TABLE": "rekey-test-escrow",
    "REKEY_BUCKET": "rekey-test-bucket",
    "REKEY_BUS": "rekey-test",
}
LONG_AGO = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)


_session = boto3.Session("testing", "testing", region_name=REGION)


@cache
def client(service: str) -> Any:  # noqa: ANN401 (boto3 makes its clients' types at run time)
    """Return a client for use while a stack is there. Making one costs a tenth of a second."""
    return _session.client(service)  # type: ignore[call-overload]


def run(*args: str, piped: str | bytes | None = None) -> Result:
    """Run `rekey` in this process, with nothing on stdin unless piped."""
    return CliRunner().invoke(app, args, input=piped if piped is not None else "")


@dataclass
class FakeStack:
    """The stack's parts, as the functions see them."""

    env: Mapping[str, str]
    ledger: Ledger
    bucket: Bucket
    escrow: Escrow
    _queue: str

    def push(self, document: Mapping[str, object] | None = None) -> str:
        """Push a plan as it is."""
        document = document or good()
        registry: Any = document["registry"]
        return self.bucket.write(plan_key(registry["name"]), to_stored(document), "application/json")

    def events(self) -> list[dict[str, Any]]:
        """Return the events put on the bus since the last call."""
        sqs = client("sqs")
        found: list[dict[str, Any]] = []
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def take_up(self) -> Request | None:
        """Do with a new event what trigger does with it; return the request, or None where there is no event yet."""
        requests = [self.ledger.put_request(read_request(event, datetime.now(UTC)))[0] for event in self.events()]
        return requests[0] if requests else None

    def ask(self, registry: str = "prod-images", reason: Reason = Reason.REQUESTED) -> Request:
        """Write an open request."""
        request = Request(
            registry=registry, key=secrets.token_hex(16), reason=reason, source="siem", arrived_at=datetime.now(UTC)
        )
        return self.ledger.put_request(request)[0]

    def rotation(self, phase: Phase, **fields: object) -> Rotation:
        """Write the registry's rotation as it is after some step; closes nothing."""
        known: dict[str, Any] = {
            "registry": "prod-images",
            "generation": 1,
            "reason": Reason.REQUESTED,
            "plan_version": "1",
            "started_at": datetime.now(UTC),
            "execution": "arn",
            **fields,
        }
        rotation = Rotation(phase=phase, rev=secrets.token_hex(8), **known)
        key = {"pk": partition(rotation.registry), "sk": rotation_key(rotation.generation)}
        item = Write(key=key, item=rotation.model_dump(mode="json"), condition="")
        self.ledger.table.write(item, open_mark(rotation))
        return rotation

    def write(self, attempt: Attempt) -> None:
        """Write an attempt."""
        self.ledger.table.write(following(attempt.having(rev=""), attempt))

    def close(self, request: Request, generation: int = 1) -> None:
        """Close a request, as a completed reset does."""
        self.ledger.table.write(*self.ledger.closing(request, generation))


@contextmanager
def fake_stack() -> Iterator[FakeStack]:
    """Yield a stack in moto. Its names are in `env`, which is not set by this."""
    with mock_aws():
        for table in ("REKEY_LEDGER_TABLE", "REKEY_ESCROW_TABLE"):
            client("dynamodb").create_table(
                TableName=NAMES[table],
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "S"},
                ],
            )
        s3 = client("s3")
        s3.create_bucket(Bucket=NAMES["REKEY_BUCKET"], CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=NAMES["REKEY_BUCKET"], VersioningConfiguration={"Status": "Enabled"})
        key = client("kms").create_key()["KeyMetadata"]["Arn"]
        env = {**CREDENTIALS, **NAMES, "REKEY_ESCROW_KEY_ID": key}
        yield FakeStack(
            env=env,
            ledger=Ledger(Table(NAMES["REKEY_LEDGER_TABLE"], client("dynamodb"))),
            bucket=Bucket(NAMES["REKEY_BUCKET"], client("s3")),
            escrow=Escrow(Table(NAMES["REKEY_ESCROW_TABLE"], client("dynamodb")), key, client("kms")),
            _queue=_listen(),
        )


def _listen() -> str:
    """Make the bus, and a queue that gets every event of it."""
    events, sqs = client("events"), client("sqs")
    url: str = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.create_event_bus(Name=NAMES["REKEY_BUS"])
    pattern = json.dumps({"source": [{"prefix": "rekey.in/"}]})
    events.put_rule(Name="asking", EventBusName=NAMES["REKEY_BUS"], EventPattern=pattern)
    events.put_targets(Rule="asking", EventBusName=NAMES["REKEY_BUS"], Targets=[{"Id": "queue", "Arn": arn}])
    return url


def as_yaml(document: Mapping[str, object]) -> str:
    """Return a document as a person could write it: no anchors."""
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False)
