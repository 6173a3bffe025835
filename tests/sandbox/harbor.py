"""Harbor 2.16's API around robot accounts, in front of a real registry that lets them in.

It answers as the exchanges of data/harbor-2.16-robots.jsonl, which a test replays. What they do not hold is from
Harbor's source: PUT of a robot, expiry, the protected half of `systeminfo`, a project's number, a user's permissions.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import jwt

from tests.sandbox.harbor_robots import (
    PREFIX,
    ROBOT_ACTIONS,
    Robot,
    Robots,
    User,
    bad_request,
    moment,
    not_found,
    problem,
    unprocessable,
)
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import RefusedError, Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Mapping

    from tests.sandbox.cloudraya import Accounts
    from tests.sandbox.wire import Json, JsonObject

API = "/api/v2.0"
_READ_ONLY = "The system is in read only mode. Any modification is prohibited."
_UNTOUCHED_BY_READ_ONLY = f"{API}/configurations"
_PAGE = 10
_TOKEN_LIFETIME = 60
_COMPONENTS = ("core", "database", "jobservice", "portal", "redis", "registry", "registryctl")


class Harbor(HttpServer):
    """The API, `/v2/` and the token service. `admin` is the password of the user `admin`.

    Every PATCH that is answered 200 rotates, and kills the old secret at once; `sets` says which secrets those were.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.admin = secrets.token_urlsafe(18)
        self.robots = Robots()
        self.read_only = False
        self.refused_for = 1.5  # seconds that a user's right password is refused after a wrong one; a robot's is not
        self._signing_key = secrets.token_bytes(32)
        self._public = {"library"}
        self._users = {"admin": User("admin", self.admin, admin=True)}
        self.add_project("library")
        robots, one = f"{API}/robots", f"{API}/robots/{{id}}"
        self.route("POST", robots, self._create)
        self.route("GET", robots, self._list)
        self.route("GET", one, self._with_robot("read", self._get))
        self.route("PATCH", one, self._refresh)
        self.route("PUT", one, self._with_robot("update", self._update))
        self.route("DELETE", one, self._with_robot("delete", self._delete))
        self.route("PUT", f"{API}/configurations", self._configure)
        self.route("GET", f"{API}/systeminfo", self._info)
        self.route("GET", f"{API}/projects/{{name}}", self._project)
        self.route("GET", f"{API}/users/current/permissions", self._permissions)
        self.route("GET", f"{API}/ping", lambda _: Response.text("Pong", content_type="text/plain"))
        self.route("GET", f"{API}/health", lambda _: _json(_health()))
        self.route("GET", "/v2/", self._hello)
        self.route("GET", "/service/token", self._token)

    def add_project(self, name: str) -> None:
        """Add a project; only `library` is public."""
        self.robots.projects[name] = len(self.robots.projects) + 1

    def add_user(self, name: str, password: str, actions: Collection[str] = ROBOT_ACTIONS) -> None:
        """Add a user who may do this with robot accounts."""
        self._users[name] = User(name, password, frozenset(actions))

    def add_robot(self, name: str, secret: str, *, project: str = "", accounts: Accounts | None = None) -> Robot:
        """Add a robot of a project, or of the system, with a secret that may be older than Harbor's rules.

        `accounts`: the registry that lets it in; its user is there already.
        """
        access: JsonObject = {"kind": "project", "namespace": project or "*", "access": _pull_and_push()}
        level = "project" if project else "system"
        with self._acting:
            if project and project not in self.robots.projects:
                self.add_project(project)
            robot = self.robots.create({"name": name, "level": level, "duration": -1, "permissions": [access]})
            robot.secret, robot.accounts = secret, accounts
            return robot

    def disable(self, number: int, *, disabled: bool = True) -> None:
        """Disable a robot, or enable it, as an administrator does in the portal."""
        with self._acting:
            robot = self.robots.get(number)
            robot.disabled = disabled
            self.robots.touch(robot)

    def expire(self, number: int) -> None:
        """Let the time of a robot be over."""
        with self._acting:
            robot = self.robots.get(number)
            robot.expires_at = int(time.time()) - 1
            self.robots.touch(robot)

    def sets(self, number: int) -> list[str]:
        """Return the secrets that were put in force by calls, in order."""
        with self._acting:
            return list(self.robots.get(number).sets)

    def handle(self, request: Request) -> Response:
        """Act; nothing is changed in read-only mode, whatever is asked."""
        changes = request.method not in ("GET", "HEAD", "OPTIONS") and request.path != _UNTOUCHED_BY_READ_ONLY
        if self.read_only and changes:
            return problem(403, "DENIED", _READ_ONLY)
        return super().handle(request)

    def not_found(self, request: Request) -> Response:
        """Answer an unknown path in Harbor's shape."""
        return problem(404, "NOT_FOUND", f"path {request.path} was not found")

    def method_not_allowed(self, request: Request) -> Response:
        """Answer a wrong method in Harbor's shape."""
        return problem(405, "METHOD_NOT_ALLOWED", f"method {request.method} is not allowed")

    def _who(self, request: Request) -> User | Robot | None:
        """Return who a request's Basic credentials are; None for nobody, also where they are wrong."""
        given = _basic(request)
        if given is None:
            return None
        name, password = given
        if name.startswith(PREFIX):
            robot = self.robots.named(name)
            right = robot is not None and secrets.compare_digest(robot.secret.encode(), password.encode())
            return robot if robot is not None and right and robot.works else None
        user = self._users.get(name)
        if user is None or time.monotonic() < user.refused_until:
            return None
        if not secrets.compare_digest(user.password.encode(), password.encode()):
            user.refused_until = time.monotonic() + self.refused_for
            return None
        return user

    def _require(self, request: Request, action: str = "") -> User:
        """Return the user who may do this with robot accounts; raises the 401 or 403."""
        who = self._authenticated(request)
        if not isinstance(who, User) or (action and action not in who.actions):
            raise RefusedError(problem(403, "FORBIDDEN", "forbidden"))
        return who

    def _authenticated(self, request: Request) -> User | Robot:
        who = self._who(request)
        if who is None:
            raise RefusedError(problem(401, "UNAUTHORIZED", "unauthorized"))
        return who

    def _with_robot(self, action: str, handler: Callable[[Request, Robot], Response]) -> Callable[[Request], Response]:
        def found(request: Request) -> Response:
            number = _number(request)
            self._authenticated(request)
            robot = self.robots.get(number)
            self._require(request, action)
            return handler(request, robot)

        return found

    def _create(self, request: Request) -> Response:
        body = _body(request, "robot")
        self._require(request, "create")
        robot = self.robots.create(body)
        created: JsonObject = {
            "creation_time": moment(robot.created),
            "expires_at": robot.expires_at,
            "id": robot.id,
            "name": robot.name,
            "secret": robot.secret,
        }
        return _json(created, 201, {"Location": f"{API}/robots/{robot.id}"})

    def _list(self, request: Request) -> Response:
        self._require(request, "list")
        asked = _query(request.query.get("q", ""))
        level, project = asked.get("Level", "system"), asked.get("ProjectID", "0")
        if level == "project" and "ProjectID" not in asked:
            raise bad_request("must with project ID when to query project robots")
        found = self.robots.listed(level, int(project))
        size, page = int(request.query.get("page_size", _PAGE)), int(request.query.get("page", 1))
        shown: Json = [robot.as_json() for robot in found[(page - 1) * size : page * size]]
        return _json(shown, headers={"X-Total-Count": str(len(found))})

    def _get(self, _request: Request, robot: Robot) -> Response:
        return _json(robot.as_json())

    def _refresh(self, request: Request) -> Response:
        number, body = _number(request), _body(request, "robotSec")
        secret = body.get("secret", "")
        if not isinstance(secret, str):
            kind = "number" if isinstance(secret, (int, float)) else type(secret).__name__
            why = f"json: cannot unmarshal {kind} into Go struct field RobotSec.secret of type string"
            raise unprocessable(f'parsing robotSec body from "" failed, because {why}')
        self._authenticated(request)
        robot = self.robots.get(number)
        self._require(request, "update")
        made = self.robots.refresh(robot, secret)
        return _json({"secret": made} if made else {})

    def _update(self, request: Request, robot: Robot) -> Response:
        self.robots.update(robot, _body(request, "robot"))
        return Response(200)

    def _delete(self, _request: Request, robot: Robot) -> Response:
        self.robots.delete(robot)
        return Response(200)

    def _configure(self, request: Request) -> Response:
        body = _body(request, "configurations")
        if not self._require(request).admin:
            raise RefusedError(problem(403, "FORBIDDEN", "forbidden"))
        self.read_only = body.get("read_only", self.read_only) is True
        return Response(200)

    def _info(self, request: Request) -> Response:
        info: JsonObject = {
            "auth_mode": "db_auth",
            "banner_message": "",
            "oidc_provider_name": "",
            "primary_auth_mode": False,
            "self_registration": False,
        }
        known: JsonObject = {"harbor_version": "v2.16.0", "read_only": self.read_only, "registry_url": self.host}
        return _json(info | known if self._who(request) else info)

    def _project(self, request: Request) -> Response:
        self._require(request)
        name = request.params["name"]
        if name not in self.robots.projects:
            raise not_found(f"project {name} not found")
        return _json({"name": name, "project_id": self.robots.projects[name]})

    def _permissions(self, request: Request) -> Response:
        user = self._require(request)
        scope = request.query.get("scope", "")
        if scope != "/system" and not re.fullmatch(r"/project/[0-9]+", scope):
            return _json(None)
        return _json([{"action": action, "resource": "robot"} for action in sorted(user.actions)])

    def _hello(self, request: Request) -> Response:
        if request.bearer() is not None:
            return self._hello_with_token(request.bearer() or "")
        if self._who(request):
            return _v2({})
        realm = f'Bearer realm="{self.url}/service/token",service="harbor-registry"'
        challenge = realm if _basic(request) is None else 'Basic realm="harbor"'
        return _refused_v2(challenge)

    def _hello_with_token(self, token: str) -> Response:
        try:
            jwt.decode(token, self._signing_key, algorithms=["HS256"], audience="harbor-registry")
        except jwt.InvalidTokenError:
            return _refused_v2('Basic realm="harbor"')
        return _v2({})

    def _token(self, request: Request) -> Response:
        """Give a token to anybody who names a scope, without rights where the credentials are wrong."""
        who, scope = self._who(request), request.query.get("scope")
        if who is None and scope is None:
            return Response(401)
        now = int(time.time())
        claims = {
            "iss": "harbor-token-issuer",
            "aud": "harbor-registry",
            "iat": now,
            "exp": now + _TOKEN_LIFETIME,
            "access": [self._access(scope, who)] if scope else [],
        }
        token = jwt.encode(claims, self._signing_key, algorithm="HS256")
        issued = moment(_at(now)).replace(".000Z", "Z")
        return _v2({"token": token, "access_token": "", "expires_in": _TOKEN_LIFETIME, "issued_at": issued})

    def _access(self, scope: str, who: User | Robot | None) -> JsonObject:
        kind, name, asked = scope.split(":")
        project = name.partition("/")[0]
        granted: set[str] = set()
        if isinstance(who, User) or (isinstance(who, Robot) and who.project() in (project, "*")):
            granted = {"pull", "push"}
        elif project in self._public:
            granted = {"pull"}
        return {"type": kind, "name": name, "actions": [one for one in asked.split(",") if one in granted]}


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _json(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response.json(value, status, headers)


def _v2(value: Json) -> Response:
    return Response.json(value, 200, {"Content-Type": "application/json; charset=utf-8"})


def _refused_v2(challenge: str) -> Response:
    refused = problem(401, "UNAUTHORIZED", "unauthorized: unauthorized")
    return Response(refused.status, refused.body, {**refused.headers, "Www-Authenticate": challenge})


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(pair, validate=True).decode().partition(":")
    except ValueError:
        return None
    return name, password


def _number(request: Request) -> int:
    given = request.params["id"]
    if not re.fullmatch(r"-?[0-9]+", given):
        raise unprocessable(f'robot_id in path must be of type int64: "{given}"')
    return int(given)


def _body(request: Request, name: str) -> JsonObject:
    """Return the body as go-openapi binds it, before it is asked who sent it."""
    if not request.body:
        raise unprocessable(f"{name} in body is required")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise unprocessable(f'unsupported media type "{kind}", only [application/json] are allowed')
    try:
        body: Json = json.loads(request.body)
    except ValueError:
        raise unprocessable(f'parsing {name} body from "" failed, because unexpected EOF') from None
    if not isinstance(body, dict):
        raise unprocessable(f'parsing {name} body from "" failed, because json: cannot unmarshal it')
    return body


def _query(text: str) -> dict[str, str]:
    """Return the conditions of `q`."""
    parts = [part.partition("=") for part in text.split(",") if part]
    if not all(key and value for key, _, value in parts):
        raise bad_request('the query string must contain "=" and the key/value cannot be empty')
    return {key: value for key, _, value in parts}


def _pull_and_push() -> list[Json]:
    return [{"resource": "repository", "action": action} for action in ("pull", "push")]


def _health() -> JsonObject:
    components: list[Json] = [{"name": name, "status": "healthy"} for name in _COMPONENTS]
    return {"components": components, "status": "healthy"}
