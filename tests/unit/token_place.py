"""A registry in a stack that takes tokens alone; its token server gives a bearer, and a refresh token to who asks."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jwt

from rekey import http
from rekey.model.password import Password
from tests.sandbox.wire import Response
from tests.unit.reset_place import Place
from tests.unit.scripted_registry import API

if TYPE_CHECKING:
    from tests.sandbox.wire import Json, Request

LIFETIME = 900  # seconds of a bearer
REPOSITORY = "shop/web"
_KEY = secrets.token_bytes(32)


@dataclass
class Given:
    """What the token server gave."""

    bearers: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)


class TokenPlace(Place):
    """`outlive`: whether what the token server gave for a password goes on working when that is dead."""

    outlive = True

    def _registry(self) -> dict[str, object]:
        self.given = Given()
        self._of: dict[str, str] = {}
        return {**super()._registry(), "repositories": [REPOSITORY]}

    def _answer(self, request: Request) -> Response:
        if request.path == "/token":
            return self._token(request)
        if self._is_let_in(request.bearer() or ""):
            return Response.json({"name": REPOSITORY, "tags": []}, 200, API)
        realm = f'Bearer realm="{self.registry.url}/token",service="registry"'
        return Response.json({}, 401, {**API, "WWW-Authenticate": realm})

    def _token(self, request: Request) -> Response:
        now = self.passwords.known[self.name]
        if request.method == "POST":
            refresh = dict(part.split("=") for part in request.body.decode().split("&"))["refresh_token"]
            return self._give(self._of[refresh]) if self._is_let_in(refresh) else Response.json({}, 401)
        right = request.headers.get("authorization") == http.basic(self.name, Password(now))
        if not right:
            return Response.json({}, 401)
        return self._give(now, offline=request.query.get("offline_token") == "true")

    def _give(self, password: str, *, offline: bool = False) -> Response:
        access: Json = [{"type": "repository", "name": REPOSITORY, "actions": ["pull"]}]
        claims = {"access": access, "exp": int(time.time()) + LIFETIME, "jti": secrets.token_hex(8)}
        bearer = jwt.encode(claims, _KEY)
        self._of[bearer] = password
        self.given.bearers.append(bearer)
        if not offline:
            return Response.json({"token": bearer})
        refresh = secrets.token_hex(12)
        self._of[refresh] = password
        self.given.refresh.append(refresh)
        return Response.json({"token": bearer, "refresh_token": refresh})

    def _is_let_in(self, token: str) -> bool:
        return token in self._of and (self.outlive or self._of[token] == self.passwords.known[self.name])
