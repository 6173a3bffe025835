"""Rekey's own event bus: everything that happens is told there, without secrets."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from rekey import aws
from rekey.errors import RekeyError, Unreachable
from rekey.observability import logger

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

SOURCE = "rekey"
_LONGEST = 8_000
"""Characters of a text in an event that tells: an event ends at 256 KB, and so does a message of SNS.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
"""
ASKING = "Credential Compromised"
"""DetailType of the event that asks for a rotation; its source is `rekey.in/<source>`."""
PASTED = "Password Pasted"
PASTED_SOURCE = "rekey.in/paste"


class Told(StrEnum):
    """DetailTypes of the events that tell."""

    REQUEST_ACCEPTED = "Request Accepted"
    REQUEST_JOINED = "Request Joined"
    REQUEST_REFUSED = "Request Refused"
    PASSWORD_RESET = "Password Reset"  # noqa: S105 (an event's name)
    OLD_PASSWORD_REFUSED = "Old Password Refused"  # noqa: S105 (an event's name)
    ATTENTION_NEEDED = "Attention Needed"
    ROTATION_FINISHED = "Rotation Finished"


class Bus:
    """Puts events on the stack's bus."""

    def __init__(self, name: str, client: "EventBridgeClient | None" = None) -> None:
        self._name = name
        self._client: EventBridgeClient = client or aws.client("events")

    def put(self, source: str, detail_type: str, detail: Mapping[str, object]) -> None:
        """Put one event. Raises Denied, NotFound, Unreachable: PutEvents reports failures per entry."""
        entry = {
            "EventBusName": self._name,
            "Source": source,
            "DetailType": detail_type,
            "Detail": json.dumps({"format": 1, **detail}),
        }
        with aws.answering("the event bus"):
            answer = self._client.put_events(Entries=[entry])  # type: ignore[list-item]
        if answer.get("FailedEntryCount"):
            code = answer["Entries"][0].get("ErrorCode", "unknown")
            raise Unreachable(f"the event bus did not take the event: {code}")

    def tell(self, what: Told, registry: str, **detail: object) -> bool:
        """Tell whoever listens; return whether it was put.

        A message that cannot be put never touches a rotation: it is logged. A text that is too long is cut.
        """
        short = {name: _cut(value) if isinstance(value, str) else value for name, value in detail.items()}
        try:
            self.put(SOURCE, what.value, {"registry": registry, **short})
        except RekeyError as error:
            logger.error("an event could not be told", extra={"event": what.value, "reason": str(error)})
            return False
        return True


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
