"""A door before the real API server: requests are numbered with all others and faults strike here, as at a simulator.

What a client sends goes on as it is, its token too: the API server alone decides.
"""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING, Self

import httpx

from tests.sandbox import kubernetes_secret
from tests.sandbox.kube_api import KubeApi, KubeApiRefusedError
from tests.sandbox.kubernetes_cluster import KubernetesCluster
from tests.sandbox.kubernetes_rbac import RealAccess
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.wire import JsonObject, Request

_TIMEOUT = 30.0  # seconds
_OF_ONE_CONNECTION = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_KEPT = frozenset({"content-type", "retry-after"})


class KubernetesDoor(KubernetesCluster):
    """The real cluster; several doors may lead to one."""

    def __init__(self, api: KubeApi, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self._api = api
        self._access = RealAccess(api)

    @property
    def access(self) -> RealAccess:
        """Who gets in."""
        return self._access

    def start(self) -> Self:
        """Open the door."""
        trust = ssl.create_default_context(cadata=self._api.ca)
        self._client = httpx.Client(base_url=self._api.url, verify=trust, timeout=_TIMEOUT, trust_env=False)
        return super().start()

    def stop(self) -> None:
        """Close the door."""
        try:
            super().stop()
        finally:
            self._client.close()

    def act(self, request: Request) -> Response:
        """Pass one request on."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        answer = self._client.request(
            request.method, request.path, params=dict(request.query), headers=headers, content=request.body
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() in _KEPT}
        return Response(answer.status_code, answer.content, kept)

    def add_namespace(self, name: str) -> None:
        """Create a namespace, or empty it of secrets where an earlier test has left it."""
        self._api.ensure("/api/v1/namespaces", {"metadata": {"name": name}})
        for secret in self._api.call("GET", _secrets(name))["items"]:
            self.remove_secret(name, secret["metadata"]["name"])

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
        """Put a secret as it has been there for long; raises `KubeApiRefusedError`."""
        self.remove_secret(namespace, name)
        secret: JsonObject = {"type": of_type, "data": kubernetes_secret.encoded(data)}
        secret["metadata"] = {**(metadata or {}), "name": name}
        path = f"{_secrets(namespace)}?fieldManager=kubectl-create"
        self._api.call("POST", path, {**secret, **({"immutable": True} if immutable else {})})

    def secret(self, namespace: str, name: str) -> JsonObject:
        """Return a secret as it is stored now; raises `KeyError`."""
        try:
            return self._api.call("GET", f"{_secrets(namespace)}/{name}")
        except KubeApiRefusedError as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                raise KeyError(name) from None
            raise

    def touch(self, namespace: str, name: str) -> None:
        """Change a secret as somebody else would, so that a version read before is stale."""
        patch = {"metadata": {"annotations": {"example.test/touched": secrets.token_hex(4)}}}
        self._api.call("PATCH", f"{_secrets(namespace)}/{name}", patch)

    def remove_secret(self, namespace: str, name: str) -> None:
        """Delete a secret, if it is there, whatever its finalizers want."""
        try:
            secret = self.secret(namespace, name)
        except KeyError:
            return
        path = f"{_secrets(namespace)}/{name}"
        metadata = kubernetes_secret.metadata_of(secret)
        if metadata.pop("finalizers", None):
            self._api.call("PUT", path, secret)
        self._api.call("DELETE", path)


def _secrets(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"
