"""A credential of Rekey's own goes where its own fields say, and nowhere else."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, TypeAlias

import pytest

from rekey.errors import CredentialUnusable, Unreachable
from rekey.model.plan import CredentialRef
from rekey.secrets import Secrets
from tests.sandbox import aws_faults
from tests.sandbox.aws import AwsSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = object
REF = CredentialRef(secret="rekey/api")  # noqa: S106 (the name of one)
READ = "secretsmanager:GetSecretValue"
URL = "https://api.example.com:8443/v1"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[AwsSandbox]:
    with AwsSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def aws(sandbox: AwsSandbox) -> AwsSandbox:
    for secret in sandbox.client("secretsmanager").list_secrets()["SecretList"]:
        sandbox.client("secretsmanager").delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)
    sandbox.faults.clear()
    sandbox.requests.clear()
    return sandbox


def resolver(aws: AwsSandbox, document: Json, registry: str = "prod-images") -> Secrets:
    text = document if isinstance(document, str) else json.dumps(document)
    aws.client("secretsmanager").create_secret(Name="rekey/api", SecretString=text)
    return Secrets(registry, aws.client("secretsmanager"))


def bound(registries: Json, hosts: Json, **fields: Json) -> Json:
    return {"registries": registries, "hosts": hosts, **fields}


@pytest.mark.parametrize(
    ("registries", "hosts"),
    [
        (["prod-images"], ["api.example.com:8443"]),
        (["other", "prod-*"], ["*.example.com:8443"]),
        (["*"], ["API.Example.com:8443"]),
    ],
)
def test_a_credential_that_is_bound_to_it_is_given(aws: AwsSandbox, registries: list[str], hosts: list[str]) -> None:
    token = secrets.token_hex(8)
    credential = resolver(aws, bound(registries, hosts, token=token)).resolve(REF, URL)
    assert credential["token"] == token
    assert credential.fields() == {"token": token}
    assert ("token" in credential, "email" in credential) == (True, False)


def test_the_brackets_of_an_address_are_no_pattern(aws: AwsSandbox) -> None:
    credential = resolver(aws, bound(["*"], ["[::1]:5000"], key="x")).resolve(REF, "http://[::1]:5000")
    assert credential["key"] == "x"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (bound(["staging"], ["*"], key="t0p"), "is not for prod-images: its `registries` do not name it"),
        (bound(["prod"], ["*"], key="t0p"), "is not for prod-images"),
        (bound(["*"], ["api.example.com"], key="t0p"), "is not for api.example.com:8443: its `hosts` do not"),
        (bound(["*"], ["other.example.com:8443"], key="t0p"), "is not for api.example.com:8443"),
        (bound(["*"], [], key="t0p"), "is not for api.example.com:8443"),
        (bound(["*"], [7], key="t0p"), "is not for api.example.com:8443"),
        ({"hosts": ["*"], "key": "t0p"}, r'bound to no registries: add "registries": \["prod-images"\]'),
        ({"registries": ["*"], "key": "t0p"}, r'bound to no hosts: add "hosts": \["api.example.com:8443"\]'),
        (bound("*", ["*"], key="t0p"), "bound to no registries"),
        (bound(["*"], ["*"], key="t0p", number=7), "fields that are no texts: number"),
        ("t0p", "is no JSON object"),
        ('["t0p"]', "is no JSON object"),
        ('{"key": "t0p"', "is no JSON object"),
        ("[" * 20_000, "is no JSON object"),
    ],
)
def test_anything_else_is_an_error_that_says_what_to_mend(aws: AwsSandbox, document: Json, says: str) -> None:
    """And that holds no value."""
    with pytest.raises(CredentialUnusable, match=f"^the secret rekey/api .*{says}") as caught:
        resolver(aws, document).resolve(REF, URL)
    assert "t0p" not in str(caught.value)


def test_a_missing_secret_is_named(aws: AwsSandbox) -> None:
    with pytest.raises(CredentialUnusable, match="rekey/api does not exist in Secrets Manager, or has no value"):
        Secrets("prod-images", aws.client("secretsmanager")).resolve(REF, URL)


def test_a_secret_without_a_value_is_named(aws: AwsSandbox) -> None:
    aws.client("secretsmanager").create_secret(Name="rekey/api")
    with pytest.raises(CredentialUnusable, match="rekey/api does not exist in Secrets Manager, or has no value"):
        Secrets("prod-images", aws.client("secretsmanager")).resolve(REF, URL)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", "may not be read: allow secretsmanager:GetSecretValue on it and kms:Decrypt"),
        ("DecryptionFailure", "may not be read"),
        ("InvalidRequestException", "InvalidRequestException: it cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named(aws: AwsSandbox, code: str, says: str) -> None:
    credentials = resolver(aws, bound(["*"], ["*"], key="x"))
    aws.faults.add(READ, aws_faults.refuse(code))
    with pytest.raises(CredentialUnusable, match=says):
        credentials.resolve(REF, URL)


def test_silence_of_secrets_manager_is_no_fault_of_the_credential(aws: AwsSandbox) -> None:
    credentials = resolver(aws, bound(["*"], ["*"], key="x"))
    aws.faults.add(READ, aws_faults.drop_before(), times=None)
    with pytest.raises(Unreachable, match="rekey/api"):
        credentials.resolve(REF, URL)


def test_each_is_fetched_once_and_checked_for_every_host(aws: AwsSandbox) -> None:
    credentials = resolver(aws, bound(["*"], ["a.example.com"], key="x"))
    assert credentials.resolve(REF, "https://a.example.com")["key"] == "x"
    with pytest.raises(CredentialUnusable, match=r"not for b\.example\.com"):
        credentials.resolve(REF, "https://b.example.com")
    assert [request.operation for request in aws.requests].count(READ) == 1


def test_the_version_in_force_is_asked_for(aws: AwsSandbox) -> None:
    resolver(aws, bound(["*"], ["*"], key="x")).resolve(REF, URL)
    read = next(request for request in aws.requests if request.operation == READ)
    assert json.loads(read.body)["VersionStage"] == "AWSCURRENT"


def test_a_credential_does_not_show_itself(aws: AwsSandbox) -> None:
    token = secrets.token_hex(8)
    credential = resolver(aws, bound(["*"], ["*"], token=token)).resolve(REF, URL)
    assert repr(credential) == str(credential) == "<credential rekey/api>"
    with pytest.raises(CredentialUnusable, match="has no field `email`: add it") as caught:
        credential["email"]
    assert token not in str(caught.value)
