"""Rekey's ways into Vault, each against the real auth method, and what is said where one leads nowhere."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from rekey.errors import CredentialUnusable, Unreachable
from tests.contract.store_cases import VaultCase, token
from tests.sandbox import faults
from tests.sandbox.kube_api import KubeApi
from tests.sandbox.server_process import free_port
from tests.sandbox.sts import Role, Sts
from tests.sandbox.vault_auth import JwtIssuer, allow_aws, allow_jwt, allow_kubernetes
from tests.sandbox.wire import Response
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator


def enable(case: VaultCase, kind: str) -> str:
    """Enable an auth method of its own for this test, and return its mount."""
    mount = f"{kind}-{case.id}"
    case.vault.call("POST", f"sys/auth/{mount}", {"type": kind})
    return mount


class TestAppRole:
    def test_it_leads_in(self, case: VaultCase) -> None:
        case.store.check(token())

    def test_one_login_is_enough_for_everything_that_one_object_does(self, case: VaultCase) -> None:
        before = len(case.vault.door.requests("POST", "/v1/auth/approle/login"))
        case.store.check(token())
        case.store.current()
        assert len(case.vault.door.requests("POST", "/v1/auth/approle/login")) == before + 1

    @pytest.mark.parametrize("field", ["role_id", "secret_id"])
    def test_a_wrong_credential_is_named(self, case: VaultCase, field: str) -> None:
        case.keep({**case.login, field: "another"})
        with pytest.raises(CredentialUnusable, match=f"refuses the login with the secret rekey/vault-{case.id}: are"):
            case.store.current()

    def test_a_credential_without_its_fields_is_named(self, case: VaultCase) -> None:
        case.keep({"role_id": case.id})
        with pytest.raises(CredentialUnusable, match="has no field `secret_id`"):
            case.store.current()

    def test_a_method_that_is_not_enabled_is_asked_about(self, case: VaultCase) -> None:
        """Vault refuses the login there as it refuses a wrong one."""
        auth = {"approle": {"secret": f"rekey/vault-{case.id}"}, "mount": "approle-2"}
        with pytest.raises(
            CredentialUnusable, match=r"is an auth method enabled at auth/approle-2/ \(`vault auth list`"
        ):
            case.at(auth=auth).current()

    def test_a_method_mounted_elsewhere(self, case: VaultCase) -> None:
        mount = enable(case, "approle")
        role = f"auth/{mount}/role/rekey"
        case.vault.call("POST", role, {"token_policies": [case.id]})
        role_id = case.vault.call("GET", f"{role}/role-id")["data"]["role_id"]
        secret_id = case.vault.call("POST", f"{role}/secret-id")["data"]["secret_id"]
        case.keep({"role_id": role_id, "secret_id": secret_id})
        case.at(auth={"approle": {"secret": f"rekey/vault-{case.id}"}, "mount": mount}).check(token())


class TestAws:
    @pytest.fixture
    def sts(self) -> Iterator[Sts]:
        with Sts() as sts:
            yield sts

    @pytest.fixture
    def role(self, case: VaultCase, sts: Sts, monkeypatch: pytest.MonkeyPatch) -> Role:
        """Take a role as a function has it, and let Vault know it."""
        taken = sts.role("rekey-eu-central-1-begin", "rekey-begin")
        arn = "arn:aws:iam::123456789012:role/rekey-eu-central-1-begin"
        self.auth = {"aws": allow_aws(case.vault.server, sts.url, arn, [case.id])}
        checked = {"iam_server_id_header_value": "127.0.0.1"}
        case.vault.call(
            "POST", "auth/aws/config/client", {"sts_endpoint": sts.url, "sts_region": "us-east-1", **checked}
        )
        for name, value in taken.keys.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "rekey-begin")
        return taken

    @pytest.mark.usefixtures("role")
    def test_a_functions_own_role_leads_in(self, case: VaultCase, sts: Sts) -> None:
        case.at(auth=self.auth).check(token())
        assert {one.headers["x-vault-aws-iam-server-id"] for one in sts.requests()} == {"127.0.0.1"}

    @pytest.mark.usefixtures("role")
    def test_the_keys_themselves_go_nowhere(self, case: VaultCase, role: Role) -> None:
        before = len(case.vault.door.requests())
        case.at(auth=self.auth).current()
        sent = [repr([one.path, one.headers, one.body]) for one in case.vault.door.requests()[before:]]
        assert sent
        assert not [text for text in sent if role.keys["AWS_SECRET_ACCESS_KEY"] in text]

    @pytest.mark.usefixtures("role")
    def test_what_is_signed_for_one_vault_is_no_use_at_another(self, case: VaultCase) -> None:
        for auth in ({"server_id": "vault.example.com"}, {"aws": "another"}):
            with pytest.raises(CredentialUnusable, match="the login of the role of the function rekey-begin as"):
                case.at(auth={**self.auth, **auth}).current()

    @pytest.mark.usefixtures("role")
    def test_a_signature_that_is_none_is_refused(self, case: VaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets.token_hex(20))
        with pytest.raises(CredentialUnusable):
            case.at(auth=self.auth).current()

    @pytest.mark.usefixtures("role")
    def test_a_vault_that_does_not_reach_sts_can_be_asked_again(self, case: VaultCase) -> None:
        """Nothing is wrong with the login, and a person could mend nothing in it."""
        nobody = f"http://127.0.0.1:{free_port()}"
        case.vault.call("POST", "auth/aws/config/client", {"sts_endpoint": nobody, "sts_region": "us-east-1"})
        with pytest.raises(Unreachable, match="gets no answer from AWS's STS"):
            case.at(auth=self.auth).current()

    @pytest.mark.usefixtures("role")
    @pytest.mark.parametrize(
        ("status", "code", "said"),
        [(503, "Unavailable", "gets no answer from"), (400, "Throttling", "is slowed down by")],
    )
    def test_nor_is_an_sts_that_is_not_well_the_logins_fault(
        self, case: VaultCase, sts: Sts, status: int, code: str, said: str
    ) -> None:
        body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
        sts.inject(faults.answer(Response(status, body, {"Content-Type": "text/xml"})), times=None)
        with pytest.raises(Unreachable, match=f"{said} AWS's STS"):
            case.at(auth=self.auth).current()

    def test_without_a_role_nothing_is_signed(self, case: VaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
        store = case.at(auth={"aws": "rekey"})
        with pytest.raises(CredentialUnusable, match="no AWS credentials to sign with"):
            store.current()


class TestJwt:
    def auth(self, case: VaultCase, role: str) -> dict[str, object]:
        return {"jwt": {"secret": f"rekey/vault-{case.id}"}, "role": role}

    def test_a_signed_token_leads_in(self, case: VaultCase) -> None:
        issuer = JwtIssuer()
        role = allow_jwt(case.vault.server, issuer, "rekey", [case.id])
        case.keep({"token": issuer.token("rekey")})
        case.at(auth=self.auth(case, role)).check(token())

    @pytest.mark.parametrize(("subject", "seconds"), [("rekey", -3600), ("another", 600)])
    def test_one_that_is_over_or_anothers_is_named(self, case: VaultCase, subject: str, seconds: float) -> None:
        issuer = JwtIssuer()
        role = allow_jwt(case.vault.server, issuer, "rekey", [case.id])
        case.keep({"token": issuer.token(subject, seconds)})
        with pytest.raises(CredentialUnusable, match=f"secret rekey/vault-{case.id} as {role}: is its `token` right"):
            case.at(auth=self.auth(case, role)).current()


class TestKubernetes:
    @pytest.fixture
    def api(self) -> Iterator[KubeApi]:
        with KubeApi(require("kube-apiserver"), require("etcd")) as api:
            yield api

    def test_a_service_accounts_token_leads_in_and_anothers_does_not(self, case: VaultCase, api: KubeApi) -> None:
        role = allow_kubernetes(case.vault.server, api, "rekey/rekey", [case.id])
        auth = {"kubernetes": {"secret": f"rekey/vault-{case.id}"}, "role": role}
        case.keep({"token": api.token("rekey", "rekey")})
        case.at(auth=auth).check(token())
        case.keep({"token": api.token("rekey", "another")})
        with pytest.raises(CredentialUnusable, match=f"as {role}: is its `token` right"):
            case.at(auth=auth).current()


class TestWhereACredentialGoes:
    def test_one_that_is_not_bound_to_the_host_goes_nowhere(self, case: VaultCase) -> None:
        with pytest.raises(CredentialUnusable, match=r"is not for vault\.example\.com"):
            case.at(address="https://vault.example.com").current()

    def test_the_namespace_is_named_with_every_request(self, case: VaultCase) -> None:
        """Vault's own namespaces are of its Enterprise; the header is what there is to it."""
        before = len(case.vault.door.requests())
        case.at(namespace="team/a").current()
        sent = case.vault.door.requests()[before:]
        assert next(one.path for one in sent).endswith("/login")
        assert {one.headers.get("x-vault-namespace") for one in sent} == {"team/a"}
        case.at().current()
        assert "x-vault-namespace" not in case.vault.door.requests()[-1].headers

    def test_no_environment_is_read(self, case: VaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
        """A token that lies about is shown to nobody, and no proxy sees one."""
        for name in ("VAULT_TOKEN", "VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_CACERT"):
            monkeypatch.setenv(name, "http://from-the-environment")
        before, store = len(case.vault.door.requests()), case.at()
        store.current()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        store.current()
        sent = [repr([one.path, one.headers]) for one in case.vault.door.requests()[before:]]
        assert len(sent) == 3
        assert not [text for text in sent if "from-the-environment" in text]
