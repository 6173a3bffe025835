"""The sandbox's Secrets Manager keeps AWS's rules on versions and stages."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws import AwsSandbox
from tests.sandbox.aws_secrets import strict_secrets_manager

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from types_boto3_secretsmanager import SecretsManagerClient

    from tests.sandbox.aws import Repair

NAME = "registries/one"
OLD, NEW = secrets.token_hex(16), secrets.token_hex(16)


@contextmanager
def manager(repairs: Sequence[Repair] = (strict_secrets_manager,)) -> Iterator[SecretsManagerClient]:
    with AwsSandbox(repairs=repairs) as aws:
        client = aws.client("secretsmanager")
        client.create_secret(Name=NAME)
        yield client


@contextmanager
def with_a_pending_version(
    repairs: Sequence[Repair] = (strict_secrets_manager,),
) -> Iterator[SecretsManagerClient]:
    with manager(repairs) as client:
        stage(client, OLD, "old", "AWSCURRENT")
        stage(client, NEW, "new", "AWSPENDING")
        yield client


@pytest.fixture
def client() -> Iterator[SecretsManagerClient]:
    with with_a_pending_version() as client:
        yield client


def stage(client: SecretsManagerClient, token: str, value: str, name: str) -> None:
    client.put_secret_value(SecretId=NAME, ClientRequestToken=token, SecretString=value, VersionStages=[name])


def test_who_writes_moves_no_label_but_awss_own(client: SecretsManagerClient) -> None:
    """Nobody but who names a label takes it off a version."""
    client.update_secret_version_stage(SecretId=NAME, VersionStage="OURS", MoveToVersionId=OLD)
    for value in ("another", "and one more"):
        client.put_secret_value(SecretId=NAME, SecretString=value)
    staged = client.describe_secret(SecretId=NAME)["VersionIdsToStages"]
    assert staged[OLD] == ["OURS"]
    assert staged[NEW] == ["AWSPENDING"]
    stage(client, secrets.token_hex(16), "named", "OURS")
    assert "OURS" not in client.describe_secret(SecretId=NAME)["VersionIdsToStages"].get(OLD, [])


def promote(client: SecretsManagerClient) -> None:
    client.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=NEW, RemoveFromVersionId=OLD
    )


def stages(client: SecretsManagerClient) -> dict[str, set[str]]:
    versions = client.describe_secret(SecretId=NAME)["VersionIdsToStages"]
    return {{OLD: "old", NEW: "new"}[version]: set(labels) for version, labels in versions.items()}


def current(client: SecretsManagerClient) -> str:
    return client.get_secret_value(SecretId=NAME)["SecretString"]


def test_promote_moves_current_and_previous(client: SecretsManagerClient) -> None:
    promote(client)
    assert stages(client) == {"old": {"AWSPREVIOUS"}, "new": {"AWSCURRENT", "AWSPENDING"}}
    assert current(client) == "new"


def test_moto_alone_returns_the_old_value_after_a_promote() -> None:
    """Fails when moto returns the current one: then that part of the layer can go."""
    with with_a_pending_version(repairs=()) as client:
        promote(client)
        assert current(client) == "old"


def test_a_version_is_never_overwritten(client: SecretsManagerClient) -> None:
    with pytest.raises(client.exceptions.ResourceExistsException):
        stage(client, NEW, "another", "AWSPENDING")
    assert client.get_secret_value(SecretId=NAME, VersionId=NEW)["SecretString"] == "new"


def test_moto_alone_overwrites_a_pending_version() -> None:
    """Fails when moto refuses: then that part of the layer can go."""
    with with_a_pending_version(repairs=()) as client:
        stage(client, NEW, "another", "AWSPENDING")
        assert client.get_secret_value(SecretId=NAME, VersionId=NEW)["SecretString"] == "another"


def test_the_same_value_again_changes_nothing(client: SecretsManagerClient) -> None:
    promote(client)
    stage(client, NEW, "new", "AWSPENDING")
    assert stages(client) == {"old": {"AWSPREVIOUS"}, "new": {"AWSCURRENT", "AWSPENDING"}}


def test_the_first_version_becomes_current_at_once() -> None:
    with manager() as client:
        stage(client, OLD, "old", "AWSPENDING")
        assert stages(client) == {"old": {"AWSCURRENT", "AWSPENDING"}}
        assert current(client) == "old"


def test_a_secret_without_versions_has_no_value() -> None:
    with manager() as client:
        for options in ({}, {"VersionStage": "AWSCURRENT"}, {"VersionStage": "AWSPENDING"}, {"VersionId": OLD}):
            with pytest.raises(client.exceptions.ResourceNotFoundException):
                client.get_secret_value(SecretId=NAME, **options)


@pytest.mark.parametrize(
    "move",
    [
        {"MoveToVersionId": NEW},
        {"MoveToVersionId": NEW, "RemoveFromVersionId": NEW},
        {"MoveToVersionId": secrets.token_hex(16), "RemoveFromVersionId": OLD},
        {"RemoveFromVersionId": OLD},
    ],
    ids=["from nowhere", "from another", "to nowhere", "only removed"],
)
def test_a_promote_that_does_not_fit_changes_nothing(client: SecretsManagerClient, move: dict[str, str]) -> None:
    before = stages(client)
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.update_secret_version_stage(SecretId=NAME, VersionStage="AWSCURRENT", **move)
    assert stages(client) == before


def test_a_promote_sent_twice_is_refused_the_second_time(client: SecretsManagerClient) -> None:
    """So AWS tells a caller whose first answer was lost: the label is no longer where it says."""
    promote(client)
    with pytest.raises(client.exceptions.InvalidParameterException):
        promote(client)
    assert current(client) == "new"


def test_moto_alone_takes_the_label_away_before_it_refuses() -> None:
    """Fails when moto checks first: then that part of the layer can go."""
    with with_a_pending_version(repairs=()) as client:
        with pytest.raises(ClientError):
            client.update_secret_version_stage(
                SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=secrets.token_hex(16), RemoveFromVersionId=OLD
            )
        assert stages(client) == {"old": set(), "new": {"AWSPENDING"}}


def test_of_many_promotes_over_one_version_one_wins(client: SecretsManagerClient) -> None:
    tokens = [secrets.token_hex(16) for _ in range(20)]
    for token in tokens:
        stage(client, token, token, "AWSPENDING")

    def win(token: str) -> bool:
        with suppress(client.exceptions.InvalidParameterException):
            client.update_secret_version_stage(
                SecretId=NAME, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=OLD
            )
            return True
        return False

    with ThreadPoolExecutor(20) as pool:
        winners = [token for token, won in zip(tokens, pool.map(win, tokens), strict=True) if won]
    assert winners == [current(client)]


def test_another_label_moves_only_from_where_it_is(client: SecretsManagerClient) -> None:
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.update_secret_version_stage(SecretId=NAME, VersionStage="AWSPENDING", MoveToVersionId=OLD)
    client.update_secret_version_stage(SecretId=NAME, VersionStage="AWSPENDING", RemoveFromVersionId=NEW)
    assert stages(client) == {"old": {"AWSCURRENT"}}
    promote(client)
    assert stages(client) == {"old": {"AWSPREVIOUS"}, "new": {"AWSCURRENT"}}


def test_a_current_put_after_a_promote_leaves_one_current(client: SecretsManagerClient) -> None:
    promote(client)
    client.update_secret_version_stage(SecretId=NAME, VersionStage="AWSPENDING", RemoveFromVersionId=NEW)
    client.put_secret_value(SecretId=NAME, SecretString="newest")
    labels = client.describe_secret(SecretId=NAME)["VersionIdsToStages"].values()
    assert sorted(label for several in labels for label in several) == ["AWSCURRENT", "AWSPREVIOUS"]
    assert current(client) == "newest"
