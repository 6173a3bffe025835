"""A function that meets somebody who never answers ends in time, and nothing of it lives on: no thread, no request.

A frozen sandbox thaws at the next invocation: what still lived would go on then, with a stale password in its hand.
That the alarm cuts off whatever a handler does is tested in tests/unit/test_runtime.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import rotating

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.aws import Cloud, Execution
    from tests.sandbox.company import Company
    from tests.sandbox.http_server import HttpServer

_ESTABLISHED = "01"  # proc(5), /proc/net/tcp


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc to look into processes")
class TestWhoeverNeverAnswers:
    def test_a_consumer_is_pending_and_the_next_pass_tells_it(self, company: Company) -> None:
        """`distribute` answers before its timeout, with what the others got and with what is left."""
        receiver = company.world.receiver
        held = receiver.hold(when=rotating.is_write(company))
        arn = rotating.start(company)
        held.wait_until_reached(rotating.PATIENCE)
        assert len(_still_connected(company.world.cloud, receiver)) == 1
        execution = rotating.ended(company, arn)
        assert execution.status == "SUCCEEDED"
        assert _answers(execution, "DeliverShard")[:3].count(True) == 1, "left after the first pass: one shard"
        assert _failures(execution) == []
        assert company.evidence()["counts"] == {"consumers": 6, "done": 6}
        assert _still_connected(company.world.cloud, receiver) == []
        assert _threads(company.world.cloud, "distribute") == _threads(company.world.cloud, "notify")

    def test_a_reset_call_is_given_up_and_its_outcome_looked_for(self, company: Company) -> None:
        """It took effect, and its answer never comes: the old password is dead, so the call is made once more."""
        control_plane = company.world.cloudraya
        held = control_plane.hold(when=rotating.is_reset(company), acted=True)
        arn = rotating.start(company)
        held.wait_until_reached(rotating.PATIENCE)
        execution = rotating.ended(company, arn)
        assert execution.status == "SUCCEEDED"
        assert _failures(execution) == []
        assert _still_connected(company.world.cloud, control_plane) == []
        assert _threads(company.world.cloud, "reset") == _threads(company.world.cloud, "notify")
        held.release()
        rotating.tick_in_vain(company)
        assert company.resets == len(rotating.reset_calls(company)) == 2


def _answers(execution: Execution, state: str) -> list[bool]:
    """Return what each Task of this name said is left, in order."""
    exited = [event.get("stateExitedEventDetails", {}) for event in execution.history]
    return [json.loads(details["output"])["left"] for details in exited if details.get("name") == state]


def _failures(execution: Execution) -> list[str]:
    """Return the types of events that say a function failed or ran out of time."""
    types = [str(event["type"]) for event in execution.history]
    return [one for one in types if one in {"TaskFailed", "TaskTimedOut", "LambdaFunctionFailed"}]


def _pids(cloud: Cloud, function: str = "") -> Iterator[int]:
    """Yield the processes of a function, or of all, that are alive."""
    for process in cloud.lambdas.processes:
        if process.function.endswith(function) and Path(f"/proc/{process.pid}/status").exists():
            yield process.pid


def _threads(cloud: Cloud, function: str) -> set[int]:
    """Return how many threads the processes of a function have: one that only sends messages shows what is normal."""
    return {len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in _pids(cloud, function)}


def _still_connected(cloud: Cloud, server: HttpServer) -> list[int]:
    """Return the processes of functions that hold a connection to a server."""
    port = f"{int(server.host.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port}") and row[3] == _ESTABLISHED}
    return [pid for pid in _pids(cloud) if inodes & {str(fd.readlink()) for fd in _descriptors(pid)}]


def _descriptors(pid: int) -> list[Path]:
    return [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
