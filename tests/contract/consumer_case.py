"""What the contract asks of every consumer's simulator: to be made, looked at and broken in the same few ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rekey.adapters import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekey.consumers.shard import Shard
    from rekey.contracts import Consumer, Delivery
    from rekey.model.plan import ConsumerPart
    from rekey.model.verdict import ConsumerVerdict
    from tests.contract.world import World
    from tests.sandbox.http_server import HttpServer
    from tests.sandbox.wire import Request

S_co = TypeVar("S_co", bound="HttpServer", covariant=True)


class ConsumerCase(ABC, Generic[S_co]):
    """One adapter with `count` places that hold an old password, at a running simulator."""

    type: ClassVar[str]
    verdict: ClassVar[ConsumerVerdict]
    """What verifying a good delivery finds."""
    can_be_unchanged: ClassVar[bool]
    """Whether the service shows that it has the password already."""

    def __init__(self, world: World, server: S_co, count: int) -> None:
        self.world = world
        self.server = server
        self.count = count

    @abstractmethod
    def parts(self) -> Sequence[ConsumerPart]:
        """Return the plan's entries that cover all places."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return what the places' consumers are to be called, in order."""

    @abstractmethod
    def has(self, consumer: str, delivery: Delivery) -> bool:
        """Tell whether a place holds what was delivered (or knows where to read it)."""

    @abstractmethod
    def is_write(self, request: Request) -> bool:
        """Tell whether this request brings a password."""

    def consumers(self, shard: Shard) -> list[Consumer]:
        """Return the adapters of all entries, from the table."""
        made: list[Consumer] = [load("consumer", self.type)(part, shard) for part in self.parts()]
        return made

    def hear(self) -> None:
        """Add the bearer tokens that were used so far to what must never be said."""
        for request in self.server.requests():
            if bearer := request.bearer():
                self.world.never_to_be_said(bearer)
