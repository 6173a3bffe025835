"""Whether a registry takes a password: what the password opens or grants is read, and nothing that anybody has counts.

https://distribution.github.io/distribution/spec/auth/token/: a token server may give a token to everybody, and to a
wrong password too. So a token proves a password only by what it grants beyond anybody's.
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
from rekey.registries.verdicts import CLOSED, REFUSED, anybody, no_token, of_password, undecided

MOST_REPOSITORIES = 5
"""Repositories of the plan that are looked at for one that is closed to anybody."""


class DockerLogin:
    """Asks in one session. Raises what `Session` raises."""

    def __init__(self, session: Session, part: RegistryPart) -> None:
        self._session = session
        self._username = part.username
        self._repositories = (part.repositories or ())[:MOST_REPOSITORIES]

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
        """Ask by what the token grants in the plan's repositories; without one by who else is given a token."""
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
        grants_nothing = scope is not None and mine.grants == Grants()
        if self._session.token(challenge, scope, None).status in REFUSED and not grants_nothing:
            return Login(LoginVerdict.ACCEPTED, "the token server gives a token for the password and none without it")
        return anybody(f"may do as much in {self._named}" if self._named else "gets a token")

    def _in(self, challenge: Challenge, repository: str, password: Password) -> Login | None:
        """Compare what the password opens in one repository with what everybody may do there.

        None: it opens no more than that, which is no proof of anything.
        """
        scope = f"repository:{repository}:pull,push"
        mine, anybodys = self._session.token(challenge, scope, password), self._session.token(challenge, scope, None)
        if mine.token is None:
            return no_token(mine)
        if anybodys.token is None and anybodys.status not in REFUSED:
            return undecided(anybodys.status, "asking for a token without the password")
        granted = mine.grants
        if granted is not None:
            more = granted - (anybodys.grants or Grants())
            actions = sorted(action for _, name, action in more if name == repository)
            said = f"the password grants {', '.join(actions)} of {repository}"
            return Login(LoginVerdict.ACCEPTED, said) if actions else None
        path = f"/v2/{repository}/tags/list"
        closed = self._session.ask(path, authorization=anybodys.authorization)
        if closed.status_code == httpx.codes.OK:
            return None
        if closed.status_code not in CLOSED:
            return undecided(closed.status_code, f"listing the tags of {repository} without the password")
        return _opened(self._session.ask(path, authorization=mine.authorization), repository)

    def _where_public(self, password: Password) -> Login:
        """Ask in the plan's repositories, where the registry lets anybody in at /v2/."""
        for repository in self._repositories:
            path = f"/v2/{repository}/tags/list"
            closed = self._session.ask(path)
            if closed.status_code == httpx.codes.OK:
                continue
            if closed.status_code != httpx.codes.UNAUTHORIZED:
                return undecided(closed.status_code, f"listing the tags of {repository} without the password")
            if offered(closed, "basic") is not None:
                answer = self._session.ask(path, authorization=self._basic(password))
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    return Login(LoginVerdict.REFUSED, f"GET {path} with the password answered 401")
                return _opened(answer, repository) or undecided(answer.status_code, f"GET {path} with the password")
            challenge = offered(closed, "bearer")
            if challenge is None:
                return Login(LoginVerdict.INCONCLUSIVE, f"GET {path} asks neither for Basic nor for a token")
            found = self._in(challenge, repository, password)
            if found is not None:
                return found
        return anybody(f"may list the tags of {self._named}" if self._named else "may GET /v2/")

    @property
    def _named(self) -> str:
        return ", ".join(self._repositories)


_WITH_PASSWORD = "GET /v2/ with the password"  # noqa: S105 (words)


def _opened(response: httpx.Response, repository: str) -> Login | None:
    """Return what an answer says to the password, in a repository that is closed without it.

    None where it stays closed: the account may lack the right, and a token may be anybody's.
    """
    if response.status_code == httpx.codes.OK:
        return Login(LoginVerdict.ACCEPTED, f"the password opens {repository}, which is closed without it")
    if response.status_code in CLOSED:
        return None
    return undecided(response.status_code, f"listing the tags of {repository}")
