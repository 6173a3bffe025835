"""A Kubernetes API server, as far as secrets go: rights, conflicts, immutability and validation as the real one has.

What is not simulated is refused: 405 for another method, 404 for another resource, 400 for an option.
"""

from __future__ import annotations

import copy
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tests.sandbox import kubernetes_secret
from tests.sandbox.kubernetes_access import Access, Act, refused, status
from tests.sandbox.kubernetes_cluster import KubernetesCluster
from tests.sandbox.kubernetes_secret import metadata_of
from tests.sandbox.wire import NotJsonObjectError, Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from tests.sandbox.wire import Json, JsonObject, RefusedError

_SECRETS = "/api/v1/namespaces/{namespace}/secrets"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SERVERS_OWN: Final = ("uid", "creationTimestamp", "resourceVersion")


class Kubernetes(KubernetesCluster):
    """The API server; `access` makes tokens."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self._access = Access()
        self._version = 1000
        self._namespaces: dict[str, dict[str, JsonObject]] = {}
        self.route("GET", "/api/v1/namespaces", self._list_namespaces)
        self.route("GET", "/api/v1/namespaces/{namespace}", self._get_namespace)
        self.route("GET", _SECRETS, self._list)
        self.route("POST", _SECRETS, self._create)
        self.route("GET", f"{_SECRETS}/{{name}}", self._get)
        self.route("PUT", f"{_SECRETS}/{{name}}", self._update)
        self.route("DELETE", f"{_SECRETS}/{{name}}", self._delete)
        self.route("POST", _REVIEWS, self._review)

    @property
    def access(self) -> Access:
        """Who gets in."""
        return self._access

    def add_namespace(self, name: str) -> None:
        """Create a namespace."""
        self._namespaces[name] = {}

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
        secret: JsonObject = {"apiVersion": "v1", "kind": "Secret", "type": of_type}
        secret["metadata"] = {**(metadata or {}), "name": name, "namespace": namespace}
        secret["data"] = kubernetes_secret.encoded(data)
        if immutable:
            secret["immutable"] = True
        kubernetes_secret.validate(secret)
        self._store(secret, None, "kubectl-create")

    def secret(self, namespace: str, name: str) -> JsonObject:
        """Return a secret as it is stored now; raises `KeyError`."""
        with self._acting:
            return copy.deepcopy(self._namespaces[namespace][name])

    def touch(self, namespace: str, name: str) -> None:
        """Change a secret as somebody else would, so that a version read before is stale."""
        with self._acting:
            old = self.secret(namespace, name)
            new = copy.deepcopy(old)
            metadata_of(new)["annotations"] = {"example.test/touched": str(self._version)}
            self._store(new, old, "somebody-else")

    def remove_secret(self, namespace: str, name: str) -> None:
        """Delete a secret, if it is there."""
        with self._acting:
            self._namespaces[namespace].pop(name, None)

    def not_found(self, request: Request) -> Response:
        """Answer an unknown path, to who is known."""
        self.access.user(request)
        return status(404, "NotFound", "the server could not find the requested resource")

    def method_not_allowed(self, request: Request) -> Response:
        """Answer a method that is not simulated."""
        self.access.user(request)
        return status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _list_namespaces(self, request: Request) -> Response:
        self.access.require(request, Act("list", "namespaces"))
        return self._listed("NamespaceList", [_namespace(name) for name in sorted(self._namespaces)])

    def _get_namespace(self, request: Request) -> Response:
        name = request.params["namespace"]
        self.access.require(request, Act("get", "namespaces", name, name))
        if name not in self._namespaces:
            raise _missing("namespaces", name)
        return Response.json(_namespace(name))

    def _list(self, request: Request) -> Response:
        namespace = request.params["namespace"]
        self.access.require(request, Act("list", "secrets", namespace))
        _allow_options(request)
        found = self._namespaces.get(namespace, {})
        return self._listed("SecretList", [found[name] for name in sorted(found)])

    def _get(self, request: Request) -> Response:
        _allow_options(request)
        return Response.json(self._find(request, "get"))

    def _create(self, request: Request) -> Response:
        namespace = request.params["namespace"]
        self.access.require(request, Act("create", "secrets", namespace))
        _allow_options(request, "dryRun", "fieldManager", "fieldValidation")
        secret = kubernetes_secret.decode(request)
        if namespace not in self._namespaces:
            raise _missing("namespaces", namespace)
        name = str(metadata_of(secret).get("name", ""))
        kubernetes_secret.validate(secret)
        if not name or "resourceVersion" in metadata_of(secret):
            raise kubernetes_secret.invalid(secret, "metadata", "Invalid value", "name it, and no resourceVersion")
        if name in self._namespaces[namespace]:
            raise refused(409, "AlreadyExists", f'secrets "{name}" already exists', {"name": name, "kind": "secrets"})
        return Response.json(self._store(secret, None, _manager(request), dry=_is_dry(request)), 201)

    def _update(self, request: Request) -> Response:
        old = self._find(request, "update")
        _allow_options(request, "dryRun", "fieldManager", "fieldValidation")
        new = kubernetes_secret.decode(request)
        name, old_metadata, metadata = request.params["name"], metadata_of(old), metadata_of(new)
        if metadata.get("resourceVersion", old_metadata["resourceVersion"]) != old_metadata["resourceVersion"]:
            raise _conflict(
                name, "the object has been modified; please apply your changes to the latest version and try again"
            )
        if metadata.get("uid", old_metadata["uid"]) != old_metadata["uid"]:
            raise _conflict(
                name,
                f"Precondition failed: UID in precondition: {metadata['uid']}, "
                f"UID in object meta: {old_metadata['uid']}",
            )
        kubernetes_secret.validate(new)
        kubernetes_secret.validate_update(new, old)
        return Response.json(self._store(new, old, _manager(request), dry=_is_dry(request)))

    def _delete(self, request: Request) -> Response:
        secret = self._find(request, "delete")
        _allow_options(request)
        if b"preconditions" in request.body:
            raise refused(400, "BadRequest", "preconditions are not simulated")
        name, uid = request.params["name"], metadata_of(secret)["uid"]
        del self._namespaces[request.params["namespace"]][name]
        return Response.json(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": {"name": name, "kind": "secrets", "uid": uid},
            }
        )

    def _review(self, request: Request) -> Response:
        """Answer a SelfSubjectAccessReview by the rules that also decide."""
        user = self.access.user(request)
        try:
            review = request.json_object()
        except NotJsonObjectError as error:
            raise refused(400, "BadRequest", str(error)) from None
        spec = review.get("spec")
        wanted = spec.get("resourceAttributes") if isinstance(spec, dict) else None
        if review.get("kind", "SelfSubjectAccessReview") != "SelfSubjectAccessReview":
            raise refused(400, "BadRequest", "the object provided is no SelfSubjectAccessReview")
        if not isinstance(wanted, dict):
            raise refused(422, "Invalid", "spec.resourceAttributes: Required value")
        if unknown := wanted.keys() - {"namespace", "verb", "group", "version", "resource", "name"}:
            raise refused(400, "BadRequest", f'strict decoding error: unknown field "{min(unknown)}"')
        fields = {name: str(wanted.get(name, "")) for name in ("verb", "resource", "namespace", "name", "group")}
        return Response.json(review | {"metadata": {}, "status": {"allowed": user.may(Act(**fields))}}, 201)

    def _find(self, request: Request, verb: str) -> JsonObject:
        namespace, name = request.params["namespace"], request.params["name"]
        self.access.require(request, Act(verb, "secrets", namespace, name))
        secret = self._namespaces.get(namespace, {}).get(name)
        if secret is None:
            raise _missing("secrets", name)
        return copy.deepcopy(secret)

    def _store(self, new: JsonObject, old: JsonObject | None, manager: str, *, dry: bool = False) -> JsonObject:
        """Store a secret and return it as stored; what changes nothing gets no new version, a dry run none at all."""
        secret = copy.deepcopy(new)
        metadata = metadata_of(secret)
        if old is None:
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now(), "managedFields": []}
        else:
            before = metadata_of(old)
            metadata |= {field: before[field] for field in _SERVERS_OWN}
            metadata.setdefault("managedFields", before["managedFields"])
        if secret == old:
            return secret
        metadata["managedFields"] = _managed(metadata, manager)
        if not dry:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
            self._namespaces[str(metadata["namespace"])][str(metadata["name"])] = secret
        return copy.deepcopy(secret)

    def _listed(self, kind: str, items: list[JsonObject]) -> Response:
        return Response.json(
            {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": str(self._version)}, "items": [*items]}
        )


def _namespace(name: str) -> JsonObject:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "status": {"phase": "Active"}}


def _missing(resource: str, name: str) -> RefusedError:
    return refused(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource})


def _conflict(name: str, why: str) -> RefusedError:
    return refused(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on secrets "{name}": {why}',
        {"name": name, "kind": "secrets"},
    )


def _allow_options(request: Request, *known: str) -> None:
    for option, value in request.query.items():
        if option not in known:
            raise refused(400, "BadRequest", f"the option {option}={value} is not simulated")
        if option == "dryRun" and value != "All":
            raise refused(422, "Invalid", f'dryRun: Unsupported value: "{value}": supported values: "All"')


def _is_dry(request: Request) -> bool:
    return request.query.get("dryRun") == "All"


def _manager(request: Request) -> str:
    """Return who manages the fields: by the option, else by the first word of the User-Agent."""
    return request.query.get("fieldManager") or request.headers.get("user-agent", "unknown").partition("/")[0]


def _managed(metadata: JsonObject, manager: str) -> list[Json]:
    entries = metadata["managedFields"] if isinstance(metadata["managedFields"], list) else []
    others = [entry for entry in entries if not (isinstance(entry, dict) and entry.get("manager") == manager)]
    mine: JsonObject = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": _now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {}},
    }
    return [*others, mine]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
