"""CloudRaya's control plane, as far as it is public, in front of a real registry.

Login, envelopes and errors follow the vendor's API reference. The path that resets a registry's password is not public:
it follows the vendor's convention for changing one attribute (`PATCH /v1/COLLECTION/ID/ACTION`) and can be set.
"""

from __future__ import annotations

import secrets
import string
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import jwt

from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import NotJsonObjectError, Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.sandbox.wire import Json, JsonObject

SYMBOLS = "$\"\\/+=&%'"
"""What bites in shells, JSON, URLs, forms and XML."""

PASSWORD_ALPHABET = string.ascii_letters + string.digits + SYMBOLS
BUSY = "Please wait for the current process to be finished"
RESET_PATH = "/image-registry/v1/registries/{id}/reset-password"


class Accounts(Protocol):
    """Where a registry's passwords are changed; the sandbox's `Registry` is one."""

    def set_password(self, name: str, password: str) -> None:
        """Change a user's password."""


@dataclass(frozen=True)
class Managed:
    """One registry of the account; the user's name is the registry's, as the vendor has it."""

    id: str
    name: str
    accounts: Accounts


@dataclass(frozen=True)
class Reset:
    """A reset that has happened."""

    managed: Managed
    password: str


class CloudRaya(HttpServer):
    """The control plane: login, a registry's status, the reset, and a dashboard for the person who clicks.

    `alphabet` and `length` make the generated passwords; `reset_answer` is what a reset that has happened is answered
    with: set it to answer badly. Every reset kills the old password, whatever the answer.
    """

    def __init__(
        self,
        *,
        reset_method: str = "PATCH",
        reset_path: str = RESET_PATH,
        alphabet: str = PASSWORD_ALPHABET,
        length: int = 24,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls)
        self.alphabet = alphabet
        self.length = length
        self.token_lifetime = 3600  # seconds
        self.reset_answer: Callable[[Reset], Response] = documented_answer
        self._signing_key = secrets.token_bytes(32)
        self._logins: dict[str, str] = {}
        self._registries: dict[str, Managed] = {}
        self._busy: Counter[str] = Counter()
        self._resets: list[Reset] = []
        self.route("POST", "/core/v1/auth/login", self._login)
        self.route("GET", "/image-registry/v1/registries/{id}", self._authenticated(self._status))
        self.route(reset_method, reset_path, self._authenticated(self._reset))
        self.route("POST", "/dashboard/registries/{id}/change-password", self._click)

    def add_login(self, email: str, password: str) -> None:
        """Add a person or machine that may log in."""
        self._logins[email] = password

    def add_registry(self, registry_id: str, name: str, accounts: Accounts) -> None:
        """Put a registry under management; its user `name` is there already."""
        self._registries[registry_id] = Managed(registry_id, name, accounts)

    def set_busy(self, registry_id: str, times: int = 1) -> None:
        """Refuse the next changes of this registry: another process is at work on it."""
        self._busy[registry_id] = times

    def resets(self, registry_id: str) -> list[Reset]:
        """Return the resets that have happened, with the passwords made, from whichever side they were asked."""
        return [reset for reset in self._resets if reset.managed.id == registry_id]

    def click_reset(self, registry_id: str) -> str:
        """Press Change Password and confirm, as a person in the dashboard does; returns the password shown."""
        with self._acting:
            return self._change(self._registries[registry_id]).password

    def not_found(self, request: Request) -> Response:
        """Answer an unknown path in the vendor's shape."""
        return _error(404, f"The route {request.path} could not be found.")

    def method_not_allowed(self, request: Request) -> Response:
        """Answer a wrong method in the vendor's shape."""
        return _error(405, f"The {request.method} method is not supported for this route.")

    def _login(self, request: Request) -> Response:
        try:
            given = request.json_object()
        except NotJsonObjectError:
            return _error(400, "Bad Request", "The body is not a JSON object.")
        missing: list[Json] = [
            {"field": field, "message": f"The {field} field is required."}
            for field in ("email", "password")
            if not isinstance(given.get(field), str) or not given[field]
        ]
        if missing:
            return _error(422, "Unprocessable Entity", missing)
        email = str(given["email"])
        if email not in self._logins or not secrets.compare_digest(
            self._logins[email].encode(), str(given["password"]).encode()
        ):
            return _error(401, "Invalid email or password.")
        now = int(time.time())
        claims = {"sub": email, "iat": now, "exp": now + self.token_lifetime}
        token = jwt.encode(claims, self._signing_key, algorithm="HS256")
        return _data("Login successful.", {"token": token})

    def _authenticated(self, handler: Callable[[Managed], Response]) -> Callable[[Request], Response]:
        def checked(request: Request) -> Response:
            try:
                jwt.decode(request.bearer() or "", self._signing_key, algorithms=["HS256"])
            except jwt.InvalidTokenError:
                return _error(401, "Unauthenticated.")
            managed = self._registries.get(request.params["id"])
            return handler(managed) if managed else _error(404, "Registry not found.")

        return checked

    def _status(self, managed: Managed) -> Response:
        status = "processing" if self._busy[managed.id] else "active"
        return _data("Success.", {"id": managed.id, "name": managed.name, "username": managed.name, "status": status})

    def _reset(self, managed: Managed) -> Response:
        if self._busy[managed.id]:
            self._busy[managed.id] -= 1
            return _error(400, BUSY, BUSY)
        return self.reset_answer(self._change(managed))

    def _click(self, request: Request) -> Response:
        managed = self._registries.get(request.params["id"])
        if managed is None:
            return Response.text("no such registry\n", 404)
        return Response.text(f"{self._change(managed).password}\n")

    def _change(self, managed: Managed) -> Reset:
        password = "".join(secrets.choice(self.alphabet) for _ in range(self.length))
        managed.accounts.set_password(managed.name, password)
        reset = Reset(managed, password)
        self._resets.append(reset)
        return reset


def documented_answer(reset: Reset) -> Response:
    """Answer as documented: once, with the password in `data`."""
    return _answer_with("password", reset)


def password_under(key: str) -> Callable[[Reset], Response]:
    """Answer with the password under another key of `data`."""
    return lambda reset: _answer_with(key, reset)


def empty_answer(_reset: Reset) -> Response:
    """Answer 200 with nothing."""
    return Response(200, b"", {"Content-Type": "application/json"})


def html_answer(_reset: Reset) -> Response:
    """Answer 200 with a page that does not hold the password."""
    return Response.text("<html><body>Your password has been changed.</body></html>", 200, "text/html")


def html_with_password(reset: Reset) -> Response:
    """Answer 200 with a page that shows the password, unescaped."""
    return Response.text(f"<html><body>New password: <code>{reset.password}</code></body></html>", 200, "text/html")


def huge_answer(size: int) -> Callable[[Reset], Response]:
    """Answer as documented, after `size` bytes of something else."""
    return lambda reset: _data(
        "x" * size, {"id": reset.managed.id, "username": reset.managed.name, "password": reset.password}
    )


def _answer_with(key: str, reset: Reset) -> Response:
    return _data(
        "Password has been reset.", {"id": reset.managed.id, "username": reset.managed.name, key: reset.password}
    )


def _data(message: str, data: JsonObject) -> Response:
    return Response.json({"code": 200, "message": message, "data": data})


def _error(code: int, message: str, error: Json = None) -> Response:
    body: JsonObject = {"code": code, "message": message}
    if error is not None:
        body["error"] = error
    return Response.json(body, code)
