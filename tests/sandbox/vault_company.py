"""A company's password in the sandbox's Vault."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rekey.contracts import Candidate
from rekey.model import plan
from rekey.model.names import Generation
from rekey.model.password import Password
from rekey.secrets import Secrets
from rekey.stores.vault import VaultStore
from tests.sandbox import faults
from tests.sandbox.company_store import CompanyStore
from tests.sandbox.wire import Act, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.sandbox.aws import Cloud
    from tests.sandbox.vault_service import VaultService
    from tests.sandbox.wire import Predicate


class InVault(CompanyStore):
    """A path of the sandbox's Vault, where nothing is yet, and a login that may do what the README's policy allows."""

    def __init__(self, vault: VaultService, cloud: Cloud, company: str, path: str) -> None:
        self._vault, self._cloud, self._company, self._path = vault, cloud, company, path
        self.login = vault.admit(f"rekey-{company}", path)
        self.reader = vault.reader(path)
        self.part = {
            "type": "vault",
            "address": vault.url,
            "mount": vault.mount,
            "path": path,
            "auth": {"approle": {"secret": f"rekey/vault-{company}"}},
        }
        self.elsewhere = {**self.part, "mount": "nowhere"}
        self.not_there = '"read" on `nowhere/data/'
        self.credentials = (self.login["secret_id"], self.reader)
        self.denial = f'"create and update" on `{vault.mount}/data/rekey/{path}/'

    def reading(self) -> tuple[Mapping[str, str], list[str]]:
        """As docs/vault.md has it, with whatever program serves here."""
        program, mount = str(self._vault.program), f"-mount={self._vault.mount}"
        command = [program, "kv", "get", mount, "-field=password", self._path]
        return {"VAULT_ADDR": self._vault.url, "VAULT_TOKEN": self.reader}, command

    def put(self, fields: Mapping[str, object]) -> None:
        self._vault.call("POST", f"{self._vault.mount}/data/{self._path}", {"data": dict(fields)})

    def in_force(self) -> Mapping[str, Any]:
        return self._vault.fields(self._path, token=self.reader)

    def is_unproven(self) -> bool:
        return self._vault.is_unproven(self._path, token=self.reader)

    def waiting(self) -> list[Mapping[str, Any]]:
        history = self._vault.history(self._path)
        now = history[-1] if history else {}
        generation, version = now.get("generation", 0), now.get("version")
        staged = self._candidates()
        return [one for one in staged if one.get("generation", 0) > generation or one.get("version") == version]

    def everything(self) -> list[str]:
        return [json.dumps(fields) for fields in [*self._vault.history(self._path), *self._candidates()]]

    def look_up(self, reference: Mapping[str, str]) -> Mapping[str, Any]:
        """Read the latest version, and see that it is the one that was told."""
        if (reference["address"], reference["mount"]) != (self._vault.url, self._vault.mount):
            raise LookupError(reference["address"])
        fields = self._vault.fields(reference["path"], token=self.reader)
        if fields.get("version") != reference["version"]:
            raise LookupError(reference["version"])
        return fields

    def stagings(self) -> list[int]:
        return [one.order for one in self._vault.door.requests() if self.is_staging(one)]

    def promotions(self) -> list[int]:
        return [one.order for one in self._vault.door.requests() if self.is_promotion(one)]

    def overtake(self, fields: Mapping[str, object]) -> None:
        registry = plan.ManualRegistry(
            type="manual", name=self._company, endpoint="registry.example.com", username="another", where="there"
        )
        secrets = Secrets(self._company, self._cloud.client("secretsmanager"))
        store = VaultStore(plan.VaultStore.model_validate(self.part), registry, secrets)
        candidate = Candidate(
            registry=self._company,
            endpoint=registry.endpoint,
            username=str(fields["username"]),
            password=Password(str(fields["password"])),
            generation=Generation(int(str(fields["generation"]))),
            made_at=datetime.now(UTC),
        )
        store.promote(store.stage(candidate, f"of-another-{fields['generation']}"), None)

    def refuse_writing(self) -> Callable[[], int]:
        denied = faults.answer(Response.json({"errors": ["permission denied"]}, 403))
        return self._counted(denied, self._is_write("rekey/"), None)

    def allow_writing(self) -> None:
        self._vault.door.clear_faults()

    def quote_once(self) -> Callable[[], int]:
        return self._counted(_quoting, self.is_staging, 1)

    def is_staging(self, request: Request) -> bool:
        """Whether a request writes a candidate; a check's has no password in it."""
        return self._is_write("rekey/")(request) and b'"password"' in request.body

    def is_promotion(self, request: Request) -> bool:
        """Whether a request writes to the readers' path; a check's has no password in it."""
        return self._is_write("")(request) and b'"password"' in request.body

    def _candidates(self) -> list[Mapping[str, Any]]:
        return [self._vault.fields(f"rekey/{self._path}/{name}") for name in self._vault.names(f"rekey/{self._path}")]

    def _is_write(self, folder: str) -> Predicate:
        path = f"/v1/{self._vault.mount}/data/{folder}{self._path}"
        return lambda request: (
            request.method == "POST" and (request.path.startswith(f"{path}/") if folder else request.path == path)
        )

    def _counted(
        self, fault: Callable[[Request, Act], Response], when: Predicate, times: int | None
    ) -> Callable[[], int]:
        struck: list[Request] = []

        def counting(request: Request, act: Act) -> Response:
            struck.append(request)
            return fault(request, act)

        self._vault.door.inject(counting, when=when, times=times)
        return lambda: len(struck)


def _quoting(request: Request, _act: Act) -> Response:
    said = f"cannot take {request.body.decode()} of {request.headers.get('x-vault-token')}"
    return Response.json({"errors": [said]}, 400, {"X-Quoted": request.headers.get("x-vault-token", "")})
