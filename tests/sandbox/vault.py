"""A real Vault (or OpenBao) as an ordinary process: initialised and unsealed by its first start.

Every call is Vault's HTTP API: https://developer.hashicorp.com/vault/api-docs
"""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx

from tests.sandbox.server_process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.sandbox.certificates import Authority

Storage = Literal["file", "raft"]

_ACTIVE, _STANDBY, _SEALED = 200, 429, 503  # what sys/health answers with
_REQUEST_WITHIN = 30.0  # seconds


class VaultRefusedError(Exception):
    """Vault refused a call of the sandbox's operator; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Vault(ServerProcess):
    """One Vault server; a context manager.

    It listens on plain HTTP, or with a certificate of `authority`. With the storage `raft` it can have a standby. One
    that was stopped starts sealed, with its secrets.
    """

    def __init__(self, program: Path, *, authority: Authority | None = None, storage: Storage = "file") -> None:
        super().__init__(program)
        self._authority = authority
        self._storage = storage
        self._port, self._cluster_port = free_port(), free_port()
        self._unseal_key = ""
        self.root_token = ""
        trust = ssl.create_default_context(cadata=authority.pem) if authority else False
        self._client = httpx.Client(base_url=f"{self.url}/v1/", verify=trust, timeout=_REQUEST_WITHIN, trust_env=False)

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the process; the first time it is initialised and unsealed, later it stays sealed."""
        self._run()
        if not self.root_token:
            made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self._unseal_key, self.root_token = made["keys_base64"][0], made["root_token"]
            self.unseal()
        return self

    def close(self) -> None:
        """Stop, and remove all secrets."""
        self._client.close()
        super().close()

    @contextmanager
    def standby(self) -> Iterator[Vault]:
        """Run a second server that stands by for this one, whose storage is `raft`; yield it unsealed."""
        other = Vault(self._program, authority=self._authority, storage="raft")
        other._unseal_key, other.root_token = self._unseal_key, self.root_token
        with other:
            trust = {"leader_ca_cert": self._authority.pem} if self._authority else {}
            other.call("POST", "sys/storage/raft/join", {"leader_api_addr": self.url, **trust})
            other.unseal(awaited=_STANDBY)
            yield other

    @property
    def health(self) -> int:
        """The status of `sys/health`: 200 active, 429 standby, 501 not initialised, 503 sealed, 0 no answer."""
        try:
            return self._client.get("sys/health").status_code
        except httpx.TransportError:
            return 0

    def seal(self) -> None:
        """Seal the server: it refuses everything with 503 from now on."""
        self.call("PUT", "sys/seal")
        self._await(lambda: self.health == _SEALED)

    def unseal(self, *, awaited: int = _ACTIVE) -> None:
        """Unseal the server and return once it is active again (or its health is the status awaited)."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        self._await(lambda: self.health == awaited)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = "") -> dict[str, Any]:
        """Return the JSON that a call answers with (empty for none), made with the root token without another.

        Raises `VaultRefusedError`.
        """
        sent = token or self.root_token
        answer = self._client.request(method, path, json=body, headers={"X-Vault-Token": sent} if sent else {})
        if answer.is_error:
            raise VaultRefusedError(answer.status_code, answer.text.strip())
        return dict(answer.json()) if answer.content else {}

    def mount_kv(self, path: str, version: Literal[1, 2] = 2) -> None:
        """Mount a key-value store and return once it takes calls."""
        self.call("POST", f"sys/mounts/{path}", {"type": "kv", "options": {"version": str(version)}})
        if version == 2:
            self._await(lambda: self._answers(f"{path}/config"))  # its upgrade to version 2 runs behind the call

    def write_policy(self, name: str, text: str) -> None:
        """Write an ACL policy in HCL."""
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": text})

    def token(self, policies: Sequence[str], **settings: object) -> str:
        """Return a new token of these policies; settings are those of `auth/token/create`, such as `ttl="2s"`."""
        made = self.call(
            "POST", "auth/token/create", {"policies": list(policies), "no_default_policy": True, **settings}
        )
        return str(made["auth"]["client_token"])

    def limit_rate(self, name: str, path: str, rate: float, interval: str = "1s") -> None:
        """Set a rate-limit quota: at most `rate` requests an interval below `path`, answered with 429 beyond."""
        self.call("POST", f"sys/quotas/rate-limit/{name}", {"path": path, "rate": rate, "interval": interval})

    def lift_rate(self, name: str) -> None:
        """Remove a rate-limit quota."""
        self.call("DELETE", f"sys/quotas/rate-limit/{name}")

    def _answers(self, path: str) -> bool:
        try:
            self.call("GET", path)
        except VaultRefusedError:
            return False
        return True

    def _run(self) -> None:
        config = self._folder / "config.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        self._spawn(["server", f"-config={config}"])
        self._await(lambda: self.health != 0)

    def _config(self) -> dict[str, object]:
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        cluster = f"127.0.0.1:{self._cluster_port}"
        listener: dict[str, object] = {
            "address": f"127.0.0.1:{self._port}",
            "cluster_address": cluster,
            "tls_disable": True,
        }
        if self._authority:
            certificate, key = self._authority.server_files(self._folder)
            listener |= {"tls_disable": False, "tls_cert_file": str(certificate), "tls_key_file": str(key)}
        settings = {"node_id": str(self._port), "performance_multiplier": "1"} if self._storage == "raft" else {}
        return {
            "storage": {self._storage: {"path": str(data), **settings}},
            "listener": {"tcp": listener},
            "api_addr": self.url,
            "cluster_addr": f"https://{cluster}",
            "disable_mlock": True,  # locking memory needs a capability
        }
