"""Ways to log in to the sandbox's Vault: each call allows one identity and returns what its client needs."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.sandbox.kube_api import KubeApi
    from tests.sandbox.vault import Vault

    Settings = Mapping[str, object]

NONE: Settings = {}


def allow_approle(vault: Vault, policies: Sequence[str], settings: Settings = NONE) -> tuple[str, str]:
    """Allow an AppRole of its own; return its role id and secret id.

    Settings are those of the role, as in `{"token_ttl": "2s"}`:
    https://developer.hashicorp.com/vault/api-docs/auth/approle
    """
    _enable(vault, "approle")
    role = f"auth/approle/role/role-{secrets.token_hex(4)}"
    vault.call("POST", role, {"token_policies": list(policies), "token_no_default_policy": True, **settings})
    role_id = vault.call("GET", f"{role}/role-id")["data"]["role_id"]
    return str(role_id), str(vault.call("POST", f"{role}/secret-id")["data"]["secret_id"])


class JwtIssuer:
    """Signs JSON Web Tokens with a key of its own, as a CI system or a cluster does."""

    audience = "vault"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.issuer = f"https://issuer-{secrets.token_hex(4)}.invalid"
        self.public_key = (
            self._key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def token(self, subject: str, seconds: float = 600) -> str:
        """Return a token for a subject."""
        now = time.time()
        claims = {"iss": self.issuer, "sub": subject, "aud": self.audience, "iat": int(now), "exp": int(now + seconds)}
        return jwt.encode(claims, self._key, algorithm="ES256")


def allow_jwt(vault: Vault, issuer: JwtIssuer, subject: str, policies: Sequence[str], settings: Settings = NONE) -> str:
    """Allow the tokens of one subject; return the role to log in with.

    https://developer.hashicorp.com/vault/api-docs/auth/jwt
    """
    _enable(vault, "jwt")
    trusted = {"jwt_validation_pubkeys": [issuer.public_key], "bound_issuer": issuer.issuer}
    vault.call("POST", "auth/jwt/config", trusted)
    role = f"role-{secrets.token_hex(4)}"
    bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [issuer.audience], "bound_subject": subject}
    vault.call("POST", f"auth/jwt/role/{role}", {**bound, **_of_token(policies), **settings})
    return role


def allow_aws(vault: Vault, sts: str, arn: str, policies: Sequence[str], settings: Settings = NONE) -> str:
    """Allow an IAM principal as the STS at this address knows it; return the role to log in with.

    https://developer.hashicorp.com/vault/api-docs/auth/aws
    """
    _enable(vault, "aws")
    vault.call("POST", "auth/aws/config/client", {"sts_endpoint": sts, "sts_region": "us-east-1"})
    role = f"role-{secrets.token_hex(4)}"
    bound = {"auth_type": "iam", "bound_iam_principal_arn": [arn], "resolve_aws_unique_ids": False}
    vault.call("POST", f"auth/aws/role/{role}", {**bound, **_of_token(policies), **settings})
    return role


def allow_kubernetes(
    vault: Vault, api: KubeApi, account: str, policies: Sequence[str], settings: Settings = NONE
) -> str:
    """Allow the service account `NAMESPACE/NAME` of a cluster; return the role to log in with.

    Vault reviews tokens there as an account of its own: https://developer.hashicorp.com/vault/docs/auth/kubernetes
    """
    _enable(vault, "kubernetes")
    reviewer = api.token("vault", "reviewer")
    bound_to = {"kind": "ServiceAccount", "namespace": "vault", "name": "reviewer"}
    delegator = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"}
    api.ensure(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {"metadata": {"name": "vault-reviewer"}, "roleRef": delegator, "subjects": [bound_to]},
    )
    where = {"kubernetes_host": api.url, "kubernetes_ca_cert": api.ca, "token_reviewer_jwt": reviewer}
    vault.call("POST", "auth/kubernetes/config", {**where, "disable_local_ca_jwt": True})
    role = f"role-{secrets.token_hex(4)}"
    namespace, _, name = account.partition("/")
    bound = {"bound_service_account_names": [name], "bound_service_account_namespaces": [namespace]}
    vault.call("POST", f"auth/kubernetes/role/{role}", {**bound, **_of_token(policies), **settings})
    return role


def _of_token(policies: Sequence[str]) -> dict[str, object]:
    return {"token_policies": list(policies), "token_no_default_policy": True}


def _enable(vault: Vault, method: str) -> None:
    if f"{method}/" not in vault.call("GET", "sys/auth")["data"]:
        vault.call("POST", f"sys/auth/{method}", {"type": method})
