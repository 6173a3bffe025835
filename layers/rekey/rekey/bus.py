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

        A message that cannot be put never touches a rotation: it is logged.
        """
        try:
            self.put(SOURCE, what.value, {"registry": registry, **detail})
        except RekeyError as error:
            logger.error("an event could not be told", extra={"event": what.value, "reason": str(error)})
            return False
        return True
