"""One rotation of the campaign: a company of its own behind a door of its own, and whose request a request is."""

from __future__ import annotations

import json
import os
import re
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.e2e.places import PERSON
from tests.faults.campaign.peers import owner_of
from tests.faults.campaign.points import AWS, CONTROL_PLANE, REGISTRY, STORE, Task
from tests.sandbox import gitea_door
from tests.sandbox.cloudraya import RESET_PATH
from tests.sandbox.company import OTHER_REGISTRY, Company
from tests.sandbox.harbor import API
from tests.sandbox.harbor_robots import made_up
from tests.sandbox.lambdas import HostSettings
from tests.sandbox.registry_proxy import RegistryProxy, shown
from tests.sandbox.wire import Request
from tests.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from tests.faults.campaign.outcome import Target
    from tests.sandbox.aws_executions import PlayedExecution
    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.company import Kind
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.lambdas import AtWork
    from tests.sandbox.wire import Json

OVERRIDES = {
    **{f"{function}Timeout": "12" for function in ("Begin", "Reset", "Distribute", "Verify", "Report")},
    **{f"{function}TaskTimeout": "25" for function in ("Begin", "Reset", "Distribute", "Verify", "Report")},
    "EscrowWithin": "3",
    "SnapshotWithin": "5",
    "WaitBudget": "60",
}
"""Beside the sandbox's own: a takeover waits for the longest function, so none is long."""
HOST = HostSettings(fork=True)
_LIMITS = {"timeout": "2s", "settle": "1s"}
"""Of the reset call."""
_setting_up = threading.Lock()  # the simulators take new accounts one at a time
_CANDIDATE = re.compile(r"/[0-9a-f]{64}\b")
"""The end of a candidate's path in Vault."""


def world_of(target: Target, folder: Path) -> World:
    """Return the world in which a target's faults strike, not opened yet."""
    return World(folder, OVERRIDES, HOST, store=target.store, cluster=target.cluster)


class Setting:
    """A company and the servers it has to do with. To be used as a context manager."""

    def __init__(self, world: World, name: str, kind: Kind = "cloudraya") -> None:
        self.world, self.kind = world, kind
        with _setting_up:
            self.company: Company = world.company(name, kind)
        self.proxy = RegistryProxy(world.gitea if kind == "gitea" else world.registry)
        self.forgotten: list[PlayedExecution] = []
        """Executions that do not exist any more, to be searched for secrets all the same."""
        self.pasted = False
        """Whether a person reset the password and pasted it."""

    def __enter__(self) -> Self:
        self.proxy.start()
        self._stand_behind_the_door()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.proxy.stop()

    def _stand_behind_the_door(self) -> None:
        company = self.company
        company.document["registry"]["endpoint"] = self.proxy.url
        api = company.document["registry"]["api"]
        if self.kind == "cloudraya":
            path = RESET_PATH.format(id=company.name)
            api["reset"] = {"method": "PATCH", "path": path, "password_at": "/data/password", **_LIMITS}
        else:
            api.update(_LIMITS)
        company.push_plan()
        for namespace, secret in company.pull_secrets:
            entries: dict[str, Json] = {
                self.proxy.host: {"username": company.username, "password": company.first_password},
                OTHER_REGISTRY: {"username": "robot", "password": company.other_password},
            }
            self.world.kubernetes.add_pull_secret(namespace, secret, entries)

    @cached_property
    def servers(self) -> Mapping[str, HttpServer]:
        """Every server but AWS's, by its name in a point."""
        world = self.world
        return {
            REGISTRY: self.proxy,
            CONTROL_PLANE: self._control_plane,
            "github": world.github,
            "kubernetes": world.kubernetes,
            "webhook": world.receiver,
            **({STORE: world.vault.door} if self.company.store.part["type"] == "vault" else {}),
        }

    @property
    def _control_plane(self) -> HttpServer:
        match self.kind:
            case "harbor":
                return self.world.harbor
            case "gitea":
                return self.world.gitea_api
            case _:
                return self.world.cloudraya

    def worker_of(self, request: AwsRequest | Request) -> tuple[Task, AtWork] | None:
        """Return who sent a request on this company's behalf, and for what."""
        return next(((task, work) for work in self._at_work(request) if (task := self._task(work)) is not None), None)

    def unattributed(self, request: AwsRequest | Request) -> str:
        """Return who sent a request for no task of any registry: a function and its call. "" where all is well.

        The call is empty where a process asks for something and has no event to work on.
        """
        events = [json.loads(work.event) for work in self._at_work(request)]
        if any(map(_registry_of, events)):
            return ""
        return " ".join(filter(None, [self._sender(request), *(str(event.get("call", "")) for event in events)]))

    def _sender(self, request: AwsRequest | Request) -> str:
        """Return the function whose process sent a request, or "" where the tests did."""
        processes = self.world.cloud.lambdas.processes
        if isinstance(request, Request):
            names = {os.getpid(): "", **{process.pid: process.function for process in processes}}
            name = names.get(owner_of(request.port, names) or 0, "somebody")
        else:
            names_by_key = {PERSON: "", **{process.caller: process.function for process in processes}}
            name = names_by_key.get(request.caller, "somebody")
        return name.rpartition("-")[2]

    def _at_work(self, request: AwsRequest | Request) -> list[AtWork]:
        """Return what the sender of a request is working on, found by its key at AWS, else by its port."""
        lambdas = self.world.cloud.lambdas
        if isinstance(request, Request):
            working = {work.pid: work for work in lambdas.at_work()}
            owner = owner_of(request.port, working)
            return [working[owner]] if owner is not None else []
        return lambdas.at_work(request.caller) if request.caller else []

    def _task(self, work: AtWork) -> Task | None:
        event: dict[str, Any] = json.loads(work.event)
        if _registry_of(event) != self.company.name:
            return None
        function, state = work.function.rpartition("-")[2], event.get("state")
        if isinstance(state, dict):
            return Task(function, str(event["call"]), int(state.get("shard", -1)))
        return Task(function, str(event["detail-type"]))

    def is_reset(self, server: str, request: Request) -> bool:
        """Whether a request is the one that changes the password."""
        if server != CONTROL_PLANE:
            return False
        if self.kind == "gitea":
            return gitea_door.sets_password(self.company.username)(request)
        path = self._robot if self.kind == "harbor" else RESET_PATH.format(id=self.company.name)
        return (request.method, request.path) == ("PATCH", path)

    def click(self) -> str:
        """Reset the password as a person does in the vendor's console, and return the new one."""
        match self.kind:
            case "harbor":
                secret, harbor = made_up(), self.world.harbor
                url = f"{harbor.url}{self._robot}"
                httpx.patch(url, json={"secret": secret}, auth=("admin", harbor.admin)).raise_for_status()
                return secret
            case "gitea":
                return self.world.gitea_api.click_reset(self.company.username)
            case _:
                return self.world.cloudraya.click_reset(self.company.name)

    @property
    def _robot(self) -> str:
        return f"{API}/robots/{self.company.robot_id}"

    def operation(self, server: str, request: AwsRequest | Request) -> str:
        """Return what a request is about, in words that are the same for every company."""
        operation = getattr(request, "operation", None)
        if server == AWS and operation is not None:
            return str(operation)
        path = request.path.replace(self._robot, f"{API}/robots/ID") if self.kind == "harbor" else request.path
        said = _CANDIDATE.sub("/TOKEN", f"{request.method} {path}".replace(self.company.name, "NAME"))
        if server != REGISTRY or not isinstance(request, Request):
            return said
        user, password = shown(request)
        who = "nobody" if not user else "old password" if password == self.company.first_password else "new password"
        return f"{said} as {who}"


def _registry_of(event: dict[str, Any]) -> str:
    """Return the registry that a function's event is about: a state of the machine's, or one from the bus."""
    about = event.get("state", event.get("detail"))
    return str(about.get("registry", "")) if isinstance(about, dict) else ""
