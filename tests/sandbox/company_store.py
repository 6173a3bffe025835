"""Where a company's password is kept: a secret of Secrets Manager, or a path of a real Vault."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.aws import Cloud
    from tests.sandbox.vault_service import VaultService
    from tests.sandbox.wire import JsonObject

StoreKind = Literal["secrets-manager", "vault"]


class CompanyStore(ABC):
    """The place of one company's password, as those see it who are not Rekey."""

    part: JsonObject
    """The plan's `store`."""

    @abstractmethod
    def put(self, fields: Mapping[str, object]) -> None:
        """Put a value in force, as a person does by hand."""

    @abstractmethod
    def in_force(self) -> Mapping[str, Any]:
        """Return the fields that a reader sees. Raises LookupError where there are none."""

    @abstractmethod
    def waiting(self) -> list[Mapping[str, Any]]:
        """Return the fields of every candidate that was staged and is neither in force nor removed."""

    @abstractmethod
    def everything(self) -> list[str]:
        """Return every value there is or was, as text."""

    @abstractmethod
    def look_up(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the fields that a webhook's reference points at, by nothing but that. Raises LookupError."""


class InSecretsManager(CompanyStore):
    """A secret, which exists and has no value yet."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self._client = cloud.client("secretsmanager")
        self.name = name
        self.part = {"type": "secrets-manager", "name": name}
        self._client.create_secret(Name=name)

    def put(self, fields: Mapping[str, object]) -> None:
        self._client.put_secret_value(SecretId=self.name, SecretString=json.dumps(fields))

    def in_force(self) -> Mapping[str, Any]:
        return self._get(VersionStage="AWSCURRENT")

    def waiting(self) -> list[Mapping[str, Any]]:
        versions = self._client.describe_secret(SecretId=self.name).get("VersionIdsToStages", {})
        return [self._get(VersionId=version) for version, stages in versions.items() if "AWSPENDING" in stages]

    def everything(self) -> list[str]:
        listed = self._client.list_secret_version_ids(SecretId=self.name, IncludeDeprecated=True)["Versions"]
        return [json.dumps(self._get(VersionId=version["VersionId"])) for version in listed]

    def look_up(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        return self._get(reference["name"], VersionId=reference["version"])

    def _get(self, name: str = "", **which: str) -> Mapping[str, Any]:
        try:
            text = self._client.get_secret_value(SecretId=name or self.name, **which)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            raise LookupError(name or self.name) from None
        fields: dict[str, Any] = json.loads(text)
        return fields


class InVault(CompanyStore):
    """A path of the sandbox's Vault, where nothing is yet, and a login that may do what the README's policy allows."""

    def __init__(self, vault: VaultService, name: str, path: str) -> None:
        self._vault, self._path = vault, path
        self.login = vault.admit(f"rekey-{name}", path)
        self.reader = vault.reader(path)
        self.part = {
            "type": "vault",
            "address": vault.url,
            "mount": vault.mount,
            "path": path,
            "auth": {"approle": {"secret": f"rekey/vault-{name}"}},
        }

    def put(self, fields: Mapping[str, object]) -> None:
        self._vault.call("POST", f"{self._vault.mount}/data/{self._path}", {"data": dict(fields)})

    def in_force(self) -> Mapping[str, Any]:
        return self._vault.fields(self._path, token=self.reader)

    def waiting(self) -> list[Mapping[str, Any]]:
        return [self._vault.fields(f"rekey/{self._path}/{name}") for name in self._vault.names(f"rekey/{self._path}")]

    def everything(self) -> list[str]:
        return [json.dumps(fields) for fields in [*self._vault.history(self._path), *self.waiting()]]

    def look_up(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        """Read the latest version, and see that it is the one that was told."""
        if (reference["address"], reference["mount"]) != (self._vault.url, self._vault.mount):
            raise LookupError(reference["address"])
        fields = self._vault.fields(reference["path"], token=self.reader)
        if fields.get("version") != reference["version"]:
            raise LookupError(reference["version"])
        return fields
