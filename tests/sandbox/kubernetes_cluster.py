"""What a cluster of the sandbox can do beside serving its API, be it the simulator or the real API server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from tests.sandbox import kubernetes_secret
from tests.sandbox.http_server import HttpServer
from tests.sandbox.kubernetes_secret import DOCKER_CONFIG_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.kubernetes_access import Rule
    from tests.sandbox.wire import JsonObject


class ClusterAccess(Protocol):
    """Makes identities."""

    def create_token(self, name: str, *rules: Rule) -> str:
        """Make a bearer token, such as for `system:serviceaccount:rekey:rekey`, whose rules are in force."""

    def revoke(self, token: str) -> None:
        """Take a token back: it is refused when this returns."""


class KubernetesCluster(HttpServer, ABC):
    """A cluster, as far as secrets go."""

    @property
    @abstractmethod
    def access(self) -> ClusterAccess:
        """Who gets in."""

    @abstractmethod
    def add_namespace(self, name: str) -> None:
        """Create a namespace."""

    @abstractmethod
    def add_secret(  # noqa: PLR0913 - a secret has so many parts
        self,
        namespace: str,
        name: str,
        data: Mapping[str, str],
        *,
        of_type: str = "Opaque",
        metadata: JsonObject | None = None,
        immutable: bool = False,
    ) -> None:
        """Put a secret as it has been there for long: `data` in plain text, `metadata` such as its labels or owners."""

    @abstractmethod
    def secret(self, namespace: str, name: str) -> JsonObject:
        """Return a secret as it is stored now; raises `KeyError`."""

    @abstractmethod
    def touch(self, namespace: str, name: str) -> None:
        """Change a secret as somebody else would, so that a version read before is stale."""

    @abstractmethod
    def remove_secret(self, namespace: str, name: str) -> None:
        """Delete a secret, if it is there."""

    def add_pull_secret(  # noqa: PLR0913 - as above
        self,
        namespace: str,
        name: str,
        auths: JsonObject,
        *,
        of_type: str = DOCKER_CONFIG_JSON,
        metadata: JsonObject | None = None,
        immutable: bool = False,
    ) -> None:
        """Put an image pull secret with these entries."""
        data = kubernetes_secret.docker_config(auths, of_type)
        self.add_secret(namespace, name, data, of_type=of_type, metadata=metadata, immutable=immutable)

    def auths(self, namespace: str, name: str) -> JsonObject:
        """Return a pull secret's entries, decoded; raises `KeyError`."""
        return kubernetes_secret.auths_in(self.secret(namespace, name))
