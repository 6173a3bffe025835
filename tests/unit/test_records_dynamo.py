"""Conditional writes: all or none, the old item back, collisions tried again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Denied, NotFound, Unfit, Unreachable
from rekey.records.dynamo import ConditionFailed, Table, Write
from tests.sandbox import aws_faults
from tests.sandbox.aws_faults import Answer

if TYPE_CHECKING:
    from tests.sandbox.aws_faults import Act, AwsRequest, Effect
    from tests.unit.bare_stack import BareStack

WRITE = "dynamodb:TransactWriteItems"


@pytest.fixture
def pk(opened: BareStack) -> str:
    """Name a partition that no other test knows."""
    return opened.new_registry()


@pytest.fixture
def table(opened: BareStack) -> Table:
    return opened.table


def put(pk: str, sk: str = "a", value: int = 1, condition: str = "attribute_not_exists(pk)") -> Write:
    return Write(key={"pk": pk, "sk": sk}, item={"value": value}, condition=condition)


def cancelled(*codes: str) -> Effect:
    """Return an effect that answers as DynamoDB does where these writes of a transaction did not go through."""

    def effect(_request: AwsRequest, _act: Act) -> Answer:
        reasons = [{"Code": code} for code in codes]
        kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
        body = json.dumps({"__type": kind, "message": "Transaction cancelled", "CancellationReasons": reasons})
        return Answer(400, (("Content-Type", "application/x-amz-json-1.0"),), body.encode())

    return effect


def test_an_item_comes_back_as_it_went(pk: str, table: Table) -> None:
    """Numbers as int or float, binaries as bytes, nested ones too; what is None is left out."""
    item = {"n": 3, "f": 1.5, "b": b"\x00\xff", "t": "é", "l": [1, {"x": 2.5, "none": None}], "yes": True, "none": None}
    table.write(Write(key={"pk": pk, "sk": "a"}, item=item))
    assert table.get(pk, "a") == {
        "pk": pk,
        "sk": "a",
        "n": 3,
        "f": 1.5,
        "b": b"\x00\xff",
        "t": "é",
        "l": [1, {"x": 2.5}],
        "yes": True,
    }
    assert table.get(pk, "b") is None


def test_every_read_is_strongly_consistent(opened: BareStack, pk: str, table: Table) -> None:
    """A lease read a moment late is somebody else's."""
    table.get(pk, "a")
    table.query(pk)
    sent = [json.loads(request.body) for request in opened.aws.requests]
    assert [body["ConsistentRead"] for body in sent] == [True, True]


def test_a_write_does_not_overwrite_and_gives_back_what_stands_there(pk: str, table: Table) -> None:
    table.write(put(pk))
    with pytest.raises(ConditionFailed) as failed:
        table.write(put(pk, "new"), put(pk, value=2))
    assert failed.value.old == {1: {"pk": pk, "sk": "a", "value": 1}}
    assert table.get(pk, "new") is None  # all or none


def test_a_condition_on_an_item_that_is_not_there_gives_back_nothing(pk: str, table: Table) -> None:
    check = Write(key={"pk": pk, "sk": "a"}, condition="#v = :v", names={"#v": "value"}, values={":v": 1})
    with pytest.raises(ConditionFailed) as failed:
        table.write(check, put(pk, "b"))
    assert failed.value.old == {0: None}
    assert table.get(pk, "b") is None


def test_an_unconditional_write_and_a_deletion_need_nothing_to_be_there(pk: str, table: Table) -> None:
    table.write(put(pk, condition=""))
    table.write(put(pk, value=2, condition=""))
    assert (table.get(pk, "a") or {})["value"] == 2
    for _ in range(2):
        table.write(Write(key={"pk": pk, "sk": "a"}, delete=True, condition=""))
    assert table.get(pk, "a") is None


def test_a_transaction_may_span_tables(opened: BareStack, pk: str, table: Table) -> None:
    other = Table("stack-escrow")
    table.write(put(pk), Write(key={"pk": pk, "sk": "b"}, item={"value": 2}, table=other.name))
    assert (other.get(pk, "b") or {})["value"] == 2
    assert opened.table.get(pk, "b") is None


def test_a_query_gives_a_part_of_a_partition_in_order(pk: str, table: Table) -> None:
    for sk in ("b#2", "a#1", "b#1", "c#1"):
        table.write(put(pk, sk))
    assert [item["sk"] for item in table.query(pk, "b#")] == ["b#1", "b#2"]
    assert [item["sk"] for item in table.query(pk)] == ["a#1", "b#1", "b#2", "c#1"]
    assert table.query(pk, "a#", only=("sk",)) == [{"sk": "a#1"}]


def test_a_query_reads_all_pages(pk: str, table: Table) -> None:
    """DynamoDB gives 1 MB a page."""
    for number in range(4):
        table.write(Write(key={"pk": pk, "sk": str(number)}, item={"text": "x" * 350_000}))
    assert [item["sk"] for item in table.query(pk)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_collisions_and_throttling_are_tried_again(opened: BareStack, pk: str, table: Table, code: str) -> None:
    """They say nothing about the condition."""
    opened.aws.faults.add(WRITE, cancelled("None", code), times=2)
    table.write(put(pk), put(pk, "b"))
    assert (table.get(pk, "b") or {})["value"] == 1


def test_a_condition_that_failed_is_an_answer_also_beside_a_collision(opened: BareStack, pk: str, table: Table) -> None:
    fault = opened.aws.faults.add(WRITE, cancelled("TransactionConflict", "ConditionalCheckFailed"), times=None)
    with pytest.raises(ConditionFailed) as failed:
        table.write(put(pk), put(pk, "b"))
    assert (failed.value.old, fault.struck) == ({1: None}, 1)


def test_collisions_that_do_not_end_are_said_so(opened: BareStack, pk: str, table: Table) -> None:
    fault = opened.aws.faults.add(WRITE, cancelled("TransactionConflict"), times=None)
    with pytest.raises(Unreachable, match="colliding"):
        table.write(put(pk))
    assert fault.struck > 3


def test_an_item_that_is_too_large_is_not_tried_again(opened: BareStack, pk: str, table: Table) -> None:
    fault = opened.aws.faults.add(WRITE, cancelled("ValidationError"), times=None)
    with pytest.raises(Unfit):
        table.write(put(pk))
    assert fault.struck == 1


def test_a_lost_answer_of_a_write_that_was_done_is_success(opened: BareStack, pk: str, table: Table) -> None:
    """The client tries again with the same token, and DynamoDB knows it: nothing fails its own condition."""
    fault = opened.aws.faults.add(WRITE, aws_faults.drop_after())
    table.write(put(pk))
    assert fault.struck == 1
    assert (table.get(pk, "a") or {})["value"] == 1


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        (aws_faults.refuse("AccessDeniedException"), Denied),
        (aws_faults.refuse("ResourceNotFoundException"), NotFound),
        (aws_faults.server_error(), Unreachable),
        (aws_faults.drop_before(), Unreachable),
    ],
)
def test_what_aws_says_becomes_an_error_of_ours_that_names_the_table(
    opened: BareStack, pk: str, table: Table, effect: Effect, error: type[Exception]
) -> None:
    for operation in (WRITE, "dynamodb:GetItem", "dynamodb:Query"):
        opened.aws.faults.add(operation, effect, times=None)
    for act in (lambda: table.write(put(pk)), lambda: table.get(pk, "a"), lambda: table.query(pk)):
        with pytest.raises(error, match="stack-ledger"):
            act()
