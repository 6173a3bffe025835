"""The map: what a registry, a store, a consumer and a notifier promise, and what each may raise.

An adapter is one file that fulfils one of these for one service. It knows its contract and its service, never another
adapter and never a step. Whatever a service or an SDK raises is turned into `rekey.errors` inside the adapter.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, Self

from rekey.model.names import Generation, StoreVersion
from rekey.model.old_token import TokenKind
from rekey.model.password import ESCROW_LIMIT, Alphabet, Password
from rekey.model.verdict import LoginVerdict, Receipt


@dataclass(frozen=True)
class Answer:
    """What a registry answered to a reset, as it came: it holds the only copy of the new password."""

    status: int
    body: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Return it as bytes for the escrow, the body cut at ESCROW_LIMIT."""
        return self.status.to_bytes(2, "big") + self.body[:ESCROW_LIMIT]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read back what `to_bytes` gave."""
        return cls(int.from_bytes(raw[:2], "big"), raw[2:])


@dataclass(frozen=True)
class Login:
    """What the registry said of one password, and in words without any secret how it said so."""

    verdict: LoginVerdict
    detail: str = ""


@dataclass(frozen=True)
class Token:
    """What a registry's token server gave for a password, which it may outlive. In memory alone: it is never kept."""

    kind: TokenKind
    text: Password
    ends_at: datetime | None
    """None: nothing says when it ends."""


@dataclass(frozen=True)
class Contents:
    """What a registry holds: repository → tag → digest."""

    repositories: Mapping[str, Mapping[str, str]]

    def to_json(self) -> str:
        """Return it as JSON with sorted keys."""
        return json.dumps({"format": 1, "repositories": self.repositories}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what `to_json` gave."""
        return cls(json.loads(text)["repositories"])

    def count(self) -> tuple[int, int, int]:
        """Return the numbers of repositories, tags and different digests."""
        tags = [digest for repository in self.repositories.values() for digest in repository.values()]
        return len(self.repositories), len(tags), len(set(tags))


class Registry(ABC):
    """A container registry whose one password rotates. Every registry can be asked to log in and what it holds."""

    alphabet: Alphabet
    """What a new password can look like."""

    @abstractmethod
    def check(self) -> None:
        """Prove that the registry's control plane is well and takes Rekey's own credential. Changes nothing.

        Raises CredentialUnusable, Denied, NotFound, Unfit, Unintelligible, Unreachable: each says what to mend.
        """

    def warnings(self, password: Password | None) -> Sequence[str]:  # noqa: ARG002 (for those that can use it)
        """Return what a person should know before the reset though it stops nothing. Changes nothing.

        Gets the password in force where the registry took it a moment ago, else None. Raises as `check` does, and
        OutOfTime.
        """
        return ()

    @abstractmethod
    def reach(self) -> None:
        """Prove, without any password, that consumers' `docker login` would meet a registry at the plan's endpoint.

        Raises Unreachable, Unfit: each says what answered there instead.
        """

    @abstractmethod
    def healthy(self) -> bool:
        """Whether the registry answers well apart from any password of ours: asked between two refusals."""

    @abstractmethod
    def login(self, password: Password) -> Login:
        """Ask whether the registry takes this password. Raises nothing of the network: that is a verdict too."""

    @abstractmethod
    def contents(self, password: Password, within: timedelta) -> Contents:
        """Return repositories, tags and digests.

        Raises OutOfTime after `within`, Denied where the password is refused, NotFound for a repository of the plan
        that is not there, Unfit where the registry lists none or aims the password at another host, Unreachable,
        Unintelligible.
        """

    @abstractmethod
    def take_tokens(self, password: Password, within: timedelta) -> Sequence[Token]:
        """Return what the registry gives for the password and may go on taking without it; nothing where it gives none.

        Raises OutOfTime after `within`, Denied, Unfit, Unintelligible, Unreachable.
        """

    @abstractmethod
    def try_tokens(self, tokens: Sequence[Token], new: Password, within: timedelta) -> Sequence[Login]:
        """Ask about tokens of an earlier password, now that `new` is in force; one verdict each, in their order.

        Nothing is accepted that anybody may do. Raises nothing of the network: that is a verdict too.
        """


class Resettable(Registry):
    """The registry's password is changed by one call to its control plane."""

    reset_timeout: timedelta
    """How long the call may take."""
    settle: timedelta
    """How long a call whose answer was lost may still take effect."""

    @abstractmethod
    def prepare_reset(self) -> None:
        """Take whatever the call needs (a bearer token), so that it is one request. Raises as `check` does."""

    @abstractmethod
    def refusal(self, answer: Answer) -> str | None:
        """Return why the registry did not change the password, or None where the answer is no definite refusal."""

    def change_mark(self) -> str | None:
        """Return what the registry shows that moves whenever the password changes; None where it shows nothing.

        Raises as `check` does.
        """
        return None


class GeneratesPassword(Resettable):
    """The registry makes the new password up, shows it once, and the old one is dead at that instant."""

    @abstractmethod
    def reset(self) -> Answer:
        """Send the one call, once, and return the answer unread.

        Raises NotSent where the request surely never left (also where it was not prepared), Unreachable where nobody
        knows whether it arrived.
        """

    @abstractmethod
    def password_in(self, answer: Answer) -> Password:
        """Return the new password. Raises Unintelligible, with what to mend, where it cannot be found."""


class TakesPassword(Resettable):
    """The registry takes a password of our choice: it is in the store before the call, so no answer can lose it."""

    @abstractmethod
    def candidate(self) -> Password:
        """Return a new random password that the registry's rules allow."""

    @abstractmethod
    def set(self, password: Password) -> Answer:
        """Send the one call, once, and return the answer.

        Raises NotSent where the request surely never left, Unreachable where nobody knows whether it arrived.
        """

    @abstractmethod
    def took(self, answer: Answer) -> bool:
        """Whether the answer says that the registry took it. Neither this nor a refusal: nobody knows."""


class Manual(Registry):
    """A person resets in the vendor's console and pastes the new password once."""

    settle: timedelta
    where: str
    """What the person is to do."""


@dataclass(frozen=True)
class Stored:
    """A password as the store holds it."""

    version: StoreVersion
    password: Password
    generation: Generation
    """0 for a value that Rekey did not write."""


@dataclass(frozen=True)
class Candidate:
    """A password on its way into the store, with everything its readers need."""

    registry: str
    endpoint: str
    username: str
    password: Password
    generation: Generation
    made_at: datetime


class Store(Protocol):
    """Where the password is kept. Readers see a new one only when it is promoted.

    All methods raise CredentialUnusable, Denied, NotFound, Unfit (what the plan names cannot be used), FormatUnknown (a
    later release wrote it), Unintelligible, Unreachable.
    """

    reference: Mapping[str, str]
    """Where readers find it: `type`, `name` and what else it takes; a webhook carries it instead of the password."""

    def check(self, token: str) -> None:
        """Prove that a value can be written and read back, without disturbing readers.

        `token`: one a rotation. Raises Conflict where it holds what no check wrote.
        """

    def current(self) -> Stored | None:
        """Return the password in force, or None where there is none yet."""

    def stage(self, candidate: Candidate, token: str) -> StoreVersion:
        """Write the candidate where readers do not look, read it back, return its version.

        The same token and value again is the same version. Raises Conflict where the token exists with another value.
        """

    def find(self, token: str) -> Stored | None:
        """Return the candidate that was staged under this token, or None."""

    def last_promoted(self) -> Stored | None:
        """Return what Rekey put in force last, also where a person wrote or deleted since; None where it never did."""

    def promote(self, version: StoreVersion, over: StoreVersion | None, *, proven: bool = True) -> None:
        """Make a staged version the one in force, by compare-and-set over the version that was in force.

        What the registry has not accepted yet (`proven` is false) is marked before it is in force, where its readers
        can see it. Already in force is success. Raises Superseded where a higher generation is or was in force,
        NotFound where the version is gone (whoever promoted a higher one may have removed it), Conflict where others
        keep writing.
        """

    def mark_proven(self, version: StoreVersion) -> None:
        """Take that mark off. Does nothing where there is none, or where another version is in force by now."""

    def read(self, version: StoreVersion) -> Stored:
        """Return one version."""


@dataclass(frozen=True)
class Delivery:
    """What consumers are handed."""

    registry: str
    endpoint: str
    username: str
    password: Password
    generation: Generation
    rotation: str
    """`REGISTRY/GENERATION`."""
    store: Mapping[str, str]
    """The store's reference and the version."""
    rotated_at: datetime
    again_at: datetime | None = None
    """When the delivery began anew because a person asked for that."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` learned of one consumer. Goes to S3: never a secret in it."""

    consumer: str
    facts: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why this consumer is not ready and what to mend; empty where it is."""
    warning: str = ""
    """What a person should know though it does not stop anything."""

    def to_record(self) -> dict[str, object]:
        """Return it as JSON-ready values."""
        return {
            "consumer": self.consumer,
            "facts": dict(self.facts),
            "problem": self.problem,
            "warning": self.warning,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """Read back what `to_record` gave."""
        facts = record["facts"]
        if not isinstance(facts, dict):
            raise TypeError("facts are an object")
        return cls(str(record["consumer"]), facts, str(record["problem"]), str(record["warning"]))


class Consumer(Protocol):
    """One entry of the plan at one service; a pattern makes many consumers of it.

    All three may be cancelled at any await and called again: what was done is then done again or found done.
    """

    async def prepare(self) -> Sequence[Prepared]:
        """Find every consumer of the entry and prove what can be proven without the password. Changes nothing.

        A consumer that is not ready is a `Prepared` with a problem. Raises (for the whole entry) CredentialUnusable,
        Denied, NotFound, Unfit, Unintelligible, Unreachable.
        """

    async def deliver(self, delivery: Delivery, prepared: Prepared) -> Receipt:
        """Bring the password to one consumer. Raises nothing of the service: that is a receipt with its reason."""

    async def verify(self, delivery: Delivery, receipt: Receipt) -> Receipt:
        """Read back or exercise one consumer, and return its receipt with an honest verdict. Raises as `deliver`."""


@dataclass(frozen=True)
class Message:
    """One event that tells, in words for a person."""

    subject: str
    """At most 100 ASCII characters (what SNS takes)."""
    text: str
    needs_a_person: bool


class Notifier(Protocol):
    """One channel to people."""

    def send(self, message: Message) -> None:
        """Send it. Raises Denied, NotFound, Unfit, Unreachable."""
