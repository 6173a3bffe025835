"""A real registry (CNCF distribution) as an ordinary process; it reads its users anew when they change."""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from typing import TYPE_CHECKING, Self

import bcrypt
import httpx

from tests.sandbox.server_process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

_BCRYPT_COST = 5  # htpasswd's own default: a login costs 1 ms here
_LOGIN_WITHIN = 10.0  # seconds
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


class Registry(ServerProcess):
    """The registry with its users; a context manager."""

    def __init__(self, program: Path) -> None:
        super().__init__(program)
        self._htpasswd = self._folder / "htpasswd"
        self._hashes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._port = 0
        self._write_users()

    @property
    def url(self) -> str:
        """The base address, without a slash at its end; known from the first `start` on."""
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`: the registry's name in image references and `auths` keys."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the process and return once it listens."""
        config = self._folder / "config.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        self._spawn(["serve", config], {"OTEL_TRACES_EXPORTER": "none"})
        self._await(self._listens)
        return self

    @property
    def users(self) -> list[str]:
        """The names of all users."""
        with self._lock:
            return list(self._hashes)

    def add_user(self, name: str, password: str) -> None:
        """Add a user; raises `ValueError` where there is one of that name."""
        with self._lock:
            if name in self._hashes:
                raise ValueError(f"there is a user {name} already")
            self._hash(name, password)

    def set_password(self, name: str, password: str) -> None:
        """Change a password: the old one is dead when this returns; raises `KeyError` where there is no such user."""
        with self._lock:
            if name not in self._hashes:
                raise KeyError(name)
            self._hash(name, password)

    def lets_in(self, name: str, password: str) -> bool:
        """Whether a login succeeds."""
        return httpx.get(f"{self.url}/v2/", auth=(name, password), timeout=_LOGIN_WITHIN).status_code == httpx.codes.OK

    def _hash(self, name: str, password: str) -> None:
        self._hashes[name] = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_COST)).decode()
        self._write_users()

    def _write_users(self) -> None:
        """Write beside and rename.

        The registry reads the file again when its modification time differs. The kernel's own stamps are some
        milliseconds apart, so that two changes could share one: the time is set from a finer clock.
        """
        beside = self._folder / "htpasswd.new"
        beside.touch(mode=0o600)
        beside.write_text("".join(f"{name}:{hashed}\n" for name, hashed in self._hashes.items()), encoding="utf-8")
        now = time.time_ns()
        os.utime(beside, ns=(now, now))
        beside.rename(self._htpasswd)

    def _config(self) -> dict[str, object]:
        """Return the configuration; JSON is YAML, which the registry reads."""
        return {
            "version": 0.1,
            "log": {"level": "info", "formatter": "text"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "images")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self._port}", "secret": secrets.token_hex(16)},
            "auth": {"htpasswd": {"realm": "Rekey sandbox", "path": str(self._htpasswd)}},
        }

    def _listens(self) -> bool:
        found = _LISTENING.search(self.log)
        self._port = int(found[1]) if found else self._port
        return found is not None
