"""DynamoDB as the records need it: consistent reads, conditional writes, honest answers about a failed one."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from rekey import aws
from rekey.errors import Unfit, Unreachable

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
_ANSWERS = frozenset({"ConditionalCheckFailed"})
_UNFIT = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})
_TRIES = 6
_to_wire = TypeSerializer()
_from_wire = TypeDeserializer()


class ConditionFailed(Exception):
    """A condition did not hold, so nothing was written. `old` holds what stands there, by the write's position."""

    def __init__(self, old: Mapping[int, Item | None]) -> None:
        super().__init__("a condition of the write did not hold")
        self.old = old


@dataclass(frozen=True)
class Write:
    """One conditional write: a put where `item` is given, a check where it is not, a delete where asked."""

    key: Mapping[str, str]
    item: Mapping[str, Any] | None = None
    condition: str = "attribute_not_exists(pk)"
    """Empty: written whatever is there."""
    names: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    delete: bool = False
    table: str | None = None
    """Another table than the one it is written through."""


class Table:
    """One DynamoDB table with the keys `pk` and `sk`."""

    def __init__(self, name: str, client: "DynamoDBClient | None" = None) -> None:
        self.name = name
        self._client: DynamoDBClient = client or aws.client("dynamodb")

    def get(self, pk: str, sk: str) -> Item | None:
        """Return an item as it is now (strongly consistent), or None."""
        with aws.answering(f"the table {self.name}"):
            answer = self._client.get_item(TableName=self.name, Key=encode({"pk": pk, "sk": sk}), ConsistentRead=True)
        return decode(answer["Item"]) if "Item" in answer else None

    def query(self, pk: str, prefix: str = "", *, only: Sequence[str] = ()) -> list[Item]:
        """Return the items of a partition whose `sk` begins so, in order, as they are now; `only` some attributes."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)" if prefix else "pk = :pk",
            "ExpressionAttributeValues": encode({":pk": pk} | ({":sk": prefix} if prefix else {})),
            "ConsistentRead": True,
        }
        if only:
            request["ProjectionExpression"] = ", ".join(f"#{number}" for number in range(len(only)))
            request["ExpressionAttributeNames"] = {f"#{number}": name for number, name in enumerate(only)}
        items: list[Item] = []
        with aws.answering(f"the table {self.name}"):
            while True:
                answer = self._client.query(**request)
                items += [decode(item) for item in answer["Items"]]
                if "LastEvaluatedKey" not in answer:
                    return items
                request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def write(self, *writes: Write) -> None:
        """Do all writes or none.

        A transaction that collides with another, or is throttled, is tried again. Raises ConditionFailed where a
        condition does not hold, Unfit where an item is too large, Unreachable where the collisions do not end.
        """
        request = [self._action(write) for write in writes]
        for turn in range(_TRIES):
            try:
                with aws.answering(f"the table {self.name}"):
                    self._send(request)
            except _Cancelled as cancelled:
                failed = {n: r for n, r in enumerate(cancelled.reasons) if r.get("Code") in _ANSWERS}
                if failed:
                    old = {n: decode(r["Item"]) if r.get("Item") else None for n, r in failed.items()}
                    raise ConditionFailed(old) from None
                if any(reason.get("Code") in _UNFIT for reason in cancelled.reasons):
                    raise Unfit(f"the table {self.name} does not take what was to be written") from None
                # Others wrote at the same time: full jitter, as AWS advises for optimistic writers.
                time.sleep(random.uniform(0, 0.05 * 2**turn))  # noqa: S311 (spreads writers, hides nothing)
            else:
                return
        raise Unreachable(f"the table {self.name}: other writers keep colliding with this one")

    def _send(self, request: list[Any]) -> None:
        try:
            self._client.transact_write_items(TransactItems=request)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "TransactionCanceledException":
                raise _Cancelled(error.response.get("CancellationReasons", [])) from None
            raise

    def _action(self, write: Write) -> dict[str, Any]:
        common: dict[str, Any] = {
            "TableName": write.table or self.name,
        }
        if write.condition:
            common["ConditionExpression"] = write.condition
            common["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if write.names:
            common["ExpressionAttributeNames"] = dict(write.names)
        if write.values:
            common["ExpressionAttributeValues"] = encode(write.values)
        if write.item is not None:
            return {"Put": common | {"Item": encode({**write.key, **write.item})}}
        return {"Delete" if write.delete else "ConditionCheck": common | {"Key": encode(write.key)}}


class _Cancelled(Exception):
    def __init__(self, reasons: Any) -> None:  # noqa: ANN401 (botocore's own shape)
        super().__init__()
        self.reasons: list[Any] = list(reasons)


def encode(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return DynamoDB's wire form of an item; fields that are None are left out."""
    return {key: _to_wire.serialize(_exact(value)) for key, value in item.items() if value is not None}


def _exact(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, Mapping):
        return {key: _exact(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_exact(inner) for inner in value]
    return value


def decode(item: Mapping[str, Any]) -> Item:
    """Return the item of a wire form, numbers as int or float, binaries as bytes."""
    return {key: _plain(_from_wire.deserialize(value)) for key, value in item.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Binary):
        return bytes(value.value)  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
