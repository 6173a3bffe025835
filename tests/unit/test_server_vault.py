"""The sandbox's Vault is the real one: check-and-set, seals, standby, logins, tokens that end, quotas, TLS."""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

from tests.sandbox.certificates import Authority
from tests.sandbox.vault import Vault, VaultRefusedError
from tests.sandbox.vault_auth import JwtIssuer, allow_approle, allow_aws, allow_jwt
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

READER = 'path "secret/data/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with Vault(require("vault")) as vault:
        vault.mount_kv("secret")
        vault.write_policy("reader", READER)
        yield vault


@pytest.fixture
def written(vault: Vault) -> str:
    """Write a secret and return its path in the API."""
    path = f"secret/data/{secrets.token_hex(4)}"
    vault.call("POST", path, {"data": {"password": "first"}, "options": {"cas": 0}})
    return path


def refused(status: int, says: str) -> pytest.RaisesExc[VaultRefusedError]:
    return pytest.raises(VaultRefusedError, match=f"^{status}: .*{says}")


def value(answer: dict[str, Any]) -> object:
    return answer["data"]["data"]["password"]


def test_check_and_set_is_real(vault: Vault, written: str) -> None:
    with refused(400, "check-and-set parameter did not match the current version"):
        vault.call("POST", written, {"data": {"password": "second"}, "options": {"cas": 0}})
    vault.call("POST", written, {"data": {"password": "second"}, "options": {"cas": 1}})
    assert value(vault.call("GET", written)) == "second"
    assert value(vault.call("GET", f"{written}?version=1")) == "first"


def test_version_1_of_the_store_can_be_had(vault: Vault) -> None:
    vault.mount_kv("old", version=1)
    vault.call("POST", "old/x", {"password": "first"})
    assert vault.call("GET", "old/x")["data"] == {"password": "first"}
    assert vault.call("GET", "sys/mounts/old/tune")["options"] == {"version": "1"}


def test_policies_decide(vault: Vault, written: str) -> None:
    token = vault.token(["reader"])
    assert value(vault.call("GET", written, token=token)) == "first"
    with refused(403, "permission denied"):
        vault.call("POST", written, {"data": {}}, token=token)


def test_a_token_ends(vault: Vault, written: str) -> None:
    """Revoked or run out, it is told apart from one without a right by nothing but what is asked of it itself."""
    token = vault.token(["reader"])
    vault.call("POST", "auth/token/revoke", {"token": token})
    with refused(403, "permission denied"):
        vault.call("GET", written, token=token)
    with refused(403, "bad token|permission denied"):
        vault.call("GET", "auth/token/lookup-self", token=token)


def test_approle_logs_in(vault: Vault, written: str) -> None:
    role_id, secret_id = allow_approle(vault, ["reader"], {"token_ttl": "3s"})
    given = vault.call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id})["auth"]
    assert (given["lease_duration"], given["renewable"]) == (3, True)
    assert value(vault.call("GET", written, token=given["client_token"])) == "first"
    with refused(400, "invalid role or secret ID"):
        vault.call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": "made-up"})


def test_a_json_web_token_logs_in(vault: Vault, written: str) -> None:
    issuer = JwtIssuer()
    role = allow_jwt(vault, issuer, "rekey", ["reader"])
    given = vault.call("POST", "auth/jwt/login", {"role": role, "jwt": issuer.token("rekey")})["auth"]
    assert value(vault.call("GET", written, token=given["client_token"])) == "first"
    with refused(400, "invalid subject"):
        vault.call("POST", "auth/jwt/login", {"role": role, "jwt": issuer.token("somebody")})
    with refused(400, "verifying token signature"):
        vault.call("POST", "auth/jwt/login", {"role": role, "jwt": JwtIssuer().token("rekey")})


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run moto's STS, as the one that Vault asks."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def iam_login(sts: str, role_arn: str) -> dict[str, str]:
    """Return the body of a login: a signed GetCallerIdentity of somebody who has assumed the role."""
    with closing(boto3.client("sts", endpoint_url=sts)) as client:
        given = client.assume_role(RoleArn=role_arn, RoleSessionName="reset")["Credentials"]
    body = "Action=GetCallerIdentity&Version=2011-06-15"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    request = AWSRequest("POST", "https://sts.us-east-1.amazonaws.com/", data=body, headers=form)
    credentials = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    SigV4Auth(credentials, "sts", "us-east-1").add_auth(request)
    headers = json.dumps({name: [content] for name, content in request.headers.items()})
    parts = {"iam_request_url": str(request.url), "iam_request_body": body, "iam_request_headers": headers}
    encoded = {name: base64.b64encode(part.encode()).decode() for name, part in parts.items()}
    return {"iam_http_request_method": "POST", **encoded}


def test_an_iam_role_logs_in(vault: Vault, sts: str, written: str) -> None:
    """Vault sends the signed request on to STS and believes what that says."""
    with closing(boto3.client("iam", endpoint_url=sts)) as iam:
        mine, other = (
            iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"] for name in ("rekey", "other")
        )
    role = allow_aws(vault, sts, mine, ["reader"])
    given = vault.call("POST", "auth/aws/login", {"role": role, **iam_login(sts, mine)})["auth"]
    assert value(vault.call("GET", written, token=given["client_token"])) == "first"
    with refused(400, "does not belong to the role|does not match"):
        vault.call("POST", "auth/aws/login", {"role": role, **iam_login(sts, other)})


def test_a_quota_answers_429(vault: Vault) -> None:
    vault.mount_kv("slow")
    vault.limit_rate("slow", "slow/", rate=1, interval="60s")
    vault.call("GET", "slow/config")
    with refused(429, "rate limit quota exceeded"):
        vault.call("GET", "slow/config")
    vault.lift_rate("slow")
    vault.call("GET", "slow/config")


def test_a_namespace_is_ignored(vault: Vault, written: str) -> None:
    """They are Enterprise's: this Vault takes the header and does as without it."""
    headers = {"X-Vault-Namespace": "team", "X-Vault-Token": vault.root_token}
    assert httpx.get(f"{vault.url}/v1/{written}", headers=headers).status_code == 200


def test_sealed_it_refuses_and_unsealed_it_has_everything(vault: Vault, written: str) -> None:
    vault.seal()
    assert vault.health == 503
    with refused(503, "Vault is sealed"):
        vault.call("GET", written)
    vault.unseal()
    assert vault.health == 200
    assert value(vault.call("GET", written)) == "first"


def test_after_an_outage_it_is_sealed(vault: Vault, written: str) -> None:
    vault.stop()
    assert vault.health == 0
    with pytest.raises(httpx.ConnectError):
        vault.call("GET", written)
    vault.start()
    assert vault.health == 503
    vault.unseal()
    assert value(vault.call("GET", written)) == "first"


def test_its_certificate_is_of_our_authority() -> None:
    authority = Authority()
    with Vault(require("vault"), authority=authority) as vault:
        assert vault.url.startswith("https://")
        assert vault.call("GET", "sys/health")["sealed"] is False
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{vault.url}/v1/sys/health")


def test_a_standby_sends_on_or_elsewhere() -> None:
    """As every client sees it: it forwards; asked not to, it redirects to the active one."""
    with Vault(require("vault"), storage="raft") as active, active.standby() as standby:
        assert (active.health, standby.health) == (200, 429)
        standby.mount_kv("secret")
        standby.call("POST", "secret/data/x", {"data": {"password": "first"}})
        assert value(active.call("GET", "secret/data/x")) == "first"
        headers = {"X-Vault-Token": active.root_token, "X-Vault-No-Request-Forwarding": "true"}
        redirected = httpx.get(f"{standby.url}/v1/secret/data/x", headers=headers)
        assert redirected.status_code == 307
        assert redirected.headers["location"] == f"{active.url}/v1/secret/data/x"
