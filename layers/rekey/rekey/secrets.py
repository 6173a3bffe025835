"""The one resolver of Rekey's own credentials.

A credential is a JSON object in Secrets Manager. Its fields `registries` and `hosts` say what it may be used for: a
plan that names the wrong credential, or aims the right one at another host, gets an error, and it goes nowhere.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rekey import aws
from rekey.errors import CredentialUnusable, Denied, NotFound, Unfit
from rekey.model.origin import Origin
from rekey.model.plan import CredentialRef

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

_BINDINGS = ("registries", "hosts")


class Credential:
    """The fields of one credential. Shows its name, never a value."""

    __slots__ = ("_fields", "name")

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        self.name = name
        self._fields = dict(fields)

    def __getitem__(self, field: str) -> str:
        """Return a field. Raises CredentialUnusable, naming it, where it is missing."""
        if field not in self._fields:
            raise CredentialUnusable(f"the secret {self.name} has no field `{field}`: add it")
        return self._fields[field]

    def __contains__(self, field: str) -> bool:
        return field in self._fields

    @property
    def token(self) -> str:
        """Its field `token`. Raises CredentialUnusable where it is missing, or no header can carry it."""
        from rekey import http  # noqa: PLC0415 (httpx takes its time: who shows a token has it loaded)

        token = self["token"]
        if http.bearer(token) is None:
            raise CredentialUnusable(f"the field `token` of the secret {self.name} is no token")
        return token

    def fields(self) -> Mapping[str, str]:
        """Return all fields, for a request that is filled in from them."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"<credential {self.name}>"


class Secrets:
    """Resolves credentials for one registry, each once."""

    def __init__(self, registry: str, client: "SecretsManagerClient | None" = None) -> None:
        self._registry = registry
        self._client: SecretsManagerClient = client or aws.client("secretsmanager")
        self._known: dict[str, Mapping[str, object]] = {}

    def resolve(self, ref: CredentialRef, url: str | None) -> Credential:
        """Return the credential for use at the server of `url`, or for checking what arrived here where that is None.

        Raises CredentialUnusable where it is missing, may not be read, is not a JSON object of texts, or is not bound
        to this registry and host; Unreachable where Secrets Manager does not answer.
        """
        name = ref.secret
        if name not in self._known:
            self._known[name] = self._fetch(name)
        document = self._known[name]
        bound = {"registries": self._registry}
        if url is not None:
            bound["hosts"] = Origin.parse(url).netloc
        for binding, wanted in bound.items():
            allowed = document.get(binding)
            if not isinstance(allowed, list):
                raise CredentialUnusable(
                    f'the secret {name} is bound to no {binding}: add "{binding}": ["{wanted}"] to it'
                )
            if not any(isinstance(pattern, str) and _covers(pattern, wanted) for pattern in allowed):
                raise CredentialUnusable(f"the secret {name} is not for {wanted}: its `{binding}` do not name it")
        fields = {key: value for key, value in document.items() if key not in _BINDINGS}
        wrong = [key for key, value in fields.items() if not isinstance(value, str)]
        if wrong:
            raise CredentialUnusable(f"the secret {name} has fields that are no texts: {', '.join(wrong)}")
        return Credential(name, {key: str(value) for key, value in fields.items()})

    def _fetch(self, name: str) -> Mapping[str, object]:
        try:
            with aws.answering(f"the secret {name}"):
                answer = self._client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
        except NotFound:
            raise CredentialUnusable(
                f"the secret {name} does not exist in Secrets Manager, or has no value: create it"
            ) from None
        except Denied:
            raise CredentialUnusable(
                f"the secret {name} may not be read: allow secretsmanager:GetSecretValue on it "
                "and kms:Decrypt on its key"
            ) from None
        except Unfit as error:
            raise CredentialUnusable(f"{error}: it cannot be read") from None
        try:
            document = json.loads(answer.get("SecretString", ""))
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise CredentialUnusable(
                f'the secret {name} is no JSON object: write {{"registries": […], "hosts": […], …}}'
            )
        return document


def _covers(pattern: str, wanted: str) -> bool:
    """Whether a binding names it. Compared as a text first: the brackets of an IPv6 address are no pattern."""
    return pattern == wanted or fnmatchcase(wanted, pattern.lower())
