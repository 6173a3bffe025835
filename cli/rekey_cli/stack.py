"""Finds a deployed stack: what its table, bucket and bus are called, and whether we may speak to AWS at all.

Names come from the stack's outputs. Where the environment has them, as the functions' does, they are taken from there:
so the command line also works against a sandbox. A stack that is named on the command line is always looked up.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Protocol, cast

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError, ProfileNotFound

from rekey import aws
from rekey.bus import Bus
from rekey.errors import Denied, NotFound, PlanMissing, Unfit
from rekey.model.plan import Plan
from rekey.records.bucket import Bucket
from rekey.records.dynamo import Table
from rekey.records.escrow import Escrow
from rekey.records.ledger import Ledger
from rekey.records.plans import Plans
from rekey_cli.console import NotSignedIn

DEFAULT = "rekey"
StackName = Annotated[
    str | None,
    typer.Option(
        "--stack", "-s", metavar="NAME", help=f"Stack that Rekey was deployed as ({DEFAULT})", show_default=False
    ),
]

_SIGNED_OUT = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "RequestExpired"}
)
_SIGN_IN = "sign in, for example with `aws sso login`, or set AWS_PROFILE"


class _CloudFormation(Protocol):
    def describe_stacks(self, *, StackName: str) -> Mapping[str, Any]:  # noqa: N803 (AWS's spelling)
        """https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html."""


class Stack:
    """One deployed Rekey. Looks up what it is asked for, once."""

    def __init__(self, name: str | None, env: Mapping[str, str] | None = None) -> None:
        self._env = {} if name else (os.environ if env is None else env)
        self.name = name or self._env.get("REKEY_STACK") or DEFAULT
        _check_signed_in()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return Ledger(Table(self._named("REKEY_LEDGER_TABLE", "LedgerTable")))

    @cached_property
    def escrow(self) -> Escrow:
        """The escrow, to put into."""
        table = Table(self._named("REKEY_ESCROW_TABLE", "EscrowTable"))
        return Escrow(table, self._named("REKEY_ESCROW_KEY_ID", "EscrowKey"))

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket."""
        return Bucket(self._named("REKEY_BUCKET", "Bucket"))

    @cached_property
    def plans(self) -> Plans:
        """The pushed plans."""
        return Plans(self.bucket)

    def plan(self, registry: str) -> Plan:
        """Return a registry's plan. Raises PlanMissing, with the nearest name there is; Denied; PlanInvalid."""
        try:
            return self.plans.pushed(registry)[0]
        except PlanMissing:
            raise self.unknown(registry) from None

    def unknown(self, registry: str) -> PlanMissing:
        """Return the error that says a registry has no plan, and which name may have been meant."""
        near: list[str] = []
        with suppress(Denied):
            near = get_close_matches(registry, self.plans.registries(), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`rekey plan push FILE` makes one"
        return PlanMissing(f"the stack {self.name} has no plan for {registry}: {hint}")

    @cached_property
    def bus(self) -> Bus:
        """Rekey's own bus."""
        return Bus(self._named("REKEY_BUS", "Bus"))

    def _named(self, variable: str, output: str) -> str:
        given = self._env.get(variable)
        if given:
            return given
        if output not in self._outputs:
            raise Unfit(f"the stack {self.name} has no output `{output}`: is it a Rekey of this release?")
        return self._outputs[output]

    @cached_property
    def _outputs(self) -> Mapping[str, str]:
        client = cast("_CloudFormation", aws.client("cloudformation"))
        with answering(f"the stack {self.name}"):
            try:
                found = client.describe_stacks(StackName=self.name)["Stacks"]
            except ClientError as error:
                # CloudFormation says ValidationError for a stack that does not exist.
                if error.response.get("Error", {}).get("Code") != "ValidationError":
                    raise
                raise NotFound(
                    f"there is no stack {self.name} in {boto3.session.Session().region_name}: "
                    "name it with `--stack`, and the region with AWS_DEFAULT_REGION"
                ) from None
        return {str(one["OutputKey"]): str(one["OutputValue"]) for one in found[0].get("Outputs", [])}


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn botocore's errors into ours, those of a person who is not signed in into NotSignedIn."""
    with aws.answering(what):
        try:
            yield
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _SIGNED_OUT:
                raise NotSignedIn(f"AWS does not take these credentials (any more): {_SIGN_IN}") from None
            raise
        except (NoCredentialsError, PartialCredentialsError):
            raise NotSignedIn(f"no AWS credentials: {_SIGN_IN}") from None


def _check_signed_in() -> None:
    """Raise NotSignedIn where there are no credentials or no region. Asks nobody but this machine."""
    try:
        session = boto3.session.Session()
        region, credentials = session.region_name, session.get_credentials()
    except ProfileNotFound:
        raise NotSignedIn(
            "AWS_PROFILE names a profile that does not exist: see `aws configure list-profiles`"
        ) from None
    except BotoCoreError as error:
        raise NotSignedIn(f"the AWS credentials cannot be used ({type(error).__name__}): {_SIGN_IN}") from None
    if credentials is None:
        raise NotSignedIn(f"no AWS credentials: {_SIGN_IN}")
    if region is None:
        raise NotSignedIn("no AWS region: set AWS_DEFAULT_REGION, or `aws configure set region REGION`")
