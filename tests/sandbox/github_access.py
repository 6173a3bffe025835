"""Who may do what at the GitHub simulator: apps and their installations' tokens, and plain tokens."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.github_limits import refused
from tests.sandbox.wire import Json, NotJsonObjectError, Request, Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Level: TypeAlias = Literal["read", "write"]
Permissions: TypeAlias = "Mapping[str, Level]"

READ_WRITE: Permissions = {"metadata": "read", "secrets": "write"}
_JWT_LIFETIME = 600  # seconds; docs.github.com, "Generating a JSON Web Token for a GitHub App"


@dataclass(frozen=True)
class App:
    """A GitHub App as its owner knows it; the simulator keeps the public half of the key."""

    id: int
    private_key: str


@dataclass(frozen=True)
class Grant:
    """What a token may do."""

    who: str
    kind: Literal["integration", "personal access token"]
    repositories: frozenset[str] | None
    """Full names in lower case; None: all of the account."""
    account: str
    permissions: Permissions
    expires_at: float

    def sees(self, full_name: str) -> bool:
        """Tell whether a repository exists for this token."""
        owner = full_name.partition("/")[0].lower()
        return owner == self.account.lower() and (self.repositories is None or full_name.lower() in self.repositories)

    def may(self, permission: str, level: Level) -> bool:
        """Tell whether the token has a permission at this level or above."""
        return self.permissions.get(permission) in {level, "write"}


@dataclass(frozen=True)
class _Installation:
    id: int
    app_id: int
    grant: Grant


class Access:
    """Apps, installations and tokens."""

    def __init__(self) -> None:
        self.token_lifetime = 3600  # seconds
        self._apps: dict[str, rsa.RSAPublicKey] = {}
        self._installations: dict[str, _Installation] = {}
        self._grants: dict[str, Grant] = {}

    def create_app(self) -> App:
        """Register an app; returns its id and private key, which only its owner has."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        app = App(1000 + len(self._apps), pem.decode())
        self._apps[str(app.id)] = key.public_key()
        return app

    def install(
        self, app: App, account: str, repositories: Iterable[str] | None = None, permissions: Permissions = READ_WRITE
    ) -> int:
        """Install an app on an account, for all repositories or for some; returns the installation's id."""
        number = 50_000 + len(self._installations)
        grant = Grant(
            f"installation ID {number}", "integration", _names(repositories), account, permissions, float("inf")
        )
        self._installations[str(number)] = _Installation(number, app.id, grant)
        return number

    def create_token(
        self, account: str, repositories: Iterable[str] | None = None, permissions: Permissions = READ_WRITE
    ) -> str:
        """Make a fine-grained personal access token for an account's repositories, without an end."""
        token = f"github_pat_{secrets.token_hex(20)}"
        who = f"user ID {900 + len(self._grants)}"
        self._grants[token] = Grant(
            who, "personal access token", _names(repositories), account, permissions, float("inf")
        )
        return token

    def revoke(self, token: str) -> None:
        """Take a token back."""
        del self._grants[token]

    def grant_of(self, request: Request) -> Grant | None:
        """Return what the request's token may do; None where it is missing, unknown or has expired."""
        grant = self._grants.get(request.bearer() or "")
        return grant if grant and grant.expires_at > time.time() else None

    def installation_token(self, request: Request) -> Response:
        """Answer `POST /app/installations/{id}/access_tokens`, checking the app's signed request."""
        app_id = self._signed_by(request)
        installation = self._installations.get(request.params["id"])
        if installation is None or str(installation.app_id) != app_id:
            raise refused(404, "Not Found")
        grant = _narrowed(installation.grant, request, time.time() + self.token_lifetime)
        token = f"ghs_{secrets.token_hex(18)}"
        self._grants[token] = grant
        body: dict[str, Json] = {
            "token": token,
            "expires_at": datetime.fromtimestamp(grant.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": dict(grant.permissions),
            "repository_selection": "all" if grant.repositories is None else "selected",
        }
        return Response.json(body, 201)

    def _signed_by(self, request: Request) -> str:
        """Return the id of the app that signed this request's JWT; raises the refusal."""
        token = request.bearer() or ""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise refused(401, "A JSON web token could not be decoded") from None
        app_id, issued, expires = str(claims.get("iss")), claims.get("iat"), claims.get("exp")
        if app_id not in self._apps:
            raise refused(404, "Integration not found")
        now = time.time()
        if not isinstance(issued, int) or issued > now:
            raise refused(
                401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            )
        if not isinstance(expires, int) or expires < now:
            raise refused(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time")
        if expires > now + _JWT_LIFETIME:
            raise refused(401, "'Expiration time' claim ('exp') is too far in the future")
        try:
            jwt.decode(token, self._apps[app_id], algorithms=["RS256"], options={"verify_iss": False})
        except jwt.InvalidTokenError:
            raise refused(401, "A JSON web token could not be decoded") from None
        return app_id


def _narrowed(grant: Grant, request: Request, expires_at: float) -> Grant:
    """Return what the body asks for, which may be less than the installation has, never more."""
    try:
        wanted = request.json_object() if request.body else {}
    except NotJsonObjectError:
        raise refused(400, "Problems parsing JSON") from None
    if unknown := wanted.keys() - {"repositories", "permissions"}:
        raise refused(422, f"Invalid request: {', '.join(sorted(unknown))}")
    repositories, permissions = grant.repositories, grant.permissions
    if isinstance(names := wanted.get("repositories"), list):
        repositories = frozenset(f"{grant.account}/{name}".lower() for name in names)
        if not all(grant.sees(name) for name in repositories):
            raise refused(422, "There is at least one repository that does not exist or is not accessible")
    if isinstance(asked := wanted.get("permissions"), dict) and asked:  # none asked for: all, as PyGithub relies on
        permissions = {name: "write" if level == "write" else "read" for name, level in asked.items()}
        permissions["metadata"] = "read"  # comes with every other one
        if not all(grant.may(name, level) for name, level in permissions.items()):
            raise refused(422, "The permissions requested are not granted to this installation.")
    return Grant(grant.who, grant.kind, repositories, grant.account, permissions, expires_at)


def _names(repositories: Iterable[str] | None) -> frozenset[str] | None:
    return None if repositories is None else frozenset(name.lower() for name in repositories)
