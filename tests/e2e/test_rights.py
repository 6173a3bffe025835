"""Each function's role allows what the function does, and no more (DESIGN, section 7).

The sandbox asks no policy. So whatever a rotation may meet happens here once, and every call that a function made is
held against its role in the translated template. What the other tests made is looked at when their world closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.companies import about_secrets_manager
from tests.e2e.runs import Runs
from tests.sandbox import iam

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.front import Front
    from tests.sandbox.iam import Made, Rights
    from tests.sandbox.world import World

ALL = ("begin", "distribute", "notify", "report", "reset", "trigger", "verify")
KEPT: Mapping[tuple[str, str], tuple[str, ...]] = {
    # Lambda does these itself, with the function's role.
    ("Logs", "logs:CreateLogStream"): (*ALL, "webhook"),
    ("Logs", "logs:PutLogEvents"): (*ALL, "webhook"),
    ("Traces", "xray:PutTelemetryRecords"): (*ALL, "webhook"),
    ("Traces", "xray:PutTraceSegments"): (*ALL, "webhook"),
    ("WhatFailed", "sqs:SendMessage"): ("notify", "trigger"),
    # DynamoDB and SQS on the caller's behalf; which of the key's actions they need when, AWS does not say.
    ("UsesDataKey", "kms:DescribeKey"): ALL,
    ("UsesDataKey", "kms:Encrypt"): ALL,
    ("UsesDataKey", "kms:GenerateDataKey"): ("notify", "reset", "trigger", "verify"),
    # A file that is missing must read as missing, whoever looks for it: `Denied` would send a person to the policies.
    ("MissingIsNotForbidden", "s3:ListBucket"): ("distribute", "report", "reset", "verify"),
    # Asked where a version of the store's is gone: is it the version or the whole secret?
    ("Store", "secretsmanager:DescribeSecret"): ("distribute", "verify"),
    # More requests than one transaction closes.
    ("Ledger", "dynamodb:ConditionCheckItem"): ("report",),
    # A store in Vault: these runs keep their passwords in Secrets Manager. test_vault's are looked at as well.
    ("VaultLogin", "secretsmanager:GetSecretValue"): ("begin",),
    # A cluster of Amazon's own: none is played here.
    ("Clusters", "eks:DescribeCluster"): ("distribute",),
    # Designed, and not built yet: signed evidence.
    ("Signs", "kms:Sign"): ("report",),
}
"""Rights that none of these runs needs, each with who has it, and why it stays."""


@pytest.fixture(scope="module")
def rights(world: World) -> Rights:
    return iam.rights_of(world.cloud.template)


@pytest.fixture(scope="module")
def made(world: World, front: Front, webhook_key: str) -> Made:
    """Let everything happen, and return what the functions called."""
    before = len(world.cloud.requests)
    Runs(world, front, webhook_key).all()
    world.cloud.settle()
    return iam.made_in(world.cloud, world.cloud.requests[before:])


class TestEveryRun:
    def test_no_function_called_what_its_role_does_not_allow(self, rights: Rights, made: Made) -> None:
        denied = iam.forbidden(rights, made)
        assert not denied, "\n".join(denied)

    @about_secrets_manager
    def test_no_role_allows_what_no_function_calls(self, rights: Rights, made: Made) -> None:
        kept = {(function, *right) for right, functions in KEPT.items() for function in functions}
        assert iam.unused(rights, made) == kept

    @pytest.mark.parametrize(
        ("right", "resource"),
        [
            (("begin", "Rotations", "s3:GetObject"), "/rotations/"),
            (("begin", "Plans", "s3:GetObjectVersion"), "/plans/"),
            (("trigger", "Rotations", "s3:GetObject"), "/rotations/"),
            (("reset", "SealsAndOpens", "kms:Decrypt"), ":key/"),
            (("report", "NoLongerOpen", "dynamodb:DeleteItem"), "-ledger"),
            (("webhook", "SourceKeys", "secretsmanager:GetSecretValue"), "secret:rekey/webhook-soc-"),
        ],
    )
    def test_a_right_that_is_taken_away_is_missed(
        self, rights: Rights, made: Made, right: tuple[str, str, str], resource: str
    ) -> None:
        function, statement, action = right
        (name,) = [name for name in rights if name.endswith(f"-{function}")]
        without = [held for held in rights[name] if (held.statement, held.action) != (statement, action)]
        missed = iam.forbidden({**rights, name: without}, made)
        assert missed
        assert all(f"{function} may not {action} on " in said and resource in said for said in missed)
