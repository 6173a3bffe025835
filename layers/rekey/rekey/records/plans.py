"""Plans: the document a person pushed (versioned), and the copy that a rotation is pinned to."""

from rekey.errors import NotFound, PlanMissing
from rekey.model.plan import Plan, from_stored
from rekey.records.bucket import Bucket


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
