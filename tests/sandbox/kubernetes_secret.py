"""What the Kubernetes API server checks of a secret before it stores one.

Messages and rules follow Kubernetes' own validation of secrets (pkg/apis/core/validation, 1.34). Unknown fields are
refused, as with `fieldValidation=Strict`: by default the real one only warns, and a misspelt field would go unnoticed.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Final

from tests.sandbox.kubernetes_access import refused
from tests.sandbox.wire import NotJsonObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.wire import Json, JsonObject, RefusedError, Request

DOCKER_CONFIG_JSON: Final = "kubernetes.io/dockerconfigjson"
DOCKER_CFG: Final = "kubernetes.io/dockercfg"
KEY_OF_TYPE: Final[Mapping[str, str]] = {DOCKER_CONFIG_JSON: ".dockerconfigjson", DOCKER_CFG: ".dockercfg"}

_FIELDS = {"apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"}
_METADATA = {
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
}
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_LARGEST = 1024 * 1024  # bytes of data in all


def decode(request: Request) -> JsonObject:
    """Return the secret in a request's body, its `stringData` merged into `data`; raises the refusal."""
    if request.headers.get("content-type", "application/json").partition(";")[0] != "application/json":
        raise refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
    try:
        secret = request.json_object()
    except NotJsonObjectError as error:
        raise refused(400, "BadRequest", f"the object provided is unrecognized: {error}") from None
    if (secret.get("apiVersion"), secret.get("kind")) != ("v1", "Secret"):
        raise refused(400, "BadRequest", "the object provided is not a Secret of v1")
    metadata = metadata_of(secret)
    for field in [*(secret.keys() - _FIELDS), *(f"metadata.{name}" for name in metadata.keys() - _METADATA)]:
        raise refused(400, "BadRequest", f'strict decoding error: unknown field "{field}"')
    given = request.params.get("name")
    if given is not None and metadata.get("name") != given:
        raise refused(
            400,
            "BadRequest",
            f"the name of the object ({metadata.get('name')}) does not match the name on the URL ({given})",
        )
    if metadata.setdefault("namespace", request.params["namespace"]) != request.params["namespace"]:
        raise refused(
            400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"
        )
    plain = _object(secret.pop("stringData", None))
    data = _object(secret.get("data")) | encoded({key: str(value) for key, value in plain.items()})
    if data:
        secret["data"] = data
    secret.setdefault("type", "Opaque")
    return secret


def validate(secret: JsonObject) -> None:
    """Raise the refusal where a secret cannot be stored."""
    data = _object(secret.get("data"))
    size = 0
    for key, value in data.items():
        if not _KEY.fullmatch(key):
            raise invalid(secret, f"data[{key}]", "Invalid value", "a valid config key must consist of [-._a-zA-Z0-9]+")
        try:
            size += len(base64.b64decode(str(value), validate=True))
        except binascii.Error:
            raise refused(
                400, "BadRequest", 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data'
            ) from None
    if size > _LARGEST:
        raise invalid(secret, "data", "Too long", "may not be more than 1048576 bytes")
    docker_key = KEY_OF_TYPE.get(str(secret["type"]))
    if docker_key:
        _validate_docker(secret, docker_key, data.get(docker_key))


def validate_update(new: JsonObject, old: JsonObject) -> None:
    """Raise the refusal where one secret may not take another's place."""
    if new["type"] != old["type"]:
        raise invalid(new, "type", "Invalid value", "field is immutable")
    if old.get("immutable"):
        for field in ("immutable", "data"):
            if new.get(field) != old.get(field):
                raise invalid(new, field, "Forbidden", "field is immutable when `immutable` is set")


def invalid(secret: JsonObject, field: str, what: str, message: str) -> RefusedError:
    """Return the refusal of one field, to be raised; values are never quoted."""
    name = metadata_of(secret).get("name", "")
    cause: JsonObject = {"reason": f"FieldValue{what.title().replace(' ', '')}", "message": message, "field": field}
    return refused(
        422,
        "Invalid",
        f'Secret "{name}" is invalid: {field}: {what}: {message}',
        {"name": name, "kind": "Secret", "causes": [cause]},
    )


def metadata_of(secret: JsonObject) -> JsonObject:
    """Return an object's metadata, which may be changed in place."""
    metadata = secret.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise refused(400, "BadRequest", "metadata is no object")
    return metadata


def encoded(data: Mapping[str, str]) -> JsonObject:
    """Return plain text as it stands in a secret's `data`."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def docker_config(auths: JsonObject, of_type: str) -> dict[str, str]:
    """Return a pull secret's content in plain text; the old type holds what the new one has under `auths`."""
    return {KEY_OF_TYPE[of_type]: json.dumps(auths if of_type == DOCKER_CFG else {"auths": auths})}


def auths_in(secret: JsonObject) -> JsonObject:
    """Return a pull secret's entries, decoded, by their keys as they stand there."""
    key = KEY_OF_TYPE[str(secret["type"])]
    document = json.loads(base64.b64decode(str(_object(secret["data"])[key])))
    return _object(document if secret["type"] == DOCKER_CFG else document["auths"])


def _validate_docker(secret: JsonObject, key: str, value: Json) -> None:
    if not isinstance(value, str) or not value:
        raise invalid(secret, f"data[{key}]", "Required value", "")
    try:
        document = json.loads(base64.b64decode(value))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise invalid(secret, f"data[{key}]", "Invalid value", '"<secret contents redacted>": is no JSON object')


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
