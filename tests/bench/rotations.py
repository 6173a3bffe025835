"""Whole rotations in the sandbox: the residual window, the credential gap, and the time from alert to the end.

The residual window is the one moment in which a crash still loses a password: from the answer's last byte to the end
of the escrow's write. Here it is measured at the services: from the control plane's answer to the arrival of the write,
and one more round trip of such a write, which is the peer.
"""

from __future__ import annotations

import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measure import Measured
from tests.e2e import rotating
from tests.sandbox import faults
from tests.sandbox.demo_faults import Stopwatch
from tests.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.company import Company
    from tests.sandbox.wire import Request

_RESET = re.compile(r".*/(reset-password|change-password)")
_KEPT = 4096  # bytes of the peer's item: as an answer with its envelope


def measure(times: int) -> Iterator[Measured]:
    """Rotate several times and yield the rows."""
    answered: list[datetime] = []

    def note(_request: Request) -> None:
        answered.append(datetime.now(UTC))

    windows, writes, gaps, whole = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="rekey-bench-") as folder, World(Path(folder)) as world:
        world.cloudraya.inject(
            faults.call(note, acted=True), when=lambda request: bool(_RESET.fullmatch(request.path)), times=None
        )
        for number in range(times + 1):
            company = world.company(f"bench-{number}")
            company.push_plan()
            watch, began = Stopwatch(company), time.perf_counter()
            if rotating.rotate(company).status != "SUCCEEDED":
                raise RuntimeError(f"the rotation of {company.name} did not succeed")
            if number == 0:  # the functions' processes start: a cold one is another question
                continue
            whole.append(time.perf_counter() - began)
            gaps.append(watch.seconds or 0.0)
            kept = next(request for request in world.cloud.requests if _keeps(request, company))
            write = _write(company)
            writes.append(write)
            windows.append((kept.at - answered[-1]).total_seconds() + write)
    peer = "one write of that size"
    yield Measured("residual window: answer to escrow written", windows, peer, writes)
    yield Measured("credential gap, at the services", gaps, peer, writes)
    yield Measured("alert to Rotation Finished, warm", whole, peer, writes)


def _keeps(request: AwsRequest, company: Company) -> bool:
    writes = request.action == "TransactWriteItems"
    return writes and rotating.keeps_an_answer(company)(request)


def _write(company: Company) -> float:
    """Return how long one conditional write to the escrow's table takes."""
    table = rotating.table(company.world.cloud, "ESCROW").name
    client = company.world.cloud.client("dynamodb")
    item: dict[str, AttributeValueTypeDef] = {
        "pk": {"S": f"bench#{company.name}"},
        "sk": {"S": "peer"},
        "sealed": {"B": bytes(_KEPT)},
    }
    began = time.perf_counter()
    client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(pk)")
    return time.perf_counter() - began
