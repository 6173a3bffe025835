"""What Rekey says of a login, of a consumer and of a rotation. Honest words only (a timeout is never "refused")."""

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from rekey.model.moment import parse, render


class LoginVerdict(StrEnum):
    """What the registry says of a password."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOCKED = "locked"
    """The account or address is locked or throttled: nothing is said of the password."""
    UNREACHABLE = "unreachable"
    INCONCLUSIVE = "inconclusive"
    """An answer came that says neither yes nor no."""
    UNPROVEN = "unproven"
    """Nobody could be asked; the registry's own positive answer to the reset is all there is."""


class ConsumerOutcome(StrEnum):
    """How the delivery to one consumer ended."""

    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    """A higher generation is there already; nothing was written."""
    PENDING = "pending"
    """Not sent yet, or sent and not answered."""
    FAILED = "failed"
    UNREACHABLE = "unreachable"

    @property
    def done(self) -> bool:
        """Whether nothing more is to be done: the consumer has this password or a newer one."""
        return self in (ConsumerOutcome.UPDATED, ConsumerOutcome.UNCHANGED, ConsumerOutcome.SUPERSEDED)

    @property
    def left(self) -> bool:
        """Whether the next pass tries again."""
        return self in (ConsumerOutcome.PENDING, ConsumerOutcome.UNREACHABLE)


class ConsumerVerdict(StrEnum):
    """What is known of the password at one consumer after the delivery."""

    ACCEPTED = "accepted"
    """Something used the password there."""
    MATCHES = "matches"
    """It was read back and is the same."""
    WRITTEN = "written"
    """The service took it and cannot be read back."""
    DIFFERS = "differs"
    """It was read back and is another one."""
    UNKNOWN = "unknown"
    """Nothing was delivered, or the service could not be asked."""


@dataclass(frozen=True)
class Receipt:
    """What one consumer answered, without any secret. Kept in the ledger.

    `consumer` is the entry's name, with the place appended where a pattern made several ("all/acme/svc-a").
    """

    consumer: str
    type: str
    outcome: ConsumerOutcome
    verdict: ConsumerVerdict = ConsumerVerdict.UNKNOWN
    reason: str = ""
    """Why, and what to do: empty where all is well."""
    answered_at: datetime | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """What the adapter needs to verify later, such as a resource version."""

    @property
    def has_it(self) -> bool:
        """Whether the consumer has the password, or a newer one, and was not found to have another since."""
        return self.outcome.done and self.verdict is not ConsumerVerdict.DIFFERS

    def to_record(self) -> dict[str, object]:
        """Return it as JSON-ready values."""
        record = asdict(self)
        record["answered_at"] = render(self.answered_at) if self.answered_at else None
        return record

    @classmethod
    def from_record(cls, record: dict[str, object]) -> Self:
        """Read back what `to_record` gave."""
        answered = record.get("answered_at")
        facts = record.get("facts")
        return cls(
            consumer=str(record["consumer"]),
            type=str(record["type"]),
            outcome=ConsumerOutcome(str(record["outcome"])),
            verdict=ConsumerVerdict(str(record["verdict"])),
            reason=str(record["reason"]),
            answered_at=parse(str(answered)) if answered else None,
            facts={str(key): str(value) for key, value in facts.items()} if isinstance(facts, dict) else {},
        )

    def with_verdict(self, verdict: ConsumerVerdict, reason: str = "") -> Self:
        """Return the same receipt with what verifying found."""
        return replace(self, verdict=verdict, reason=reason or self.reason)
