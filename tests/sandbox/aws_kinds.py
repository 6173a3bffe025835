"""The resource types the sandbox knows: what `Ref` and `Fn::GetAtt` give for each.

Return values: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sandbox.aws_intrinsics import TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack lives: what the pseudo parameters say, and where its queues answer."""

    stack: str
    region: str = "ap-southeast-1"
    account: str = "123456789012"  # the one account moto has without further settings
    partition: str = "aws"
    endpoint: str = "https://sqs.invalid"


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type: the property that names it, and templates of what Ref and Fn::GetAtt give."""

    named_by: str | None = None
    ref: str = "{name}"
    attributes: Mapping[str, str] = field(default_factory=dict)
    created: bool = True
    lower_case: bool = False


def _arn(service: str, resource: str, *, regional: bool = True) -> str:
    return f"arn:{{partition}}:{service}:" + ("{region}:{account}:" if regional else ":{account}:") + resource


_FUNCTION = _arn("lambda", "function:{name}")
_LAYER = _arn("lambda", "layer:{name}:1")
_MACHINE = _arn("states", "stateMachine:{name}")
_TOPIC = _arn("sns", "{name}")
_POLICY = _arn("iam", "policy/{name}", regional=False)
_BUCKET = "arn:{partition}:s3:::{name}"
_QUEUE_URL = "{endpoint}/{account}/{name}"

KINDS: Mapping[str, Kind] = {
    "AWS::ApiGatewayV2::Api": Kind(
        None, attributes={"ApiEndpoint": "https://{name}.execute-api.{region}.amazonaws.com", "ApiId": "{name}"}
    ),
    "AWS::ApiGatewayV2::Stage": Kind("StageName"),
    "AWS::DynamoDB::Table": Kind("TableName", attributes={"Arn": _arn("dynamodb", "table/{name}")}),
    "AWS::Events::EventBus": Kind("Name", attributes={"Arn": _arn("events", "event-bus/{name}"), "Name": "{name}"}),
    "AWS::Events::Rule": Kind("Name", attributes={"Arn": _arn("events", "rule/{name}")}),
    "AWS::KMS::Alias": Kind("AliasName"),
    "AWS::KMS::Key": Kind(None, attributes={"Arn": _arn("kms", "key/{name}"), "KeyId": "{name}"}),
    "AWS::Lambda::EventInvokeConfig": Kind(None),
    "AWS::Lambda::Function": Kind("FunctionName", attributes={"Arn": _FUNCTION}),
    "AWS::Lambda::LayerVersion": Kind("LayerName", ref=_LAYER, attributes={"LayerVersionArn": _LAYER}),
    "AWS::S3::Bucket": Kind("BucketName", attributes={"Arn": _BUCKET}, lower_case=True),
    "AWS::SNS::Topic": Kind("TopicName", ref=_TOPIC, attributes={"TopicArn": _TOPIC, "TopicName": "{name}"}),
    "AWS::SQS::Queue": Kind(
        "QueueName",
        ref=_QUEUE_URL,
        attributes={"Arn": _arn("sqs", "{name}"), "QueueName": "{name}", "QueueUrl": _QUEUE_URL},
    ),
    "AWS::Scheduler::Schedule": Kind("Name", attributes={"Arn": _arn("scheduler", "schedule/default/{name}")}),
    "AWS::StepFunctions::StateMachine": Kind(
        "StateMachineName", ref=_MACHINE, attributes={"Arn": _MACHINE, "Name": "{name}"}
    ),
    # Knowingly not created: nothing in the sandbox is allowed or forbidden, and nobody is there to be alarmed.
    "AWS::CloudWatch::Alarm": Kind("AlarmName", attributes={"Arn": _arn("cloudwatch", "alarm:{name}")}, created=False),
    "AWS::CloudWatch::CompositeAlarm": Kind("AlarmName", created=False),
    "AWS::Events::EventBusPolicy": Kind("StatementId", created=False),
    "AWS::IAM::ManagedPolicy": Kind("ManagedPolicyName", ref=_POLICY, attributes={"PolicyArn": _POLICY}, created=False),
    "AWS::IAM::Policy": Kind("PolicyName", created=False),
    "AWS::IAM::Role": Kind(
        "RoleName", attributes={"Arn": _arn("iam", "role/{name}", regional=False), "RoleId": "{name}"}, created=False
    ),
    "AWS::Lambda::Permission": Kind(None, created=False),
    "AWS::Logs::LogGroup": Kind("LogGroupName", attributes={"Arn": _arn("logs", "log-group:{name}:*")}, created=False),
    "AWS::Logs::MetricFilter": Kind("FilterName", created=False),
    "AWS::Logs::ResourcePolicy": Kind("PolicyName", created=False),
    "AWS::S3::BucketPolicy": Kind(None, created=False),
    "AWS::SNS::TopicPolicy": Kind(None, created=False),
    "AWS::SQS::QueuePolicy": Kind(None, created=False),
}


def kind_of(resource_type: str) -> Kind:
    """Return what the sandbox knows of a resource type. Raises TemplateError for one it does not know."""
    if resource_type not in KINDS:
        raise TemplateError(f"{resource_type} is a resource type the sandbox neither creates nor knowingly leaves out")
    return KINDS[resource_type]


def ref(kind: Kind, name: str, place: Place) -> str:
    """Return what `Ref` gives for a resource of this kind."""
    return _filled(kind.ref, name, place)


def attribute(kind: Kind, name: str, wanted: str, place: Place) -> str:
    """Return what `Fn::GetAtt` gives. Raises TemplateError for an attribute the sandbox does not know."""
    if wanted not in kind.attributes:
        raise TemplateError(f"Fn::GetAtt of {wanted} is not known to the sandbox for {name}")
    return _filled(kind.attributes[wanted], name, place)


def _filled(template: str, name: str, place: Place) -> str:
    return template.format(
        name=name, region=place.region, account=place.account, partition=place.partition, endpoint=place.endpoint
    )
