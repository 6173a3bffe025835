"""Plans: the document a person pushed (versioned), and the copy that a rotation is pinned to."""

import json

from rekey.errors import FormatUnknown, NotFound, PlanMissing
from rekey.model.plan import Plan, read
from rekey.records.bucket import Bucket

_FORMAT = 1


def plan_key(registry: str) -> str:
    """Return where a registry's plan is pushed to."""
    return f"plans/{registry}.json"


class Plans:
    """Reads pushed plans."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def registries(self) -> list[str]:
        """Return the registries that have a plan."""
        prefix, suffix = plan_key("").split(".")
        names = self._bucket.names(prefix)
        return [name.removeprefix(prefix).removesuffix(f".{suffix}") for name in names]

    def pushed(self, registry: str, version: str | None = None) -> tuple[Plan, bytes, str]:
        """Return the newest plan (or one version), its bytes and its version id.

        Raises PlanMissing where there is none, PlanInvalid where this release cannot use it.
        """
        try:
            body, found = self._bucket.read(plan_key(registry), version)
        except NotFound:
            raise PlanMissing(f"no plan was pushed for {registry}: `rekey plan push FILE` does that") from None
        return from_stored(body), body, found


def to_stored(document: object) -> bytes:
    """Return what is pushed for a document that `read` takes: the same document gives the same bytes."""
    stored = {"format": _FORMAT, "plan": document}
    return json.dumps(stored, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def from_stored(stored: bytes) -> Plan:
    """Return the plan of what was pushed. Raises FormatUnknown where it is not ours, PlanInvalid as `read` does."""
    try:
        envelope = json.loads(stored)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict) or envelope.get("format") != _FORMAT or "plan" not in envelope:
        raise FormatUnknown(f"what is stored as the plan is not of format {_FORMAT}: push it again")
    return read(envelope["plan"])
