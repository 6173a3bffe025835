"""What a step works with, made from the function's environment. Adapters are made when they are asked for."""

from functools import cached_property
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from rekey import adapters, aws
from rekey.bus import Bus
from rekey.contracts import Registry, Store, Stored
from rekey.model.plan import Plan
from rekey.model.rotation import Fence
from rekey.records.bucket import Bucket
from rekey.records.dynamo import Table
from rekey.records.escrow import Escrow
from rekey.records.folder import Folder
from rekey.records.lease import Leases
from rekey.records.ledger import Ledger
from rekey.records.plans import Plans
from rekey.runtime import Call
from rekey.secrets import Secrets
from rekey.settings import Settings

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

_ALIVE = frozenset({"RUNNING", "PENDING_REDRIVE"})


class Bench:
    """Records, bus and adapters for one invocation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return Ledger(Table(self.settings.ledger_table))

    @cached_property
    def leases(self) -> Leases:
        """The leases, which ask Step Functions whether an owner lives."""
        settings = self.settings
        return Leases(self.ledger.table, execution_is_alive, settings.longest_timeout, settings.drain_margin)

    @cached_property
    def escrow(self) -> Escrow:
        """The escrow."""
        hurried = Table(self.settings.escrow_table, aws.client("dynamodb", hurried=True))
        return Escrow(hurried, self.settings.escrow_key_id)

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket."""
        return Bucket(self.settings.bucket)

    @cached_property
    def plans(self) -> Plans:
        """The pushed plans."""
        return Plans(self.bucket)

    @cached_property
    def bus(self) -> Bus:
        """Rekey's own bus."""
        return Bus(self.settings.bus)

    def enter(self, call: Call) -> Fence:
        """Return the fence of a call that may act; note on the lease that it is a repeated one. Raises Fenced."""
        fence = call.state.fence(call.execution, call.redrive)
        self.leases.check(fence, repeated=call.repeated)
        return fence

    def folder(self, registry: str, generation: int) -> Folder:
        """Return the files of one rotation."""
        return Folder(self.bucket, registry, generation)

    def registry(self, plan: Plan) -> Registry:
        """Return the plan's registry."""
        adapter = adapters.load("registry", plan.registry.type)
        return cast("Registry", adapter(plan.registry, Secrets(plan.registry.name)))

    def store(self, plan: Plan) -> Store:
        """Return the plan's store."""
        return cast("Store", adapters.load("store", plan.store.type)(plan.store, plan.registry))


def last_promoted(store: Store) -> Stored | None:
    """Return what Rekey put in force last; mostly that is in force still, and one question is enough."""
    stored = store.current()
    return stored if stored is not None and stored.generation else store.last_promoted()


def execution_is_alive(arn: str) -> bool:
    """Whether an execution still runs, or is about to. One that does not exist does not."""
    client: SFNClient = aws.client("stepfunctions")
    with aws.answering("the state machine"):
        try:
            return client.describe_execution(executionArn=arn)["status"] in _ALIVE
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ExecutionDoesNotExist":
                return False
            raise
