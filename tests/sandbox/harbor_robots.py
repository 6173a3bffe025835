"""What the Harbor simulator knows: users, projects, robot accounts, and the rules for what is asked of them.

Texts and statuses are those recorded on Harbor 2.16; that an expired robot is let in no more is from its source
(src/server/middleware/security/robot.go), as are the rights a user can have.
"""

from __future__ import annotations

import re
import secrets
import string
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from tests.sandbox.wire import RefusedError, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox.cloudraya import Accounts
    from tests.sandbox.wire import Json, JsonObject

PREFIX = "robot$"
RULES = (
    "the secret must be 8-128, inclusively, characters long with at least 1 uppercase letter, 1 lowercase letter "
    "and 1 number"
)
ROBOT_ACTIONS = frozenset({"create", "read", "update", "delete", "list"})
_SECRET_LENGTH = 32
_ROBOT_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_CLASSES = (string.ascii_uppercase, string.ascii_lowercase, string.digits)


def problem(status: int, code: str, message: str) -> Response:
    """Return an error in Harbor's shape."""
    body: JsonObject = {"errors": [{"code": code, "message": message}]}
    return Response.json(body, status, {"Content-Type": "application/json; charset=utf-8"})


def bad_request(message: str) -> RefusedError:
    """Return a 400 to be raised."""
    return RefusedError(problem(400, "BAD_REQUEST", message))


def not_found(message: str) -> RefusedError:
    """Return a 404 to be raised."""
    return RefusedError(problem(404, "NOT_FOUND", message))


def unprocessable(message: str) -> RefusedError:
    """Return a 422 to be raised: go-openapi's own refusals."""
    return RefusedError(problem(422, "UNPROCESSABLE_ENTITY", f"validation failure list:\n{message}"))


@dataclass
class User:
    """A person or machine with a user account."""

    name: str
    password: str
    actions: frozenset[str] = ROBOT_ACTIONS
    """What this user may do with robot accounts, of the system and of every project."""
    admin: bool = False
    refused_until: float = 0.0
    """Monotonic seconds: after a wrong password even the right one is refused for a while."""


@dataclass
class Robot:
    """A robot account."""

    id: int
    name: str
    level: Literal["project", "system"]
    permissions: list[Json]
    duration: int
    created: datetime
    updated: datetime
    secret: str
    disabled: bool = False
    description: str = ""
    expires_at: int = -1
    accounts: Accounts | None = None
    """The registry that lets this robot in, beside Harbor's own answers."""
    sets: list[str] = field(default_factory=list)
    """Every secret that was put in force since it was created, in order, whoever made it up."""

    @property
    def works(self) -> bool:
        """Whether Harbor lets it in with its secret."""
        return not self.disabled and (self.expires_at == -1 or self.expires_at > time.time())

    def project(self) -> str:
        """Return the project of its first permission."""
        first = self.permissions[0]
        return str(first.get("namespace")) if isinstance(first, dict) else ""

    def as_json(self) -> JsonObject:
        """Return it as Harbor shows it: never the secret."""
        shown: JsonObject = {
            "creation_time": moment(self.created),
            "creator_ref": 1,
            "creator_type": "local",
            "disable": self.disabled,
            "duration": self.duration,
            "editable": True,
            "expires_at": self.expires_at,
            "id": self.id,
            "level": self.level,
            "name": self.name,
            "permissions": self.permissions,
            "update_time": moment(self.updated),
        }
        return shown | ({"description": self.description} if self.description else {})


def moment(at: datetime) -> str:
    """Return a time as Harbor writes it, in milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Robots:
    """All robot accounts of one Harbor."""

    def __init__(self) -> None:
        self.projects: dict[str, int] = {}
        self._robots: dict[int, Robot] = {}
        self._last_id = 0

    def get(self, number: int) -> Robot:
        """Return one; raises the 404."""
        if number not in self._robots:
            raise not_found(f"robot {number} not found")
        return self._robots[number]

    def named(self, name: str) -> Robot | None:
        """Return the one of this full name."""
        return next((robot for robot in self._robots.values() if robot.name == name), None)

    def listed(self, level: str, project_id: int) -> Sequence[Robot]:
        """Return those of the system, or of one project."""
        return [
            robot
            for robot in self._robots.values()
            if robot.level == level and (level == "system" or self.projects.get(robot.project()) == project_id)
        ]

    def create(self, body: JsonObject) -> Robot:
        """Create one; a secret in the body is ignored. Raises what Harbor refuses."""
        name, level, permissions = str(body.get("name", "")), body.get("level"), body.get("permissions")
        if not _ROBOT_NAME.fullmatch(name):
            raise bad_request("robot name is not in lower case or contains illegal characters")
        duration = self._duration(body)
        if level not in ("project", "system"):
            raise bad_request(f"bad request error level input: {level}")
        if not isinstance(permissions, list) or not permissions:
            raise bad_request("bad request empty permission")
        first = permissions[0]
        project = str(first.get("namespace")) if isinstance(first, dict) else ""
        if level == "project" and project not in self.projects:
            raise not_found(f"project {project} not found")
        self._last_id += 1  # the database's sequence counts a refused duplicate too
        full = f"{PREFIX}{project}+{name}" if level == "project" else f"{PREFIX}{name}"
        if self.named(full):
            number = self.projects.get(project, 0)
            raise RefusedError(
                problem(409, "CONFLICT", f"robot account {number}:{full.removeprefix(PREFIX)} already exists")
            )
        now = datetime.now(UTC)
        robot = Robot(
            id=self._last_id,
            name=full,
            level="project" if level == "project" else "system",
            permissions=permissions,
            duration=duration,
            created=now,
            updated=now,
            secret=made_up(),
        )
        self._robots[robot.id] = robot
        self._live_for(robot, duration)
        return robot

    def refresh(self, robot: Robot, secret: str) -> str:
        """Put a secret in force, one of Harbor's own where it is empty; returns the one that it made up, or nothing."""
        if secret and not allowed(secret):
            raise bad_request(RULES)
        robot.secret = secret or made_up()
        robot.sets.append(robot.secret)
        self.touch(robot)
        return "" if secret else robot.secret

    def update(self, robot: Robot, body: JsonObject) -> None:
        """Change what a PUT changes."""
        duration = self._duration(body)
        if (body.get("level"), body.get("name")) != (robot.level, robot.name):
            raise bad_request("cannot update the level or name of robot")
        if duration != robot.duration:
            self._live_for(robot, duration)
        robot.description, robot.disabled = str(body.get("description") or ""), body.get("disable") is True
        self.touch(robot)

    def delete(self, robot: Robot) -> None:
        """Delete one."""
        del self._robots[robot.id]

    def touch(self, robot: Robot) -> None:
        """Move `update_time`, and let the registry behind know what it lets in."""
        robot.updated = max(datetime.now(UTC), robot.updated + timedelta(milliseconds=1))
        if robot.accounts is not None:
            robot.accounts.set_password(robot.name, robot.secret if robot.works else secrets.token_urlsafe(24))

    def _duration(self, body: JsonObject) -> int:
        duration = body.get("duration")
        if not isinstance(duration, int) or (duration != -1 and duration < 1):
            raise bad_request(
                f"bad request error duration input: {duration}, duration must be either -1(Never) or a positive integer"
            )
        return duration

    def _live_for(self, robot: Robot, days: int) -> None:
        robot.duration = days
        robot.expires_at = -1 if days == -1 else int((robot.created + timedelta(days=days)).timestamp())


def allowed(secret: str) -> bool:
    """Whether Harbor's rules allow a secret."""
    return 8 <= len(secret.encode()) <= 128 and all(set(secret) & set(one) for one in _CLASSES)


def made_up() -> str:
    """Return a secret as Harbor makes it: 32 letters and digits."""
    while True:
        secret = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_SECRET_LENGTH))
        if allowed(secret):
            return secret
