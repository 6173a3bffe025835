"""The files of one rotation: `rotations/REGISTRY/GENERATION/…`. Lists live here, so that states stay small."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rekey.contracts import Contents, Prepared
from rekey.errors import FormatUnknown, NotFound
from rekey.model.plan import Plan
from rekey.records.bucket import Bucket
from rekey.records.plans import from_stored


@dataclass(frozen=True)
class EntryState:
    """What `prepare` learned of one entry of the plan: its consumers, or why there are none."""

    entry: str
    consumers: tuple[Prepared, ...] = ()
    problem: str = ""
    transient: bool = False
    """Whether the problem may pass by itself: the service could not be asked."""

    @property
    def problems(self) -> list[str]:
        """Everything that is not ready, each with its consumer."""
        own = [f"{self.entry}: {self.problem}"] if self.problem else []
        return own + [f"{consumer.consumer}: {consumer.problem}" for consumer in self.consumers if consumer.problem]


@dataclass(frozen=True)
class ShardFile:
    """One shard: the entries that use one credential at one host, and what is known of them."""

    number: int
    entries: tuple[EntryState, ...]
    prepared: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-ready values."""
        return {
            "shard": self.number,
            "prepared": self.prepared,
            "entries": [
                {
                    "entry": state.entry,
                    "problem": state.problem,
                    "transient": state.transient,
                    "consumers": [consumer.to_record() for consumer in state.consumers],
                }
                for state in self.entries
            ],
        }

    @classmethod
    def from_json(cls, document: dict[str, object]) -> Self:
        """Read back what `to_json` gave."""
        entries = document["entries"]
        if not isinstance(entries, list):
            raise FormatUnknown("a shard's file has no list of entries")
        return cls(
            number=int(str(document["shard"])),
            prepared=bool(document["prepared"]),
            entries=tuple(
                EntryState(
                    entry=str(entry["entry"]),
                    problem=str(entry["problem"]),
                    transient=bool(entry["transient"]),
                    consumers=tuple(Prepared.from_record(record) for record in entry["consumers"]),
                )
                for entry in entries
            ),
        )


class Folder:
    """Reads and writes the files of one rotation."""

    def __init__(self, bucket: Bucket, registry: str, generation: int) -> None:
        self._bucket = bucket
        self.prefix = f"rotations/{registry}/{generation}/"

    def pin_plan(self, body: bytes) -> None:
        """Keep the plan as it was pushed: everything after Begin reads this copy."""
        self._bucket.write(self.prefix + "plan.json", body, "application/json")

    def plan(self) -> Plan:
        """Return the pinned plan."""
        return from_stored(self._bucket.read(self.prefix + "plan.json")[0])

    def save_snapshot(self, contents: Contents) -> None:
        """Keep what the registry held before the reset."""
        self._bucket.write(self.prefix + "snapshot.json", contents.to_json().encode(), "application/json")

    def snapshot(self) -> Contents | None:
        """Return what the registry held before the reset, or None where it could not be read in time."""
        try:
            return Contents.from_json(self._bucket.read(self.prefix + "snapshot.json")[0].decode())
        except NotFound:
            return None

    def save_shard(self, shard: ShardFile) -> None:
        """Keep a shard."""
        self._bucket.write_json(f"{self.prefix}shard-{shard.number}.json", shard.to_json())

    def shard(self, number: int) -> ShardFile:
        """Return a shard."""
        return ShardFile.from_json(self._bucket.read_json(f"{self.prefix}shard-{number}.json"))

    def shards(self, count: int) -> Sequence[ShardFile]:
        """Return all shards."""
        return [self.shard(number) for number in range(count)]

    def save_evidence(self, evidence: dict[str, object], page: str) -> None:
        """Keep the end: for machines and for people."""
        self._bucket.write_json(self.prefix + "evidence.json", evidence)
        self._bucket.write(self.prefix + "report.html", page.encode(), "text/html; charset=utf-8")
