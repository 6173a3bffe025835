"""The sandbox's real API server: tokens, rights, an outage, and the way there over TLS."""

from __future__ import annotations

import secrets
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox.kube_api import KubeApi, KubeApiRefusedError
from tests.sandbox.kubernetes_access import Rule
from tests.sandbox.kubernetes_door import KubernetesDoor
from tests.sandbox.readme_role import readme_rule
from tests.sandbox.vault import Vault, VaultRefusedError
from tests.sandbox.vault_auth import allow_kubernetes
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = "/api/v1/namespaces/shop/secrets"


@pytest.fixture(scope="module")
def api() -> Iterator[KubeApi]:
    with KubeApi(require("kube-apiserver"), require("etcd")) as api:
        yield api


@pytest.fixture
def door(api: KubeApi) -> Iterator[KubernetesDoor]:
    with KubernetesDoor(api) as door:
        door.add_namespace("shop")
        door.add_secret("shop", "registry", {"a": "b"})
        yield door


def refused(status: int, says: str) -> pytest.RaisesExc[KubeApiRefusedError]:
    return pytest.raises(KubeApiRefusedError, match=f"^{status}: .*{says}")


def test_it_is_the_version_that_is_pinned(api: KubeApi) -> None:
    assert api.call("GET", "/version")["gitVersion"].startswith("v1.")


def test_only_its_own_authority_is_trusted(api: KubeApi) -> None:
    assert httpx.get(f"{api.url}/readyz", verify=ssl.create_default_context(cadata=api.ca)).text == "ok"
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{api.url}/readyz")


def test_a_fresh_account_may_nothing_and_readmes_role_lets_it_do_two_things(api: KubeApi, door: KubernetesDoor) -> None:
    """Each verb that README does not name is refused by the real server."""
    nobody = door.access.create_token("rekey")
    rekey = door.access.create_token("rekey", readme_rule("shop", ["registry"]))
    with refused(403, 'cannot get resource \\\\"secrets\\\\"'):
        api.call("GET", f"{SECRETS}/registry", token=nobody)
    secret = api.call("GET", f"{SECRETS}/registry", token=rekey)
    api.call("PUT", f"{SECRETS}/registry", secret, token=rekey)
    door.add_secret("shop", "other", {"a": "b"})
    for method, path in (
        ("GET", SECRETS),
        ("POST", SECRETS),
        ("DELETE", SECRETS),
        ("DELETE", f"{SECRETS}/registry"),
        ("GET", f"{SECRETS}/other"),
        ("PUT", f"{SECRETS}/other"),
        ("GET", "/api/v1/namespaces/shop"),
        ("GET", "/api/v1/namespaces/default/secrets/registry"),
    ):
        with refused(403, "is forbidden"):
            api.call(method, path, secret if method in {"POST", "PUT"} else None, token=rekey)


def test_a_revoked_token_is_refused(api: KubeApi, door: KubernetesDoor) -> None:
    token = door.access.create_token("rekey", Rule.of("get", "shop"))
    door.access.revoke(token)
    with refused(401, "Unauthorized"):
        api.call("GET", f"{SECRETS}/registry", token=token)


def test_a_door_adds_nothing(api: KubeApi, door: KubernetesDoor) -> None:
    """What passes it is answered as straight at the server, the administrator's rights are not lent to anybody."""
    token = door.access.create_token("rekey", Rule.of("get", "shop"))
    bearer = {"Authorization": f"Bearer {token}"}
    for path, headers in (
        (f"{SECRETS}/registry", bearer),
        (f"{SECRETS}/none", bearer),
        (SECRETS, bearer),
        (SECRETS, {}),
    ):
        through = httpx.get(f"{door.url}{path}", headers=headers)
        straight = httpx.get(f"{api.url}{path}", headers=headers, verify=ssl.create_default_context(cadata=api.ca))
        assert (through.status_code, through.json()) == (straight.status_code, straight.json())


def test_an_outage_keeps_everything(api: KubeApi, door: KubernetesDoor) -> None:
    name = f"kept-{secrets.token_hex(4)}"
    door.add_secret("shop", name, {"a": "b"})
    before = door.secret("shop", name)
    api.stop()
    with pytest.raises(httpx.ConnectError):
        door.secret("shop", name)
    api.start()
    assert door.secret("shop", name) == before
    with pytest.raises(KeyError):
        door.secret("shop", "none")


def test_a_service_account_logs_in_to_vault(api: KubeApi) -> None:
    """Vault asks the API server whose token that is."""
    with Vault(require("vault")) as vault:
        vault.mount_kv("secret")
        vault.write_policy("reader", 'path "secret/config" { capabilities = ["read"] }')
        role = allow_kubernetes(vault, api, "rekey/rotator", ["reader"])
        login = {"role": role, "jwt": api.token("rekey", "rotator")}
        given = vault.call("POST", "auth/kubernetes/login", login)["auth"]
        assert vault.call("GET", "secret/config", token=given["client_token"])
        with pytest.raises(VaultRefusedError, match=r"^403: .*service account name not authorized"):
            vault.call("POST", "auth/kubernetes/login", {**login, "jwt": api.token("rekey", "somebody")})
