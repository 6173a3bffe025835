"""The few calls of the Kubernetes API that secrets need (https://kubernetes.io/docs/reference/kubernetes-api/).

A secret's answer holds other registries' passwords, and a refusal may quote the secret: no error of ours holds a word
of an answer.
"""

from collections.abc import Mapping
from datetime import timedelta

import httpx

from rekey import http
from rekey.consumers.kubernetes_access import ClusterAccess
from rekey.consumers.shard import Shard, retry_after
from rekey.errors import Conflict, CredentialUnusable, Denied, NotFound, Unfit, Unreachable
from rekey.model.plan import KubernetesPullSecret

Json = Mapping[str, object]
_TRIES = 3
_NO_HINT = timedelta(seconds=1)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class KubernetesClient:
    """One cluster with one identity.

    Every method raises CredentialUnusable, Denied, Held, NotFound, Unfit, Unintelligible, Unreachable.
    """

    def __init__(self, part: KubernetesPullSecret, shard: Shard) -> None:
        self._shard = shard
        self._access = ClusterAccess(part, shard)
        self.service = self._access.service

    async def enter(self) -> None:
        """Find out where the cluster is and take the credential for it."""
        await self._access.current()

    async def secret(self, namespace: str, name: str) -> dict[str, object] | None:
        """Return a secret as it is now, or None where there is none."""
        doing = f"get the secret {namespace}/{name}"
        response = await self._ask("GET", f"{_secrets(namespace)}/{name}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        return http.json_object(self._checked(response, doing), self.service, doing)

    async def create(self, namespace: str, secret: Json) -> None:
        """Create a secret. Raises Conflict where it is there by now."""
        self._checked(await self._ask("POST", _secrets(namespace), secret), f"create a secret in {namespace}")

    async def try_create(self, namespace: str, secret: Json) -> None:
        """Let the API server say whether it would create a secret. Raises Denied, NotFound (no namespace), Unfit.

        Where an admission webhook allows no trial, nothing is known, and nothing raised:
        https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
        """
        response = await self._ask("POST", f"{_secrets(namespace)}?dryRun=All", secret)
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(f"there is no namespace {namespace} in {self.service}: create it first")
        if response.status_code in (httpx.codes.FORBIDDEN, httpx.codes.UNPROCESSABLE_ENTITY):
            self._checked(response, f"try to create a secret in {namespace}")

    async def replace(self, namespace: str, name: str, secret: Json) -> None:
        """Put a secret in the place of the version that its metadata names. Raises Conflict where it has changed."""
        path = f"{_secrets(namespace)}/{name}"
        self._checked(await self._ask("PUT", path, secret), f"update the secret {namespace}/{name}")

    async def may(self, verb: str, namespace: str, name: str) -> bool:
        """Whether this identity may do so to a secret. RBAC never limits `create` by a name: leave it empty there."""
        attributes = {"verb": verb, "resource": "secrets", "group": "", "namespace": namespace, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        doing = f"say whether {verb} is allowed in {namespace}"
        response = self._checked(await self._ask("POST", _REVIEWS, review), doing)
        status = http.json_object(response, self.service, doing).get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    async def _ask(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        entrance = await self._access.current()
        response = await self._send(method, path, body)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._access.renew(entrance):
            response = await self._send(method, path, body)
        return response

    async def _send(self, method: str, path: str, body: Json | None) -> httpx.Response:
        for _ in range(_TRIES):
            entrance = await self._access.current()
            client = self._shard.client(entrance.url, entrance.ca)
            headers = {"Authorization": f"Bearer {entrance.token}", "Accept": "application/json"}
            request = client.build_request(method, path, json=body, headers=headers)
            response = await self._shard.send(client, request, self.service)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return response
            # Priority and fairness: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
            wait = retry_after(response, self._shard.now())
            self._shard.limiter.hold(_NO_HINT if wait is None else wait)
        raise Unreachable(f"{self.service} says again and again that it has too many requests")

    def _checked(self, response: httpx.Response, doing: str) -> httpx.Response:
        said = f"{self.service} answered {response.status_code} to: {doing}"
        match response.status_code:
            case 401:
                raise CredentialUnusable(f"{said}: it does not know us: {self._access.mend}")
            case 403:
                raise Denied(
                    f"{said}: allow it by a Role in that namespace (one that is missing is answered so too), or see "
                    "which admission rule refuses it"
                )
            case 404:
                raise NotFound(f"{said}: it does not exist")
            case 409:
                raise Conflict(said)
            case 422:
                raise Unfit(f"{said}: it may be immutable, or an admission rule refuses it")
        return http.expect(response, self.service, doing)


def _secrets(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"
