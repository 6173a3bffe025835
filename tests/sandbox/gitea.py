"""A real Gitea as an ordinary process: its container registry, its users, and an administrator's token.

https://docs.gitea.com/usage/packages/container and https://docs.gitea.com/administration/config-cheat-sheet
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import sqlite3
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx

from tests.sandbox.server_process import ServerNotStartedError, ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Visibility = Literal["public", "limited", "private"]

ADMIN = "gardener"
_REQUEST_WITHIN = 30.0  # seconds


class GiteaRefusedError(Exception):
    """Gitea refused a call of the sandbox's administrator; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Gitea(ServerProcess):
    """One Gitea server with an administrator; a context manager.

    `least_length` and `complexity` (as in `lower,upper,digit,spec`) are its rules for passwords.
    """

    def __init__(self, program: Path, *, least_length: int = 8, complexity: str = "off") -> None:
        super().__init__(program)
        self._rules = {"MIN_PASSWORD_LENGTH": str(least_length), "PASSWORD_COMPLEXITY": complexity}
        self._ini = self._folder / "app.ini"
        self._home = {"GITEA_WORK_DIR": str(self._folder)}
        self._basic = True
        self._secret = secrets.token_hex(32)
        self._port = free_port()
        self._client = httpx.Client(base_url=f"{self.url}/api/v1/", timeout=_REQUEST_WITHIN, trust_env=False)
        self._admin_password = secrets.token_urlsafe(24) + "aA1!"
        self.admin_token = ""
        """A personal access token of the administrator, with every right."""

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`: the registry's name in image references and `auths` keys."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the process and return once it serves; the first time its administrator is made."""
        if not self._ini.exists():
            self._configure()
        self._spawn(["web", "--config", self._ini], self._home)
        self._await(self._answers)
        if not self.admin_token:
            self._make_admin()
        return self

    def allow_basic(self, *, allowed: bool) -> None:
        """Start anew with `[service] ENABLE_BASIC_AUTHENTICATION` as it is said here."""
        self.stop()
        self._basic = allowed
        self._configure()
        self.start()

    def close(self) -> None:
        """Stop, and remove users and images."""
        self._client.close()
        super().close()

    @property
    def users(self) -> list[str]:
        """The names of all users but the administrator."""
        return [user["login"] for user in self.call("GET", "admin/users?limit=50") if user["login"] != ADMIN]

    def add_user(self, name: str, password: str, *, visibility: Visibility = "private") -> None:
        """Add a user whose packages are as visible as the user is; raises `GiteaRefusedError`."""
        self.call(
            "POST",
            "admin/users",
            {
                "username": name,
                "email": f"{name}@gitea.invalid",
                "password": password,
                "must_change_password": False,
                "visibility": visibility,
            },
        )

    def change_user(self, name: str, **changes: object) -> None:
        """Change a user as `PATCH /admin/users/NAME` does, as in `must_change_password=True`."""
        self.call("PATCH", f"admin/users/{name}", {"login_name": name, "source_id": 0, **changes})

    def set_password(self, name: str, password: str) -> None:
        """Change a password: the old one is dead when this returns."""
        self.change_user(name, password=password, must_change_password=False)

    def lets_in(self, name: str, password: str) -> bool:
        """Whether the registry takes a login."""
        answer = httpx.get(f"{self.url}/v2/", auth=(name, password), timeout=_REQUEST_WITHIN, trust_env=False)
        return answer.is_success

    def token(self, name: str, password: str, scopes: Sequence[str] = ("all",)) -> str:
        """Return a new personal access token of a user, as in `scopes=["read:package"]`."""
        made = self._client.post(
            f"users/{name}/tokens",
            json={"name": f"token-{secrets.token_hex(4)}", "scopes": list(scopes)},
            auth=(name, password),
        )
        return str(_given(made)["sha1"])

    def enrol_totp(self, name: str, password: str) -> None:
        """Let a user ask for a one-time password at login, as a person does in the browser."""
        page = "/user/settings/security/two_factor/enroll"
        with httpx.Client(base_url=self.url, timeout=_REQUEST_WITHIN, trust_env=False) as browser:
            browser.post("/user/login", data={"user_name": name, "password": password})
            found = re.search(r'alt="([A-Z2-7]{16,})"', browser.get(page).text)
            if found is None:
                raise GiteaRefusedError(0, "the page that enrols shows no secret")
            answer = browser.post(page, data={"passcode": _passcode(found[1])})
            if answer.headers.get("location") != "/user/settings/security":
                raise GiteaRefusedError(answer.status_code, "the passcode was not taken")

    def register_webauthn(self, name: str) -> None:
        """Let a user have a security key. It is written where Gitea keeps them: nothing here holds such a key."""
        database = sqlite3.connect(self._folder / "gitea.db", timeout=_REQUEST_WITHIN)
        try:
            with database:
                database.execute(
                    "INSERT INTO webauthn_credential (name, lower_name, user_id) SELECT 'key', 'key', id FROM user "
                    "WHERE lower_name = ?",
                    [name.lower()],
                )
        finally:
            database.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 (any JSON)
        """Return the JSON that a call of the administrator answers with, or None; raises `GiteaRefusedError`."""
        headers = {"Authorization": f"token {self.admin_token}"}
        return _given(self._client.request(method, path, json=body, headers=headers))

    def _answers(self) -> bool:
        try:
            return self._client.get("version").is_success
        except httpx.TransportError:
            return False

    def _make_admin(self) -> None:
        create = ["admin", "user", "create", "--config", str(self._ini), "--must-change-password=false"]
        who = ["--admin", "--username", ADMIN, "--email", f"{ADMIN}@gitea.invalid", "--password", self._admin_password]
        done = subprocess.run(
            [self._program, *create, *who],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=self._environment(**self._home),
            check=False,
        )
        if done.returncode:
            self.stop()
            raise ServerNotStartedError(f"gitea makes no administrator: {done.stdout[-500:]}{done.stderr[-500:]}")
        self.admin_token = self.token(ADMIN, self._admin_password)

    def _configure(self) -> None:
        static = self._program.parent / "static"  # a build from the module proxy has its templates beside it
        sections: dict[str, dict[str, str]] = {
            "": {"I_AM_BEING_UNSAFE_RUNNING_AS_ROOT": "true", "RUN_MODE": "prod"},
            "server": {
                "HTTP_ADDR": "127.0.0.1",
                "HTTP_PORT": str(self._port),
                "ROOT_URL": f"{self.url}/",
                "DISABLE_SSH": "true",
                "OFFLINE_MODE": "true",
                **({"STATIC_ROOT_PATH": str(static)} if static.is_dir() else {}),
            },
            "database": {"DB_TYPE": "sqlite3", "PATH": str(self._folder / "gitea.db"), "SQLITE_JOURNAL_MODE": "WAL"},
            "oauth2": {"ENABLED": "false"},  # it would make an RSA key first, for seconds
            "security": {
                "INSTALL_LOCK": "true",
                "SECRET_KEY": self._secret,
                "PASSWORD_HASH_ALGO": "pbkdf2$1000$50",  # a login costs 1 ms
                **self._rules,
            },
            "service": {
                "DISABLE_REGISTRATION": "true",
                "ENABLE_BASIC_AUTHENTICATION": str(self._basic).lower(),
            },
            "cron": {"ENABLED": "false"},
            "log": {"MODE": "console", "LEVEL": "Info"},
        }
        text = ""
        for name, entries in sections.items():
            text += f"[{name}]\n" if name else ""
            text += "".join(f"{key} = {value}\n" for key, value in entries.items())
        self._ini.touch(mode=0o600)
        self._ini.write_text(text, encoding="utf-8")


def _passcode(secret: str) -> str:
    """Return the one-time password of this half minute (RFC 6238)."""
    key, counter = base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30)
    digest = hmac.digest(key, counter, "sha1")
    start = digest[-1] & 15
    (number,) = struct.unpack(">I", digest[start : start + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


def _given(answer: httpx.Response) -> Any:  # noqa: ANN401 (any JSON)
    if answer.is_error:
        raise GiteaRefusedError(answer.status_code, answer.text.strip())
    return answer.json() if answer.content else None
