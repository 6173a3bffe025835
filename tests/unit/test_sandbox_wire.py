"""Everything that is said to AWS passes one door, is recorded there, and can be made to fail there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.sandbox.aws import AwsSandbox
from tests.sandbox.aws_faults import call_after, call_before, drop_after, drop_before, refuse, server_error, throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_sqs import SQSClient

    from tests.sandbox.aws_faults import AwsRequest, Effect

ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture
def aws() -> Iterator[AwsSandbox]:
    with AwsSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sqs(aws: AwsSandbox) -> SQSClient:
    return aws.session.client("sqs", config=ONCE)


def test_requests_are_recorded_with_their_bodies(aws: AwsSandbox) -> None:
    aws.client("secretsmanager").create_secret(Name="a", SecretString="canary")
    aws.client("sns").create_topic(Name="b")
    aws.client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-1"})
    aws.client("s3").put_object(Bucket="bucket", Key="d", Body=b"canary")
    aws.client("s3").list_objects_v2(Bucket="bucket")
    aws.client("s3").get_object(Bucket="bucket", Key="d")
    assert [request.operation for request in aws.requests] == [
        "secretsmanager:CreateSecret",
        "sns:CreateTopic",
        "s3:PutBucket",
        "s3:PutObject",
        "s3:ListObjectsV2",
        "s3:GetObject",
    ]
    holding = [request.operation for request in aws.requests if b"canary" in request.body]
    assert holding == ["secretsmanager:CreateSecret", "s3:PutObject"]
    assert {request.status for request in aws.requests} == {200}
    assert [request.order for request in aws.requests] == sorted(request.order for request in aws.requests)


def test_another_process_finds_the_sandbox_by_env_alone(aws: AwsSandbox) -> None:
    aws.client("sqs").create_queue(QueueName="one")
    script = "import boto3; assert 'one' in boto3.client('sqs').list_queues()['QueueUrls'][0]"
    subprocess.run([sys.executable, "-c", script], env={**aws.env, "PATH": os.defpath}, check=True)
    assert aws.requests[-1].caller == aws.env["AWS_ACCESS_KEY_ID"]


@pytest.mark.parametrize(
    ("effect", "status", "code"),
    [
        (refuse(), 400, "AccessDeniedException"),
        (server_error(), 500, "InternalServerError"),
        (throttle(), 400, "ThrottlingException"),
    ],
)
def test_a_refused_request_does_nothing(
    aws: AwsSandbox, sqs: SQSClient, effect: Effect, status: int, code: str
) -> None:
    aws.faults.add("sqs:CreateQueue", effect)
    with pytest.raises(ClientError) as caught:
        sqs.create_queue(QueueName="one")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert "QueueUrls" not in sqs.list_queues()


@pytest.mark.parametrize(("effect", "there"), [(drop_before(), []), (drop_after(), ["one"])])
def test_a_dropped_request_leaves_the_caller_in_the_dark(
    aws: AwsSandbox, sqs: SQSClient, effect: Effect, there: list[str]
) -> None:
    aws.faults.add("sqs:CreateQueue", effect)
    with pytest.raises(ConnectionClosedError):
        sqs.create_queue(QueueName="one")
    assert [url.rpartition("/")[2] for url in sqs.list_queues().get("QueueUrls", [])] == there
    assert aws.requests[0].dropped


def test_errors_of_xml_services_are_understood(aws: AwsSandbox) -> None:
    for operation in ("s3:GetBucket", "sns:ListTopics"):
        aws.faults.add(operation, refuse("AccessDenied", 403))
    for call in (aws.client("s3").list_buckets, aws.client("sns").list_topics):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_a_fault_strikes_the_nth_request_and_as_often_as_told(aws: AwsSandbox, sqs: SQSClient) -> None:
    fault = aws.faults.add("sqs:ListQueues", refuse(), nth=2, times=2)
    outcomes = []
    for _ in range(4):
        try:
            sqs.list_queues()
            outcomes.append("answered")
        except ClientError:
            outcomes.append("refused")
    assert outcomes == ["answered", "refused", "refused", "answered"]
    assert fault.struck == 2


def test_a_fault_can_choose_by_the_request(aws: AwsSandbox, sqs: SQSClient) -> None:
    aws.faults.add("sqs:CreateQueue", refuse(), where=lambda request: b"two" in request.body)
    sqs.create_queue(QueueName="one")
    with pytest.raises(ClientError):
        sqs.create_queue(QueueName="two")
    aws.faults.clear()
    sqs.create_queue(QueueName="two")


def test_callbacks_see_the_world_before_and_after_the_act(aws: AwsSandbox, sqs: SQSClient) -> None:
    seen: list[bool] = []

    def look(_request: AwsRequest) -> None:
        seen.append("QueueUrls" in aws.client("sqs").list_queues())

    aws.faults.add("sqs:CreateQueue", call_before(look))
    sqs.create_queue(QueueName="one")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="one")["QueueUrl"])
    aws.faults.add("sqs:CreateQueue", call_after(look))
    sqs.create_queue(QueueName="one")
    assert seen == [False, True]


def test_only_one_sandbox_a_process(aws: AwsSandbox) -> None:
    with pytest.raises(RuntimeError, match="Another AWS sandbox"):
        AwsSandbox().__enter__()
    assert aws.client("sqs").list_queues()


def test_a_new_sandbox_knows_nothing_of_the_last() -> None:
    with AwsSandbox() as first:
        first.client("sqs").create_queue(QueueName="one")
    with AwsSandbox() as second:
        assert "QueueUrls" not in second.client("sqs").list_queues()
