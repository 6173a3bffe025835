"""How a cluster is entered: where its API server is, whom to trust there, and with which bearer token."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import boto3
from botocore.signers import RequestSigner

from rekey import aws
from rekey.consumers.shard import Shard
from rekey.errors import CredentialUnusable, Denied, NotFound, Unfit, Unintelligible
from rekey.model.origin import Origin
from rekey.model.plan import EksCluster, KubernetesPullSecret, ServerCluster
from rekey.settings import Settings

_URL_SECONDS = 60
_TOKEN_GOOD_FOR = timedelta(minutes=10)
"""A presigned URL proves who asks for 15 minutes from its X-Amz-Date, whatever its own X-Amz-Expires says
(https://github.com/kubernetes-sigs/aws-iam-authenticator, pkg/token)."""


@dataclass(frozen=True)
class Entrance:
    """One cluster, entered."""

    url: str
    ca: str | None
    token: str = field(repr=False)
    renew_at: datetime | None = None
    """When the token is to be made anew; None where it is given to us."""


class ClusterAccess:
    """The entrance to a cluster, made once a shard and renewed in time."""

    def __init__(self, part: KubernetesPullSecret, shard: Shard) -> None:
        self._shard = shard
        self._cluster = part.cluster
        if isinstance(part.cluster, EksCluster):
            self.service = f"the EKS cluster {part.cluster.eks}"
            self.mend = (
                "give this function's role an access entry in the cluster, bound to a group that may get and update "
                "these secrets"
            )
        else:
            self.service = f"the cluster {Origin.parse(part.cluster.server).netloc}"
            self.mend = f"put a token that is good into the secret {part.cluster.token.secret}"
        self._key = f"entrance to {self.service}"

    async def current(self) -> Entrance:
        """Return the entrance. Raises CredentialUnusable, Denied, NotFound, Unfit, Unintelligible, Unreachable."""
        return await self._shard.once(self._key, self._enter, self._lasts)

    def renew(self, refused: Entrance) -> bool:
        """Let `current` make a new token after the cluster refused this one; False where it is given to us."""
        if refused.renew_at is None:
            return False
        self._shard.forget(self._key, refused)
        return True

    def _lasts(self, entrance: Entrance) -> bool:
        return entrance.renew_at is None or self._shard.now() < entrance.renew_at

    async def _enter(self) -> Entrance:
        if isinstance(self._cluster, ServerCluster):
            server = self._cluster.server
            return Entrance(server, self._cluster.ca, self._shard.credential(self._cluster.token, server).token)
        return _enter_eks(self._cluster.eks, self.service, self._shard.now)


def _enter_eks(name: str, service: str, now: Callable[[], datetime]) -> Entrance:
    """Ask EKS where the cluster is. It blocks, as reading a credential does, and for the same reason."""
    client = aws.client("eks")
    try:
        with aws.answering(service):
            described = client.describe_cluster(name=name)
    except NotFound:
        raise NotFound(
            f"{service} does not exist in {client.meta.region_name}{_of_account()}: mend `cluster.eks` in the plan, or "
            "enter a cluster that is elsewhere by `cluster.server` and `cluster.token`"
        ) from None
    except Denied as denied:
        raise Denied(f"{denied}: allow {aws.our_role()} eks:DescribeCluster on it") from None
    cluster = described.get("cluster", {})
    try:
        url = str(cluster["endpoint"])
        Origin.parse(url)
        ca = base64.b64decode(str(cluster["certificateAuthority"]["data"]), validate=True).decode()
    except (KeyError, ValueError, binascii.Error):
        raise Unfit(f"{service} has no endpoint yet: it is being created, or it failed") from None
    return Entrance(url, ca, _eks_token(name), now() + _TOKEN_GOOD_FOR)


def _of_account() -> str:
    """Return whose clusters are looked for, in words: the functions' environment has the account in an ARN."""
    _, _, account = Settings.from_env().state_machine_arn.partition(":states:")
    return f" of the account {account.split(':')[1]}" if account else ""


def _eks_token(cluster: str) -> str:
    """Return what `aws eks get-token` gives: a presigned GetCallerIdentity that names the cluster."""
    session = boto3.session.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise CredentialUnusable("there are no AWS credentials to enter the EKS cluster with")
    sts = aws.client("sts")
    region = sts.meta.region_name
    signer = RequestSigner(sts.meta.service_model.service_id, region, "sts", "v4", credentials, session.events)
    url = signer.generate_presigned_url(
        {
            "method": "GET",
            "url": f"{sts.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {"x-k8s-aws-id": cluster},
            "context": {},
        },
        operation_name="",
        region_name=region,
        expires_in=_URL_SECONDS,
    )
    if not isinstance(url, str):
        raise Unintelligible("botocore signed no URL")
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
