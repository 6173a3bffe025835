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
_ACCEPTED, _BAD, _FORBIDDEN, _NONE, _TOO_LARGE, _LATER = 202, 400, 401, 404, 413, 503


def run(bench: Bench, event: Event, _deadline: datetime) -> Event:
    """Answer one HTTP request (API Gateway payload format 2.0): 202 where the event is on the bus."""
    try:
        put(bench, event)
    except (Denied, CredentialUnusable) as error:
        return _answer(_FORBIDDEN, str(error) if isinstance(error, Denied) else "this source's key cannot be used")
    except InputInvalid as error:
        return _answer(_BAD, str(error))
    except RekeyError as error:
        logger.error("an alert could not be taken", extra={"why": str(error)})
        return _answer(_LATER, "not taken: send it again")
    return _answer(_ACCEPTED, "accepted")


def put(bench: Bench, event: Event) -> None:
    """Verify one request and put its event. Raises Denied, CredentialUnusable, InputInvalid, and as the bus does."""
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
    detail.setdefault("leak", message_id)  # a message that is sent again is the same leak
    bench.bus.put(SOURCE_PREFIX + source, ASKING, detail)


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
