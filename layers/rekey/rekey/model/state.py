"""What passes between the states of the machine: identifiers, never values. Execution history keeps it forever."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rekey.errors import FormatUnknown, InputInvalid
from rekey.model.moment import render
from rekey.model.names import RegistryName
from rekey.model.rotation import Fence


class Operation(StrEnum):
    """What an execution is for."""

    ROTATE = "rotate"
    DELIVER = "deliver"
    """A password in force is delivered again, and nothing is reset. Begin says so: no execution is started as one."""


class Next(StrEnum):
    """Where the machine goes. Each function answers some of them (statemachine/rotation.asl.json)."""

    WAIT = "wait"
    PREPARE = "prepare"
    RESET = "reset"
    DELIVER = "deliver"
    VERIFY = "verify"
    CONSUMERS = "consumers"
    REPORT = "report"
    STOP = "stop"


class Outcome(StrEnum):
    """How an execution ends. The first four succeed."""

    FINISHED = "finished"
    REHEARSED = "rehearsed"
    READY = "ready"
    JOINED = "joined"
    STOPPED = "stopped"
    UNFINISHED = "unfinished"
    CONSUMERS_FAILED = "consumers_failed"
    NEEDS_ATTENTION = "needs_attention"


class State(BaseModel):
    """The data of one execution. Every function returns all of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    operation: Operation
    registry: RegistryName
    start: int
    generation: int = 0
    epoch: int = 0
    tag: str = ""
    plan_version: str = ""
    shards: tuple[int, ...] = ()
    passes: int = 0
    next: Next | None = None
    until: str | None = None
    outcome: Outcome | None = None
    error: dict[str, str] | None = None
    shard: int | None = None

    @classmethod
    def read(cls, document: object) -> Self:
        """Return the state of a document.

        Raises FormatUnknown for another format, InputInvalid, naming the fields, for anything else that is wrong.
        """
        if isinstance(document, dict) and document.get("format") != 1:
            raise FormatUnknown(f"an input of format {document.get('format')!r}: this release reads format 1")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False)
            said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems)
            raise InputInvalid(f"the execution's input cannot be used: {said}") from None

    def to(self, where: Next, *, until: datetime | None = None, **changes: object) -> Self:
        """Return the state that leads to `where`."""
        text = render(until) if until else None
        return self.model_copy(update={"next": where, "until": text, **changes})

    def to_report(self, outcome: Outcome | None = None) -> Self:
        """Return the state that leads to Report. Without an outcome Report finds it in the ledger."""
        return self.to(Next.REPORT, outcome=outcome)

    def fence(self, owner: str, redrive: int) -> Fence:
        """Return what this execution's steps must still own."""
        return Fence(registry=self.registry, owner=owner, redrive=redrive, epoch=self.epoch, tag=self.tag)

    def dump(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return self.model_dump(mode="json", exclude_none=True)
