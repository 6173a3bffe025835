"""Events reach the targets of the rules that match, schedules are called, and HTTP requests become events."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.sandbox.aws import Cloud
from tests.sandbox.aws_async import Retries
from tests.sandbox.aws_example import write_stack
from tests.sandbox.aws_faults import drop_before, refuse
from tests.sandbox.aws_http_api import BODY_LIMIT
from tests.sandbox.aws_intrinsics import TemplateError
from tests.sandbox.eventbridge import load_pattern
from tests.sandbox.lambdas import HostSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from moto.events.utils import EventMessageType

HANDLER = """
import json, os
def handler(event, context):
    print("EVENT", json.dumps(event))
    if event.get("detail", {}).get("kind") == "bad":
        raise ValueError("bad")
    if "requestContext" not in event:
        return {"called": event}
    said = event["headers"].get("x-answer", "")
    return json.loads(said) if said else event
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    template = write_stack(tmp_path, {"worker/app.py": HANDLER})
    with Cloud(
        template,
        workdir=tmp_path / "logs",
        overrides={"Hooks": "on"},
        stack_name="demo",
        settings=HostSettings(retries=Retries(0.01, 0.01)),
    ) as cloud:
        yield cloud


def until(holds: Callable[[], bool], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def got(cloud: Cloud) -> list[dict[str, Any]]:
    """Return what the function was invoked with; a line may come a moment after the answer."""
    lines = [line for line in cloud.lambdas.logs["demo-worker"] if line.startswith("EVENT ")]
    return [json.loads(line.removeprefix("EVENT ")) for line in lines]


def messages(cloud: Cloud, queue: str) -> list[dict[str, Any]]:
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=f"demo-{queue}")["QueueUrl"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def test_an_event_reaches_the_function_of_the_matching_rule(cloud: Cloud) -> None:
    event_id = cloud.put_event("in/tests", "Something", {"kind": "good"})
    cloud.settle()
    until(lambda: len(got(cloud)) == 1)
    (event,) = got(cloud)
    assert (event["id"], event["source"], event["detail-type"]) == (event_id, "in/tests", "Something")
    assert (event["version"], event["account"], event["region"]) == ("0", "123456789012", "ap-southeast-1")
    assert event["detail"] == {"kind": "good"}


def test_an_event_reaches_a_queue_too(cloud: Cloud) -> None:
    cloud.put_event("in/tests", "Something", {"kind": "ignored"})
    cloud.settle()
    assert [event["detail"] for event in messages(cloud, "Heard")] == [{"kind": "ignored"}]
    assert got(cloud) == []


def test_all_that_passed_is_kept_with_the_rules_that_matched(cloud: Cloud) -> None:
    cloud.put_event("in/tests", "One", {"kind": "good"})
    cloud.put_event("elsewhere", "Two", {})
    cloud.put_event("in/tests", "Three", {"kind": "good"}, bus="default")
    assert [(event.event["detail-type"], event.bus, len(event.rules)) for event in cloud.events] == [
        ("One", "demo", 2),
        ("Two", "demo", 1),
        ("Three", "default", 0),
    ]


def test_an_entry_that_is_refused_reaches_nobody(cloud: Cloud) -> None:
    answer = cloud.client("events").put_events(
        Entries=[
            {"Source": "in/tests", "DetailType": "x", "Detail": "no json", "EventBusName": "demo"},
            {"Source": "in/tests", "DetailType": "x", "Detail": '{"kind": "good"}', "EventBusName": "demo"},
        ]
    )
    assert answer["FailedEntryCount"] == 1
    assert [event.event["detail"] for event in cloud.events] == [{"kind": "good"}]


def test_a_function_that_fails_is_tried_three_times_and_then_the_failure_is_sent_on(cloud: Cloud) -> None:
    cloud.put_event("in/tests", "Something", {"kind": "bad"})
    cloud.settle()
    until(lambda: len(got(cloud)) == 3)
    (record,) = messages(cloud, "Failures")
    assert record["requestPayload"]["detail"] == {"kind": "bad"}
    assert messages(cloud, "Undelivered") == []


def test_a_delivery_that_is_refused_once_is_tried_again(cloud: Cloud) -> None:
    cloud.faults.add("lambda:Invoke", drop_before())
    cloud.put_event("in/tests", "Something", {"kind": "good"})
    cloud.settle()
    until(lambda: len(got(cloud)) == 1)


def test_a_delivery_that_is_always_refused_goes_to_the_dead_letter_queue(cloud: Cloud) -> None:
    cloud.faults.add("lambda:Invoke", refuse(), times=None)
    cloud.put_event("in/tests", "Something", {"kind": "good"})
    cloud.settle()
    assert [event["detail"] for event in messages(cloud, "Undelivered")] == [{"kind": "good"}]
    assert got(cloud) == []


def test_the_tick_can_be_called_by_hand(cloud: Cloud) -> None:
    assert [result.value for result in cloud.tick_now()] == [{"called": {"call": "tick"}}]


def test_the_tick_runs_at_its_own_interval_until_it_is_switched_off(cloud: Cloud) -> None:
    cloud.scheduler.start(0.05)
    until(lambda: len(got(cloud)) >= 3)
    cloud.scheduler.stop()
    cloud.settle()
    assert all(event == {"call": "tick"} for event in got(cloud))


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ({"source": ["a"]}, {"source": "a"}, {"source": "b"}),
        ({"source": [{"prefix": "in/"}]}, {"source": "in/x"}, {"source": "out/in/"}),
        ({"source": [{"anything-but": ["a", "b"]}]}, {"source": "c"}, {"source": "a"}),
        ({"source": [{"anything-but": {"prefix": "a"}}]}, {"source": "c"}, {"source": "ab"}),
        ({"detail": {"leak": [{"exists": True}]}}, {"detail": {"leak": "x"}}, {"detail": {}}),
        ({"detail": {"leak": [{"exists": False}]}}, {"detail": {}}, {"detail": {"leak": "x"}}),
        ({"detail": {"n": [{"numeric": [">", 1]}]}}, {"detail": {"n": 2}}, {"detail": {"n": 1}}),
        ({"source": ["a"], "detail": {"k": ["x", "y"]}}, {"source": "a", "detail": {"k": "y"}}, {"source": "a"}),
    ],
)
def test_patterns(pattern: object, matching: EventMessageType, other: EventMessageType) -> None:
    matcher = load_pattern(json.dumps(pattern))
    assert matcher.matches_event(matching)
    assert not matcher.matches_event(other)


@pytest.mark.parametrize(
    "pattern", [{"source": [{"prefix-of": "a"}]}, {"$or": [{"source": [{"cidr": "10.0.0.0/8"}]}, {"source": ["a"]}]}]
)
def test_a_filter_that_the_matcher_would_get_wrong_is_an_error(pattern: object) -> None:
    with pytest.raises(TemplateError, match="filter"):
        load_pattern(json.dumps(pattern))


def post(cloud: Cloud, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 httpx's own
    return httpx.post(f"{cloud.http_api.endpoint}{path}", **options)


def test_a_request_becomes_an_event_of_format_2(cloud: Cloud) -> None:
    headers = [("X-Signature", "one"), ("x-signature", "two"), ("Cookie", "a=1; b=2"), ("content-type", "text/plain")]
    event = post(cloud, "/hooks/git%20hub?q=1&q=2&r=", headers=headers, content=b"hello").json()
    assert (event["version"], event["routeKey"]) == ("2.0", "POST /hooks/{source}")
    assert (event["rawPath"], event["rawQueryString"]) == ("/hooks/git hub", "q=1&q=2&r=")
    assert event["headers"]["x-signature"] == "one,two"
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["queryStringParameters"] == {"q": "1,2", "r": ""}
    assert event["pathParameters"] == {"source": "git hub"}
    assert (event["body"], event["isBase64Encoded"]) == ("hello", False)
    assert event["requestContext"]["http"]["method"] == "POST"


def test_a_body_that_is_no_text_comes_in_base64(cloud: Cloud) -> None:
    event = post(cloud, "/hooks/x", content=b"\xff\x00", headers={"content-type": "application/octet-stream"}).json()
    assert event["isBase64Encoded"]
    assert base64.b64decode(event["body"]) == b"\xff\x00"
    assert post(cloud, "/hooks/x", data={"a": "b"}).json()["isBase64Encoded"]
    assert not post(cloud, "/hooks/x", json={"a": "b"}).json()["isBase64Encoded"]


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        ({"statusCode": 202, "body": "taken", "headers": {"X-Own": "1"}}, 202, b"taken"),
        ({"statusCode": 200, "body": "/wA=", "isBase64Encoded": True}, 200, b"\xff\x00"),
        ({"any": "thing"}, 200, b'{"any": "thing"}'),
    ],
)
def test_what_the_function_says_becomes_the_response(
    cloud: Cloud, said: Mapping[str, object], status: int, body: bytes
) -> None:
    response = post(cloud, "/hooks/x", headers={"x-answer": json.dumps(said)})
    assert (response.status_code, response.content) == (status, body)


def test_what_does_not_get_through(cloud: Cloud) -> None:
    assert httpx.get(f"{cloud.http_api.endpoint}/hooks/x").status_code == 404
    assert post(cloud, "/elsewhere").status_code == 404
    assert post(cloud, "/hooks/x", headers={"x-answer": "no json"}).status_code == 500
    assert post(cloud, "/hooks/x", headers={"x-long": "x" * 10_241}).status_code == 431
    assert post(cloud, "/hooks/x", content=b"x" * (BODY_LIMIT + 1)).status_code == 413
