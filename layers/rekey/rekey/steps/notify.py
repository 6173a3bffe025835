"""Notify: turn events that tell into messages. Outside the state machine: what fails here touches no rotation."""

from datetime import datetime
from typing import cast

from rekey import adapters
from rekey.bus import Told
from rekey.contracts import Message, Notifier
from rekey.errors import InputInvalid, PlanMissing, RekeyError
from rekey.observability import logger
from rekey.runtime import Event
from rekey.steps.bench import Bench

_SUBJECT = 100
_NEEDS_A_PERSON = frozenset({Told.ATTENTION_NEEDED})


def run(bench: Bench, event: Event, _deadline: datetime) -> Event:
    """Send the event's message to every channel of the registry's plan.

    One channel that fails stops no other. Raises the first failure afterwards, so that Lambda tries the event again.
    """
    message, registry = to_message(event)
    try:
        plan, _, _ = bench.plans.pushed(registry)
    except PlanMissing:
        logger.warning("an event of a registry without a plan", extra={"registry": registry})
        return {"sent": 0}
    failures: list[RekeyError] = []
    sent = 0
    for part in plan.notify:
        if part.only_attention and not message.needs_a_person:
            continue
        notifier = cast("Notifier", adapters.load("notifier", part.type)(part))
        try:
            notifier.send(message)
            sent += 1
        except RekeyError as error:
            logger.error("a message was not sent", extra={"channel": part.type, "why": str(error)})
            failures.append(error)
    if failures:
        raise failures[0]
    return {"sent": sent}


def to_message(event: Event) -> tuple[Message, str]:
    """Return the message of an event, and its registry. Raises InputInvalid where the event is none of ours."""
    detail = event.get("detail")
    try:
        told = Told(str(event.get("detail-type")))
    except ValueError:
        raise InputInvalid("the event is none of those that tell") from None
    if not isinstance(detail, dict):
        raise InputInvalid("the event has no `detail`")
    registry = str(detail.get("registry"))
    lines = [f"{key}: {value}" for key, value in sorted(detail.items()) if key not in ("format", "why")]
    why = [str(detail["why"]), ""] if detail.get("why") else []
    subject = f"Rekey {registry}: {told.value}".encode("ascii", "replace").decode()[:_SUBJECT]
    return Message(subject, "\n".join(why + lines), told in _NEEDS_A_PERSON), registry
