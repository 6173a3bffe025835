"""A real kube-apiserver over a real etcd, as ordinary processes: RBAC, conflicts, validation and tokens are its own.

There are no controllers, so nothing collects garbage and nobody ends a namespace that is deleted; there is no kubelet.
"""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING, Any, Self

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.certificates import Authority
from tests.sandbox.server_process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_REQUEST_WITHIN = 30.0  # seconds
_TOKEN_SECONDS = 3600


class Etcd(ServerProcess):
    """One etcd without peers, which waits for no disk."""

    def __init__(self, program: Path) -> None:
        super().__init__(program)
        self._port, self._peers = free_port(), free_port()

    @property
    def url(self) -> str:
        """The base address for clients."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the process and return once it takes requests."""
        peers = f"http://127.0.0.1:{self._peers}"
        self._spawn(
            [
                f"--data-dir={self._folder / 'data'}",
                f"--listen-client-urls={self.url}",
                f"--advertise-client-urls={self.url}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ]
        )
        self._await(self._healthy)
        return self

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=_REQUEST_WITHIN, trust_env=False).is_success
        except httpx.TransportError:
            return False


class KubeApiRefusedError(Exception):
    """The API server refused a call of the sandbox's administrator; the text is its own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class KubeApi(ServerProcess):
    """The API server and its etcd; `stop` and `start` are the API server's alone."""

    def __init__(self, kube_apiserver: Path, etcd: Path) -> None:
        super().__init__(kube_apiserver)
        self.etcd = Etcd(etcd)
        self._authority = Authority()
        self._port = free_port()
        self._admin_token = secrets.token_hex(16)
        context = ssl.create_default_context(cadata=self._authority.pem)
        self._client = httpx.Client(base_url=self.url, verify=context, timeout=_REQUEST_WITHIN, trust_env=False)
        self._write_files()

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca(self) -> str:
        """What its clients must trust, in PEM."""
        return self._authority.pem

    def start(self) -> Self:
        """Start both and return once the API server is ready."""
        if not self.etcd.running:
            self.etcd.start()
        self._spawn([f"--{name}={value}" for name, value in self._flags().items()])
        self._await(self._ready)
        return self

    def close(self) -> None:
        """Stop both, and remove everything."""
        self._client.close()
        super().close()
        self.etcd.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = "") -> dict[str, Any]:
        """Return what a call answers with, made by the administrator without another's token.

        A PATCH is a merge. Raises `KubeApiRefusedError`.
        """
        sent = {"Authorization": f"Bearer {token or self._admin_token}"}
        if method == "PATCH":
            sent["Content-Type"] = "application/merge-patch+json"
        answer = self._client.request(method, path, json=body, headers=sent)
        if answer.is_error:
            raise KubeApiRefusedError(answer.status_code, answer.text.strip())
        return dict(answer.json())

    def ensure(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object where there is none of that name; return what is there."""
        try:
            return self.call("POST", path, body)
        except KubeApiRefusedError as refused:
            if refused.status != httpx.codes.CONFLICT:
                raise
        return self.call("GET", f"{path}/{body['metadata']['name']}")

    def token(self, namespace: str, account: str, seconds: int = _TOKEN_SECONDS) -> str:
        """Return a token of a service account, which is made where it is missing."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.ensure("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self.ensure(accounts, {"metadata": {"name": account}})
        asked = {"spec": {"expirationSeconds": seconds}}
        return str(self.call("POST", f"{accounts}/{account}/token", asked)["status"]["token"])

    def _ready(self) -> bool:
        try:
            return self._client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _write_files(self) -> None:
        self._certificate, self._key = self._authority.server_files(self._folder)
        signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._signing_key = self._folder / "service-accounts.pem"
        self._tokens = self._folder / "tokens.csv"
        for file in (self._signing_key, self._tokens):
            file.touch(mode=0o600)
        self._signing_key.write_bytes(
            signing.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        self._tokens.write_text(f'{self._admin_token},admin,admin,"system:masters"\n', encoding="utf-8")

    def _flags(self) -> Mapping[str, object]:
        """https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/."""
        return {
            "etcd-servers": self.etcd.url,
            "bind-address": "127.0.0.1",
            "secure-port": self._port,
            "tls-cert-file": self._certificate,
            "tls-private-key-file": self._key,
            "cert-dir": self._folder / "certificates",
            "authorization-mode": "RBAC",
            "token-auth-file": self._tokens,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._signing_key,
            "service-account-signing-key-file": self._signing_key,
            "service-cluster-ip-range": "10.0.0.0/24",
            "endpoint-reconciler-type": "none",
        }
