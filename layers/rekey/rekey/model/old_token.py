"""What is known of a token that the old password gave just before the reset. Never the token itself."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from rekey.model.verdict import LoginVerdict


class TokenKind(StrEnum):
    """What a token is for."""

    BEARER = "bearer"
    """Lets in until it ends, whatever becomes of the password."""
    REFRESH = "refresh"
    """Gets new bearers without the password. `docker login` keeps it as `identitytoken`, in the password's place."""


class OldToken(BaseModel):
    """One token, as the ledger and the evidence know it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: TokenKind
    taken_at: datetime
    ends_at: datetime | None = None
    """When it ends; None: nothing says when."""
    verdict: LoginVerdict | None = None
    """What the registry said of it after the reset; None: it was not tried."""
    tried_at: datetime | None = None
    said: str = ""
    """How the registry said so."""

    def tried(self, verdict: LoginVerdict, said: str, at: datetime) -> "OldToken":
        """Return it with what the registry said of it."""
        return self.model_copy(update={"verdict": verdict, "said": said, "tried_at": at})
