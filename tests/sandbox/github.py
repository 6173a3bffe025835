"""GitHub, as far as Actions secrets of repositories go: what the real one checks is checked here.

Sealed boxes are opened with the repository's private key, rights and visibility are the token's, rate limits count, and
requests and answers are held against GitHub's own schemas. What is not simulated is answered 404, as an unknown path.
"""

from __future__ import annotations

import base64
import re
import secrets
import threading
import urllib.parse
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from tests.sandbox.github_access import Access, Grant, Level
from tests.sandbox.github_limits import Limits, RateLimiter, error, refused
from tests.sandbox.github_schema import GitHubSchema
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Json, JsonObject, RefusedError, Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_SECRET_NAME = re.compile(r"(?!GITHUB_)[A-Z_][A-Z0-9_]*")
_LARGEST_SECRET = 48 * 1024  # bytes; docs.github.com, "Secrets reference"
_PER_PAGE = 30
_MOST_PER_PAGE = 100
_AN_OLD_DATE = timedelta(days=30)


@dataclass
class _Secret:
    value: str
    created_at: datetime
    updated_at: datetime


@dataclass
class _Key:
    private: PrivateKey = field(default_factory=PrivateKey.generate)
    id: str = field(default_factory=lambda: str(secrets.randbits(60)))


@dataclass
class _Repository:
    id: int
    full_name: str
    owner_type: Literal["Organization", "User"]
    archived: bool
    key: _Key = field(default_factory=_Key)
    secrets: dict[str, _Secret] = field(default_factory=dict)


_Granted: TypeAlias = "Callable[[Request, Grant], Response]"
_InRepository: TypeAlias = "Callable[[Request, _Repository], Response]"


class GitHub(HttpServer):
    """api.github.com; `access` makes apps and tokens, `limits` can be changed at any time."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.access = Access()
        self.limits = Limits()
        self._limiter = RateLimiter(self.limits)
        self._schema = GitHubSchema()
        self._repositories: dict[str, _Repository] = {}
        self._in_flight = 0
        self._counting = threading.Lock()
        self.route("POST", "/app/installations/{id}/access_tokens", self.access.installation_token)
        self._granted("GET", "/installation/repositories", self._installation_repositories)
        self._granted("GET", "/user/repos", self._user_repositories)
        self._granted("GET", "/orgs/{org}", self._organization)
        self._granted("GET", "/orgs/{org}/repos", self._organization_repositories)
        in_secrets = "/repos/{owner}/{repo}/actions/secrets"
        self._in_repository("GET", "/repos/{owner}/{repo}", "metadata", "read", self._repository)
        self._in_repository("GET", in_secrets, "secrets", "read", self._list_secrets)
        self._in_repository("GET", f"{in_secrets}/public-key", "secrets", "read", self._public_key)
        self._in_repository("GET", f"{in_secrets}/{{name}}", "secrets", "read", self._get_secret)
        self._in_repository("PUT", f"{in_secrets}/{{name}}", "secrets", "write", self._put_secret)

    def add_repository(
        self, full_name: str, owner_type: Literal["Organization", "User"] = "Organization", *, archived: bool = False
    ) -> None:
        """Create a repository `owner/name`."""
        with self._acting:
            number = 10_000 + len(self._repositories)
            self._repositories[full_name.lower()] = _Repository(number, full_name, owner_type, archived)

    def set_secret(self, full_name: str, name: str, value: str) -> None:
        """Set a secret as its owner did a month ago in the browser."""
        then = _now() - _AN_OLD_DATE
        with self._acting:
            self._repositories[full_name.lower()].secrets[name.upper()] = _Secret(value, then, then)

    def secret(self, full_name: str, name: str) -> str:
        """Return what a job would see; raises `KeyError`. There is no such call at the real one."""
        with self._acting:
            return self._repositories[full_name.lower()].secrets[name.upper()].value

    def rotate_key(self, full_name: str) -> None:
        """Give a repository a new key; what is sealed for the old one is refused from now on."""
        with self._acting:
            self._repositories[full_name.lower()].key = _Key()

    def serve(self, request: Request) -> Response | None:
        """Serve, counting how many requests are under way at once."""
        with self._counting:
            self._in_flight += 1
        try:
            return super().serve(request)
        finally:
            with self._counting:
                self._in_flight -= 1

    def handle(self, request: Request) -> Response:
        """Check rate limit and schema, act, and check what is answered."""
        grant = self.access.grant_of(request)
        who = grant.who if grant else "127.0.0.1"
        response = self._limiter.refusal(who, request.method, self._in_flight)
        if response is None:
            response = super().handle(request)
            self._schema.check(request, response)
        return replace(response, headers={**response.headers, **self._limiter.headers(who)})

    def not_found(self, request: Request) -> Response:  # noqa: ARG002 - the real one does not say either
        """Answer an unknown path as the real one does."""
        return error(404, "Not Found")

    def method_not_allowed(self, request: Request) -> Response:
        """Answer a wrong method as the real one does: as an unknown path."""
        return self.not_found(request)

    def _granted(self, method: str, template: str, handler: _Granted) -> None:
        def checked(request: Request) -> Response:
            grant = self.access.grant_of(request)
            if grant is None:
                raise refused(401, "Bad credentials" if request.bearer() else "Requires authentication")
            return handler(request, grant)

        self.route(method, template, checked)

    def _in_repository(self, method: str, template: str, permission: str, level: Level, handler: _InRepository) -> None:
        def checked(request: Request, grant: Grant) -> Response:
            full_name = f"{request.params['owner']}/{request.params['repo']}"
            repository = self._repositories.get(full_name.lower())
            if repository is None or not grant.sees(full_name):
                raise refused(404, "Not Found")
            if not grant.may(permission, level):
                raise _not_accessible(grant, f"{permission}={level}")
            if level == "write" and repository.archived:
                raise refused(403, "Repository was archived so is read-only.")
            return handler(request, repository)

        self._granted(method, template, checked)

    def _installation_repositories(self, request: Request, grant: Grant) -> Response:
        if grant.kind != "integration":
            raise _not_accessible(grant, "metadata=read")
        seen = self._seen_by(grant)
        selection = "all" if grant.repositories is None else "selected"
        return self._page(
            request,
            seen,
            lambda page: {"total_count": len(seen), "repository_selection": selection, "repositories": page},
        )

    def _user_repositories(self, request: Request, grant: Grant) -> Response:
        if grant.kind == "integration":
            raise _not_accessible(grant, "metadata=read")
        return self._page(request, self._seen_by(grant), lambda page: page)

    def _organization(self, request: Request, _grant: Grant) -> Response:
        login = request.params["org"]
        owners = {repository.full_name.partition("/")[0].lower() for repository in self._organizations()}
        if login.lower() not in owners:
            raise refused(404, "Not Found")
        return Response.json({"login": login, "url": f"{self.url}/orgs/{login}", "type": "Organization"})

    def _organization_repositories(self, request: Request, grant: Grant) -> Response:
        prefix = f"{request.params['org'].lower()}/"
        seen = [
            described for described in self._seen_by(grant) if str(described["full_name"]).lower().startswith(prefix)
        ]
        return self._page(request, seen, lambda page: page)

    def _organizations(self) -> list[_Repository]:
        return [repository for repository in self._repositories.values() if repository.owner_type == "Organization"]

    def _seen_by(self, grant: Grant) -> list[JsonObject]:
        return [self._describe(found) for found in self._repositories.values() if grant.sees(found.full_name)]

    def _repository(self, _request: Request, repository: _Repository) -> Response:
        return Response.json(self._describe(repository))

    def _list_secrets(self, request: Request, repository: _Repository) -> Response:
        found = [_describe_secret(name, secret) for name, secret in sorted(repository.secrets.items())]
        return self._page(request, found, lambda page: {"total_count": len(found), "secrets": page})

    def _public_key(self, _request: Request, repository: _Repository) -> Response:
        key = base64.b64encode(bytes(repository.key.private.public_key)).decode()
        return Response.json({"key_id": repository.key.id, "key": key})

    def _get_secret(self, request: Request, repository: _Repository) -> Response:
        name = request.params["name"].upper()
        if name not in repository.secrets:
            raise refused(404, "Not Found")
        return Response.json(_describe_secret(name, repository.secrets[name]))

    def _put_secret(self, request: Request, repository: _Repository) -> Response:
        if problem := self._schema.problem(request):
            raise refused(422, f"Invalid request.\n\n{problem}")
        name, body = request.params["name"].upper(), request.json_object()
        if not _SECRET_NAME.fullmatch(name):
            raise refused(422, "Secret names can only contain alphanumeric characters or underscores, and no GITHUB_")
        if body["key_id"] != repository.key.id:
            raise refused(422, "Bad request - the key_id is not that of the repository's public key")
        value, now = _opened(repository.key, str(body["encrypted_value"])), _now()
        if secret := repository.secrets.get(name):
            secret.value, secret.updated_at = value, now
            return Response(204)
        repository.secrets[name] = _Secret(value, now, now)
        return Response.json({}, 201)

    def _describe(self, repository: _Repository) -> JsonObject:
        owner, _, name = repository.full_name.partition("/")
        return {
            "id": repository.id,
            "name": name,
            "full_name": repository.full_name,
            "owner": {"login": owner, "type": repository.owner_type},
            "private": True,
            "visibility": "private",
            "archived": repository.archived,
            "url": f"{self.url}/repos/{repository.full_name}",
        }

    def _page(self, request: Request, items: list[JsonObject], wrap: Callable[[list[Json]], Json]) -> Response:
        per_page = min(int(request.query.get("per_page", _PER_PAGE)), _MOST_PER_PAGE)
        page = max(int(request.query.get("page", 1)), 1)
        last = max(-(-len(items) // per_page), 1)
        neighbours = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        links = [
            f'<{self.url}{request.path}?{urllib.parse.urlencode({"per_page": per_page, "page": number})}>; rel="{name}"'
            for name, number in neighbours.items()
            if 1 <= number <= last and number != page
        ]
        start = (page - 1) * per_page
        headers = {"Link": ", ".join(links)} if links else {}
        return Response.json(wrap([*items[start : start + per_page]]), 200, headers)


def _opened(key: _Key, encrypted_value: str) -> str:
    try:
        opened = SealedBox(key.private).decrypt(base64.b64decode(encrypted_value))
        value = opened.decode()
    except (CryptoError, ValueError):
        raise refused(422, "Bad request - the encrypted_value cannot be opened") from None
    if len(opened) > _LARGEST_SECRET:
        raise refused(422, "Bad request - the secret is too large")
    return value


def _not_accessible(grant: Grant, needed: str) -> RefusedError:
    return refused(403, f"Resource not accessible by {grant.kind}", {"x-accepted-github-permissions": needed})


def _describe_secret(name: str, secret: _Secret) -> JsonObject:
    return {"name": name, "created_at": _stamp(secret.created_at), "updated_at": _stamp(secret.updated_at)}


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp(moment: datetime) -> str:
    """Return a time as GitHub writes it: whole seconds, so that two changes within one look like one."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
