"""Finds secrets in text, in whatever form they may have slipped into it.

Forms are what encoders make of a secret: plain, JSON (also inside JSON, as an execution's cause is), URL, HTML and
Python escapes, hex, and base64 at all three alignments, so that `user:password` is found whatever the user's name.
"""

from __future__ import annotations

import base64
import html
import json
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SHORTEST = 16  # bytes of a secret that is looked for: a shorter one could stand anywhere by chance
_PREFIX = 10  # bytes; the shortest form is longer


@dataclass(frozen=True)
class Canary:
    """A secret, and what to call it where it is found. `owner`: the registry that it is about; "": several."""

    name: str
    text: str = field(repr=False)
    owner: str = ""

    def __post_init__(self) -> None:
        if len(self.text) < _SHORTEST:
            raise ValueError(f"{self.name} is too short to be looked for")


class Search:
    """Looks for all of these secrets at once."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._by_prefix: dict[bytes, list[tuple[bytes, Canary]]] = {}
        for canary in canaries:
            for form in forms(canary.text):
                self._by_prefix.setdefault(form[:_PREFIX], []).append((form, canary))

    def found_in(self, text: bytes) -> set[Canary]:
        """Return the secrets that are in a text."""
        known, found = self._by_prefix, set[Canary]()
        for at in range(len(text) - _PREFIX + 1):
            if text[at : at + _PREFIX] in known:
                found |= {canary for form, canary in known[text[at : at + _PREFIX]] if text.startswith(form, at)}
        return found


def forms(secret: str) -> set[bytes]:
    """Return everything that encoders make of a secret, whatever stands before and after it."""
    texts = set(_escaped(secret))
    raw = {text.encode() for text in texts}
    once = {core for text in raw for core in _base64(text)}
    # A pull secret's data: base64 of JSON, in which `auth` is base64 of `user:password`.
    twice = {core for text in once for core in _base64(text)}
    return raw | once | twice | {text.hex().encode() for text in raw} | {text.hex().upper().encode() for text in raw}


def _escaped(secret: str) -> Iterator[str]:
    json_once = json.dumps(secret)[1:-1]
    json_twice = json.dumps(json_once)[1:-1]
    for text in (secret, json_once, json_twice):
        yield text
        yield text.replace("/", "\\/")  # as PHP writes JSON
        for quoted in (urllib.parse.quote(text), urllib.parse.quote(text, safe=""), urllib.parse.quote_plus(text)):
            yield quoted
            yield _lower_case_escapes(quoted)
    yield json.dumps(json_twice)[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield html.escape(secret).replace("&#x27;", "&#39;")
    yield repr(secret)[1:-1]


def _lower_case_escapes(quoted: str) -> str:
    head, *parts = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in parts)


_SKIPPED: Mapping[int, int] = {0: 0, 1: 2, 2: 3}
"""Bytes before it in its group of three → characters at the front that depend on those bytes."""
_CUT: Mapping[int, int | None] = {0: None, 1: -3, 2: -2}
"""Bytes of its last group of three → characters at the end that depend on what follows, padding included."""


def _base64(text: bytes) -> Iterator[bytes]:
    for before, skipped in _SKIPPED.items():
        padded = bytes(before) + text
        core = base64.b64encode(padded)[skipped : _CUT[len(padded) % 3]]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))
