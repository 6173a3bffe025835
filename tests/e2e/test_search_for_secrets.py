"""The search that `test_no_secret_leaks` rests on finds what was planted: in every encoding, and in every place."""

from __future__ import annotations

import base64
import html
import json
import secrets
import urllib.parse
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest

from rekey.model.password import Password, docker_config
from tests.e2e import rotating
from tests.e2e.canaries import Canary, Search
from tests.e2e.places import Run
from tests.sandbox.cloudraya import PASSWORD_ALPHABET, SYMBOLS
from tests.sandbox.lambdas import ProcessRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.front import Front
    from tests.sandbox.company import Company

Plant: TypeAlias = "Callable[[Company, str], Callable[[], object] | None]"
"""Leaves a secret in one place; may return what takes it out again."""
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps({"Cause": json.dumps({"errorMessage": text})}),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "URL": urllib.parse.quote,
    "URL, all escaped": lambda text: urllib.parse.quote(text, safe=""),
    "form": lambda text: urllib.parse.urlencode({"Message": json.dumps({"why": text})}),
    "HTML": html.escape,
    "repr": repr,
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "user:password": lambda text: base64.b64encode(f"prod-images:{text}".encode()).decode(),
    "config.json": lambda text: docker_config("registry.example", "prod-images", Password(text)),
    "pull secret": lambda text: base64.b64encode(
        docker_config("registry.example", "prod-images", Password(text)).encode()
    ).decode(),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
@pytest.mark.parametrize("before", range(3))
def test_every_encoding_is_found_whatever_stands_around_it(encode: Callable[[str], str], before: int) -> None:
    secret = SYMBOLS + "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(20))
    noise = secrets.token_hex(200)
    it = Canary("it", secret)
    search = Search([it, Canary("another", secrets.token_urlsafe(18))])
    assert search.found_in(f"{noise}{encode('x' * before + secret + 'y')}{noise}".encode()) == {it}
    assert search.found_in(f"{noise}{encode(secret)}".encode()) == {it}
    shorter = secret[: len(secret) // 2]  # base64 knows the letters at a secret's edges only in part
    assert search.found_in(encode(shorter).encode() + noise.encode()) == set()


def test_a_secret_too_short_to_be_told_from_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Canary("it", "short")


def test_every_place_is_searched(company: Company, front: Front) -> None:
    run = Run.of(company, front)
    assert run.leaks() == set()
    planted = {place: secrets.token_urlsafe(18) for place in PLANTS}
    run.more += [Canary(f"planted in {place}", secret) for place, secret in planted.items()]
    with ExitStack() as pulled_out_again:
        for place, plant in PLANTS.items():
            pulled_out_again.callback(plant(company, planted[place]) or (lambda: None))
        found = run.leaks()
    assert {(place, f"planted in {place}") for place in PLANTS} - found == set()


def test_a_secret_that_has_its_place_there_is_no_leak(company: Company, front: Front) -> None:
    run = Run.of(company, front)
    httpx.get(front.url, auth=(company.name, company.first_password))
    assert run.leaks() == set()
    httpx.get(company.world.receiver.url, auth=(company.name, company.first_password))
    assert run.leaks() == {("request to the webhook", "old password")}


def _into_log(company: Company, secret: str) -> None:
    company.world.cloud.lambdas.logs["rekey-sandbox-notify"].append(json.dumps({"message": secret}))


def _into_event(company: Company, secret: str) -> None:
    company.world.cloud.put_event("somebody", "Something", {"said": secret})


def _into_item(which: str) -> Plant:
    def plant(company: Company, secret: str) -> None:
        cloud = company.world.cloud
        item: dict[str, Any] = {"pk": {"S": company.name}, "sk": {"S": "planted"}, "sealed": {"B": secret.encode()}}
        cloud.client("dynamodb").put_item(TableName=rotating.table(cloud, which).name, Item=item)

    return plant


def _into_object(company: Company, secret: str) -> None:
    """Plant it in a version that is not the last one."""
    client, key = company.world.cloud.client("s3"), f"rotations/{company.name}/planted.json"
    for body in (secret, "overwritten"):
        client.put_object(Bucket=company.world.bucket, Key=key, Body=body.encode())


def _into_execution(company: Company, secret: str) -> None:
    cloud = company.world.cloud
    cloud.wait_for(cloud.start_execution({"format": 1, "operation": "rotate", "registry": secret, "start": 1}))


def _into_process(company: Company, secret: str) -> Callable[[], object]:
    processes = company.world.cloud.lambdas.processes
    processes.append(ProcessRecord("planted", 0, ("python", secret), {}, ""))
    return processes.pop


def _into_queue(company: Company, secret: str) -> Callable[[], object]:
    cloud = company.world.cloud
    client, queue = cloud.client("sqs"), cloud.stack.queues[0].name
    url = client.get_queue_url(QueueName=queue)["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody=json.dumps({"said": secret}))
    return lambda: client.purge_queue(QueueUrl=url)


def _into_request(company: Company, secret: str) -> None:
    """Publish it as a function would."""
    client = company.world.cloud.client("sns")
    client.publish(TopicArn=company.topic, Message=json.dumps({"said": f"= {secret}"}))


def _into_store(company: Company, secret: str) -> None:
    company.store.put({"token": secret})


def _into_server(server: str) -> Plant:
    def plant(company: Company, secret: str) -> None:
        url: str = getattr(company.world, server).url
        httpx.get(f"{url}/planted", params={"said": secret})

    return plant


PLANTS: dict[str, Plant] = {
    "log": _into_log,
    "event": _into_event,
    "ledger item": _into_item("LEDGER"),
    "escrow item": _into_item("ESCROW"),
    "object": _into_object,
    "execution": _into_execution,
    "process": _into_process,
    "queue": _into_queue,
    "request to AWS": _into_request,
    "store": _into_store,
    "request to the control plane": _into_server("cloudraya"),
    "request to the GitHub": _into_server("github"),
    "request to the cluster": _into_server("kubernetes"),
    "request to the webhook": _into_server("receiver"),
}
