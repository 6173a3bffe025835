"""AWS Secrets Manager: the candidate under AWSPENDING, the password in force under AWSCURRENT.

A version's id is the token it was written under. Every read names a version or a stage. What AWS does is from
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html and
API_UpdateSecretVersionStage.html beside it.
"""

import hashlib
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rekey import aws
from rekey.contracts import Candidate, Stored
from rekey.errors import Conflict, Denied, FormatUnknown, NotFound, Superseded, Unfit, Unreachable
from rekey.model import plan
from rekey.model.names import Generation, StoreVersion
from rekey.stores import secret_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

_CURRENT, _PENDING, _PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
_CHECK = "REKEY_CHECK"
"""The label under which a check writes. It is taken off again, which proves the right that promoting needs."""
_UNPROVEN = "REKEY_UNPROVEN"
"""The label of a version that the registry has not accepted yet: readers get it with the value, in `VersionStages`."""
_PROMOTED = "REKEY_PROMOTED"
"""The label of what Rekey put in force last. It stays there whatever a person writes since."""
_TOKEN = re.compile("[0-9a-f]{64}")
"""The id of every version that Rekey put. What a person saves keeps the fields in the value, and gets another id."""
_ROUNDS = 5
"""How often promoting looks again because somebody else wrote in between."""


class SecretsManagerStore:
    """One secret. It must exist: who may read it is decided where it is made."""

    def __init__(
        self,
        part: plan.SecretsManagerStore,
        registry: plan.RegistryPart,
        client: "SecretsManagerClient | None" = None,
    ) -> None:
        self._name = part.name
        self._registry = registry.name
        self._client: SecretsManagerClient = client or aws.client("secretsmanager")
        self.reference: Mapping[str, str] = {
            "type": part.type,
            "name": part.name,
            "region": self._client.meta.region_name,
        }

    def check(self, token: str) -> None:
        """Prove the rights to write, to read and to move a stage, with a value that is no password.

        Readers never see it: they read AWSCURRENT, and get it there only where nothing was in force before.
        """
        self._refuse_unfit(self._describe())
        self.current()
        version = _derived("check", token)
        self._put(version, secret_value.placeholder(self._registry), _CHECK)
        kept = self._value(version)
        if kept is None:
            raise Unreachable(f"{self._what}: a value that was just written cannot be read back yet")
        if not secret_value.is_placeholder(secret_value.parsed(kept)):
            raise Conflict(f"{self._what}: version {version} holds what no check wrote")
        holder = _holder(self._describe(), _CHECK)
        if holder is not None:
            self._take_off(_CHECK, holder)

    def current(self) -> Stored | None:
        """Return the password in force; None where there is none, or a placeholder.

        Raises Unfit for a value in another shape: consumers read `username` and `password` out of JSON, and whoever
        reads a bare text today would read JSON tomorrow.
        """
        found = self._get(VersionStage=_CURRENT)
        if found is None:
            return None
        version, text = found
        return None if secret_value.is_placeholder(secret_value.parsed(text)) else self._stored(version, text)

    def last_promoted(self) -> Stored | None:
        """Return what is in force, or what Rekey put there last where a person wrote since."""
        found = self._last(self._describe())
        return None if found is None else self._stored(*found)

    def stage(self, candidate: Candidate, token: str) -> StoreVersion:
        """Write the candidate under AWSPENDING and read it back. `token`: 32 to 64 characters.

        The first version ever put is in force at once, whatever stage is asked for: a new secret gets a placeholder.
        """
        if _holder(self._describe(), _CURRENT) is None:
            self._put(_derived("placeholder", token), secret_value.placeholder(self._registry), _CHECK)
        self._put(token, secret_value.of(candidate), _PENDING)
        kept = self.find(token)
        if kept is None:
            raise Unreachable(f"{self._what}: the candidate that was just written cannot be read back yet")
        if (kept.password, kept.generation) != (candidate.password, candidate.generation):
            raise Conflict(f"{self._what}: version {token} exists with another value")
        return kept.version

    def find(self, token: str) -> Stored | None:
        """Return the candidate that was staged under this token, or None."""
        text = self._value(token)
        return None if text is None else self._stored(token, text)

    def read(self, version: StoreVersion) -> Stored:
        """Return one version. Raises NotFound where AWS does not have it (any more)."""
        found = self.find(version)
        if found is None:
            raise NotFound(f"{self._what} has no version {version} (any more)")
        return found

    def promote(self, version: StoreVersion, over: StoreVersion | None, *, proven: bool = True) -> None:
        """Move AWSCURRENT from `over` to this version, or from whatever lower generation is in force."""
        if not proven:
            self._put_on(_UNPROVEN, version)
        for _ in range(_ROUNDS):
            if over is not None and self._moved(version, over):
                break
            over = self._in_the_way(version)
            if over is None:
                break
        else:
            raise Conflict(f"{self._what}: others keep changing what is in force")
        self._clean_up(version)

    def mark_proven(self, version: StoreVersion) -> None:
        """Take the mark off this version."""
        self._take_off(_UNPROVEN, version)

    @property
    def _what(self) -> str:
        return f"the secret {self._name}"

    @contextmanager
    def _answering(self, operation: str) -> "Iterator[None]":
        """Turn botocore's errors into ours; a refusal says where rights are given."""
        try:
            with aws.answering(f"secretsmanager:{operation} on {self._what}"):
                yield
        except Denied as denied:
            raise Denied(
                f"{denied}: {aws.our_role()} may use secrets whose names begin as the stack's parameter "
                "StoreSecretPrefix says; where this one's does, let that role use the secret's own KMS key too"
            ) from None

    def _moved(self, version: StoreVersion, over: StoreVersion) -> bool:
        """Whether AWSCURRENT moved. AWS has no error of its own for "somebody was faster": a parameter is invalid."""
        try:
            with self._answering("UpdateSecretVersionStage"):
                self._client.update_secret_version_stage(
                    SecretId=self._name, VersionStage=_CURRENT, MoveToVersionId=version, RemoveFromVersionId=over
                )
        except Unfit:
            return False
        return True

    def _in_the_way(self, version: StoreVersion) -> StoreVersion | None:
        """Return the version in force that this one may replace; None where this one is in force.

        Raises Superseded where a higher generation is in force, NotFound where this version is gone. A value in another
        shape, put there by hand since the check, is replaced: a password that works goes before it.
        """
        described = self._describe()
        holder = _holder(described, _CURRENT)
        if holder == version:
            return None
        mine = self.read(version).generation
        if holder is None:
            raise Unfit(f"{self._what} has no version in force that another could follow")
        last = self._last(described)
        theirs = _generation(*last) if last else 0
        if theirs > mine:
            raise Superseded(f"{self._what} holds generation {theirs}, and this is {mine}")
        return holder

    def _last(self, described: "DescribeSecretResponseTypeDef") -> tuple[StoreVersion, str] | None:
        """Return version and text of the value in force; where that says no generation, of the last one that does.

        The label may not have come there yet: then what was in force before has it.
        """
        found: dict[int, tuple[StoreVersion, str]] = {}
        for stage in (_CURRENT, _PROMOTED, _PREVIOUS):
            holder = _holder(described, stage)
            text = self._value(holder) if holder else None
            generation = _generation(holder, text) if holder and text else 0
            if holder and text and generation:
                found[generation] = (holder, text)
            if found and stage == _CURRENT:
                break
        return found[max(found)] if found else None

    def _put_on(self, label: str, version: StoreVersion) -> None:
        """Put a label on a version, and take it off any other."""
        holder = _holder(self._describe(), label)
        if holder == version:
            return
        with self._answering("UpdateSecretVersionStage"):
            self._client.update_secret_version_stage(
                SecretId=self._name,
                VersionStage=label,
                MoveToVersionId=version,
                **({} if holder is None else {"RemoveFromVersionId": holder}),
            )

    def _clean_up(self, version: StoreVersion) -> None:
        """Take AWSPENDING off what is in force now, which would keep RotateSecret from ever starting; note what it is.

        The password is in force: a label that stays, or does not come, is no reason to hold back its delivery.
        """
        try:
            self._take_off(_PENDING, version)
            self._put_on(_PROMOTED, version)
        except (Unreachable, Unfit):  # Unfit: somebody else moved the label in between
            return

    def _take_off(self, stage: str, version: str) -> None:
        try:
            with self._answering("UpdateSecretVersionStage"):
                self._client.update_secret_version_stage(
                    SecretId=self._name, VersionStage=stage, RemoveFromVersionId=version
                )
        except Unfit:
            return  # it is not there (any more): a later candidate or another check has it

    def _put(self, token: str, document: secret_value.Document, stage: str) -> None:
        """Write a version. Does nothing where it exists, with this value or with another: who writes reads it back."""
        try:
            with self._answering("PutSecretValue"):
                self._client.put_secret_value(
                    SecretId=self._name,
                    ClientRequestToken=token,
                    SecretString=secret_value.text(document),
                    VersionStages=[stage],
                )
        except NotFound:
            raise self._missing() from None
        except Conflict:
            return

    def _value(self, version: str) -> str | None:
        found = self._get(VersionId=version)
        return None if found is None else found[1]

    def _get(self, **which: str) -> tuple[str, str] | None:
        """Return a version's id and text, or None where the secret has no such version.

        AWS says the same of a secret that does not exist; that one raises NotFound. A binary value is an empty text.
        """
        try:
            with self._answering("GetSecretValue"):
                found = self._client.get_secret_value(SecretId=self._name, **which)
        except NotFound:
            self._describe()
            return None
        return found["VersionId"], found.get("SecretString", "")

    def _describe(self) -> "DescribeSecretResponseTypeDef":
        try:
            with self._answering("DescribeSecret"):
                return self._client.describe_secret(SecretId=self._name)
        except NotFound:
            raise self._missing() from None

    def _missing(self) -> NotFound:
        return NotFound(
            f"{self._what} does not exist: make it, without a value, with "
            f"`aws secretsmanager create-secret --name {self._name}`"
        )

    def _refuse_unfit(self, described: "DescribeSecretResponseTypeDef") -> None:
        """Raise Unfit for a secret that somebody else writes, or that nobody can write."""
        region, problem = described.get("PrimaryRegion"), ""
        if described.get("DeletedDate"):
            problem = f"is to be deleted: `aws secretsmanager restore-secret --secret-id {self._name}`"
        elif described.get("OwningService"):
            problem = f"belongs to {described['OwningService']}: name a secret of your own in the plan"
        elif described.get("RotationEnabled"):
            problem = f"rotates by itself: `aws secretsmanager cancel-rotate-secret --secret-id {self._name}`"
        elif region and region != self._client.meta.region_name:
            problem = f"is a replica, which nobody can write: Rekey has to run in {region}"
        if problem:
            raise Unfit(f"{self._what} {problem}")

    def _stored(self, version: str, text: str) -> Stored:
        try:
            read = secret_value.read(secret_value.parsed(text), StoreVersion(version), self._registry)
        except (FormatUnknown, Unfit) as error:
            raise type(error)(f"{self._what}: {error}") from None
        return replace(read, generation=_generation(version, text))


def _generation(version: str, text: str) -> Generation:
    """Return the generation that a version is; 0 for what a person saved, though the value still names one."""
    ours = _TOKEN.fullmatch(version) is not None
    return secret_value.generation(secret_value.parsed(text)) if ours else Generation(0)


def _holder(described: "DescribeSecretResponseTypeDef", stage: str) -> StoreVersion | None:
    """Return the version that has a stage."""
    versions = described.get("VersionIdsToStages", {})
    return next((StoreVersion(version) for version, stages in versions.items() if stage in stages), None)


def _derived(purpose: str, token: str) -> str:
    return hashlib.sha256(f"{purpose} {token}".encode()).hexdigest()
