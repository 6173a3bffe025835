"""Base of everything that is kept in the ledger."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of what is kept in the ledger. `rev` is new at every write: a write names the one it follows from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    rev: str = ""

    def having(self, **changes: object) -> Self:
        """Return a copy with changes."""
        return self.model_copy(update=changes)
