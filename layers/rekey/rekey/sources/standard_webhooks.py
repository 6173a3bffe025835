"""Webhooks signed as https://www.standardwebhooks.com describes: three headers, HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from rekey.errors import CredentialUnusable, Denied

TOLERANCE = timedelta(minutes=5)
"""How far a message's time may be from ours: an older one may be a replay."""
_PREFIX = "whsec_"
_STAMP = re.compile(r"[0-9]{1,12}")


def signing_key(text: str) -> bytes:
    """Return the bytes of `whsec_` and base64. Raises CredentialUnusable where it is none."""
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise CredentialUnusable(f"the signing key must be `{_PREFIX}` and base64") from None


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature header's value of one message."""
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return the id of a message whose signature is good and fresh. Raises Denied, without saying what was expected."""
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    # An HTTP API joins doubled headers with commas: only the signature may hold one, inside each of its parts.
    if not message_id or "," in message_id or not _STAMP.fullmatch(stamp):
        raise Denied("the headers webhook-id, webhook-timestamp and webhook-signature are needed")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
        raise Denied("the message is too old, or the sender's clock is wrong")
    wanted = sign(key, message_id, int(stamp), body)
    given = headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given):
        raise Denied("the signature is wrong")
    return message_id
