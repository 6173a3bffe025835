"""Harbor's API (v2.0) around one robot account.

What it answers is recorded from Harbor 2.16; `systeminfo`'s protected half and the permissions are from its source
(src/controller/systeminfo, src/server/v2.0/handler/user.go).
"""

import re
from dataclasses import dataclass

import httpx

from rekey import http
from rekey.contracts import Answer
from rekey.errors import Denied, NotFound, NotSent, Unintelligible
from rekey.model.origin import Origin
from rekey.model.password import Password
from rekey.model.plan import HarborApi
from rekey.secrets import Secrets

_BASE = "/api/v2.0"
_NEVER = -1
_PROJECT = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Robot:
    """A robot account as Harbor shows it."""

    name: str
    level: str
    project: str
    """The project it belongs to; empty for one of the system."""
    disabled: bool
    expires_at: int
    """Seconds since the epoch; -1: never."""
    update_time: str | None

    def expired(self, now: float) -> bool:
        """Whether Harbor takes its secret no more (src/server/middleware/security/robot.go)."""
        return self.expires_at != _NEVER and self.expires_at <= now


class Robots:
    """The API, entered with Rekey's own credential, about the plan's robot alone."""

    def __init__(self, api: HarborApi, secrets: Secrets) -> None:
        self._api = api
        self._secrets = secrets
        self._path = f"{_BASE}/robots/{api.robot_id}"
        self._authorization: str | None = None
        self._service = f"Harbor's API at {Origin.parse(api.url).netloc}"
        self.call = f"PATCH {self._path}"

    def prepare(self) -> None:
        """Fetch the credential. Raises CredentialUnusable, Unreachable."""
        credential = self._secrets.resolve(self._api.login, self._api.url)
        self._authorization = http.basic(credential["username"], Password(credential["password"]))

    def user(self) -> str:
        """Return whose credential it is. Raises as `prepare` does."""
        return self._secrets.resolve(self._api.login, self._api.url)["username"]

    def robot(self) -> Robot:
        """Return the robot. Raises CredentialUnusable, Denied, NotFound, Unintelligible, Unreachable."""
        doing = f"GET {self._path}"
        response = self._get(self._path)
        try:
            found = http.json_object(http.expect(response, self._service, doing), self._service, doing)
        except Denied as error:
            secret = self._api.login.secret
            raise Denied(f"{error}: is the credential {secret} right, and may it read robot accounts there?") from None
        except NotFound as error:
            raise NotFound(f"{error}: does the plan name the right `robot_id`?") from None
        return self._read(found, doing)

    def read_only(self) -> bool:
        """Whether Harbor says that it is in read-only mode. It says so to some users alone; "no" is no promise."""
        info = self._object(f"{_BASE}/systeminfo")
        return info.get("read_only") is True

    def may_not_update(self, robot: Robot) -> bool:
        """Whether Harbor says that the credential may read robot accounts and not update them.

        Where its answer does not even name the right to read, which was just used, it says nothing.
        """
        scope = "/system"
        if robot.level == "project":
            if not robot.project:
                return False
            number = self._object(f"{_BASE}/projects/{robot.project}").get("project_id")
            if not isinstance(number, int):
                return False
            scope = f"/project/{number}"
        response = self._get(f"{_BASE}/users/current/permissions?scope={scope}&relative=true")
        actions = _robot_actions(response) if response.is_success else frozenset()
        return "read" in actions and "update" not in actions

    def patch(self, secret: Password) -> Answer:
        """Send the one call, once, over a connection of its own, with what `prepare` got.

        Returns whatever is answered, a redirect too. Raises NotSent, Unreachable.
        """
        if self._authorization is None:
            raise NotSent(f"{self._service}: nothing was sent: the call was not prepared")
        # An empty or misspelt field is a rotation too, to a secret that Harbor makes up: the body has this one field.
        body, headers = {"secret": secret.reveal()}, self._headers(self._authorization)
        client = http.client(self._api.url, ca=self._api.ca, timeout=self._api.timeout)
        with http.answering(self._service), client:
            response = client.patch(self._path, json=body, headers=headers)
        return Answer(response.status_code, response.content)

    def _get(self, path: str) -> httpx.Response:
        if self._authorization is None:
            self.prepare()
        headers = self._headers(self._authorization or "")
        with http.answering(self._service), http.client(self._api.url, ca=self._api.ca) as client:
            return client.get(path, headers=headers)

    def _object(self, path: str) -> dict[str, object]:
        """Return what is answered; empty where this user is not told."""
        response = self._get(path)
        if response.status_code in (401, 403, 404):
            return {}
        doing = f"GET {path}"
        return http.json_object(http.expect(response, self._service, doing), self._service, doing)

    def _headers(self, authorization: str) -> dict[str, str]:
        return {"Authorization": authorization, "Accept": "application/json"}

    def _read(self, found: dict[str, object], doing: str) -> Robot:
        name, level, expires = found.get("name"), found.get("level"), found.get("expires_at", _NEVER)
        disabled, moved = found.get("disable", False), found.get("update_time")
        if not isinstance(name, str) or not isinstance(disabled, bool) or not isinstance(expires, int):
            raise Unintelligible(f"{self._service} answered {doing} with something that is no robot account")
        return Robot(
            name=name,
            level=str(level),
            project=_project(found.get("permissions")),
            disabled=disabled,
            expires_at=expires,
            update_time=moved if isinstance(moved, str) and moved else None,
        )


def _project(permissions: object) -> str:
    """Return the project that a project's robot belongs to: its permissions are all of that one."""
    first = permissions[0] if isinstance(permissions, list) and permissions else None
    namespace = first.get("namespace") if isinstance(first, dict) else None
    return namespace if isinstance(namespace, str) and _PROJECT.fullmatch(namespace) else ""


def _robot_actions(response: httpx.Response) -> frozenset[str]:
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return frozenset()
    entries = found if isinstance(found, list) else []
    return frozenset(
        str(entry.get("action"))
        for entry in entries
        if isinstance(entry, dict) and str(entry.get("resource")).strip("/") == "robot"
    )
