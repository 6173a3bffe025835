"""Lets moto's Secrets Manager refuse what AWS refuses, and give back what AWS gives back.

Rules: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html and
API_UpdateSecretVersionStage.html there.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from moto.secretsmanager.exceptions import InvalidParameterException, ResourceExistsException, SecretNotFoundException
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend
from moto.secretsmanager.responses import SecretsManagerResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moto.core.common_types import TYPE_RESPONSE

CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"


@contextmanager
def strict_secrets_manager() -> Iterator[None]:
    """Within the context moto's Secrets Manager keeps AWS's rules on versions and stages, one request at a time."""
    lock = threading.Lock()
    call_action: Callable[[SecretsManagerResponse], TYPE_RESPONSE] = SecretsManagerResponse.call_action
    get, put = SecretsManagerBackend.get_secret_value, SecretsManagerBackend.put_secret_value

    def one_at_a_time(response: SecretsManagerResponse) -> TYPE_RESPONSE:
        with lock:
            return call_action(response)

    def current_unless_asked(
        backend: SecretsManagerBackend, secret_id: str, version_id: str, version_stage: str
    ) -> dict[str, object]:
        return get(backend, secret_id, version_id, version_stage if version_id or version_stage else CURRENT)

    def never_another_value(  # noqa: PLR0913, PLR0917 the parameters are moto's
        backend: SecretsManagerBackend,
        secret_id: str,
        secret_string: str,
        secret_binary: str,
        client_request_token: str,
        version_stages: list[str],
    ) -> str:
        secret = _secret(backend, secret_id)
        kept = secret.versions.get(client_request_token)
        if kept is None:
            labels = _labels(secret)
            answer = put(backend, secret_id, secret_string, secret_binary, client_request_token, version_stages)
            for label in labels.keys() - _labels(secret).keys():  # moto takes all of them off what was in force
                secret.versions[labels[label]]["version_stages"].append(label)
            return answer
        if (kept.get("secret_string"), kept.get("secret_binary")) != (secret_string, secret_binary):
            raise ResourceExistsException(
                f"You can't use ClientRequestToken {client_request_token} because that value is already in use"
            )
        return str(
            _secret(backend, secret_id).to_short_dict(include_version_stages=True, version_id=client_request_token)
        )

    with (
        mock.patch.object(SecretsManagerResponse, "call_action", one_at_a_time),
        mock.patch.object(SecretsManagerBackend, "get_secret_value", current_unless_asked),
        mock.patch.object(SecretsManagerBackend, "put_secret_value", never_another_value),
        mock.patch.object(SecretsManagerBackend, "update_secret_version_stage", _move_stage),
        mock.patch.object(FakeSecret, "_form_version_ids_to_stages", _staged_versions),
    ):
        yield


def _move_stage(
    backend: SecretsManagerBackend,
    secret_id: str,
    version_stage: str,
    remove_from_version_id: str | None,
    move_to_version_id: str | None,
) -> tuple[str, str]:
    secret = _secret(backend, secret_id)
    stages: dict[str, list[str]] = {version: kept["version_stages"] for version, kept in secret.versions.items()}
    holder = _checked_holder(stages, version_stage, remove_from_version_id, move_to_version_id)
    if holder == move_to_version_id:
        return secret.arn, secret.name
    if holder:
        stages[holder].remove(version_stage)
    if move_to_version_id:
        stages[move_to_version_id].append(version_stage)
    if version_stage == CURRENT:
        for kept in stages.values():
            kept[:] = [stage for stage in kept if stage != PREVIOUS]
        if holder:
            stages[holder].append(PREVIOUS)
        secret.set_default_version_id(move_to_version_id)
    return secret.arn, secret.name


def _checked_holder(
    stages: dict[str, list[str]], stage: str, remove_from: str | None, move_to: str | None
) -> str | None:
    for version in (remove_from, move_to):
        if version and version not in stages:
            raise InvalidParameterException(f"Not a valid version: {version}")
    holder = next((version for version, kept in stages.items() if stage in kept), None)
    if remove_from and remove_from != holder:
        raise InvalidParameterException(f"{stage} is not attached to version {remove_from}")
    if holder not in {None, remove_from, move_to}:
        raise InvalidParameterException(
            f"The parameter RemoveFromVersionId can't be empty: {stage} is attached to version {holder}"
        )
    if stage == CURRENT and not move_to:
        raise InvalidParameterException("You can only move AWSCURRENT to a different version, not remove it")
    return holder


def _secret(backend: SecretsManagerBackend, secret_id: str) -> FakeSecret:
    if secret_id not in backend.secrets:
        raise SecretNotFoundException
    secret = backend.secrets[secret_id]
    if not isinstance(secret, FakeSecret):
        raise InvalidParameterException("The sandbox has no replicas")
    return secret


def _labels(secret: FakeSecret) -> dict[str, str]:
    """Return the labels that are not AWS's own, and whose they are: only who names one moves it."""
    staged = _staged_versions(secret)
    return {label: version for version, labels in staged.items() for label in labels if not label.startswith("AWS")}


def _staged_versions(secret: FakeSecret) -> dict[str, list[str]]:
    return {version: kept["version_stages"] for version, kept in secret.versions.items() if kept["version_stages"]}
