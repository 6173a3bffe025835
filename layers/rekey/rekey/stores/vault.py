"""HashiCorp Vault or OpenBao: each candidate under a path of its own, the password in force under the plan's.

Readers ask for the latest version of a path, so what nobody has tried must not be one. A candidate is written to
`rekey/PATH/TOKEN` in the same mount: the policies of readers do not lead there, and with `cas` 0 a token has one value.
Promoting writes its fields to PATH, by check-and-set over the version that was looked at, and removes the candidate.
Only the protocol promotes what nobody could try: after a sure reset, when the registry cannot be asked for long. Before
that write `custom_metadata.unproven` has the number of the version it will be, so no reader gets it unmarked.

What decides is in those fields, so it is under check-and-set too: the generation, the token as `version`, and a
checksum over all of them, so that a value which a person edited is that person's; what may replace such a one is found
in the versions before it, as far as Vault keeps them. `custom_metadata` says generation and registry to people and
tools. It is written afterwards, by a call of its own, and nothing is decided by it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from rekey.contracts import Candidate, Stored
from rekey.errors import Conflict, FormatUnknown, NotFound, RekeyError, Superseded, Unfit, Unreachable
from rekey.model import plan
from rekey.model.names import Generation, StoreVersion
from rekey.observability import logger
from rekey.secrets import Secrets
from rekey.stores import secret_value
from rekey.stores.vault_client import Engine, Kept, Vault

_OWN = "rekey"
"""Folder of the candidates. No plan's `path` may begin so."""
_BY_NUMBER = "kv-"
"""Begins the version id of a value that Rekey did not write. Vault's number of it follows."""
_NEVER = 2**31 - 1
"""A version that no key reaches: check-and-set over it is always refused."""
_ROUNDS = 5
"""How often promoting looks again because somebody else wrote in between."""
_LOOKS_BACK = 20
"""Versions of PATH that are searched for one that was in force before."""
_FEWEST = 2
"""Versions that must be kept: the one in force and the one before, which is asked whether it is dead."""
_KEPT_BY_DEFAULT = 10
"""https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#max_versions"""
_LASTING = frozenset({"0s", "-1s"})
"""Of `delete_version_after`: not set, or switched off."""


class VaultStore:
    """One path. It need not exist: the first promoting makes it."""

    def __init__(self, part: plan.VaultStore, registry: plan.RegistryPart, secrets: Secrets | None = None) -> None:
        self._part = part
        self._registry = registry.name
        self._folder = f"{_OWN}/{part.path}"
        self._what = f"the secret {part.mount}/{part.path}"
        self._vault = Vault(part, secrets or Secrets(registry.name))
        self.reference: Mapping[str, str] = {
            "type": part.type,
            "name": f"{part.mount}/{part.path}",
            "address": part.address,
            "mount": part.mount,
            "path": part.path,
            **({"namespace": part.namespace} if part.namespace else {}),
        }

    def check(self, token: str) -> None:
        """Prove every right that a rotation needs, with values that are no password.

        At the readers' path a write is asked for that check-and-set refuses: whoever may not write hears that instead.
        """
        path, nothing = self._part.path, secret_value.placeholder(self._registry)
        own = self._candidate(hashlib.sha256(f"check {token}".encode()).hexdigest())
        with self._vault.open() as engine:
            self._refuse_what_forgets(engine)
            self._stored(engine.read(path))
            if engine.write(path, nothing, _NEVER):
                raise Unfit(f"{self._what}: what answers there compares nothing before it sets")
            engine.mark(path)
            engine.names(self._folder)
            for _ in range(2):  # the second one is refused, and needs the right that a repeated staging needs
                engine.write(own, nothing, 0)
            kept = engine.read(own)
            if kept is None:
                raise Unreachable(f"{self._what}: a value that was just written cannot be read back yet")
            if not secret_value.is_placeholder(kept.data):
                raise Conflict(f"{self._part.mount}/{own} holds what no check wrote")
            engine.remove(own)

    def current(self) -> Stored | None:
        """Return the password in force; None where there is none, or its version was deleted.

        Raises Unfit for a value in another shape.
        """
        with self._vault.open() as engine:
            return self._stored(engine.read(self._part.path))

    def last_promoted(self) -> Stored | None:
        """Return the last one of Rekey's in the versions that Vault still has."""
        with self._vault.open() as engine:
            return self._stored(self._last(engine, engine.read(self._part.path)))

    def stage(self, candidate: Candidate, token: str) -> StoreVersion:
        """Write the candidate under its own path and read it back. `token`: part of that path."""
        with self._vault.open() as engine:
            if engine.configuration() is None:
                raise engine.not_of_version_2()
            kept = engine.read(self._part.path)
            if _token_in(kept) != token:
                taken = engine.write(self._candidate(token), _fields(candidate, token), 0)
                kept = engine.read(self._candidate(token))
                if kept is None and not taken:  # the reset is over: asked again, whatever it was
                    raise Unreachable(
                        f"{self._what}: Vault did not take the candidate, though none is there: see Vault's audit log "
                        "if this goes on"
                    )
            found = self._stored(kept)
        if found is None:
            raise Unreachable(f"{self._what}: the candidate that was just written cannot be read back yet")
        if (found.version, found.password, found.generation) != (token, candidate.password, candidate.generation):
            raise Conflict(f"{self._what}: version {token} exists with another value")
        return found.version

    def find(self, token: str) -> Stored | None:
        """Return the candidate that was staged under this token, promoted since or not; or None."""
        with self._vault.open() as engine:
            return self._stored(self._kept(engine, StoreVersion(token), engine.read(self._part.path)))

    def read(self, version: StoreVersion) -> Stored:
        """Return one version. Raises NotFound where Vault does not have it (any more)."""
        found = self.find(version)
        if found is None:
            raise self._gone(version)
        return found

    def promote(
        self,
        version: StoreVersion,
        over: StoreVersion | None,  # noqa: ARG002 (it is looked at anew)
        *,
        proven: bool = True,
    ) -> None:
        """Write this version's fields to the readers' path, over what is in force unless that is a later generation."""
        with self._vault.open() as engine:
            for _ in range(_ROUNDS):
                latest = engine.read(self._part.path)
                if _token_in(latest) == version or self._replaced(engine, version, latest, proven=proven):
                    break
            else:
                raise Conflict(f"{self._what}: others keep changing what is in force")
            self._tidy_up(engine, version, proven=proven)

    def mark_proven(self, version: StoreVersion) -> None:
        """Take the mark off, unless something else is in force by now: then it says nothing of that."""
        with self._vault.open() as engine:
            if _token_in(engine.read(self._part.path)) == version:
                engine.mark(self._part.path, unproven=None)

    def _replaced(self, engine: Engine, version: StoreVersion, latest: Kept | None, *, proven: bool) -> bool:
        """Whether this version could be written over what was the latest; not, where somebody was faster.

        Raises Superseded, NotFound. A value in another shape is replaced: a password that works goes before it.
        """
        mine = self._kept(engine, version, latest)
        theirs, number = _generation_in(self._last(engine, latest)), latest.number if latest else 0
        if mine is None or mine.data is None:
            raise self._gone(version)
        if theirs > _generation_in(mine):
            raise Superseded(f"{self._what} holds generation {theirs}, and this is {_generation_in(mine)}")
        if not proven and latest is None:  # what is not there yet cannot be marked: the next round finds it there
            engine.write(self._part.path, secret_value.placeholder(self._registry), 0)
            return False
        if not proven:
            engine.mark(self._part.path, unproven=str(number + 1))
        if engine.write(self._part.path, mine.data, number):
            return True
        now = engine.read(self._part.path)
        if _token_in(now) == version:  # the first answer was lost, and Vault refuses what it did already
            return True
        if not proven:
            engine.mark(self._part.path, unproven=None)
        # Vault says the same of every request that it does not take: whether somebody was faster is looked at.
        if (now.number if now else 0) == number:
            raise Unfit(f"{self._what}: Vault does not take the write, though nobody else wrote: see Vault's audit log")
        return False

    def _tidy_up(self, engine: Engine, version: StoreVersion, *, proven: bool) -> None:
        """Say in `custom_metadata` what is in force, and remove the candidates that nobody can promote any more.

        The password is in force, and what Vault refuses here is no reason to hold back its delivery. Raises Unreachable
        all the same: delivery would have to read it there.
        """
        try:
            self._mark(engine, proven=proven)
            engine.remove(self._candidate(version))
            in_force = _generation_in(engine.read(self._part.path))
            for name in engine.names(self._folder):
                if name.endswith("/"):  # a folder: another registry's path begins with this one's
                    continue
                if _generation_in(engine.read(self._candidate(name))) < in_force:
                    engine.remove(self._candidate(name))
        except Unreachable:
            raise
        except RekeyError as error:
            logger.warning("the store was not tidied up", extra={"why": str(error)})

    def _mark(self, engine: Engine, *, proven: bool) -> None:
        """Mark what is in force, until it still is that: of two that mark at once, the last one looks again."""
        tried: dict[str, None] = {"unproven": None} if proven else {}
        marked = Generation(0)
        for _ in range(_ROUNDS):
            now = _generation_in(engine.read(self._part.path))
            if now == marked:
                return
            engine.mark(self._part.path, registry=self._registry, generation=str(now), **tried)
            marked = now

    def _kept(self, engine: Engine, version: StoreVersion, latest: Kept | None) -> Kept | None:
        """Return a version, wherever it is: in force, a candidate, or in force before; or None."""
        number = version.removeprefix(_BY_NUMBER)
        if version.startswith(_BY_NUMBER) and number.isdecimal():
            kept = engine.read(self._part.path, int(number))
            return kept if kept is not None and _token_in(kept) is None else None
        if _token_in(latest) == version:
            return latest
        candidate = engine.read(self._candidate(version))
        if _token_in(candidate) == version:
            return candidate
        return next((kept for kept in self._before(engine, latest) if _token_in(kept) == version), None)

    def _before(self, engine: Engine, latest: Kept | None) -> Iterator[Kept]:
        """Yield the versions before the latest one, as far back as Vault still has them."""
        before = latest.number - 1 if latest else 0
        for earlier in range(before, max(before - _LOOKS_BACK, 0), -1):
            kept = engine.read(self._part.path, earlier)
            if kept is None:
                return
            yield kept

    def _last(self, engine: Engine, latest: Kept | None) -> Kept | None:
        """Return what is in force, or what Rekey put there last where a person wrote or deleted since."""
        if _token_in(latest):
            return latest
        return next((kept for kept in self._before(engine, latest) if _token_in(kept)), None)

    def _stored(self, kept: Kept | None) -> Stored | None:
        if kept is None or kept.data is None or secret_value.is_placeholder(kept.data):
            return None
        token = _token_in(kept)
        version = StoreVersion(token or f"{_BY_NUMBER}{kept.number}")
        try:
            stored = secret_value.read(kept.data, version, self._registry)
        except (FormatUnknown, Unfit) as error:
            raise type(error)(f"{self._what}: {error}") from None
        return stored if token else replace(stored, generation=Generation(0))

    def _candidate(self, token: str) -> str:
        return f"{self._folder}/{token}"

    def _gone(self, version: StoreVersion) -> NotFound:
        return NotFound(f"{self._what} has no version {version} (any more)")

    def _refuse_what_forgets(self, engine: Engine) -> None:
        """Raise Unfit for an engine of version 1, or one that forgets a password while it is needed."""
        engine_wide, mount, path = engine.configuration(), self._part.mount, self._part.path
        if engine_wide is None:
            raise engine.not_of_version_2()
        of_key = engine.facts(path)
        # As the engine does: https://github.com/hashicorp/vault-plugin-secrets-kv/blob/v0.25.0/path_data.go#L732
        kept = max(_number(engine_wide, "max_versions"), _number(of_key, "max_versions")) or _KEPT_BY_DEFAULT
        if kept < _FEWEST:
            raise Unfit(
                f"{self._what} keeps one version alone, and the old password is asked for after the reset: "
                f"`vault kv metadata put -mount={mount} -max-versions=10 {path}`"
            )
        lasts = [str(facts.get("delete_version_after", "0s")) for facts in (engine_wide, of_key)]
        if lasts[0] != "-1s" and not _LASTING.issuperset(lasts):
            raise Unfit(
                f"{self._what} deletes a password after a time (`delete_version_after`), in force or not: "
                f"`vault kv metadata put -mount={mount} -delete-version-after=0s {path}`, and the same for the mount "
                f"with `vault write {mount}/config delete_version_after=0s`"
            )


def _fields(candidate: Candidate, token: str) -> Mapping[str, object]:
    fields = {**secret_value.of(candidate), "version": token}
    return {**fields, "checksum": _checksum(fields)}


def _checksum(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(secret_value.text(fields).encode()).hexdigest()


def _token_in(kept: Kept | None) -> str | None:
    """Return the token under which Rekey wrote these fields; None where they are somebody else's, or were edited."""
    if kept is None or kept.data is None:
        return None
    token = kept.data.get("version")
    written = {name: value for name, value in kept.data.items() if name != "checksum"}
    return token if isinstance(token, str) and kept.data.get("checksum") == _checksum(written) else None


def _generation_in(kept: Kept | None) -> Generation:
    """Return the generation that Rekey wrote there; 0 for what it did not write."""
    return secret_value.generation(kept.data) if kept is not None and _token_in(kept) else Generation(0)


def _number(facts: Mapping[str, object], name: str) -> int:
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
