"""How Rekey logs in to Vault: each of the plan's ways gives a token."""

from hvac.api import AuthMethods

from rekey import aws
from rekey.errors import CredentialUnusable, Denied
from rekey.model import plan
from rekey.model.origin import Origin
from rekey.secrets import Secrets
from rekey.stores.vault_wire import Absent, Refused, Wire


def log_in(part: plan.VaultStore, secrets: Secrets, wire: Wire) -> None:
    """Give the wire a token.

    Raises CredentialUnusable where a credential is missing, where Vault refuses it, or where no auth method is enabled;
    Unintelligible, Unreachable.
    """
    wire.token = None
    if isinstance(part.auth, plan.VaultToken):
        wire.token = _as_it_is(part.auth, part.address, secrets)
        return
    try:
        _call(part, secrets, wire)
    except Refused:
        raise CredentialUnusable(f"{wire.service} refuses the login {_way(part.auth)}") from None
    except (Denied, Absent):  # Vault says the same of a path where nothing is enabled
        raise CredentialUnusable(
            f"{wire.service} refuses the login {_way(part.auth)} And is an auth method enabled at "
            f"auth/{part.auth.mount}/ (`vault auth list`)?"
        ) from None


def _as_it_is(auth: plan.VaultToken, address: str, secrets: Secrets) -> str:
    return secrets.resolve(auth.token, address).token


def _call(part: plan.VaultStore, secrets: Secrets, wire: Wire) -> None:
    methods = AuthMethods(adapter=wire)
    match part.auth:
        case plan.VaultAppRole() as auth:
            held = secrets.resolve(auth.approle, part.address)
            methods.approle.login(held["role_id"], held["secret_id"], mount_point=auth.mount)
        case plan.VaultJwt() as auth:
            token = secrets.resolve(auth.jwt, part.address)["token"]
            methods.jwt.jwt_login(auth.role, token, path=auth.mount)
        case plan.VaultKubernetes() as auth:
            token = secrets.resolve(auth.kubernetes, part.address)["token"]
            methods.kubernetes.login(auth.role, token, mount_point=auth.mount)
        case plan.VaultAws() as auth:
            # The host is signed with the call: whoever gets it cannot show it to another Vault that checks this.
            server = auth.server_id or Origin.parse(part.address).host
            keys = aws.own_keys()
            methods.aws.iam_login(
                keys.access_key, keys.secret_key, keys.token, server, auth.aws, mount_point=auth.mount
            )


def _way(auth: plan.VaultLogin) -> str:
    """Return what the login was made with, and what to look at."""
    match auth:
        case plan.VaultAppRole():
            return f"with the secret {auth.approle.secret}: are `role_id` and `secret_id` right, and not used up?"
        case plan.VaultJwt():
            return f"with the secret {auth.jwt.secret} as {auth.role}: is its `token` right, and not over?"
        case plan.VaultKubernetes():
            return f"with the secret {auth.kubernetes.secret} as {auth.role}: is its `token` right, and not over?"
        case plan.VaultAws():
            return (
                f"of {aws.our_role()} as {auth.aws}: are that role's `bound_iam_principal_arn` and the method's "
                "`iam_server_id_header_value` right?"
            )
        case _:
            return "with a token"
