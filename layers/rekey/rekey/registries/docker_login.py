"""Whether a registry takes a password: what the password opens or grants is read, and nothing that anybody has counts.

https://distribution.github.io/distribution/spec/auth/token/: a token server may give a token to everybody, and to a
wrong password too. So a token proves a password only by what it grants beyond anybody's, in the plan's repositories or
in what the registry itself asks for. A plan that names no repository leaves nothing to be granted where the registry
asks for nothing either: there, and there alone, it counts that who shows no password gets no token.

What an opaque token grants cannot be read, so it is tried: what it opens and anybody's does not, it grants.
"""

import httpx

from rekey import http
from rekey.contracts import Login
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import Challenge, offered, speaks_registry
from rekey.registries.claims import Grants
from rekey.registries.session import Session
from rekey.registries.verdicts import (
    CLOSED,
    MOST_REPOSITORIES,
    REFUSED,
    anybody,
    no_token,
    nothing_more,
    of_password,
    undecided,
)


class DockerLogin:
    """Asks in one session. Raises what `Session` raises."""

    def __init__(self, session: Session, part: RegistryPart) -> None:
        self._session = session
        self._username = part.username
        self._repositories = (part.repositories or ())[:MOST_REPOSITORIES]
        self._public: list[str] = []
        """Where anybody may do as much as the password."""
        self._barred: list[str] = []
        """Where the password gives no right."""

    def ask(self, password: Password) -> Login:
        """Ask /v2/ with Basic where the registry takes it, else with a token of its token server."""
        hello = self._session.ask("/v2/")
        if hello.status_code == httpx.codes.OK and speaks_registry(hello):
            return self._where_public(password)
        if hello.status_code != httpx.codes.UNAUTHORIZED:
            return of_password(hello, "GET /v2/")
        if offered(hello, "basic") is not None:
            return of_password(self._session.ask("/v2/", authorization=self._basic(password)), _WITH_PASSWORD)
        challenge = offered(hello, "bearer")
        if challenge is None:
            return Login(LoginVerdict.INCONCLUSIVE, "GET /v2/ asks neither for Basic nor for a token")
        return self._with_token(challenge, password)

    def _basic(self, password: Password) -> str:
        return http.basic(self._username, password)

    def _with_token(self, challenge: Challenge, password: Password) -> Login:
        """Ask by what the token grants; only where nothing could be granted by who else is given a token."""
        scope = challenge.parameters.get("scope")
        mine = self._session.token(challenge, scope, password)
        if mine.token is None:
            return no_token(mine)
        shown = self._session.ask("/v2/", authorization=mine.authorization)
        if shown.status_code != httpx.codes.OK:
            return undecided(shown.status_code, "GET /v2/ with the token")
        for repository in self._repositories:
            found = self._in(challenge, repository, password)
            if found is not None:
                return found
        anybodys = self._session.token(challenge, scope, None)
        if anybodys.token is None and anybodys.status not in REFUSED:
            return undecided(anybodys.status, _WITHOUT)
        if anybodys.token is None and mine.grants:
            return Login(LoginVerdict.ACCEPTED, "the token server grants to the password what it grants to nobody else")
        if self._repositories:
            return nothing_more(self._public, self._barred, self._username)
        if anybodys.token is not None:
            return anybody("gets a token")
        if scope is not None and mine.grants == Grants():
            return Login(LoginVerdict.INCONCLUSIVE, _GRANTS_NOTHING)
        return Login(LoginVerdict.ACCEPTED, _GIVEN)

    def _in(self, challenge: Challenge, repository: str, password: Password) -> Login | None:
        """Compare what the password opens in one repository with what everybody may do there.

        None: it opens no more than that, which is no proof of anything; `_public` or `_barred` has it then.
        """
        scope = f"repository:{repository}:pull,push"
        mine, anybodys = self._session.token(challenge, scope, password), self._session.token(challenge, scope, None)
        if mine.status == httpx.codes.FORBIDDEN:
            self._barred.append(repository)
            return None
        if mine.token is None:
            return no_token(mine)
        if anybodys.token is None and anybodys.status not in REFUSED:
            return undecided(anybodys.status, _WITHOUT)
        granted = mine.grants
        if granted is not None:
            here = frozenset(one for one in granted if one[1] == repository)
            actions = sorted(action for _, _, action in here - (anybodys.grants or Grants()))
            if actions:
                said = f"the password grants {', '.join(actions)} of {repository}"
                return Login(LoginVerdict.ACCEPTED, said)
            (self._public if here else self._barred).append(repository)
            return None
        path = f"/v2/{repository}/tags/list"
        closed = self._session.ask(path, authorization=anybodys.authorization)
        if closed.status_code == httpx.codes.OK:
            self._public.append(repository)
            return None
        if closed.status_code not in CLOSED:
            return undecided(closed.status_code, f"listing the tags of {repository} without the password")
        found = _opened(self._session.ask(path, authorization=mine.authorization), repository)
        if found is None:
            self._barred.append(repository)
        return found

    def _where_public(self, password: Password) -> Login:
        """Ask in the plan's repositories, where the registry lets anybody in at /v2/."""
        for repository in self._repositories:
            found = self._in_closed(repository, password)
            if found is not None:
                return found
        if self._repositories:
            return nothing_more(self._public, self._barred, self._username)
        return anybody("may GET /v2/")

    def _in_closed(self, repository: str, password: Password) -> Login | None:
        """Return what a repository says of the password; None as `_in` does."""
        path = f"/v2/{repository}/tags/list"
        closed = self._session.ask(path)
        if closed.status_code == httpx.codes.OK:
            self._public.append(repository)
            return None
        if closed.status_code == httpx.codes.NOT_FOUND:
            self._barred.append(repository)
            return None
        if closed.status_code != httpx.codes.UNAUTHORIZED:
            return undecided(closed.status_code, f"listing the tags of {repository} without the password")
        if offered(closed, "basic") is None:
            challenge = offered(closed, "bearer")
            if challenge is None:
                return Login(LoginVerdict.INCONCLUSIVE, f"GET {path} asks neither for Basic nor for a token")
            return self._in(challenge, repository, password)
        answer = self._session.ask(path, authorization=self._basic(password))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            return Login(LoginVerdict.REFUSED, f"GET {path} with the password answered 401")
        found = _opened(answer, repository)
        if found is None:
            self._barred.append(repository)
        return found


_WITH_PASSWORD = "GET /v2/ with the password"  # noqa: S105 (words)
_WITHOUT = "asking for a token without the password"
_GIVEN = (
    "the token server gives a token for the password and none without it. What it grants was not read: the plan names "
    "no `repositories`"
)
_GRANTS_NOTHING = (
    "the token server grants the password nothing of what the registry asks for, so this proves nothing: name a "
    "private repository in the plan's `repositories`"
)


def _opened(response: httpx.Response, repository: str) -> Login | None:
    """Return what an answer says to the password, in a repository that is closed without it.

    None where it stays closed: the account may lack the right, and a token may be anybody's.
    """
    if response.status_code == httpx.codes.OK:
        return Login(LoginVerdict.ACCEPTED, f"the password opens {repository}, which is closed without it")
    if response.status_code in CLOSED:
        return None
    return undecided(response.status_code, f"listing the tags of {repository}")
