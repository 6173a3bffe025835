"""Tokens that the old password gave: they may go on working when it is dead.

A registry trusts a bearer until it ends, and a refresh token gets new ones without the password
(https://distribution.github.io/distribution/spec/auth/oauth/). So one of each is taken just before the reset, as
`docker login` takes them, and tried after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from rekey import runtime
from rekey.contracts import Login, Token
from rekey.errors import Denied, Unintelligible
from rekey.model.old_token import TokenKind
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import Challenge, offered
from rekey.registries.claims import end_of
from rekey.registries.session import Session, TokenAnswer, moment_of
from rekey.registries.verdicts import CLOSED, MOST_REPOSITORIES, REFUSED, anybody, undecided

_NO_MORE = REFUSED | {httpx.codes.BAD_REQUEST}
"""What a refresh token that is dead is answered: OAuth2 says 400 (RFC 6749, section 5.2)."""


@dataclass(frozen=True)
class _Trial:
    """What the tokens are tried on."""

    challenge: Challenge
    scope: str | None
    path: str
    """What is opened to nobody without a password."""
    new: Password = field(repr=False)


class OldTokens:
    """Takes and tries them in one session. Raises what `Session` raises."""

    def __init__(self, session: Session, part: RegistryPart) -> None:
        self._session = session
        self._repositories = (part.repositories or ())[:MOST_REPOSITORIES]

    def take(self, password: Password) -> Sequence[Token]:
        """Return a bearer, and a refresh token where the server gives one; nothing where there is no token server.

        Raises Denied, Unintelligible where it gives none.
        """
        challenge = self._challenge()
        if challenge is None:
            return ()
        answer = self._session.token(challenge, self._scope(challenge), password, offline=True)
        if answer.token is None:
            kind = Denied if answer.status in REFUSED else Unintelligible
            raise kind(f"the token server of {self._session.service} answered {answer.status} and gave no token")
        found = [Token(TokenKind.BEARER, Password(answer.token), answer.ends_at(runtime.now()))]
        if answer.refresh is not None:
            found.append(Token(TokenKind.REFRESH, Password(answer.refresh), moment_of(end_of(answer.refresh))))
        return found

    def attempt(self, tokens: Sequence[Token], new: Password) -> Sequence[Login]:
        """Return what the registry says of each token now; `new` is the password in force.

        A refusal counts only where the new password's own token opens at the same moment what was tried.
        """
        challenge = self._challenge()
        if challenge is None:
            return [Login(LoginVerdict.INCONCLUSIVE, "the registry asks for no token any more")] * len(tokens)
        scope = self._scope(challenge)
        closed = self._closed(challenge, scope)
        if isinstance(closed, Login):
            return [closed] * len(tokens)
        trial = _Trial(challenge, scope, closed, new)
        return [self._tried(trial, token) for token in tokens]

    def _challenge(self) -> Challenge | None:
        """Return what asks for a token: /v2/, or where that is open the first repository that is not."""
        for path in ("/v2/", *self._paths()):
            answer = self._session.ask(path)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                return offered(answer, "bearer")
        return None

    def _paths(self) -> list[str]:
        return [f"/v2/{repository}/tags/list" for repository in self._repositories]

    def _scope(self, challenge: Challenge) -> str | None:
        asked = [f"repository:{repository}:pull" for repository in self._repositories]
        return " ".join(asked) or challenge.parameters.get("scope")

    def _closed(self, challenge: Challenge, scope: str | None) -> str | Login:
        """Return what nobody opens without a password, or what is to be said where there is no such thing."""
        anybodys = self._session.token(challenge, scope, None)
        for path in (*self._paths(), "/v2/"):
            status = self._session.ask(path, authorization=anybodys.authorization).status_code
            if status in CLOSED:
                return path
            if status != httpx.codes.OK:
                return undecided(status, f"GET {path} without a password")
        return anybody("opens what a token was tried on")

    def _tried(self, trial: _Trial, token: Token) -> Login:
        if token.kind is TokenKind.BEARER:
            return self._shown(trial, TokenAnswer(httpx.codes.OK, token.text.reveal()), "the bearer")
        answer = self._session.refreshed(trial.challenge, trial.scope, token.text)
        if answer.token is not None:
            return self._shown(trial, answer, "the bearer that the refresh token got")
        doing = "getting a bearer with the refresh token"
        if answer.status not in _NO_MORE:
            return undecided(answer.status, doing)
        return self._refused(trial, f"{doing} answered {answer.status}")

    def _shown(self, trial: _Trial, bearer: TokenAnswer, what: str) -> Login:
        status = self._session.ask(trial.path, authorization=bearer.authorization).status_code
        if status == httpx.codes.OK:
            return Login(LoginVerdict.ACCEPTED, f"{what} opens GET {trial.path}, which is closed without a password")
        if status not in CLOSED:
            return undecided(status, f"GET {trial.path} with {what}")
        return self._refused(trial, f"GET {trial.path} with {what} answered {status}")

    def _refused(self, trial: _Trial, said: str) -> Login:
        """Return a refusal where the new password's own token is let in: else the registry may not be well."""
        mine = self._session.token(trial.challenge, trial.scope, trial.new)
        if mine.token is not None:
            control = self._session.ask(trial.path, authorization=mine.authorization)
            if control.status_code == httpx.codes.OK:
                return Login(LoginVerdict.REFUSED, said)
        return Login(LoginVerdict.INCONCLUSIVE, f"{said}, and so it is with a token of the new password")
