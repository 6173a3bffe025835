"""The escrow: a registry's answer, encrypted by us, from the moment it arrived until its password is proven.

A table of its own, without point-in-time recovery and without streams. What is written is AES-256-GCM under a key that
was made and wrapped by KMS before the reset call, so that no call to KMS stands between the answer and the write. KMS's
encryption context and GCM's associated data are both (registry, generation, attempt): a value moved to another key of
the table does not open. Deleting leaves a tombstone, so that a late put cannot bring an item back.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rekey import aws
from rekey.errors import Conflict, Denied, NotFound, Unfit, Unintelligible
from rekey.model.moment import parse, render
from rekey.model.rotation import Attempt, AttemptKind
from rekey.records.dynamo import ConditionFailed, Item, Table, Write

if TYPE_CHECKING:
    from types_boto3_kms import KMSClient

_NONCE_BYTES = 12
OF_CHECK = 0
"""Number of the attempt that `check` is made with: real ones count from 1."""


@dataclass(frozen=True)
class Envelope:
    """A key to be used once, and the same wrapped by KMS."""

    key: bytes = field(repr=False)
    wrapped: bytes
    context: Mapping[str, str]

    def seal(self, raw: bytes) -> bytes:
        """Return nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, raw, _associated(self.context))


@dataclass(frozen=True)
class Stray:
    """An answer whose attempt nobody knows any more."""

    token: str
    kind: AttemptKind
    called_at: datetime | None
    raw: bytes = field(repr=False)
    of_check: bool = False
    """Left by a `check` that was cut off: no answer of anybody's."""


class Escrow:
    """Puts, reads and deletes. `reset` may do all three, `rekey paste` may seal and put."""

    def __init__(self, table: Table, key_id: str, kms: "KMSClient | None" = None) -> None:
        self._table = table
        self._key_id = key_id
        self._kms: KMSClient = kms or aws.client("kms")

    def envelope(self, attempt: Attempt) -> Envelope:
        """Make the key for one attempt's answer and have KMS wrap it. Raises Denied, NotFound, Unfit, Unreachable."""
        key, context = AESGCM.generate_key(bit_length=256), _context(attempt)
        with aws.answering("the escrow's KMS key"):
            wrapped = self._kms.encrypt(KeyId=self._key_id, Plaintext=key, EncryptionContext=context)
        return Envelope(key, wrapped["CiphertextBlob"], context)

    def putting(self, attempt: Attempt, envelope: Envelope, raw: bytes) -> Write:
        """Return the write that keeps an answer."""
        return Write(
            key=_key(attempt),
            item={
                "format": 1,
                "generation": attempt.generation,
                "attempt": attempt.number,
                "kind": (attempt.adopted or attempt.kind).value,
                "called_at": render(attempt.called_at) if attempt.called_at else None,
                "wrapped_key": envelope.wrapped,
                "sealed": envelope.seal(raw),
            },
            table=self._table.name,
        )

    def put(self, attempt: Attempt, envelope: Envelope, raw: bytes) -> None:
        """Keep an answer. Raises Conflict where one is there or was deleted; Denied, NotFound, Unreachable."""
        try:
            self._table.write(self.putting(attempt, envelope, raw))
        except ConditionFailed as failed:
            old = failed.old.get(0) or {}
            if bytes(old.get("wrapped_key", b"")) != envelope.wrapped:
                raise Conflict("the escrow holds another answer for this attempt, or held one") from None

    def holds(self, attempt: Attempt) -> bool:
        """Whether the answer of an attempt is there."""
        item = self._table.get(**_key(attempt))
        return item is not None and "sealed" in item

    def read(self, attempt: Attempt) -> bytes | None:
        """Return the answer of an attempt, or None where there is none (any more).

        Raises Unintelligible where it does not open: it was changed, or is another attempt's.
        """
        item = self._table.get(**_key(attempt))
        return None if item is None or "sealed" not in item else self._open(item, _context(attempt))

    def _open(self, item: Item, context: Mapping[str, str]) -> bytes:
        sealed = bytes(item["sealed"])
        with aws.answering("the escrow's KMS key"):
            key = self._kms.decrypt(CiphertextBlob=bytes(item["wrapped_key"]), EncryptionContext=context)["Plaintext"]
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated(context))
        except InvalidTag:
            raise Unintelligible(
                f"an answer in the escrow was changed after it was written, and does not open: item {item['pk']}, "
                f"{item['sk']} of the stack's EscrowTable. See who wrote there, then delete the item by hand: where it "
                "held the only copy of a password, reset it in the registry's console and `rekey paste` the new one"
            ) from None

    def stray(self, registry: str, token: str) -> Stray | None:
        """Return an answer that no attempt of the ledger knows, or None where it is gone.

        A ledger that was restored from a backup has forgotten attempts whose answers are still here.
        """
        item = self._table.get(registry, token)
        if item is None or "sealed" not in item:
            return None
        context = {"registry": registry, "generation": str(item["generation"]), "attempt": str(item["attempt"])}
        called = parse(item["called_at"]) if item.get("called_at") else None
        raw = self._open(item, context)
        return Stray(token, AttemptKind(item["kind"]), called, raw, of_check=item["attempt"] == OF_CHECK)

    def moving(self, stray: Stray, attempt: Attempt, envelope: Envelope) -> list[Write]:
        """Return the writes that hand a stray answer to an attempt of its own."""
        old = Write(
            key={"pk": attempt.registry, "sk": stray.token},
            item={"format": 1, "deleted": True},
            condition="attribute_exists(sealed)",
            table=self._table.name,
        )
        return [self.putting(attempt, envelope, stray.raw), old]

    def delete(self, attempt: Attempt) -> None:
        """Leave a tombstone in place of the answer."""
        self.discard(**_key(attempt))

    def discard(self, pk: str, sk: str) -> None:
        """Leave a tombstone in place of an answer whose registry and token are known, and its attempt is not."""
        self._table.write(Write(key={"pk": pk, "sk": sk}, item={"format": 1, "deleted": True}, condition=""))

    def tokens(self, registry: str) -> list[str]:
        """Return the keys of all answers of a registry that are there, never a value."""
        items = self._table.query(registry, only=("sk", "deleted"))
        return [str(item["sk"]) for item in items if "deleted" not in item]

    def check(self, probe: Attempt) -> None:
        """Prove with nothing at stake that an answer could be kept, read and deleted.

        `probe` is an attempt that never makes a call, number OF_CHECK. Raises Denied, NotFound, Unfit, Unreachable.
        """
        said = os.urandom(16)
        try:
            self.put(probe, self.envelope(probe), said)
            kept = self.read(probe)
            self.delete(probe)
        except (Denied, NotFound, Unfit) as error:
            raise type(error)(
                f"{error}: {aws.our_role()} needs the rights that the stack gives it on its table EscrowTable and its "
                "key EscrowKey, and that key has to be enabled: see what was changed there, and `sam deploy` anew"
            ) from None
        if kept != said:
            raise Unintelligible("the escrow gave back something else than was put there")


def _key(attempt: Attempt) -> dict[str, str]:
    return {"pk": attempt.registry, "sk": attempt.escrow_token}


def _context(attempt: Attempt) -> dict[str, str]:
    return {"registry": attempt.registry, "generation": str(attempt.generation), "attempt": str(attempt.number)}


def _associated(context: Mapping[str, str]) -> bytes:
    return json.dumps(context, sort_keys=True).encode()
