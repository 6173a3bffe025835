"""The sandbox's DynamoDB is atomic: without that, nothing a test says about leases and claims holds."""

from __future__ import annotations

import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models import table as moto_table

from tests.sandbox.aws import AwsSandbox
from tests.sandbox.aws_dynamodb import TOKEN_LIFETIME, atomic_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from tests.sandbox.aws import Repair

TABLE = "table"
RACERS = 50
LOST = {"ConditionalCheckFailedException", "TransactionCanceledException"}


@contextmanager
def table(repairs: Sequence[Repair] = (atomic_dynamodb,)) -> Iterator[DynamoDBClient]:
    with AwsSandbox(repairs=repairs) as aws:
        client = aws.session.client(
            "dynamodb", config=Config(max_pool_connections=RACERS, retries={"total_max_attempts": 1})
        )
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        yield client


@pytest.fixture
def dynamodb() -> Iterator[DynamoDBClient]:
    with table() as client:
        yield client


@pytest.fixture
def racing() -> Iterator[None]:
    """Let threads be interrupted as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def race(run: Callable[[int], None]) -> list[int]:
    """Let all racers run at once; return who won (was not refused)."""
    together = threading.Barrier(RACERS)

    def racer(number: int) -> bool:
        together.wait()
        try:
            run(number)
        except ClientError as error:
            if error.response["Error"]["Code"] not in LOST:
                raise
            return False
        return True

    with ThreadPoolExecutor(RACERS) as pool:
        return [number for number, won in enumerate(pool.map(racer, range(RACERS))) if won]


def value(client: DynamoDBClient, key: str) -> str:
    item = client.get_item(TableName=TABLE, Key={"pk": {"S": key}}, ConsistentRead=True)["Item"]
    return item["value"]["N"]


def put(key: str, number: int) -> TransactWriteItemTypeDef:
    return {
        "Put": {
            "TableName": TABLE,
            "Item": {"pk": {"S": key}, "value": {"N": str(number)}},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
    }


@pytest.mark.usefixtures("racing")
def test_a_lease_has_one_winner(dynamodb: DynamoDBClient) -> None:
    for turn in range(4):

        def take(number: int, key: str = f"lease-{turn}") -> None:
            dynamodb.put_item(
                TableName=TABLE,
                Item={"pk": {"S": key}, "value": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(pk)",
            )

        winners = race(take)
        assert [value(dynamodb, f"lease-{turn}")] == [str(winner) for winner in winners]


@pytest.mark.usefixtures("racing")
def test_a_compare_and_set_has_one_winner(dynamodb: DynamoDBClient) -> None:
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "epoch"}, "value": {"N": "0"}})
    for turn in range(4):

        def swap(_number: int, epoch: int = turn) -> None:
            dynamodb.update_item(
                TableName=TABLE,
                Key={"pk": {"S": "epoch"}},
                UpdateExpression="SET #v = :next",
                ConditionExpression="#v = :last",
                ExpressionAttributeNames={"#v": "value"},
                ExpressionAttributeValues={":last": {"N": str(epoch)}, ":next": {"N": str(epoch + 1)}},
            )

        assert len(race(swap)) == 1
    assert value(dynamodb, "epoch") == "4"


@pytest.mark.usefixtures("racing")
def test_a_transaction_has_one_winner_and_wipes_nobodys_write(dynamodb: DynamoDBClient) -> None:
    for turn in range(3):

        def claim(number: int, key: str = f"claim-{turn}") -> None:
            dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": f"{key}-by-{number}"}, "value": {"N": "1"}})
            dynamodb.transact_write_items(TransactItems=[put(f"{key}-{number}", number), put(key, number)])

        winners = race(claim)
        assert [value(dynamodb, f"claim-{turn}")] == [str(winner) for winner in winners]
        for number in range(RACERS):
            assert value(dynamodb, f"claim-{turn}-by-{number}") == "1"


@contextmanager
def two_at_the_condition() -> Iterator[None]:
    """Hold a conditional put, after it read the item, until another is there too (or half a second has passed)."""
    both = threading.Barrier(2)

    def slow(*arguments: Any) -> object:  # noqa: ANN401 moto's own, passed on
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        return get_filter_expression(*arguments)

    with mock.patch.object(moto_table, "get_filter_expression", slow):
        yield


def winners_of_two(client: DynamoDBClient) -> int:
    def take(number: int) -> bool:
        with suppress(ClientError):
            client.put_item(
                TableName=TABLE,
                Item={"pk": {"S": "lease"}, "value": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
            return True
        return False

    with two_at_the_condition(), ThreadPoolExecutor(2) as pool:
        return sum(pool.map(take, range(2)))


def test_moto_alone_lets_two_win() -> None:
    """Fails when moto becomes atomic: then the lock can go."""
    with table(repairs=()) as client:
        assert winners_of_two(client) == 2
    with table() as client:
        assert winners_of_two(client) == 1


def test_a_condition_that_fails_returns_the_old_item_also_in_a_transaction(dynamodb: DynamoDBClient) -> None:
    item = put("a", 1)
    item["Put"]["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    dynamodb.transact_write_items(TransactItems=[item])
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as caught:
        dynamodb.transact_write_items(TransactItems=[put("b", 1), item])
    reasons = caught.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"]["value"] == {"N": "1"}


@pytest.mark.parametrize("update", [False, True])
def test_a_cancelled_transaction_changes_nothing(dynamodb: DynamoDBClient, *, update: bool) -> None:
    """Also where the table is put back with the items it had, not with copies of them."""
    dynamodb.create_table(
        TableName="sorted",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )

    def write(key: str, number: int, condition: str = "attribute_exists(pk)") -> TransactWriteItemTypeDef:
        item: Any = {"pk": {"S": "all"}, "sk": {"S": key}, "value": {"N": str(number)}}
        return {"Put": {"TableName": "sorted", "Item": item, "ConditionExpression": condition}}

    def items() -> list[tuple[str, str]]:
        found = dynamodb.scan(TableName="sorted", ConsistentRead=True)["Items"]
        return sorted((item["sk"]["S"], item["value"]["N"]) for item in found)

    absent = "attribute_not_exists(pk)"
    dynamodb.transact_write_items(TransactItems=[write(key, 1, absent) for key in ("a", "b", "c")])
    key: Any = {"pk": {"S": "all"}, "sk": {"S": "a"}}
    change: TransactWriteItemTypeDef = {
        "Update": {
            "TableName": "sorted",
            "Key": key,
            "UpdateExpression": "SET #value = :two",
            "ExpressionAttributeNames": {"#value": "value"},
            "ExpressionAttributeValues": {":two": {"N": "2"}},
        }
    }
    delete: TransactWriteItemTypeDef = {"Delete": {"TableName": "sorted", "Key": key}}
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(
            TransactItems=[change if update else delete, write("b", 2), write("new", 2, absent), write("c", 2, absent)]
        )
    assert items() == [("a", "1"), ("b", "1"), ("c", "1")]


def test_the_same_token_acts_once() -> None:
    token = secrets.token_hex(16)
    with table() as client:
        for _ in range(2):
            client.transact_write_items(TransactItems=[put("a", 1)], ClientRequestToken=token)
        with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
            client.transact_write_items(TransactItems=[put("b", 1)], ClientRequestToken=token)


def test_moto_alone_forgets_tokens() -> None:
    """Fails when moto keeps tokens: then ours can go."""
    token = secrets.token_hex(16)
    with table(repairs=()) as client:
        client.transact_write_items(TransactItems=[put("a", 1)], ClientRequestToken=token)
        with pytest.raises(client.exceptions.TransactionCanceledException):
            client.transact_write_items(TransactItems=[put("a", 1)], ClientRequestToken=token)


def test_a_token_of_a_cancelled_transaction_is_free_and_one_ends_after_ten_minutes() -> None:
    clock, token = [0.0], secrets.token_hex(16)
    with table(repairs=(lambda: atomic_dynamodb(lambda: clock[0]),)) as client:
        client.put_item(TableName=TABLE, Item={"pk": {"S": "a"}})
        with pytest.raises(client.exceptions.TransactionCanceledException):
            client.transact_write_items(TransactItems=[put("a", 1)], ClientRequestToken=token)
        client.transact_write_items(TransactItems=[put("b", 1)], ClientRequestToken=token)
        clock[0] = TOKEN_LIFETIME
        client.transact_write_items(TransactItems=[put("c", 1)], ClientRequestToken=token)
