"""A password in the hand, and the shapes a password can have."""

import base64
import json
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

REDACTED: Final = "<password>"
ESCROW_LIMIT: Final = 64 * 1024
"""Bytes of a registry's answer that are kept. A longer answer is cut: no registry sends a password that long."""


class Password:
    """A secret text that does not show itself: not in `repr`, not in `str`, not in a format string, not in JSON."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one line that sends it."""
        return self._text

    def __repr__(self) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not to be pickled or copied: a pickle holds it readable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


@dataclass(frozen=True)
class Alphabet:
    """What characters a registry's generated passwords can have, and how long they are.

    Consumers ask it before the reset, when the password is not known yet: a masked GitLab variable, for one, takes
    only some characters. `characters` is None where the registry does not say.
    """

    characters: str | None = None
    min_length: int = 1
    max_length: int = 4096


def docker_config(endpoint: str, username: str, password: Password) -> str:
    """Return the `config.json` that Docker, Kubernetes and most tools read, for one registry.

    `auth` is base64 of `user:password` (https://docs.docker.com/reference/cli/docker/login/#credential-stores).
    """
    return json.dumps({"auths": {endpoint: docker_auth(username, password)}}, separators=(",", ":"))


def docker_auth(username: str, password: Password) -> dict[str, str]:
    """Return one entry of `auths`: user name, password and both as base64 of `user:password`."""
    pair = f"{username}:{password.reveal()}".encode()
    return {"username": username, "password": password.reveal(), "auth": base64.b64encode(pair).decode()}


ValueShape = Literal["password", "docker-config"]
"""What is written at a consumer: the bare password, or a whole `config.json` for this registry."""
