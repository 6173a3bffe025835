"""One key-value engine of version 2, entered with Rekey's own login.

What it answers is from https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hvac.api.secrets_engines.kv_v2 import KvV2

from rekey import http
from rekey.errors import CredentialUnusable, Denied, NotFound, Unfit, Unintelligible
from rekey.model import plan
from rekey.model.origin import Origin
from rekey.secrets import Secrets
from rekey.stores.vault_login import log_in
from rekey.stores.vault_wire import Absent, Refused, Wire


@dataclass(frozen=True)
class Kept:
    """One version of a key."""

    number: int
    """Vault's own: 1 for the first."""
    data: Mapping[str, object] | None = field(repr=False)
    """None: it was deleted."""


class Vault:
    """One Vault as a plan names it. Its token outlives the connections, in this object's memory alone."""

    def __init__(self, part: plan.VaultStore, secrets: Secrets) -> None:
        self._part = part
        self._secrets = secrets
        self._token: str | None = None

    @contextmanager
    def open(self) -> "Iterator[Engine]":
        """Yield the engine over one connection."""
        part = self._part
        with http.client(part.address, ca=part.ca) as client:
            wire = Wire(client, f"Vault at {Origin.parse(part.address).netloc}", part.namespace)
            wire.token = self._token
            try:
                yield Engine(part, self._secrets, wire)
            finally:
                self._token = wire.token


class Engine:
    """The engine while it is open. Logs in when it is first asked, and again where the token has ended.

    All methods raise CredentialUnusable, Denied, NotFound (nothing is mounted there), Unfit,
    Unintelligible, Unreachable.
    """

    def __init__(self, part: plan.VaultStore, secrets: Secrets, wire: Wire) -> None:
        self._part = part
        self._secrets = secrets
        self._wire = wire
        self._kv = KvV2(adapter=wire)

    def configuration(self) -> Mapping[str, Any] | None:
        """Return what holds for all keys; None where the engine is none of version 2."""
        answer = self._found(lambda: self._kv.read_configuration(mount_point=self._part.mount))
        found = None if answer is None else answer.get("data")
        # In an engine of version 1 `config` is a key as others are.
        return found if isinstance(found, dict) and {"max_versions", "cas_required"} <= found.keys() else None

    def read(self, path: str, number: int | None = None) -> Kept | None:
        """Return a version of a key, the latest without a number; None where there is none."""
        answer = self._found(
            lambda: self._kv.read_secret_version(
                path, number, mount_point=self._part.mount, raise_on_deleted_version=True
            )
        )
        if answer is None:
            return None
        held = answer.get("data")
        facts = held.get("metadata") if isinstance(held, dict) else None
        number = facts.get("version") if isinstance(facts, dict) else None
        if not isinstance(held, dict) or not isinstance(number, int):
            raise self.not_of_version_2()
        data = held.get("data")
        return Kept(number, data if isinstance(data, dict) else None)

    def write(self, path: str, data: Mapping[str, object], over: int) -> bool:
        """Write a new version over the one with this number (0: none yet). False where Vault refuses the request."""
        try:
            answer = self._ask(
                lambda: self._kv.create_or_update_secret(path, dict(data), cas=over, mount_point=self._part.mount)
            )
        except Refused:
            return False
        except Absent as absent:
            raise self._nothing_mounted() from absent
        if not isinstance(answer.get("data"), dict):
            raise self.not_of_version_2()
        return True

    def facts(self, path: str) -> Mapping[str, Any]:
        """Return a key's metadata; nothing where there is no such key."""
        answer = self._found(lambda: self._kv.read_secret_metadata(path, mount_point=self._part.mount))
        found = None if answer is None else answer.get("data")
        return found if isinstance(found, dict) else {}

    def mark(self, path: str, **custom: str | None) -> None:
        """Set fields of a key's `custom_metadata`, take those off that are None, and leave the others.

        Does nothing where there is no such key.
        """
        url = f"/v1/{self._part.mount}/metadata/{path}"
        headers = {"Content-Type": "application/merge-patch+json"}
        self._found(lambda: self._wire.request("PATCH", url, headers, json={"custom_metadata": custom}))

    def names(self, folder: str) -> Sequence[str]:
        """Return the names of the keys in a folder."""
        answer = self._found(lambda: self._kv.list_secrets(folder, mount_point=self._part.mount))
        found = answer["data"].get("keys") if answer is not None and isinstance(answer.get("data"), dict) else None
        return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []

    def remove(self, path: str) -> None:
        """Remove a key with all its versions, for good."""
        self._found(lambda: self._kv.delete_metadata_and_all_versions(path, mount_point=self._part.mount))

    def not_of_version_2(self) -> Unfit:
        """Return what is said of an engine of version 1."""
        mount = self._part.mount
        return Unfit(
            f"{self._wire.service} has no key-value engine of version 2 at `{mount}/`, and only that can compare and "
            f"set: `vault kv enable-versioning {mount}/`, or name another `mount` in the plan"
        )

    def _found(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Do it and return the answer; of a deleted version what is left of it, and None where there is nothing."""
        try:
            return self._ask(act)
        except Absent as absent:
            if absent.nobody_serves_it:
                raise self._nothing_mounted() from None
            return dict(absent.answer) if "data" in absent.answer else None
        except Refused as refused:
            raise Unintelligible(str(refused)) from None

    def _nothing_mounted(self) -> NotFound:
        mount = self._part.mount
        return NotFound(
            f"{self._wire.service} has nothing at `{mount}/` where the secret {mount}/{self._part.path} is to be: "
            f"`vault secrets enable -path={mount} -version=2 kv`, or name another `mount` in the plan"
        )

    def _ask(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do it with a token. One that is refused may have ended: then the login is repeated, and the act, once."""
        fresh = self._wire.token is None
        if fresh:
            log_in(self._part, self._secrets, self._wire)
        try:
            return act()
        except Denied:
            if isinstance(self._part.auth, plan.VaultToken):
                self._refuse_ended(self._part.auth)
                raise
            if fresh:
                raise
        log_in(self._part, self._secrets, self._wire)
        return act()

    def _refuse_ended(self, auth: plan.VaultToken) -> None:
        """Raise CredentialUnusable where the token itself is the reason, and not what it may do."""
        try:
            self._wire.request("GET", "/v1/auth/token/lookup-self")
        except Denied:
            raise CredentialUnusable(
                f"{self._wire.service} refuses the token in the secret {auth.token.secret}: it has ended or was "
                "revoked, or has not the policy `default`. Write a new one, or give the plan's `auth` a login"
            ) from None
