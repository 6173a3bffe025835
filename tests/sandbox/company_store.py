"""Where a company's password is kept: a secret of Secrets Manager, or a path of a real Vault (vault_company)."""

from __future__ import annotations

import json
import secrets
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from tests.sandbox.aws_faults import Answer, error_answer, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_secretsmanager import SecretsManagerClient

    from tests.sandbox.aws import Cloud
    from tests.sandbox.aws_faults import Act, AwsRequest
    from tests.sandbox.wire import JsonObject

StoreKind = Literal["secrets-manager", "vault"]
_READ = """\
import boto3, json, sys
stored = boto3.client("secretsmanager").get_secret_value(SecretId=sys.argv[1])["SecretString"]
print(json.loads(stored)["password"], end="")"""


class CompanyStore(ABC):
    """The place of one company's password, as those see it who are not Rekey, and what can happen there."""

    part: JsonObject
    """The plan's `store`."""
    elsewhere: JsonObject
    """The plan's `store`, aimed at a place that does not exist."""
    not_there: str
    """What is said of `elsewhere`."""
    denial: str
    """What is said where nobody may write."""
    credentials: tuple[str, ...] = ()
    """What is shown to the store, by Rekey and by a reader: secrets of their own."""

    @abstractmethod
    def reading(self) -> tuple[Mapping[str, str], list[str]]:
        """Return how a person reads the password in a shell: the environment, and the command that prints it."""

    @abstractmethod
    def put(self, fields: Mapping[str, object]) -> None:
        """Put a value in force, as a person does by hand."""

    @abstractmethod
    def in_force(self) -> Mapping[str, Any]:
        """Return the fields that a reader sees. Raises LookupError where there are none."""

    @abstractmethod
    def is_unproven(self) -> bool:
        """Whether a reader is told that nobody has tried what he reads."""

    @abstractmethod
    def waiting(self) -> list[Mapping[str, Any]]:
        """Return the fields of every candidate that may still be put in force, or was and is left all the same."""

    @abstractmethod
    def everything(self) -> list[str]:
        """Return every value there is or was, as JSON."""

    @abstractmethod
    def look_up(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the fields that a webhook's reference points at, by nothing but that. Raises LookupError."""

    @abstractmethod
    def stagings(self) -> list[int]:
        """Return the requests that wrote a candidate, by their numbers in the wire's one sequence."""

    @abstractmethod
    def promotions(self) -> list[int]:
        """Return the requests that put a candidate in force, by their numbers."""

    @abstractmethod
    def overtake(self, fields: Mapping[str, object]) -> None:
        """Put a value in force as another Rekey does, with the generation that the fields say."""

    @abstractmethod
    def refuse_writing(self) -> Callable[[], int]:
        """Let nobody write, until `allow_writing`; returns what counts the refusals."""

    @abstractmethod
    def allow_writing(self) -> None:
        """Take that back."""

    @abstractmethod
    def quote_once(self) -> Callable[[], int]:
        """Refuse the next candidate, and quote it; returns what counts the refusals."""


class InSecretsManager(CompanyStore):
    """A secret, which exists and has no value yet."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self._cloud = cloud
        self._client = cloud.client("secretsmanager")
        self.name = name
        self.part = {"type": "secrets-manager", "name": name}
        self.elsewhere = {"type": "secrets-manager", "name": f"{name}-other"}
        self.not_there = "create-secret --name"
        self.denial = f"secretsmanager:PutSecretValue on the secret {name}: AccessDenied"
        self._client.create_secret(Name=name)

    def reading(self) -> tuple[Mapping[str, str], list[str]]:
        return {}, [sys.executable, "-c", _READ, self.name]

    def put(self, fields: Mapping[str, object]) -> None:
        self._client.put_secret_value(SecretId=self.name, SecretString=json.dumps(fields))

    def in_force(self) -> Mapping[str, Any]:
        return self._get(VersionStage="AWSCURRENT")

    def is_unproven(self) -> bool:
        return is_unproven(self._client, self.name)

    def waiting(self) -> list[Mapping[str, Any]]:
        versions = self._client.describe_secret(SecretId=self.name).get("VersionIdsToStages", {})
        return [self._get(VersionId=version) for version, stages in versions.items() if "AWSPENDING" in stages]

    def everything(self) -> list[str]:
        listed = self._client.list_secret_version_ids(SecretId=self.name, IncludeDeprecated=True)["Versions"]
        return [json.dumps(self._get(VersionId=version["VersionId"])) for version in listed]

    def look_up(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        return self._get(reference["name"], VersionId=reference["version"])

    def stagings(self) -> list[int]:
        return self._numbers("PutSecretValue", VersionStages=["AWSPENDING"])

    def promotions(self) -> list[int]:
        return self._numbers("UpdateSecretVersionStage", VersionStage="AWSCURRENT")

    def overtake(self, fields: Mapping[str, object]) -> None:
        token = secrets.token_hex(32)
        self._client.put_secret_value(SecretId=self.name, SecretString=json.dumps(fields), ClientRequestToken=token)

    def refuse_writing(self) -> Callable[[], int]:
        fault = self._cloud.faults.add("secretsmanager:PutSecretValue", refuse(), times=None, where=self.is_about())
        return lambda: fault.struck

    def allow_writing(self) -> None:
        self._cloud.faults.clear()

    def quote_once(self) -> Callable[[], int]:
        staging = self.is_about(VersionStages=["AWSPENDING"])
        fault = self._cloud.faults.add("secretsmanager:PutSecretValue", _quoting, where=staging)
        return lambda: fault.struck

    def is_about(self, **fields: object) -> Callable[[AwsRequest], bool]:
        """Return what picks the requests about this secret, with these fields."""

        def fits(request: AwsRequest) -> bool:
            body: dict[str, object] = json.loads(request.body)
            return bool(body.get("SecretId") == self.name and fields.items() <= body.items())

        return fits

    def _numbers(self, action: str, **fields: object) -> list[int]:
        fits = self.is_about(**fields)
        found = [one for one in self._cloud.requests if one.operation == f"secretsmanager:{action}"]
        return [one.order for one in found if fits(one)]

    def _get(self, name: str = "", **which: str) -> Mapping[str, Any]:
        try:
            text = self._client.get_secret_value(SecretId=name or self.name, **which)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            raise LookupError(name or self.name) from None
        fields: dict[str, Any] = json.loads(text)
        return fields


def is_unproven(client: SecretsManagerClient, name: str) -> bool:
    """Whether a reader of a secret is told that nobody has tried what he reads."""
    return "REKEY_UNPROVEN" in client.get_secret_value(SecretId=name)["VersionStages"]


def _quoting(request: AwsRequest, _act: Act) -> Answer:
    return error_answer(request.service, 400, "InvalidParameterException", f"cannot take {request.body.decode()}")
