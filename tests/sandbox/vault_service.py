"""The sandbox's Vault as companies use it: a key-value engine, AppRole, and a door at which faults strike."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from tests.sandbox.proxy import Proxy
from tests.sandbox.vault import Vault, VaultRefusedError
from tests.sandbox.vault_policy import least_policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_NOT_FOUND = 404


class VaultService:
    """A Vault behind a door; a context manager. `mount`: where the engine is."""

    mount = "secret"

    def __init__(self, program: Path) -> None:
        self.program = program
        self.server = Vault(program)
        self.door = Proxy(self.server)
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self.server)
            starting.enter_context(self.door)
            self.server.mount_kv(self.mount)
            self.call("POST", "sys/auth/approle", {"type": "approle"})
            self._exit = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def url(self) -> str:
        """The address of the door."""
        return self.door.url

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = "") -> dict[str, Any]:
        """Return the JSON that a call answers with, made past the door, with the root token without another."""
        return self.server.call(method, path, body, token=token)

    def admit(self, name: str, path: str, policy: str | None = None) -> dict[str, str]:
        """Make an AppRole that may do to a path what the README says (or `policy`); return what it logs in with."""
        self.server.write_policy(name, policy or least_policy(self.mount, path))
        role = f"auth/approle/role/{name}"
        self.call("POST", role, {"token_policies": [name], "token_no_default_policy": True, "token_ttl": "15m"})
        self.call("POST", f"{role}/role-id", {"role_id": name})  # so that a login says whose it is
        made = self.call("POST", f"{role}/secret-id")
        return {"role_id": name, "secret_id": str(made["data"]["secret_id"])}

    def reader(self, path: str) -> str:
        """Return a token of somebody who may read the password and nothing else."""
        name = f"reader-{secrets.token_hex(4)}"
        self.server.write_policy(name, f'path "{self.mount}/data/{path}" {{ capabilities = ["read"] }}\n')
        return self.server.token([name])

    def fields(self, path: str, number: int | None = None, *, token: str = "") -> Mapping[str, Any]:
        """Return the fields of a key's latest version, or of one. Raises LookupError where there are none."""
        fields: Mapping[str, Any] = self._read(path, number, token=token)["data"]
        return fields

    def is_unproven(self, path: str, *, token: str = "") -> bool:
        """Whether a reader of the latest version is told that nobody has tried it. Raises LookupError."""
        metadata = self._read(path, token=token)["metadata"]
        return (metadata["custom_metadata"] or {}).get("unproven") == str(metadata["version"])

    def _read(self, path: str, number: int | None = None, *, token: str = "") -> dict[str, Any]:
        query = "" if number is None else f"?version={number}"
        try:
            found: dict[str, Any] = self.call("GET", f"{self.mount}/data/{path}{query}", token=token)["data"]
        except VaultRefusedError as refused:
            if refused.status != _NOT_FOUND:
                raise
            raise LookupError(path) from None
        return found

    def names(self, folder: str) -> list[str]:
        """Return the names of the keys in a folder."""
        try:
            names: list[str] = self.call("LIST", f"{self.mount}/metadata/{folder}")["data"]["keys"]
        except VaultRefusedError as refused:
            if refused.status != _NOT_FOUND:
                raise
            return []
        return names

    def history(self, path: str) -> list[Mapping[str, Any]]:
        """Return the fields of every version of a key that was neither deleted nor pushed out by later ones."""
        try:
            versions = self.call("GET", f"{self.mount}/metadata/{path}")["data"]["versions"]
        except VaultRefusedError as refused:
            if refused.status != _NOT_FOUND:
                raise
            return []
        kept = [int(number) for number, facts in versions.items() if not facts["deletion_time"]]
        return [self.fields(path, number) for number in sorted(kept)]
