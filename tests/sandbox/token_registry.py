"""The real registry behind a real token server: distribution's own, which reads the registry's htpasswd.

It gives tokens of 15 minutes, to everything below `USER/` and to nothing else, and refresh tokens that outlive the
password: github.com/docker/distribution, contrib/token-server.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Self

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sandbox.certificates import self_signed
from tests.sandbox.registry import Registry
from tests.sandbox.server_process import ServerProcess, free_port

if TYPE_CHECKING:
    from pathlib import Path

ISSUER, SERVICE = "rekey-sandbox", "rekey-registry"
_REQUEST_WITHIN = 10.0  # seconds


class TokenServer(ServerProcess):
    """Signs tokens for the users of an htpasswd file; one that was stopped has forgotten its refresh tokens."""

    def __init__(self, program: Path, htpasswd: Path) -> None:
        super().__init__(program)
        self._htpasswd = htpasswd
        self._port = free_port()
        key = ec.generate_private_key(ec.SECP256R1())
        self._key = self._folder / "key.pem"
        self._key.touch(mode=0o600)
        self._key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        self.certificate = self._folder / "certificate.pem"
        self.certificate.write_bytes(
            self_signed("Rekey sandbox token server", key).public_bytes(serialization.Encoding.PEM)
        )

    @property
    def url(self) -> str:
        """The base address, without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def realm(self) -> str:
        """The address that gives tokens."""
        return f"{self.url}/token/"

    def start(self) -> Self:
        """Start the process and return once it answers."""
        signing = ["-issuer", ISSUER, "-key", str(self._key)]
        users = ["-passwd", str(self._htpasswd), "-realm", self.realm]
        self._spawn(["-addr", f"127.0.0.1:{self._port}", *signing, *users])
        self._await(self._answers)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(self.realm, timeout=_REQUEST_WITHIN, trust_env=False).status_code != 0
        except httpx.TransportError:
            return False


class TokenRegistry(Registry):
    """The registry and its token server; `stop` and `start` are the registry's alone."""

    def __init__(self, registry: Path, token_server: Path) -> None:
        super().__init__(registry)
        self.tokens = TokenServer(token_server, self._htpasswd)

    def start(self) -> Self:
        """Start both."""
        if not self.tokens.running:
            self.tokens.start()
        return super().start()

    def close(self) -> None:
        """Stop both, and remove users and images."""
        super().close()
        self.tokens.close()

    def lets_in(self, name: str, password: str) -> bool:
        """Whether the token server gives a token."""
        query, pair = {"service": SERVICE}, (name, password)
        answer = httpx.get(self.tokens.realm, params=query, auth=pair, timeout=_REQUEST_WITHIN, trust_env=False)
        return answer.is_success

    def token(self, username: str, password: str, *scopes: str, offline: bool = False) -> dict[str, object]:
        """Return the token server's answer: `access_token`, `expires_in`, and `refresh_token` where it is asked for.

        Raises `httpx.HTTPStatusError` where the password is refused.
        """
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        answer = httpx.get(
            self.tokens.realm,
            params={"service": SERVICE, "scope": list(scopes), **({"offline_token": "true"} if offline else {})},
            headers={"Authorization": f"Basic {pair}"},
            timeout=_REQUEST_WITHIN,
            trust_env=False,
        )
        return dict(answer.raise_for_status().json())

    def _config(self) -> dict[str, object]:
        realm = {"realm": self.tokens.realm, "service": SERVICE, "issuer": ISSUER}
        return super()._config() | {"auth": {"token": realm | {"rootcertbundle": str(self.tokens.certificate)}}}
