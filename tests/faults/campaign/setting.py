"""One rotation of the campaign: a company of its own behind a door of its own, and whose request a request is."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import httpx

from rekey.records.plans import from_stored, to_stored
from rekey.steps.begin import cut
from tests.faults.campaign.points import AWS, CONTROL_PLANE, REGISTRY, Task
from tests.sandbox.cloudraya import RESET_PATH
from tests.sandbox.company import OTHER_REGISTRY, Company
from tests.sandbox.harbor import API
from tests.sandbox.harbor_robots import made_up
from tests.sandbox.lambdas import HostSettings
from tests.sandbox.registry_proxy import RegistryProxy, shown
from tests.sandbox.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.sandbox.aws_faults import AwsRequest
    from tests.sandbox.company import Kind
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.lambdas import AtWork
    from tests.sandbox.wire import Json
    from tests.sandbox.world import World

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
_CONSUMER_TYPES = {"github": "github-secret", "kubernetes": "kubernetes-pull-secret", "webhook": "webhook"}
_setting_up = threading.Lock()  # the simulators take new accounts one at a time
_EVENTS_ONLY = ("trigger", "notify", "webhook")


class Setting:
    """A company and the servers it has to do with. To be used as a context manager."""

    def __init__(self, world: World, name: str, kind: Kind = "cloudraya") -> None:
        self.world, self.kind = world, kind
        with _setting_up:
            self.company: Company = world.company(name, kind)
        self.proxy = RegistryProxy(world.registry)

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
            CONTROL_PLANE: world.harbor if self.kind == "harbor" else world.cloudraya,
            "github": world.github,
            "kubernetes": world.kubernetes,
            "webhook": world.receiver,
        }

    @cached_property
    def _shards(self) -> Mapping[str, int]:
        """The shard whose consumers are at a server."""
        plan = from_stored(to_stored(self.company.document))
        types = [{entry.type for entry in entries} for entries in cut(plan.consumers)]
        return {
            server: next(number for number, found in enumerate(types) if kind in found)
            for server, kind in _CONSUMER_TYPES.items()
        }

    def task_of_aws(self, request: AwsRequest) -> Task | None:
        """Return what the caller does for this company; None where it is none of ours, or works for another one."""
        for work in self.world.cloud.lambdas.at_work(request.caller) if request.caller else ():
            return self._task(work)
        return None

    def worker_of(self, server: str, request: AwsRequest | Request) -> tuple[Task, AtWork] | None:
        """Return who sent a request on this company's behalf, and for what."""
        lambdas = self.world.cloud.lambdas
        if server == AWS:
            caller = getattr(request, "caller", "")
            found = [(self._task(work), work) for work in (lambdas.at_work(caller) if caller else ())]
        elif self._concerns(server, request):
            shard = self._shards.get(server, -1)
            found = [(self._task(work), work) for work in lambdas.at_work()]
            found = [(t, w) for t, w in found if t and t.shard == shard and t.function not in _EVENTS_ONLY]
        else:
            return None
        return next(((task, work) for task, work in found if task is not None), None)

    def _task(self, work: AtWork) -> Task | None:
        event: dict[str, Any] = json.loads(work.event)
        function = work.function.rpartition("-")[2]
        state = event.get("state")
        if isinstance(state, dict):
            mine = state.get("registry") == self.company.name
            return Task(function, str(event["call"]), int(state.get("shard", -1))) if mine else None
        detail = event.get("detail")
        mine = isinstance(detail, dict) and detail.get("registry") == self.company.name
        return Task(function, str(event["detail-type"])) if mine else None

    def _concerns(self, server: str, request: AwsRequest | Request) -> bool:
        """Whether a request is about this company: its name, or what only it has, is in it."""
        if server == REGISTRY:
            return True  # a door of its own
        authorization = request.headers.get("authorization", "")
        if self.company.name in request.path or self.company.name.encode() in request.body:
            return True
        if self.kind == "harbor" and server == CONTROL_PLANE and request.path == self._robot:
            return True
        tokens = (self.company.github_token, self.company.cluster_token)
        return any(token in authorization for token in tokens) or self.company.name in _said_by(authorization)

    def is_reset(self, server: str, request: Request) -> bool:
        """Whether a request is the one that changes the password."""
        paths = {"cloudraya": RESET_PATH.format(id=self.company.name), "harbor": self._robot}
        return (server, request.method, request.path) == (CONTROL_PLANE, "PATCH", paths[self.kind])

    def click(self) -> str:
        """Reset the password as a person does in the vendor's console, and return the new one."""
        if self.kind == "cloudraya":
            return self.world.cloudraya.click_reset(self.company.name)
        secret, harbor = made_up(), self.world.harbor
        url = f"{harbor.url}{self._robot}"
        httpx.patch(url, json={"secret": secret}, auth=("admin", harbor.admin)).raise_for_status()
        return secret

    @property
    def _robot(self) -> str:
        return f"{API}/robots/{self.company.robot_id}"

    @property
    def passwords_made(self) -> list[str]:
        """Every password that a reset put in force."""
        if self.kind == "harbor":
            return self.world.harbor.sets(self.company.robot_id)
        return [reset.password for reset in self.world.cloudraya.resets(self.company.name)]

    def operation(self, server: str, request: AwsRequest | Request) -> str:
        """Return what a request is about, in words that are the same for every company."""
        operation = getattr(request, "operation", None)
        if server == AWS and operation is not None:
            return str(operation)
        path = request.path.replace(self._robot, f"{API}/robots/ID") if self.kind == "harbor" else request.path
        said = f"{request.method} {path}".replace(self.company.name, "NAME")
        if server != REGISTRY or not isinstance(request, Request):
            return said
        user, password = shown(request)
        who = "nobody" if not user else "old password" if password == self.company.first_password else "new password"
        return f"{said} as {who}"


def _said_by(authorization: str) -> str:
    """Return the claims of a JWT, or the user and password of Basic, or nothing."""
    scheme, _, value = authorization.partition(" ")
    part = value if scheme.lower() == "basic" else value.split(".")[1] if value.count(".") == 2 else ""
    try:
        return base64.urlsafe_b64decode(part + "==").decode()
    except (binascii.Error, ValueError):
        return ""
