"""Makes a stack's tables, bucket, keys, topics, queues, bus and state machine in the sandbox, through boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.sandbox.aws_intrinsics import TemplateError

if TYPE_CHECKING:
    from tests.sandbox.aws_template import Template
    from tests.sandbox.template import Resource, Stack

# boto3's typed clients differ by service, and the properties of a template are data: here they meet.
Clients: TypeAlias = Callable[[str], Any]

_TABLE_PROPERTIES = {
    "AttributeDefinitions",
    "BillingMode",
    "DeletionProtectionEnabled",
    "GlobalSecondaryIndexes",
    "KeySchema",
    "StreamSpecification",
    "TableClass",
}
_KNOWN = {
    "table": {*_TABLE_PROPERTIES, "PointInTimeRecoverySpecification", "SSESpecification", "TableName", "Tags"}
    | {"TimeToLiveSpecification", "ContributorInsightsSpecification", "ResourcePolicy"},
    "bucket": {"BucketEncryption", "BucketName", "LifecycleConfiguration", "NotificationConfiguration"}
    | {"OwnershipControls", "PublicAccessBlockConfiguration", "Tags", "VersioningConfiguration"},
    "topic": {"DisplayName", "KmsMasterKeyId", "Subscription", "Tags", "TopicName"},
    "queue": {"KmsMasterKeyId", "MessageRetentionPeriod", "QueueName", "RedriveAllowPolicy", "RedrivePolicy"}
    | {"KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled", "Tags", "VisibilityTimeout"},
}


def create(stack: Stack, clients: Clients) -> None:
    """Create everything of the stack but its keys and functions. Raises TemplateError for an unknown property."""
    for table in stack.tables:
        _create_table(_known("table", table), clients)
    for bucket in stack.buckets:
        _create_bucket(_known("bucket", bucket), clients)
    for alias in stack.aliases:
        clients("kms").create_alias(AliasName=alias.name, TargetKeyId=alias.properties["TargetKeyId"])
    for topic in stack.topics:
        clients("sns").create_topic(Name=_known("topic", topic).name)
    for queue in stack.queues:
        clients("sqs").create_queue(QueueName=_known("queue", queue).name)
    for bus in stack.buses:
        clients("events").create_event_bus(Name=bus)
    for machine in stack.machines:
        role = f"{machine.arn.partition(':states:')[0]}:iam::{machine.arn.split(':')[4]}:role/{machine.name}"
        clients("stepfunctions").create_state_machine(
            name=machine.name, definition=machine.definition, roleArn=role, type="STANDARD"
        )


def create_keys(template: Template, clients: Clients) -> dict[str, str]:
    """Create the KMS keys of a template, and return the ids AWS chose by the keys' logical ids."""
    ids: dict[str, str] = {}
    for logical_id, _, properties in template.of_type("AWS::KMS::Key"):
        options = {name: properties[name] for name in ("KeySpec", "KeyUsage") if name in properties}
        made = clients("kms").create_key(Description=logical_id, **options)
        ids[logical_id] = made["KeyMetadata"]["KeyId"]
    return ids


def _known(kind: str, resource: Resource) -> Resource:
    if unknown := set(resource.properties) - _KNOWN[kind]:
        raise TemplateError(f"The sandbox does not know {sorted(unknown)} of {resource.logical_id}")
    return resource


def _create_table(table: Resource, clients: Clients) -> None:
    client = clients("dynamodb")
    properties = {key: value for key, value in table.properties.items() if key in _TABLE_PROPERTIES}
    client.create_table(TableName=table.name, **properties)
    if recovery := table.properties.get("PointInTimeRecoverySpecification"):
        client.update_continuous_backups(TableName=table.name, PointInTimeRecoverySpecification=recovery)
    if lifetime := table.properties.get("TimeToLiveSpecification"):
        client.update_time_to_live(TableName=table.name, TimeToLiveSpecification=lifetime)


def _create_bucket(bucket: Resource, clients: Clients) -> None:
    client = clients("s3")
    region = client.meta.region_name
    client.create_bucket(Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": region})
    if versioning := bucket.properties.get("VersioningConfiguration"):
        client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=versioning)
    if block := bucket.properties.get("PublicAccessBlockConfiguration"):
        client.put_public_access_block(Bucket=bucket.name, PublicAccessBlockConfiguration=block)
