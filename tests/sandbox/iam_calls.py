"""What IAM would have been asked about a request to AWS: actions, each on a resource, with what conditions look at.

Which action an operation needs: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from moto.kms.utils import KEY_ID_LEN

from tests.sandbox.aws_intrinsics import as_text
from tests.sandbox.aws_template import mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.aws_kinds import Place
    from tests.sandbox.aws_template import Template

_TRANSACTION = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Delete": "dynamodb:DeleteItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
}
_SUFFIX = "-SaNdBo"
"""Secrets Manager ends a secret's ARN with a hyphen and six random characters."""
_NOT_FOUND = 404


class UnknownCallError(Exception):
    """A request whose rights are not known here: say in this module which it needs."""


@dataclass(frozen=True, slots=True)
class Call:
    """One action on one resource. `context` is what conditions look at: each key's values."""

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Calls:
    """Reads requests to one stack."""

    def __init__(self, template: Template, place: Place) -> None:
        self._place = place
        self._keys = dict(_keys(template))
        self._readers: Mapping[str, Callable[[AwsRequest], Iterator[Call]]] = {
            "dynamodb": self._dynamodb,
            "eks": self._eks,
            "events": self._events,
            "kms": self._kms,
            "lambda": self._lambda,
            "s3": self._s3,
            "secretsmanager": self._secretsmanager,
            "sns": self._sns,
            "states": self._states,
        }

    def of(self, request: AwsRequest) -> list[Call]:
        """Return everything a request needs a right to. Raises UnknownCallError."""
        if request.service not in self._readers:
            raise UnknownCallError(request.operation)
        return list(self._readers[request.service](request))

    def _arn(self, service: str, resource: str) -> str:
        place = self._place
        return f"arn:{place.partition}:{service}:{place.region}:{place.account}:{resource}"

    def _by_way_of(self, service: str, resource: str, action: str) -> Iterator[Call]:
        """Yield the use of a customer's key by a service on the caller's behalf: the caller needs the right."""
        if resource in self._keys:
            context = {"kms:ViaService": (f"{service}.{self._place.region}.amazonaws.com",)}
            yield Call(action, self._keys[resource], context)

    def _dynamodb(self, request: AwsRequest) -> Iterator[Call]:
        body = json.loads(request.body)
        if request.action == "TransactWriteItems":
            for write in body["TransactItems"]:
                ((kind, item),) = write.items()
                key = item["Item"] if kind == "Put" else item["Key"]
                yield from self._item(_TRANSACTION[kind], item["TableName"], key["pk"])
        elif request.action == "GetItem":
            yield from self._item("dynamodb:GetItem", body["TableName"], body["Key"]["pk"])
        elif request.action == "Query":
            yield from self._item("dynamodb:Query", body["TableName"], body["ExpressionAttributeValues"][":pk"])
        else:
            raise UnknownCallError(request.operation)

    def _item(self, action: str, table: str, pk: Mapping[str, str]) -> Iterator[Call]:
        arn = self._arn("dynamodb", f"table/{table}")
        yield Call(action, arn, {"dynamodb:LeadingKeys": (pk["S"],)})
        yield from self._by_way_of("dynamodb", arn, "kms:Decrypt")

    def _s3(self, request: AwsRequest) -> Iterator[Call]:
        path, _, query = request.path.partition("?")
        name, _, key = unquote(path).lstrip("/").partition("/")
        bucket = f"arn:{self._place.partition}:s3:::{name}"
        if request.action == "ListObjectsV2":
            yield Call("s3:ListBucket", bucket)
        elif request.action == "GetObject":
            version = "versionId" in parse_qs(query)
            yield Call("s3:GetObjectVersion" if version else "s3:GetObject", f"{bucket}/{key}")
            yield from self._by_way_of("s3", bucket, "kms:Decrypt")
            if request.status == _NOT_FOUND:  # who may not list is told 403 of what does not exist
                yield Call("s3:ListBucket", bucket)
        elif request.action == "PutObject":
            yield Call("s3:PutObject", f"{bucket}/{key}")
            yield from self._by_way_of("s3", bucket, "kms:GenerateDataKey")
        else:
            raise UnknownCallError(request.operation)

    def _secretsmanager(self, request: AwsRequest) -> Iterator[Call]:
        name = str(json.loads(request.body)["SecretId"])
        arn = name if name.startswith("arn:") else self._arn("secretsmanager", f"secret:{name}{_SUFFIX}")
        yield Call(request.operation, arn)

    def _kms(self, request: AwsRequest) -> Iterator[Call]:
        body = json.loads(request.body)
        # A ciphertext knows its key; moto's begins with the key's id.
        key = body.get("KeyId") or base64.b64decode(body["CiphertextBlob"])[:KEY_ID_LEN].decode()
        context = {"kms:MessageType": (body["MessageType"],)} if "MessageType" in body else {}
        yield Call(request.operation, key if key.startswith("arn:") else self._arn("kms", f"key/{key}"), context)

    def _events(self, request: AwsRequest) -> Iterator[Call]:
        if request.action != "PutEvents":
            raise UnknownCallError(request.operation)
        for entry in json.loads(request.body)["Entries"]:
            arn = self._arn("events", f"event-bus/{entry['EventBusName']}")
            yield Call("events:PutEvents", arn, {"events:source": (entry["Source"],)})

    def _states(self, request: AwsRequest) -> Iterator[Call]:
        body = json.loads(request.body)
        yield Call(request.operation, body.get("executionArn") or body["stateMachineArn"])

    def _lambda(self, request: AwsRequest) -> Iterator[Call]:
        if request.action != "Invoke":
            raise UnknownCallError(request.operation)
        name = unquote(request.path).partition("/functions/")[2].partition("/invocations")[0]
        yield Call("lambda:InvokeFunction", self._arn("lambda", f"function:{name.rpartition(':function:')[2] or name}"))

    def _sns(self, request: AwsRequest) -> Iterator[Call]:
        yield Call(request.operation, parse_qs(request.body.decode())["TopicArn"][0])

    def _eks(self, request: AwsRequest) -> Iterator[Call]:
        if request.method != "GET":
            raise UnknownCallError(request.operation)
        yield Call("eks:DescribeCluster", self._arn("eks", f"cluster/{request.path.rpartition('/clusters/')[2]}"))


def _keys(template: Template) -> Iterator[tuple[str, str]]:
    """Yield the ARN of every table and bucket that is under a key of the stack's own, and the key's ARN."""
    for logical_id, _, properties in template.of_type("AWS::DynamoDB::Table"):
        sse = mapping(properties.get("SSESpecification", {}))
        if "KMSMasterKeyId" in sse:
            yield template.attribute(logical_id, "Arn"), as_text(sse["KMSMasterKeyId"])
    for logical_id, _, properties in template.of_type("AWS::S3::Bucket"):
        encryption: dict[str, Any] = mapping(properties.get("BucketEncryption", {}))
        for rule in encryption.get("ServerSideEncryptionConfiguration", []):
            key = rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
            if key is not None:
                yield template.attribute(logical_id, "Arn"), as_text(key)
