"""Notifier: an SNS topic (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html)."""

from typing import TYPE_CHECKING

from rekey import aws
from rekey.contracts import Message
from rekey.model.plan import SnsNotifier as SnsPart

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

_SUBJECT_CHARACTERS = 99
"""SNS takes fewer than 100 characters, ASCII, on one line."""
_TEXT_BYTES = 255 * 1024
"""A message may have 256 KiB in all."""
_CUT = "\n(cut: the rest is in the rotation's report)"


class SnsNotifier:
    """One topic. `part.only_attention` is its caller's business, as for every channel."""

    def __init__(self, part: SnsPart, client: "SNSClient | None" = None) -> None:
        self._topic = part.topic
        self._client: SNSClient = client or aws.client("sns")

    def send(self, message: Message) -> None:
        """Publish it. Raises Denied, NotFound, Unfit (SNS does not take it), Unreachable."""
        with aws.answering(f"the topic {self._topic}"):
            self._client.publish(TopicArn=self._topic, Subject=_subject(message.subject), Message=_text(message.text))


def _subject(text: str) -> str:
    """Return it as SNS takes it: it must begin with a letter, digit or punctuation mark."""
    one_line = "".join(character if " " <= character <= "~" else " " for character in text)
    return " ".join(one_line.split())[:_SUBJECT_CHARACTERS] or "Rekey"


def _text(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= _TEXT_BYTES:
        return text or " "
    return encoded[: _TEXT_BYTES - len(_CUT.encode())].decode(errors="ignore") + _CUT
