"""Passwords of our choice, for registries that take one: random, and as the registry's rules and the plan want them."""

import secrets as random
import string
from dataclasses import dataclass

from rekey.errors import Unfit
from rekey.model.password import Alphabet, Password

UPPER, LOWER, DIGIT = string.ascii_uppercase, string.ascii_lowercase, string.digits
SPECIAL = "-._~"
"""What no URL, shell or configuration file gives a meaning to (RFC 3986, section 2.3)."""
_LENGTH = 40
"""Of letters and digits alone: 238 bits."""


@dataclass(frozen=True)
class Rules:
    """What passwords a registry takes."""

    shortest: int
    longest: int
    """Both in bytes: all characters are ASCII, since Basic knows no others."""
    classes: tuple[str, ...]
    """Kinds of characters: a candidate has one of each kind that its alphabet has."""
    all_needed: bool
    """Whether the registry takes none without one of each."""
    said: str
    """The rules in words."""

    def alphabet(self, wanted: Alphabet) -> Alphabet:
        """Return what candidates are made of: the plan's characters, or every kind, in a length that both allow."""
        length = min(max(_LENGTH, wanted.min_length), wanted.max_length, self.longest)
        if length < wanted.min_length:
            length = 0  # none: `refuse_unfit` says so
        characters = wanted.characters or "".join(self.classes)
        return Alphabet("".join(dict.fromkeys(characters)), length, length)

    def refuse_unfit(self, alphabet: Alphabet) -> None:
        """Raise Unfit where an alphabet allows no password that the registry takes."""
        characters = alphabet.characters or ""
        plain = bool(characters) and all("!" <= character <= "~" for character in characters)
        kinds = self._kinds(characters)
        enough = len(kinds) == len(self.classes) or not self.all_needed
        if not plain or not enough or alphabet.max_length < max(self.shortest, len(kinds)):
            raise Unfit(f"the plan's `alphabet` allows no {self.said}")

    def allow(self, text: str) -> bool:
        """Whether the registry takes it, as far as its rules are known."""
        fits = self.shortest <= len(text.encode()) <= self.longest
        return fits and not (self.all_needed and len(self._kinds(text)) < len(self.classes))

    def candidate(self, alphabet: Alphabet) -> Password:
        """Return a random password. Raises Unfit where the alphabet allows none."""
        self.refuse_unfit(alphabet)
        characters = alphabet.characters or ""
        kinds = self._kinds(characters)
        while True:  # until none of the kinds is missing: of 40 letters and digits, one in a thousand lacks one
            text = "".join(random.choice(characters) for _ in range(alphabet.max_length))
            if all(set(text) & set(kind) for kind in kinds):
                return Password(text)

    def _kinds(self, characters: str) -> list[str]:
        return [kind for kind in self.classes if set(characters) & set(kind)]
