"""Finds every point by recording one rotation: what the function processes asked of AWS and of every other server."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.faults.campaign import recovery
from tests.faults.campaign.points import AWS, MACHINE, REGISTRY, Point, Role, Task
from tests.faults.campaign.setting import Setting
from tests.faults.campaign.strikes import Struck
from tests.sandbox.registry_proxy import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.campaign.points import Strike
    from tests.sandbox.aws_faults import Answer, AwsRequest
    from tests.sandbox.company import Kind
    from tests.sandbox.wire import Act, Request, Response
    from tests.sandbox.world import World

TASKS = ("Begin", "PrepareShard", "AskBeforeDelivery", "Reset", "DeliverShard", "Verify", "VerifyShard", "Report")
"""The states that call a function."""

OF_NO_ROTATION = {
    "trigger tick": "it asks for the open work of every registry at once, and comes again by itself",
}
"""What functions do on no registry's behalf and is no point, each with why."""


class UnattributedError(Exception):
    """Functions asked for something in a recording, and it is not known for which task: points are missing."""


@dataclass
class _Seen:
    order: int
    task: Task
    server: str
    operation: str
    role: Role = Role.OTHER


class Recorder:
    """Notes every request of a company's functions, as it arrives."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._seen: list[_Seen] = []
        self.unattributed: Counter[str] = Counter()
        """What functions asked on no task's behalf: function and call, operation, server."""

    def listen(self) -> None:
        """Note from now on."""
        self._setting.world.cloud.faults.add(None, self._aws, times=None)
        for name, server in self._setting.servers.items():
            server.inject(self._on(name), times=None)

    def points(self) -> list[Point]:
        """Return the points in the order in which they were reached."""
        with self._lock:
            seen = sorted(self._seen, key=lambda one: one.order)
        self._mark_the_escrow_write(seen)
        count: Counter[tuple[Task, str, str]] = Counter()
        points = []
        for one in seen:
            count[one.task, one.server, one.operation] += 1
            nth = count[one.task, one.server, one.operation]
            points.append(Point(one.task, one.server, one.operation, nth, one.role))
        return points

    def _aws(self, request: AwsRequest, act: Any) -> Answer:  # noqa: ANN401 (aws_faults.Act)
        self._note(AWS, request)
        answer: Answer = act()
        return answer

    def _on(self, server: str) -> Any:  # noqa: ANN401 (wire.Fault)
        def record(request: Request, act: Act) -> Response:
            seen = self._note(server, request)
            response = act()
            if seen is not None and response.status == 200:
                seen.role = self._role(server, request)
            return response

        return record

    def _note(self, server: str, request: AwsRequest | Request) -> _Seen | None:
        found = self._setting.worker_of(request)
        if found is None:
            who = self._setting.unattributed(request)
            if who and who not in OF_NO_ROTATION:
                with self._lock:
                    self.unattributed[f"{who}: {self._setting.operation(server, request)} of {server}"] += 1
            return None
        seen = _Seen(request.order, found[0], server, self._setting.operation(server, request))
        with self._lock:
            self._seen.append(seen)
        return seen

    def _role(self, server: str, request: Request) -> Role:
        if self._setting.is_reset(server, request):
            return Role.RESET_CALL if self._setting.kind == "cloudraya" else Role.SET_CALL
        if server != REGISTRY or not shown(request)[0]:
            return Role.OTHER
        is_old = shown(request)[1] == self._setting.company.first_password
        if is_old:
            return Role.LOGIN
        function = next((one.task.function for one in self._seen if one.order == request.order), "")
        if function == "verify" and not any(one.role is Role.PROMOTED_LOGIN for one in self._seen):
            return Role.PROMOTED_LOGIN
        return Role.NEW_LOGIN if function == "reset" else Role.LOGIN

    @staticmethod
    def _mark_the_escrow_write(seen: Sequence[_Seen]) -> None:
        """Find the write that keeps the answer: what `reset` asks of AWS first after the reset call."""
        for call in [one.order for one in seen if one.role is Role.RESET_CALL]:
            after = (one for one in seen if one.order > call and one.server == AWS and one.task.function == "reset")
            next(after).role = Role.ESCROW_WRITE


def record(
    world: World, name: str, kind: Kind = "cloudraya", under: Strike | None = None, *, delivered_again: bool = False
) -> list[Point]:
    """Run one whole rotation without any fault but `under`, and return every point, the states entered included.

    `delivered_again`: not its points, but those that are reached when its password is delivered again to everybody.
    Raises UnattributedError.
    """
    with Setting(world, name, kind) as setting:
        if delivered_again:
            recovery.rotate_but_for_one(setting)
        before = recovery.executions(setting)
        recorder = Recorder(setting)
        if under is not None:
            Struck(setting, under).put()  # put first: what it strikes is not recorded
        recorder.listen()
        if delivered_again:
            recovery.deliver_again(setting)
        else:
            recovery.ask(setting)
        recovery.converge(setting)
        world.cloud.faults.clear()
        for server in setting.servers.values():
            server.clear_faults()
        recorded = [arn for arn in recovery.executions(setting) if arn not in before]
        states = [state for arn in recorded for state in world.cloud.execution(arn).states]
    if recorder.unattributed:
        raise UnattributedError(str(dict(recorder.unattributed)))
    return recorder.points() + [_state(name) for name in dict.fromkeys(states)]


def record_thrice(world: World, kind: Kind = "cloudraya") -> tuple[list[Point], list[Point]]:
    """Return the points that each of three rotations reaches, and those that only some reach.

    Which of two functions is the faster one decides whether a record is read once more.
    """
    return compared([record(world, f"recorded{number}", kind) for number in range(3)])


def compared(recordings: Sequence[Sequence[Point]]) -> tuple[list[Point], list[Point]]:
    """Return the points that are in every recording, and those that are only in some."""
    first, *others = recordings
    always = [point for point in first if all(point in other for other in others)]
    every = dict.fromkeys([*first, *(point for other in others for point in other)])
    return always, [point for point in every if point not in always]


def _state(name: str) -> Point:
    point = Point(Task("machine"), MACHINE, name)
    return replace(point, role=Role.TASK) if name in TASKS else point
