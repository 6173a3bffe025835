"""Webhooks signed as https://www.standardwebhooks.com describes: three headers, HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from rekey.errors import CredentialUnusable, Denied
from rekey.secrets import Credential

TOLERANCE = timedelta(minutes=5)
"""How far a message's time may be from ours: an older one may be a replay."""
_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
_STAMP = re.compile(r"[0-9]{1,12}")


def signing_key(credential: Credential) -> bytes:
    """Return the key in a credential's field `key`. Raises CredentialUnusable, naming the secret, where it is none."""
    text = credential["key"]
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise CredentialUnusable(
            f"`key` of the secret {credential.name} is no signing key: write `{_PREFIX}` and base64 of 24 to 64 bytes"
        )
    return key


def headers(key: bytes, message_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers of a message."""
    stamp = int(sent_at.timestamp())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(key, message_id, stamp, body),
    }


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature header's value of one message."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def verify(key: bytes, given: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return the id of a message whose signature is good and fresh. Raises Denied, without saying what was expected."""
    message_id = given.get("webhook-id", "")
    stamp = given.get("webhook-timestamp", "")
    # An HTTP API joins doubled headers with commas: only the signature may hold one, inside each of its parts.
    if not message_id or "," in message_id or not _STAMP.fullmatch(stamp):
        raise Denied("the headers webhook-id, webhook-timestamp and webhook-signature are needed")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
        raise Denied("the message is too old, or the sender's clock is wrong")
    wanted = sign(key, message_id, int(stamp), body)
    signatures = given.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(wanted.encode(), one.encode()) for one in signatures):
        raise Denied("the signature is wrong")
    return message_id
