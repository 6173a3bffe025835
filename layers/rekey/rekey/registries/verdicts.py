"""What an answer of a registry or of its token server says of a password or of a token, and what it does not say."""

import httpx

from rekey.contracts import Login
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import challenges, speaks_registry
from rekey.registries.session import TokenAnswer

REFUSED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
CLOSED = REFUSED | {httpx.codes.NOT_FOUND}
"""What who may not see a repository is answered: some registries do not even say that it is there."""
_LOCKED = frozenset({httpx.codes.LOCKED, httpx.codes.TOO_MANY_REQUESTS})
_NOT_NOW = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY})


def of_password(response: httpx.Response, doing: str) -> Login:
    """Return what an answer to the password itself says of it."""
    status = response.status_code
    if status == httpx.codes.OK:
        if speaks_registry(response):
            return Login(LoginVerdict.ACCEPTED, f"{doing} answered 200")
        return Login(LoginVerdict.INCONCLUSIVE, f"{doing} answered 200, and not as a registry does")
    if status == httpx.codes.UNAUTHORIZED and (challenges(response) or speaks_registry(response)):
        return Login(LoginVerdict.REFUSED, f"{doing} answered 401")
    return undecided(status, doing)


def no_token(answer: TokenAnswer) -> Login:
    """Return what a token server says of a password that it gave no token for."""
    if answer.status == httpx.codes.UNAUTHORIZED:
        return Login(LoginVerdict.REFUSED, "the token server answered 401 to the password")
    return undecided(answer.status, "asking for a token (none was given)")


def anybody(may: str) -> Login:
    """Return that nothing is proven by what everybody may do."""
    hint = "name a private repository in the plan's `repositories`, and this can be told apart"
    return Login(LoginVerdict.INCONCLUSIVE, f"anybody {may} without a password, so this proves nothing: {hint}")


def undecided(status: int, doing: str) -> Login:
    """Return what an answer says that decides nothing. 403 is one: the account may lack rights."""
    said = f"{doing} answered {status}"
    if status in _LOCKED:
        return Login(LoginVerdict.LOCKED, said)
    if status in _NOT_NOW or httpx.codes.is_server_error(status):
        return Login(LoginVerdict.UNREACHABLE, said)
    if httpx.codes.is_redirect(status):
        return Login(LoginVerdict.INCONCLUSIVE, f"{said}: a redirect, which is not followed")
    return Login(LoginVerdict.INCONCLUSIVE, said)
