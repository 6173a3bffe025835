"""A token server in front of a real registry, as the distribution project specifies it.

https://distribution.github.io/distribution/spec/auth/token/. Servers differ in what they give to whom: `Manners` says.
"""

from __future__ import annotations

import base64
import secrets
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sandbox.certificates import self_signed
from tests.sandbox.http_server import HttpServer
from tests.sandbox.registry import Registry
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.wire import Json, JsonObject

ISSUER, SERVICE = "rekey-tests", "registry"


@dataclass
class Manners:
    """What a token server does beside giving a user what is asked for."""

    strict: bool = True
    """Refuses whom it does not know with 401. Else they are anybody, who may pull what is public."""
    strict_without_scope: bool = True
    """As Harbor: a login without a scope is refused to whom it does not know, even where it is not strict."""
    public: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    """Where users have no right at all."""
    opaque: bool = False
    """Gives tokens that say nothing."""
    says_lifetime: bool = False
    """Says in its answer how long a token is good."""


class TokenServer(HttpServer):
    """Signs tokens with a key of its own."""

    def __init__(self, manners: Manners) -> None:
        super().__init__()
        self.manners = manners
        self.users: dict[str, str] = {}
        self.opaque: dict[str, list[Json]] = {}
        self.refreshing: dict[str, str] = {}
        """Refresh token → user. They outlive the password until they are removed here."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self_signed("Rekey token server", self._key)
        self.route("GET", "/token", self._token)
        self.route("POST", "/token", self._refresh)

    def pem(self) -> bytes:
        """Return what the registry must trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def attempts(self) -> int:
        """Return how often a password was shown."""
        return sum("authorization" in request.headers for request in self.requests())

    def _token(self, request: Request) -> Response:
        user = self._user(request)
        scopes = httpx.QueryParams(request.query).get_list("scope")
        manners = self.manners
        if user is None and (manners.strict or (manners.strict_without_scope and not scopes)):
            return Response.json({"errors": [{"code": "UNAUTHORIZED"}]}, 401)
        more: JsonObject = {}
        if user is not None and request.query.get("offline_token") == "true":
            refresh = secrets.token_hex(12)
            self.refreshing[refresh] = user
            more = {"refresh_token": refresh}
        return self._given(user, scopes, more)

    def _refresh(self, request: Request) -> Response:
        form = httpx.QueryParams(request.body.decode())
        user = self.refreshing.get(form.get("refresh_token", ""))
        if form.get("grant_type") != "refresh_token" or not form.get("service") or not form.get("client_id"):
            return Response.json({"error": "invalid_request"}, 400)
        if user is None:
            return Response.json({"error": "invalid_grant"}, 400)
        return self._given(user, form.get("scope", "").split(), {})

    def _given(self, user: str | None, scopes: list[str], more: JsonObject) -> Response:
        access: list[Json] = [self._granted(user, scope) for scope in scopes]
        lifetime: JsonObject = {"expires_in": 300} if self.manners.says_lifetime else {}
        return Response.json({"token": self._sign(user, access), **lifetime, **more})

    def _user(self, request: Request) -> str | None:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return name if self.users.get(name) == password else None

    def _granted(self, user: str | None, scope: str) -> Json:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if user is not None and name not in self.manners.barred:
            return {"type": kind, "name": name, "actions": [*actions.split(",")]}
        return {"type": kind, "name": name, "actions": ["pull"] if name in self.manners.public else []}

    def _sign(self, user: str | None, access: list[Json]) -> str:
        if self.manners.opaque:
            token = secrets.token_hex(16)
            self.opaque[token] = access
            return token
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": SERVICE, "sub": user or "", "jti": secrets.token_hex(8), "access": access}
        encoded = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        return jwt.encode(
            claims | {"iat": now, "nbf": now - 5, "exp": now + 900},
            self._key,
            algorithm="ES256",
            headers={"x5c": [encoded]},
        )


class TokenRegistry(Registry):
    """The real registry. It begins with users of its own, to be filled; after `hand_over` it takes only tokens."""

    def __init__(self, program: Path, tokens: TokenServer) -> None:
        super().__init__(program)
        self._tokens = tokens
        self._handed_over = False
        self._trusted = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 (closed in `close`)
        self._trusted.write(tokens.pem())
        self._trusted.flush()

    def hand_over(self) -> None:
        """Leave it to the token server who gets in."""
        self.stop()
        self._handed_over = True
        self.start()

    def close(self) -> None:
        """Remove everything."""
        super().close()
        self._trusted.close()

    def _config(self) -> dict[str, object]:
        if not self._handed_over:
            return super()._config()
        realm = {
            "realm": f"{self._tokens.url}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": self._trusted.name,
        }
        return super()._config() | {"auth": {"token": realm}}
