"""A stack's tables, bucket, bus, key and state machine in the sandbox, without functions: for records and steps.

Their boto3 clients find the sandbox by the environment, as a function's do.
"""

from __future__ import annotations

import itertools
import json
import os
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self
from unittest import mock

from rekey import aws, runtime
from rekey.model.request import Reason, Request
from rekey.model.rotation import Fence, Phase, Rotation
from rekey.model.state import Operation, State
from rekey.records.lease import Leases
from rekey.records.plans import plan_key, to_stored
from rekey.settings import Settings
from rekey.steps.bench import Bench
from tests.sandbox.aws import AwsSandbox

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from rekey.model.rotation import Lease
    from rekey.records.bucket import Bucket
    from rekey.records.dynamo import Table
    from rekey.records.escrow import Escrow
    from rekey.records.ledger import Ledger

LONGEST: Final = timedelta(seconds=300)
MARGIN: Final = timedelta(seconds=30)
ASKED: Final = datetime(2026, 1, 31, 2, tzinfo=UTC)
"""When the requests arrived that `ask` writes."""
_WAITING = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}})
_KEYS = ("pk", "sk")
_names = (f"registry-{number}" for number in itertools.count(1))


class BareStack:
    """Opens the sandbox, as a context manager. Tests share it, and keep apart by registries of their own."""

    aws: AwsSandbox
    bench: Bench

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self.aws = opening.enter_context(AwsSandbox(stack_name="stack"))
            self._make()
            opening.enter_context(mock.patch.dict(os.environ, {**self.aws.env, **self.environment}))
            opening.callback(aws.client.cache_clear)
            aws.client.cache_clear()
            self.bench = Bench(Settings.from_env())
            self._exit = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    def _make(self) -> None:
        for table in ("stack-ledger", "stack-escrow"):
            self.aws.client("dynamodb").create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in _KEYS],
                KeySchema=[
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
            )
        s3 = self.aws.client("s3")
        place: Any = s3.meta.region_name
        s3.create_bucket(Bucket="stack-bucket", CreateBucketConfiguration={"LocationConstraint": place})
        s3.put_bucket_versioning(Bucket="stack-bucket", VersioningConfiguration={"Status": "Enabled"})
        self.aws.client("events").create_event_bus(Name="stack")
        key = self.aws.client("kms").create_key()["KeyMetadata"]["KeyId"]
        self.environment: Mapping[str, str] = {
            "REKEY_STACK": "stack",
            "REKEY_LEDGER_TABLE": "stack-ledger",
            "REKEY_ESCROW_TABLE": "stack-escrow",
            "REKEY_BUCKET": "stack-bucket",
            "REKEY_BUS": "stack",
            "REKEY_ESCROW_KEY_ID": key,
            "REKEY_STATE_MACHINE_ARN": self._state_machine("stack-rotation", _WAITING),
            "REKEY_LONGEST_TIMEOUT": str(LONGEST.total_seconds()),
            "REKEY_DRAIN_MARGIN": str(MARGIN.total_seconds()),
            "REKEY_SNAPSHOT_WITHIN": "5",
        }

    def _state_machine(self, name: str, definition: str) -> str:
        made = self.aws.client("stepfunctions").create_state_machine(
            name=name, definition=definition, roleArn=f"arn:aws:iam::{self.aws.place.account}:role/machine"
        )
        return str(made["stateMachineArn"])

    def new_registry(self) -> str:
        """Return a name that no other test knows; faults and what was recorded of other tests are gone."""
        self.aws.faults.clear()
        self.aws.requests.clear()
        return next(_names)

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.bench.ledger

    @property
    def escrow(self) -> Escrow:
        """The escrow."""
        return self.bench.escrow

    @property
    def table(self) -> Table:
        """The ledger's table."""
        return self.bench.ledger.table

    @property
    def bucket(self) -> Bucket:
        """The bucket."""
        return self.bench.bucket

    def leases(self, *alive: str) -> Leases:
        """Return the leases of a world in which only these executions live."""
        return Leases(self.table, lambda owner: owner in alive, LONGEST, MARGIN)

    def own(self, registry: str, owner: str = "") -> Lease:
        """Take the registry's lease as an execution whose predecessors are dead; it does not live either."""
        machine = self.environment["REKEY_STATE_MACHINE_ARN"].replace(":stateMachine:", ":execution:")
        taken = self.leases().take(registry, owner or f"{machine}:dead", 0, runtime.now())
        assert taken is not None
        return taken

    def fence(self, registry: str, owner: str = "") -> Fence:
        """Take the lease, and return what its owner's steps carry."""
        return self.own(registry, owner).fence(registry)

    def rotation(self, fence: Fence, **fields: object) -> Rotation:
        """Write a rotation behind its gate."""
        given = {
            "registry": fence.registry,
            "generation": 1,
            "phase": Phase.RESETTING,
            "reason": Reason.REQUESTED,
            "plan_version": "v1",
            "started_at": runtime.now(),
            "execution": fence.owner,
            **fields,
        }
        return self.ledger.save_one(fence, Rotation.model_validate(given))

    def ask(self, registry: str, key: str = "leak", reason: Reason = Reason.COMPROMISED) -> Request:
        """Write an open request."""
        request = Request(registry=registry, key=key, reason=reason, source="siem", arrived_at=ASKED)
        return self.ledger.put_request(request)[0]

    def push(self, name: str, **changes: object) -> str:
        """Push a plan of a registry that nobody answers for, and make its secret; return the plan's version."""
        document = plan_of(name, **changes)
        self.aws.client("secretsmanager").create_secret(Name=f"registries/{name}")
        return self.bucket.write(plan_key(name), to_stored(document), "application/json")

    def state(self, fence: Fence, generation: int = 1, **fields: object) -> State:
        """Return the state that an execution's later steps get."""
        state = State(format=1, operation=Operation.ROTATE, registry=fence.registry, start=1)
        known = {"generation": generation, "epoch": fence.epoch, "tag": fence.tag}
        return state.model_copy(update={**known, **fields})

    def events(self, registry: str) -> list[dict[str, Any]]:
        """Return the events that were put on the bus about a registry, with `Detail` read."""
        found: list[dict[str, Any]] = []
        for request in self.aws.requests:
            if request.operation == "events:PutEvents":
                for entry in json.loads(request.body)["Entries"]:
                    detail = json.loads(entry["Detail"])
                    if detail.get("registry") == registry:
                        found.append({**entry, "Detail": detail})
        return found

    def told(self, registry: str) -> list[str]:
        """Return the types of the events that told something about a registry."""
        return [event["DetailType"] for event in self.events(registry) if event["Source"] == "rekey"]


def plan_of(name: str, **changes: object) -> dict[str, object]:
    """Return a plan's document: a registry that a person resets, and one webhook that is told."""
    here = "http://127.0.0.1:9"  # the port of "discard": nobody listens there
    return {
        "registry": {"name": name, "type": "manual", "endpoint": here, "username": name, "where": "console"},
        "store": {"type": "secrets-manager", "name": f"registries/{name}"},
        "accepts": {"siem": ["compromised"], "console": ["requested", "lost"]},
        "consumers": [
            {"name": "deploy-bot", "type": "webhook", "url": f"{here}/hook", "signing_key": {"secret": "rekey/hook"}}
        ],
        **changes,
    }
