"""A Kubernetes image pull secret: what is in it, and what becomes of it with a new password. Pure.

https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets. Messages name the secret and the
registry, never what the secret holds.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Final, Self

from rekey.consumers import docker_auths
from rekey.contracts import Delivery
from rekey.errors import Superseded, Unfit
from rekey.model.plan import RegistryPart

_NEW: Final = "kubernetes.io/dockerconfigjson"
_OLD: Final = "kubernetes.io/dockercfg"
_KEYS: Final = {_NEW: ".dockerconfigjson", _OLD: ".dockercfg"}
_WRITERS: Final = {"ExternalSecret", "SealedSecret", "VaultStaticSecret", "VaultDynamicSecret"}
"""Kinds whose controllers write the secrets that they own, also where they are not marked as its controller."""


@dataclass(frozen=True)
class PullSecret:
    """One secret as the API server gave it."""

    place: str
    """`namespace/name`."""
    manifest: dict[str, object] = field(repr=False)
    document: dict[str, object] = field(repr=False)
    """What its one key of data holds, decoded."""

    @classmethod
    def read(cls, place: str, manifest: dict[str, object]) -> Self:
        """Return what the API server's answer holds. Raises Unfit where it is no image pull secret that can be read."""
        key = _KEYS.get(str(manifest.get("type")))
        if key is None:
            raise Unfit(f"the secret {place} is no image pull secret: its type must be {_NEW} or {_OLD}")
        data = manifest.get("data")
        encoded = data.get(key) if isinstance(data, dict) else None
        try:
            document = json.loads(base64.b64decode(str(encoded), validate=True))
        except (binascii.Error, ValueError):
            document = None
        entries = document.get("auths", {}) if isinstance(document, dict) and key != _KEYS[_OLD] else document
        if not isinstance(document, dict) or not isinstance(entries, dict):
            raise Unfit(f"{key} of the secret {place} is no JSON object of registries: pulls fail with it already")
        return cls(place, manifest, document)

    @property
    def entries(self) -> dict[str, object]:
        """The entries by registry: the old type holds them without `auths` around them."""
        if self.manifest["type"] == _OLD:
            return self.document
        auths = self.document.get("auths", {})
        return auths if isinstance(auths, dict) else {}

    def require_writable(self) -> None:
        """Raise Unfit where the secret is immutable."""
        if self.manifest.get("immutable") is True:
            raise Unfit(
                f"the secret {self.place} is immutable: its content can never change; create another one without "
                "`immutable` and name that in pods and plan"
            )

    def require_entry(self, registry: RegistryPart, *, create: bool) -> None:
        """Raise Unfit where the secret holds no entry for the registry and user, and shall not get one."""
        host = docker_auths.config_key(registry.endpoint)
        if any(docker_auths.is_of(key, entry, registry.endpoint, registry.username) for key, entry in self._items()):
            return
        if host in self.entries:
            raise Unfit(
                f"the secret {self.place} holds another user's password of {host}, which is left alone: name the "
                f"secret that {registry.username} pulls with"
            )
        if not create:
            raise Unfit(
                f"the secret {self.place} has no entry of {registry.username} for {host}: add one there, or say "
                "`create: true` in the plan"
            )

    def generation(self, registry: str) -> int:
        """Return the generation that was written here last; 0 where none was."""
        text = str(self._metadata_map("annotations").get(_annotation(registry, "generation"), ""))
        return int(text) if text.isascii() and text.isdigit() else 0

    def holds(self, delivery: Delivery) -> bool:
        """Whether every entry of the registry and user has the password that was delivered, and there is one."""
        found = [
            docker_auths.user_and_password(entry)[1]
            for key, entry in self._items()
            if docker_auths.is_of(key, entry, delivery.endpoint, delivery.username)
        ]
        return bool(found) and all(password == delivery.password for password in found)

    def with_password(self, delivery: Delivery) -> dict[str, object]:
        """Return the manifest with the password in it and marked with its generation; all else stays as it is.

        Raises Superseded where a higher generation was written here.
        """
        there = self.generation(delivery.registry)
        if there > delivery.generation:
            raise Superseded(f"the secret {self.place} has generation {there} already: nothing was written")
        entries = docker_auths.with_password(self.entries, delivery.endpoint, delivery.username, delivery.password)
        old = self.manifest["type"] == _OLD
        document = entries if old else {**self.document, "auths": entries}
        data, metadata = self.manifest.get("data"), self.manifest.get("metadata")
        return {
            **self.manifest,
            "metadata": {
                **(metadata if isinstance(metadata, dict) else {}),
                "annotations": {**self._metadata_map("annotations"), **_marks(delivery)},
            },
            "data": {
                **(data if isinstance(data, dict) else {}),
                _KEYS[str(self.manifest["type"])]: _encoded(document),
            },
        }

    def is_as(self, manifest: dict[str, object]) -> bool:
        """Whether this secret is already what `with_password` gave, however its JSON is written."""
        other = PullSecret.read(self.place, manifest)
        return self.document == other.document and self.manifest.get("metadata") == manifest.get("metadata")

    def warning(self) -> str:
        """Return who may write the old password back, or nothing.

        It stops nothing: whether an owner's source holds the old password a secret does not show (it may well be the
        very store that Rekey writes), and a pull works until the owner's next turn. What became of it `verify` sees.
        """
        owners = self._owners()
        if not owners:
            return ""
        return (
            f"the secret {self.place} is kept by {' and '.join(owners)}, which may write the old password back: let "
            "its source be the store, or take the secret out of its hands"
        )

    def _owners(self) -> list[str]:
        metadata = self.manifest.get("metadata")
        references = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
        owners = [
            f"its owner of kind {one.get('kind')}"
            for one in references or []
            if isinstance(one, dict) and (one.get("controller") is True or one.get("kind") in _WRITERS)
        ]
        labels, annotations = self._metadata_map("labels"), self._metadata_map("annotations")
        if labels.get("app.kubernetes.io/managed-by") == "Helm" or "meta.helm.sh/release-name" in annotations:
            owners.append("Helm")
        if any(str(key).startswith("argocd.argoproj.io/") for key in (*labels, *annotations)):
            owners.append("Argo CD")
        return owners

    def _items(self) -> list[tuple[str, object]]:
        return list(self.entries.items())

    def _metadata_map(self, name: str) -> dict[str, object]:
        metadata = self.manifest.get("metadata")
        found = metadata.get(name) if isinstance(metadata, dict) else None
        return found if isinstance(found, dict) else {}


def created(namespace: str, name: str, delivery: Delivery) -> dict[str, object]:
    """Return the manifest of a new pull secret with this one password."""
    auths = docker_auths.with_password({}, delivery.endpoint, delivery.username, delivery.password)
    return _manifest(namespace, name, auths, _marks(delivery))


def blank(namespace: str, name: str) -> dict[str, object]:
    """Return the manifest of a new pull secret without any password."""
    return _manifest(namespace, name, {}, {})


def _manifest(namespace: str, name: str, auths: dict[str, object], annotations: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": _NEW,
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "data": {_KEYS[_NEW]: _encoded({"auths": auths})},
    }


def _marks(delivery: Delivery) -> dict[str, str]:
    return {
        _annotation(delivery.registry, "generation"): str(delivery.generation),
        _annotation(delivery.registry, "rotation"): delivery.rotation,
    }


def _annotation(registry: str, what: str) -> str:
    """Return an annotation's name: one a registry, since several may share a pull secret."""
    return f"{registry}.rekey.dev/{what}"


def _encoded(document: object) -> str:
    return base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()
