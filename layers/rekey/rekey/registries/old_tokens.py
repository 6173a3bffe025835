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
from rekey.errors import Denied, OutOfTime, Unfit, Unintelligible, Unreachable
from rekey.model.old_token import TokenKind
from rekey.model.password import Password
from rekey.model.plan import RegistryPart
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import Challenge, offered
from rekey.registries.claims import end_of
from rekey.registries.session import Session, TokenAnswer, moment_of
from rekey.registries.verdicts import CLOSED, MOST_REPOSITORIES, REFUSED, anybody, not_asked, undecided

_NO_MORE = REFUSED | {httpx.codes.BAD_REQUEST}
"""What a refresh token that is dead is answered: OAuth2 says 400 (RFC 6749, section 5.2)."""


@dataclass(frozen=True)
class _Trial:
    """What the tokens are tried on."""

    challenge: Challenge
    scope: str | None
    paths: Sequence[str]
    """What is opened to nobody without a password. Not all of it need be open to the plan's user."""
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
        return [self._tried_alone(trial, token) for token in tokens]

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

    def _closed(self, challenge: Challenge, scope: str | None) -> Sequence[str] | Login:
        """Return what nobody opens without a password, or what is to be said where there is no such thing."""
        anybodys = self._session.token(challenge, scope, None)
        closed: list[str] = []
        for path in (*self._paths(), "/v2/"):
            if closed and path == "/v2/":  # every token opens that, whatever it grants
                break
            status = self._session.ask(path, authorization=anybodys.authorization).status_code
            if status in CLOSED:
                closed.append(path)
            elif status != httpx.codes.OK:
                return undecided(status, f"GET {path} without a password")
        return closed or anybody("opens what a token was tried on")

    def _tried_alone(self, trial: _Trial, token: Token) -> Login:
        """Try one: where the question does not come through, that says nothing of the others."""
        try:
            return self._tried(trial, token)
        except (Unreachable, OutOfTime, Unfit) as error:
            return not_asked(error)

    def _tried(self, trial: _Trial, token: Token) -> Login:
        if token.kind is TokenKind.BEARER:
            return self._shown(trial, TokenAnswer(httpx.codes.OK, token.text.reveal()), "the bearer")
        answer = self._session.refreshed(trial.challenge, trial.scope, token.text)
        if answer.token is not None:
            return self._shown(trial, answer, "the bearer that the refresh token got")
        doing = "getting a bearer with the refresh token"
        if answer.status not in _NO_MORE:
            return undecided(answer.status, doing)
        said = f"{doing} answered {answer.status}"
        opens = any(self._opens_to_new(trial, path) for path in trial.paths)
        return Login(LoginVerdict.REFUSED, said) if opens else _as_the_new_one(said)

    def _shown(self, trial: _Trial, bearer: TokenAnswer, what: str) -> Login:
        """Return what a bearer opens. Where the new password's own is not let in either, that says nothing."""
        said = ""
        for path in trial.paths:
            status = self._session.ask(path, authorization=bearer.authorization).status_code
            if status == httpx.codes.OK:
                return Login(LoginVerdict.ACCEPTED, f"{what} opens GET {path}, which is closed without a password")
            if status not in CLOSED:
                return undecided(status, f"GET {path} with {what}")
            said = f"GET {path} with {what} answered {status}"
            if self._opens_to_new(trial, path):
                return Login(LoginVerdict.REFUSED, said)
        return _as_the_new_one(said)

    def _opens_to_new(self, trial: _Trial, path: str) -> bool:
        mine = self._session.token(trial.challenge, trial.scope, trial.new)
        if mine.token is None:
            return False
        return self._session.ask(path, authorization=mine.authorization).status_code == httpx.codes.OK


def _as_the_new_one(said: str) -> Login:
    return Login(LoginVerdict.INCONCLUSIVE, f"{said}, and so it is with a token of the new password")
