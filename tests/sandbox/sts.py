"""AWS STS, as far as Vault's auth method AWS asks it: GetCallerIdentity, with its signature checked.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html. The signature is computed anew by
botocore, from the request as it arrived and the secret key that only the caller and this server know.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.sandbox.http_server import HttpServer
from tests.sandbox.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASKED = b"Action=GetCallerIdentity&Version=2011-06-15"
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/(?P<date>\d{8})/(?P<region>[a-z0-9-]+)/sts/aws4_request, "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_TOLERANCE = 15 * 60  # seconds


@dataclass(frozen=True)
class Role:
    """A role, in the hands of somebody who took it."""

    arn: str
    keys: Mapping[str, str] = field(repr=False)
    """The environment that holds its keys, as a Lambda function finds it."""


class Sts(HttpServer):
    """Answers who signed a request."""

    def __init__(self) -> None:
        super().__init__()
        self._roles: dict[str, Role] = {}

    def role(self, name: str, session: str) -> Role:
        """Return a role that somebody took."""
        keys = {
            "AWS_ACCESS_KEY_ID": f"SANDBOX{secrets.token_hex(6).upper()}",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
            "AWS_SESSION_TOKEN": secrets.token_hex(20),
        }
        taken = Role(f"arn:aws:sts::123456789012:assumed-role/{name}/{session}", keys)
        self._roles[keys["AWS_ACCESS_KEY_ID"]] = taken
        return taken

    def act(self, request: Request) -> Response:
        """Answer GetCallerIdentity."""
        signed = _SIGNED.fullmatch(request.headers.get("authorization", ""))
        role = self._roles.get(signed["key"]) if signed else None
        if request.body != _ASKED or signed is None or role is None or not _is_by(role, request, signed):
            return Response.text(
                "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>", 403
            )
        return Response.text(
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>{role.arn}</Arn><UserId>AROASANDBOX:session</UserId><Account>123456789012</Account>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>",
            200,
            "text/xml",
        )


def _is_by(role: Role, request: Request, signed: re.Match[str]) -> bool:
    """Whether the signature is the role's, over the headers that it names, and of now."""
    at = request.headers.get("x-amz-date", "")
    age = datetime.now(UTC) - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    names = signed["headers"].split(";")
    if (
        abs(age.total_seconds()) > _TOLERANCE
        or request.headers.get("x-amz-security-token") != role.keys["AWS_SESSION_TOKEN"]
    ):
        return False
    # Signed for the global endpoint; Vault sends it to the one that it is configured with, and keeps the name.
    headers = {name: "sts.amazonaws.com" if name == "host" else request.headers[name] for name in names}
    made = AWSRequest("POST", "https://sts.amazonaws.com/", headers=headers, data=request.body)
    made.context["timestamp"] = at
    keys = Credentials(role.keys["AWS_ACCESS_KEY_ID"], role.keys["AWS_SECRET_ACCESS_KEY"])
    signer = SigV4Auth(keys, "sts", signed["region"])
    canonical = signer.canonical_request(made)
    return signer.signature(signer.string_to_sign(made, canonical), made) == signed["signature"]
