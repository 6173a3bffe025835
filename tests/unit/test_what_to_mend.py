"""What AWS refuses or does not have: the error says whose right, in which place, and what of ours decides it."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import pytest

from rekey import aws
from rekey.consumers.kubernetes_access import ClusterAccess
from rekey.consumers.shard import Shard
from rekey.errors import Denied, NotFound, RekeyError, Unfit
from rekey.model.plan import EksCluster, KubernetesPullSecret, ManualRegistry, SecretsManagerStore
from rekey.model.rotation import Attempt, AttemptKind
from rekey.secrets import Secrets
from rekey.stores import secrets_manager
from tests.sandbox import aws_faults
from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from tests.unit.bare_stack import BareStack

ROLE = "the role of the function rekey-test-it"
REGISTRY = ManualRegistry(
    name="prod-images", type="manual", endpoint="registry.example.com", username="robot", where="the console"
)


@pytest.fixture(autouse=True)
def function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "rekey-test-it")


@pytest.mark.parametrize("action", ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"])
def test_a_store_that_is_denied(opened: BareStack, action: str) -> None:
    name = f"registries/{opened.new_registry()}"
    opened.aws.client("secretsmanager").create_secret(Name=name)
    store = secrets_manager.SecretsManagerStore(SecretsManagerStore(type="secrets-manager", name=name), REGISTRY)
    opened.aws.faults.add(f"secretsmanager:{action}", aws_faults.refuse(), times=None)
    with pytest.raises(Denied) as caught:
        store.check(secrets.token_hex(32))
    said = str(caught.value)
    assert said.startswith(f"secretsmanager:{action} on the secret {name}: AccessDenied")
    assert f"{ROLE} may use secrets whose names begin as the stack's parameter StoreSecretPrefix says" in said


@pytest.mark.parametrize("operation", ["kms:Encrypt", "kms:Decrypt", "dynamodb:TransactWriteItems", "dynamodb:GetItem"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDeniedException", Denied), ("ResourceNotFoundException", NotFound), ("DisabledException", Unfit)],
)
def test_an_escrow_that_cannot_be_used(opened: BareStack, operation: str, code: str, kind: type[RekeyError]) -> None:
    probe = Attempt(
        registry=opened.new_registry(),
        generation=1,
        number=0,
        kind=AttemptKind.RESET,
        nonce="n",
        deadline=datetime(2026, 1, 31, 2, tzinfo=UTC),
    )
    opened.aws.faults.add(operation, aws_faults.refuse(code), times=None)
    with pytest.raises(kind) as caught:
        opened.escrow.check(probe)
    said = str(caught.value)
    assert f": {code}: {ROLE} needs the rights" in said
    assert "EscrowTable" in said
    assert "EscrowKey" in said


class NoEks(HttpServer):
    """Amazon EKS, where no cluster is, or none that may be seen."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__()
        self._answer = Response.json({"message": "no"}, status, {"x-amzn-ErrorType": code})

    def act(self, request: Request) -> Response:  # noqa: ARG002 (whatever is asked)
        return self._answer


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (
            404,
            "ResourceNotFoundException",
            NotFound,
            "the EKS cluster prod does not exist in eu-west-1 of the account 111122223333: mend `cluster.eks`",
        ),
        (
            403,
            "AccessDeniedException",
            Denied,
            f"the EKS cluster prod: AccessDeniedException: allow {ROLE} eks:DescribeCluster on it",
        ),
    ],
)
def test_an_eks_cluster_that_is_not_to_be_found(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[RekeyError], said: str
) -> None:
    machine = "arn:aws:states:eu-west-1:111122223333:stateMachine:rekey-rotation"
    for name, value in {
        "REKEY_STATE_MACHINE_ARN": machine,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, value)
    part = KubernetesPullSecret(
        name="prod", type="kubernetes-pull-secret", cluster=EksCluster(eks="prod"), secrets=("shop/registry",)
    )

    async def enter() -> None:
        vault = Secrets(REGISTRY.name, boto3.client("secretsmanager"))
        async with Shard(REGISTRY, vault, lambda: datetime.now(UTC)) as shard:
            await ClusterAccess(part, shard).current()

    with NoEks(status, code) as eks:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EKS", eks.url)
        aws.client.cache_clear()
        try:
            with pytest.raises(kind) as caught:
                asyncio.run(enter())
        finally:
            aws.client.cache_clear()
    assert str(caught.value).startswith(said)
