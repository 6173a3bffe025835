"""Everything Rekey raises on purpose, and nothing else.

    RekeyError
    ├── definite: asking again cannot help, a person or another step decides
    │   ├── PlanInvalid          the document breaks the plan's rules; carries every problem
    │   ├── PlanMissing          nobody pushed a plan for this registry
    │   ├── FormatUnknown        a record or message of a format this release does not read
    │   ├── InputInvalid         an execution input, event or paste that is not what it must be
    │   ├── Fenced               another execution owns the registry now; this one stops
    │   ├── CredentialUnusable   a credential of Rekey's own is missing, malformed or not bound to this host
    │   ├── Denied               the service understood the request and refuses it
    │   ├── NotFound             what the plan names does not exist there
    │   ├── Unfit                what the plan names exists and cannot be used as it is
    │   ├── Unintelligible       the service answered something that cannot be understood
    │   ├── Superseded           a higher generation is there already
    │   └── Conflict             somebody else wrote at the same time, and keeps doing so
    └── transient: asking again later may help
        ├── Unreachable          no answer, or one that says "not now"
        │   └── NotSent          the request surely never left
        ├── OutOfTime            the function's own deadline came first
        └── Defect               a fault in Rekey itself; says where, never with what values

The class names are the error names of the state machine (`ErrorEquals`). A message says what, where and what to do;
it never holds a password, a token, a body of a response or a URL's query.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class RekeyError(Exception):
    """Base of everything Rekey raises on purpose."""

    definite: ClassVar[bool] = True


@dataclass(frozen=True)
class PlanProblem:
    """One rule that a plan breaks."""

    location: tuple[str | int, ...]
    """Keys and list positions that lead to it, from the top; for a missing key, to where it belongs."""
    message: str

    @property
    def key(self) -> str:
        """`consumers[0].auth.secret`; for the document as a whole `the plan`."""
        return "".join(map(_step, self.location)).removeprefix(".") or "the plan"

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    plain = re.fullmatch(r"[\w/-]{1,80}", step)
    return f".{step}" if plain else f"[{json.dumps(step[:80])}]"


class PlanInvalid(RekeyError):
    """The document breaks the plan's rules."""

    def __init__(self, problems: Sequence[PlanProblem]) -> None:
        super().__init__("the plan cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = tuple(problems)


class PlanMissing(RekeyError):
    """Nobody pushed a plan for this registry."""


class FormatUnknown(RekeyError):
    """A record or message says it is of a format this release does not read."""


class InputInvalid(RekeyError):
    """An execution input, an event or a paste is not what it must be."""


class Fenced(RekeyError):
    """Another execution owns the registry now."""


class CredentialUnusable(RekeyError):
    """A credential of Rekey's own is missing, malformed, or not bound to this registry and host."""


class Denied(RekeyError):
    """The service understood the request and refuses it: rights are missing."""


class NotFound(RekeyError):
    """What the plan names does not exist there."""


class Unfit(RekeyError):
    """What the plan names exists and cannot be used as it is."""


class Unintelligible(RekeyError):
    """The service answered something that cannot be understood."""


class Superseded(RekeyError):
    """A higher generation is there already."""


class Conflict(RekeyError):
    """Somebody else wrote at the same time, and keeps doing so."""


class TransientError(RekeyError):
    """Base of what may pass when asked again later."""

    definite: ClassVar[bool] = False


class Unreachable(TransientError):
    """No answer came, or one that says "not now"."""


class NotSent(Unreachable):
    """The request surely never left: no connection could be made."""


class OutOfTime(TransientError):
    """The function's own deadline came before the work was done."""


class Defect(TransientError):
    """A fault in Rekey itself. The message says where it happened and never with what values."""
