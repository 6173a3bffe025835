"""Webhook: prove who sent it, keep the fields of the schema, put an event on the bus. Nothing of the body is logged.

Off unless the stack names sources: `{"siem": {"secret": "rekey/webhook-siem"}}` makes `POST /siem` one, its signing key
the field `key` of that secret. Which reasons a source may give for which registry is the plan's `accepts`.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime

from rekey import runtime, standard_webhooks
from rekey.bus import ASKING
from rekey.errors import CredentialUnusable, Denied, InputInvalid, RekeyError
from rekey.model.plan import CredentialRef
from rekey.observability import logger
from rekey.runtime import Event
from rekey.secrets import Secrets
from rekey.steps.bench import Bench
from rekey.steps.trigger import SOURCE_PREFIX

BODY_LIMIT = 64 * 1024
_FIELDS = ("registry", "reason", "leak", "exposed_at", "detected_at")
_ACCEPTED, _BAD, _FORBIDDEN, _LATER = 202, 400, 401, 503
_LONGEST_ID = 256


def run(bench: Bench, event: Event, _deadline: datetime) -> Event:
    """Answer one HTTP request (API Gateway payload format 2.0): 202 where the event is on the bus."""
    try:
        source, detail = verified(bench, event)
    except Denied as error:
        return _answer(_FORBIDDEN, str(error))
    except CredentialUnusable as error:
        logger.error("a source's key cannot be used", extra={"why": str(error)})
        return _answer(_FORBIDDEN, "this source's key cannot be used")
    except InputInvalid as error:
        return _answer(_BAD, str(error))
    except RekeyError as error:
        return _not_taken(error)
    try:
        bench.bus.put(SOURCE_PREFIX + source, ASKING, detail)
    except RekeyError as error:  # also where the function itself may not: that is not the sender's fault
        return _not_taken(error)
    return _answer(_ACCEPTED, "accepted")


def _not_taken(error: RekeyError) -> Event:
    logger.error("an alert could not be taken", extra={"why": str(error)})
    return _answer(_LATER, "not taken: send it again")


def verified(bench: Bench, event: Event) -> tuple[str, dict[str, object]]:
    """Return who sent a request, and what of it is kept.

    Raises Denied, CredentialUnusable, InputInvalid; Unreachable where the key cannot be fetched now.
    """
    source = str(event.get("rawPath", "")).strip("/")
    reference = bench.settings.webhook_sources.get(source)
    if reference is None:
        raise Denied("no such source")
    body = body_of(event)
    headers = event.get("headers")
    if not isinstance(headers, dict):
        raise InputInvalid("the request has no headers")
    detail = kept(body)
    credential = Secrets(str(detail.get("registry"))).resolve(CredentialRef.model_validate(reference), None)
    key = standard_webhooks.signing_key(credential)
    message_id = standard_webhooks.verify(key, headers, body, runtime.now())
    if len(message_id) > _LONGEST_ID:
        raise InputInvalid(f"the header webhook-id is longer than {_LONGEST_ID} characters")
    return source, {"leak": message_id, **detail}  # a message that is sent again is the same leak


def body_of(event: Event) -> bytes:
    """Return the body's bytes as they were signed. Raises InputInvalid where it is too long or not what it says."""
    text = str(event.get("body") or "")
    if len(text) > BODY_LIMIT * 4 // 3 + 4:
        raise InputInvalid("the body is too long")
    try:
        body = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except ValueError:  # binascii.Error, and what is no ASCII or no text at all
        raise InputInvalid("the body is not what it says it is") from None
    if len(body) > BODY_LIMIT:
        raise InputInvalid("the body is too long")
    return body


def kept(body: bytes) -> dict[str, object]:
    """Return the fields of the schema and nothing else: an alert's body may hold the live password."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        raise InputInvalid("the body is no JSON object")
    fields = {name: document[name] for name in _FIELDS if document.get(name) is not None}
    if not all(isinstance(value, str) for value in fields.values()):
        raise InputInvalid(f"the fields {', '.join(_FIELDS)} must be texts")
    return fields


def _answer(status: int, said: str) -> Event:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": said}),
    }
