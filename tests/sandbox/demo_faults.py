"""What the demo puts on the wire of its services: a consumer that refuses, and a stopwatch."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from tests.sandbox import faults, github_limits, kubernetes_access
from tests.sandbox.demo_places import repositories_of
from tests.sandbox.gitea_door import sets_password
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from tests.sandbox.company import Company
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.wire import Fault, Predicate, Request

_GITHUB_SECRET = re.compile(r"/repos/([^/]+/[^/]+)/actions/secrets/\w+")


class UnknownConsumerError(Exception):
    """The plan has no entry of that name; the text lists those it has."""


def refuse_writes(company: Company, entry: str) -> None:
    """Let the service behind one entry of the plan refuse every write, as if a right had been taken back.

    It strikes after the reset: before it everything looks well. Raises UnknownConsumerError.
    """
    found = {part["name"]: part for part in company.document["consumers"]}
    if entry not in found:
        raise UnknownConsumerError(f"there is no consumer {entry}: the plan has {', '.join(found)}")
    part, world = found[entry], company.world

    def reset() -> bool:
        return company.resets > 0

    match part["type"]:
        case "github-secret":
            refusal = github_limits.error(403, "Resource not accessible by personal access token")
            _always(world.github, faults.answer(refusal), lambda one: reset() and _writes_secret(one, company, part))
        case "kubernetes-pull-secret":
            refusal = kubernetes_access.status(403, "Forbidden", "secrets is forbidden: the Role was taken away")
            _always(world.kubernetes, faults.answer(refusal), lambda one: reset() and one.method == "PUT")
        case _:
            refusal = Response.json({"error": "unknown sender"}, 403)
            _always(world.receiver, faults.answer(refusal), lambda one: reset() and one.method == "POST")


class Stopwatch:
    """Measures the credential gap at the services: from the reset's arrival to the answer of the last write."""

    def __init__(self, company: Company) -> None:
        self._reset_at: float | None = None
        self._written_at: float | None = None
        world, reset = company.world, re.compile(r".*/(reset-password|change-password)")
        if company.kind == "gitea":
            _always(world.gitea_api, faults.call(self._reset), sets_password(company.username))
        else:
            _always(world.cloudraya, faults.call(self._reset), lambda request: bool(reset.fullmatch(request.path)))
        for service, method in ((world.github, "PUT"), (world.kubernetes, "PUT"), (world.receiver, "POST")):
            _always(service, faults.call(self._written, acted=True), _by_method(method))

    @property
    def seconds(self) -> float | None:
        """The gap so far; None before the first write after a reset."""
        if self._reset_at is None or self._written_at is None:
            return None
        return self._written_at - self._reset_at

    def _reset(self, _request: Request) -> None:
        self._reset_at = time.monotonic()

    def _written(self, _request: Request) -> None:
        self._written_at = time.monotonic()


def _always(service: HttpServer, fault: Fault, when: Predicate) -> None:
    service.inject(fault, when=when, times=None)


def _by_method(method: str) -> Predicate:
    return lambda request: request.method == method


def _writes_secret(request: Request, company: Company, part: dict[str, Any]) -> bool:
    found = _GITHUB_SECRET.fullmatch(request.path)
    return request.method == "PUT" and found is not None and found[1] in repositories_of(company, part)
