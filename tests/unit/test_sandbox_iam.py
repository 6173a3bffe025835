"""How the sandbox reads policies and calls: whatever is not understood is an error, and never a right."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import iam
from tests.sandbox.aws_faults import AwsRequest
from tests.sandbox.aws_intrinsics import TemplateError
from tests.sandbox.aws_kinds import Place
from tests.sandbox.aws_template import Template
from tests.sandbox.iam import Right
from tests.sandbox.iam_calls import Call, Calls, UnknownCallError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
PLACE = Place("demo")
HERE = f"{PLACE.region}:{PLACE.account}"
BUCKET = "arn:aws:s3:::demo-bucket"
TABLE = f"arn:aws:dynamodb:{HERE}:table/demo-ledger"


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(TEMPLATE, PLACE, {})


@pytest.fixture(scope="module")
def calls(template: Template) -> Calls:
    return Calls(template, PLACE)


def request(service: str, action: str, body: object = None, *, path: str = "/", status: int = 200) -> AwsRequest:
    at, method = datetime(2026, 1, 31, tzinfo=UTC), action.partition(" ")[0]
    return AwsRequest(1, service, action, method, path, {}, json.dumps(body).encode(), "SANDBOX", at, status)


def needed(calls: Calls, one: AwsRequest) -> list[tuple[str, str]]:
    """Return the actions that a request needs, each with its resource; the use of keys for it left out."""
    return [(call.action, call.resource) for call in calls.of(one) if not call.action.startswith("kms:")]


def right(action: str, resource: str, condition: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None) -> Right:
    return Right("It", action, (resource,), condition or {})


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:GetObject", f"{BUCKET}/plans/*", True),
        ("s3:getobject", f"{BUCKET}/plans/one.jso?", True),
        ("s3:*", "*", True),
        ("s3:GetObject", f"{BUCKET}/plans", False),
        ("s3:GetObject", f"{BUCKET}/[p]lans/*", False),
        ("s3:GetObject", f"{BUCKET}/rotations/*", False),
        ("s3:GetObjectVersion", f"{BUCKET}/plans/*", False),
        ("s3:Get", f"{BUCKET}/plans/*", False),
    ],
)
def test_a_right_is_to_an_action_on_a_resource(action: str, resource: str, *, allowed: bool) -> None:
    assert right(action, resource).allows(Call("s3:GetObject", f"{BUCKET}/plans/one.json")) is allowed


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "holds"),
    [
        ("StringEquals", ("open",), ("open",), True),
        ("StringEquals", ("shut", "open"), ("open",), True),
        ("StringEquals", ("op*",), ("open",), False),
        ("StringEquals", ("open",), (), False),
        ("StringLike", ("op*",), ("open",), True),
        ("StringEqualsIfExists", ("open",), (), True),
        ("StringEqualsIfExists", ("open",), ("shut",), False),
        ("ForAllValues:StringEquals", ("open",), (), True),
        ("ForAllValues:StringEquals", ("open",), ("open", "shut"), False),
        ("Null", ("false",), ("open",), True),
        ("Null", ("false",), (), False),
        ("Null", ("true",), (), True),
    ],
)
def test_a_condition_is_looked_at(
    operator: str, wanted: tuple[str, ...], given: tuple[str, ...], *, holds: bool
) -> None:
    call = Call("dynamodb:DeleteItem", TABLE, {"dynamodb:LeadingKeys": given})
    assert right(call.action, TABLE, {operator: {"dynamodb:LeadingKeys": wanted}}).allows(call) is holds


def test_a_condition_that_is_not_known_is_an_error() -> None:
    with pytest.raises(TemplateError, match="NumericLessThan"):
        right("s3:GetObject", "*", {"NumericLessThan": {"s3:max-keys": ("1",)}}).allows(Call("s3:GetObject", BUCKET))


def test_what_is_called_is_named(calls: Calls) -> None:
    entry = {"EventBusName": "demo", "Source": "rekey"}
    name = f"arn:aws:states:{HERE}:stateMachine:demo-rotation"
    function = "/2015-03-31/functions/demo-begin/invocations"
    assert needed(calls, request("events", "PutEvents", {"Entries": [entry]})) == [
        ("events:PutEvents", f"arn:aws:events:{HERE}:event-bus/demo")
    ]
    assert needed(calls, request("states", "StartExecution", {"stateMachineArn": name})) == [
        ("states:StartExecution", name)
    ]
    assert needed(calls, request("lambda", "Invoke", path=function)) == [
        ("lambda:InvokeFunction", f"arn:aws:lambda:{HERE}:function:demo-begin")
    ]
    assert needed(calls, request("eks", "GET /clusters/prod", path="/clusters/prod")) == [
        ("eks:DescribeCluster", f"arn:aws:eks:{HERE}:cluster/prod")
    ]


def test_a_secret_is_named_with_the_characters_that_aws_adds(calls: Calls) -> None:
    ((action, resource),) = needed(calls, request("secretsmanager", "GetSecretValue", {"SecretId": "rekey/one"}))
    assert action == "secretsmanager:GetSecretValue"
    assert right(action, f"arn:aws:secretsmanager:{HERE}:secret:rekey/one-??????").allows(Call(action, resource))


def test_a_transaction_needs_the_right_to_each_of_its_writes(calls: Calls) -> None:
    key = {"pk": {"S": "open"}}
    writes = [
        {"ConditionCheck": {"TableName": "demo-ledger", "Key": key}},
        {"Put": {"TableName": "demo-escrow", "Item": key}},
        {"Delete": {"TableName": "demo-ledger", "Key": key}},
    ]
    one = request("dynamodb", "TransactWriteItems", {"TransactItems": writes})
    assert [action for action, _ in needed(calls, one)] == [
        "dynamodb:ConditionCheckItem",
        "dynamodb:PutItem",
        "dynamodb:DeleteItem",
    ]
    assert calls.of(one)[0].context == {"dynamodb:LeadingKeys": ("open",)}


@pytest.mark.parametrize(
    ("query", "status", "wanted"),
    [
        ("", 200, ["s3:GetObject"]),
        ("?versionId=1", 200, ["s3:GetObjectVersion"]),
        ("", 404, ["s3:GetObject", "s3:ListBucket"]),
    ],
)
def test_a_file_that_is_missing_may_be_known_to_be(calls: Calls, query: str, status: int, wanted: list[str]) -> None:
    one = request("s3", "GetObject", path=f"/demo-bucket/plans/a%2Bb.json{query}", status=status)
    assert needed(calls, one) == list(zip(wanted, [f"{BUCKET}/plans/a+b.json", BUCKET], strict=False))


def test_what_is_under_a_key_needs_the_key_through_its_service(template: Template, calls: Calls) -> None:
    bucket, table = template.ref("Bucket"), template.ref("LedgerTable")
    key = template.attribute("DataKey", "Arn")
    put = request("s3", "PutObject", path=f"/{bucket}/rotations/one/1/plan.json")
    get = request("dynamodb", "GetItem", {"TableName": table, "Key": {"pk": {"S": "open"}}})
    used = [call for one in (put, get) for call in calls.of(one) if call.action.startswith("kms:")]
    assert used == [
        Call("kms:GenerateDataKey", key, {"kms:ViaService": (f"s3.{PLACE.region}.amazonaws.com",)}),
        Call("kms:Decrypt", key, {"kms:ViaService": (f"dynamodb.{PLACE.region}.amazonaws.com",)}),
    ]


@pytest.mark.parametrize(
    "one",
    [
        request("sqs", "SendMessage", {}),
        request("dynamodb", "Scan", {}),
        request("events", "PutRule", {}),
        request("eks", "DELETE /clusters/prod", path="/clusters/prod"),
        request("lambda", "DELETE /functions/demo-begin", path="/functions/demo-begin"),
        request("s3", "DeleteObject", path="/demo-bucket/one"),
    ],
    ids=lambda one: one.operation,
)
def test_a_request_whose_rights_are_not_known_is_an_error(calls: Calls, one: AwsRequest) -> None:
    with pytest.raises(UnknownCallError):
        calls.of(one)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("Effect: Allow\n            Action: [logs:", "Effect: Deny\n            Action: [logs:"),
            "Not a statement",
        ),
        (("ManagedPolicyArns: [!Ref FunctionBasics]", "ManagedPolicyArns: [AdministratorAccess]"), "does not stand"),
    ],
    ids=["denial", "policy of AWS's own"],
)
def test_a_policy_that_is_not_understood_is_an_error(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    text = TEMPLATE.read_text("utf-8")
    assert change[0] in text
    path = tmp_path / "template.yaml"
    path.write_text(text.replace(*change), "utf-8")
    with pytest.raises(TemplateError, match=said):
        iam.rights_of(Template(path, PLACE, {}))


def test_what_no_right_allows_is_named_once() -> None:
    plans, other = Call("s3:GetObject", f"{BUCKET}/plans/one.json"), Call("s3:PutObject", f"{BUCKET}/plans/one.json")
    rights = {"demo-begin": [right("s3:GetObject", f"{BUCKET}/plans/*"), right("s3:ListBucket", BUCKET)]}
    made = [("demo-begin", plans), ("demo-begin", other), ("demo-begin", other)]
    assert iam.forbidden(rights, made) == [f"demo-begin may not s3:PutObject on {BUCKET}/plans/one.json"]
    assert iam.unused(rights, made) == {("begin", "It", "s3:ListBucket")}
