"""A door before Gitea: requests to it are numbered with all others, faults strike here, and what it did is noted."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

import httpx

from tests.sandbox.registry_proxy import RegistryProxy

if TYPE_CHECKING:
    from tests.sandbox.gitea import Gitea
    from tests.sandbox.wire import Predicate, Request, Response

_EDIT = re.compile(r"/api/v1/admin/users/([^/]+)")


class GiteaDoor(RegistryProxy):
    """Passes everything on to a Gitea."""

    def __init__(self, gitea: Gitea) -> None:
        super().__init__(gitea)
        self.gitea = gitea
        self._sets: dict[str, list[str]] = {}

    def act(self, request: Request) -> Response:
        """Pass one request on, and note a password that Gitea took."""
        answer = super().act(request)
        found = set_in(request)
        if found is not None and answer.status == httpx.codes.OK:
            self._sets.setdefault(found[0], []).append(found[1])
        return answer

    def click_reset(self, user: str) -> str:
        """Change a password as an administrator does in the browser, past this door, and return it."""
        password = secrets.token_urlsafe(18)
        self.gitea.set_password(user, password)
        self._sets.setdefault(user, []).append(password)
        return password

    def sets(self, user: str) -> list[str]:
        """Return the passwords of a user that were put in force through this door or clicked, in order."""
        return list(self._sets.get(user, ()))


def set_in(request: Request) -> tuple[str, str] | None:
    """Return the user and the password that a request sets; None where it sets none."""
    path = _EDIT.fullmatch(request.path)
    if request.method != "PATCH" or path is None:
        return None
    body: Any = json.loads(request.body)
    password = body.get("password") if isinstance(body, dict) else None
    return (path[1], password) if isinstance(password, str) and password else None


def sets_password(user: str) -> Predicate:
    """Return what picks the calls that set this user's password, and not those that only see whether one may."""
    return lambda request: (set_in(request) or ("",))[0] == user
