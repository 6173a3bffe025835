"""What all registries have in common: docker's login, and what they hold.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md,
https://distribution.github.io/distribution/spec/auth/token/
"""

from datetime import timedelta

import httpx

from rekey import http
from rekey.contracts import Contents, Login, Registry
from rekey.errors import OutOfTime, RekeyError, Unfit, Unreachable
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import Challenge, Grants, challenges, offered, speaks_registry
from rekey.registries.session import Session, TokenAnswer
from rekey.registries.snapshot import Snapshot
from rekey.secrets import Secrets

_LOGIN_LIMIT = timedelta(seconds=20)
"""For all requests of one login, and of one look at the registry's health."""
_REFUSED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_LOCKED = frozenset({httpx.codes.LOCKED, httpx.codes.TOO_MANY_REQUESTS})
_NOT_NOW = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY})


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
        """Ask /v2/ with Basic where the registry takes it, else with a token of its token server.

        A token alone proves nothing: servers give one without rights to anybody, and to a wrong password. So it counts
        only if nobody gets the like without the password.
        """
        try:
            with self._session(_LOGIN_LIMIT) as session:
                return self._log_in(session, password)
        except (Unreachable, OutOfTime) as error:
            return Login(LoginVerdict.UNREACHABLE, str(error))
        except Unfit as error:
            return Login(LoginVerdict.INCONCLUSIVE, str(error))

    def contents(self, password: Password, within: timedelta) -> Contents:
        """Return the plan's repositories, or all that the registry lists, with tags and digests.

        A repository that is listed and has no tags is there, empty; a tag that points to nothing is not. Raises, beside
        the contract's, NotFound for a repository of the plan that is not there, Unfit where the registry lists none or
        names a token server that the plan does not.
        """
        with self._session(within) as session:
            return Snapshot(session, self._part.username, password).take(self._part.repositories)

    def _session(self, within: timedelta) -> Session:
        return Session(self._part, within)

    def _log_in(self, session: Session, password: Password) -> Login:
        hello = session.ask("/v2/")
        if hello.status_code == httpx.codes.OK and speaks_registry(hello):
            return self._log_in_where_public(session, password)
        if hello.status_code != httpx.codes.UNAUTHORIZED:
            return _verdict(hello, "GET /v2/")
        if offered(hello, "basic") is not None:
            authorization = http.basic(self._part.username, password)
            return _verdict(session.ask("/v2/", authorization=authorization), "GET /v2/ with the password")
        challenge = offered(hello, "bearer")
        if challenge is None:
            return Login(LoginVerdict.INCONCLUSIVE, "GET /v2/ asks neither for Basic nor for a token")
        return self._log_in_with_token(session, challenge, password)

    def _log_in_with_token(self, session: Session, challenge: Challenge, password: Password) -> Login:
        scope = challenge.parameters.get("scope")
        mine = session.token(challenge, scope, password)
        if mine.token is None:
            return _no_token(mine)
        shown = session.ask("/v2/", authorization=mine.authorization)
        if shown.status_code != httpx.codes.OK:
            return _undecided(shown.status_code, "GET /v2/ with the token")
        grants_nothing = scope is not None and mine.grants == Grants()
        if session.token(challenge, scope, None).status in _REFUSED and not grants_nothing:
            return Login(LoginVerdict.ACCEPTED, "the token server gives a token for the password and none without it")
        repository = self._proving_repository()
        if repository is None:
            return _anybody("gets a token")
        return self._log_in_for(session, challenge, repository, password)

    def _log_in_for(self, session: Session, challenge: Challenge, repository: str, password: Password) -> Login:
        """Compare what the password opens in one repository with what everybody may do there."""
        scope = f"repository:{repository}:pull,push"
        mine, anybodys = session.token(challenge, scope, password), session.token(challenge, scope, None)
        if mine.token is None:
            return _no_token(mine)
        if anybodys.token is None and anybodys.status not in _REFUSED:
            return _undecided(anybodys.status, "asking for a token without the password")
        granted = mine.grants
        if granted is not None:
            more = granted - (anybodys.grants or Grants())
            actions = sorted(action for _, name, action in more if name == repository)
            if actions:
                return Login(LoginVerdict.ACCEPTED, f"the password grants {', '.join(actions)} of {repository}")
            return _anybody(f"is granted as much of {repository}")
        path = f"/v2/{repository}/tags/list"
        closed = session.ask(path, authorization=anybodys.authorization)
        if closed.status_code not in _REFUSED:
            return _not_closed(closed, repository)
        return _opened(session.ask(path, authorization=mine.authorization), repository)

    def _log_in_where_public(self, session: Session, password: Password) -> Login:
        repository = self._proving_repository()
        if repository is None:
            return _anybody("may GET /v2/")
        path = f"/v2/{repository}/tags/list"
        closed = session.ask(path)
        if closed.status_code != httpx.codes.UNAUTHORIZED:
            return _not_closed(closed, repository)
        if offered(closed, "basic") is not None:
            answer = session.ask(path, authorization=http.basic(self._part.username, password))
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                return Login(LoginVerdict.REFUSED, f"GET {path} with the password answered 401")
            return _opened(answer, repository)
        challenge = offered(closed, "bearer")
        if challenge is None:
            return Login(LoginVerdict.INCONCLUSIVE, f"GET {path} asks neither for Basic nor for a token")
        return self._log_in_for(session, challenge, repository, password)

    def _proving_repository(self) -> str | None:
        return next(iter(self._part.repositories or ()), None)


def _verdict(response: httpx.Response, doing: str) -> Login:
    """Return what an answer to the password itself says of it."""
    status = response.status_code
    if status == httpx.codes.OK:
        if speaks_registry(response):
            return Login(LoginVerdict.ACCEPTED, f"{doing} answered 200")
        return Login(LoginVerdict.INCONCLUSIVE, f"{doing} answered 200, and not as a registry does")
    if status == httpx.codes.UNAUTHORIZED and (challenges(response) or speaks_registry(response)):
        return Login(LoginVerdict.REFUSED, f"{doing} answered 401")
    return _undecided(status, doing)


def _no_token(answer: TokenAnswer) -> Login:
    if answer.status == httpx.codes.UNAUTHORIZED:
        return Login(LoginVerdict.REFUSED, "the token server answered 401 to the password")
    return _undecided(answer.status, "asking for a token (none was given)")


def _opened(response: httpx.Response, repository: str) -> Login:
    if response.status_code == httpx.codes.OK:
        return Login(LoginVerdict.ACCEPTED, f"the password opens {repository}, which is closed without it")
    return _undecided(response.status_code, f"listing the tags of {repository}")


def _not_closed(response: httpx.Response, repository: str) -> Login:
    if response.status_code == httpx.codes.OK:
        return _anybody(f"may list the tags of {repository}")
    return _undecided(response.status_code, f"listing the tags of {repository} without the password")


def _anybody(may: str) -> Login:
    hint = "name a private repository first in the plan's `repositories`, and this can be told apart"
    return Login(LoginVerdict.INCONCLUSIVE, f"anybody {may} without a password, so this proves nothing: {hint}")


def _undecided(status: int, doing: str) -> Login:
    """Return what an answer says that decides nothing about the password. 403 is one: the account may lack rights."""
    said = f"{doing} answered {status}"
    if status in _LOCKED:
        return Login(LoginVerdict.LOCKED, said)
    if status in _NOT_NOW or httpx.codes.is_server_error(status):
        return Login(LoginVerdict.UNREACHABLE, said)
    if httpx.codes.is_redirect(status):
        return Login(LoginVerdict.INCONCLUSIVE, f"{said}: a redirect, which is not followed")
    return Login(LoginVerdict.INCONCLUSIVE, said)
