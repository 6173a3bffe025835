"""What all registries have in common: docker's login, and what they hold.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md,
https://distribution.github.io/distribution/spec/auth/token/
"""

from collections.abc import Sequence
from datetime import timedelta

import httpx

from rekey.contracts import Contents, Login, Registry, Token
from rekey.errors import OutOfTime, RekeyError, Unfit, Unreachable
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.registries.challenge import offered, speaks_registry
from rekey.registries.docker_login import DockerLogin
from rekey.registries.old_tokens import OldTokens
from rekey.registries.session import Session
from rekey.registries.snapshot import Snapshot
from rekey.registries.verdicts import not_asked
from rekey.secrets import Secrets

_LOGIN_LIMIT = timedelta(seconds=20)
"""For all requests of one login, and of one look at the registry's health."""


class OciRegistry(Registry):
    """A registry as Docker talks to it. Derived adapters add how its password changes."""

    def __init__(self, part: RegistryPart, secrets: Secrets) -> None:
        self.alphabet = part.alphabet.alphabet()
        self._part = part
        self._secrets = secrets

    def reach(self) -> None:
        """Ask GET /v2/, which a registry answers in its own way."""
        with self._session(_LOGIN_LIMIT) as session:
            hello = session.ask("/v2/")
        if hello.status_code == httpx.codes.UNAUTHORIZED:
            speaks = any(offered(hello, scheme) for scheme in ("basic", "bearer"))
        else:
            speaks = hello.status_code == httpx.codes.OK and speaks_registry(hello)
        if not speaks:
            raise Unfit(
                f"GET {self._part.endpoint}/v2/ answered {hello.status_code}, not as a registry does: is it well, and "
                "is the plan's `endpoint` the registry's?"
            )

    def healthy(self) -> bool:
        """Whether the registry answers as one, without any password."""
        try:
            self.reach()
        except RekeyError:
            return False
        return True

    def login(self, password: Password) -> Login:
        """Ask as `docker login` does, and see that nobody gets the like without the password (see `DockerLogin`)."""
        try:
            with self._session(_LOGIN_LIMIT) as session:
                return DockerLogin(session, self._part).ask(password)
        except (Unreachable, OutOfTime, Unfit) as error:
            return not_asked(error)

    def contents(self, password: Password, within: timedelta) -> Contents:
        """Return the plan's repositories, or all that the registry lists, with tags and digests.

        A repository that is listed and has no tags is there, empty; a tag that points to nothing is not. Raises, beside
        the contract's, NotFound for a repository of the plan that is not there, Unfit where the registry lists none or
        names a token server that the plan does not.
        """
        with self._session(within) as session:
            return Snapshot(session, self._part.username, password).take(self._part.repositories)

    def take_tokens(self, password: Password, within: timedelta) -> Sequence[Token]:
        """Ask the token server as `docker login` does, for a bearer and a refresh token."""
        with self._session(within) as session:
            return OldTokens(session, self._part).take(password)

    def try_tokens(self, tokens: Sequence[Token], new: Password, within: timedelta) -> Sequence[Login]:
        """Try each on a repository of the plan that is closed to anybody, else on /v2/."""
        try:
            with self._session(within) as session:
                return OldTokens(session, self._part).attempt(tokens, new)
        except (Unreachable, OutOfTime, Unfit) as error:
            return [not_asked(error)] * len(tokens)

    def _session(self, within: timedelta) -> Session:
        return Session(self._part, within)
