"""What an answer of a registry or of its token server says of a password or of a token, and what it does not say."""

from collections.abc import Sequence

import httpx

from rekey.contracts import Login
from rekey.errors import OutOfTime, Unfit, Unreachable
from rekey.model.verdict import LoginVerdict
from rekey.registries.challenge import challenges, speaks_registry
from rekey.registries.session import TokenAnswer

MOST_REPOSITORIES = 5
"""Repositories of the plan that are looked at for one that is closed to anybody."""
REFUSED = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
CLOSED = REFUSED | {httpx.codes.NOT_FOUND}
"""What who may not see a repository is answered: some registries do not even say that it is there."""
_LOCKED = frozenset({httpx.codes.LOCKED, httpx.codes.TOO_MANY_REQUESTS})
_NOT_NOW = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY})
_WHERE = f"among the first {MOST_REPOSITORIES} of the plan's `repositories`"


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


def not_asked(error: Unreachable | OutOfTime | Unfit) -> Login:
    """Return what is known where the question did not come through. Unfit: nothing was sent to a wrong server."""
    verdict = LoginVerdict.INCONCLUSIVE if isinstance(error, Unfit) else LoginVerdict.UNREACHABLE
    return Login(verdict, str(error))


def no_token(answer: TokenAnswer) -> Login:
    """Return what a token server says of a password that it gave no token for."""
    if answer.status == httpx.codes.UNAUTHORIZED:
        return Login(LoginVerdict.REFUSED, "the token server answered 401 to the password")
    return undecided(answer.status, "asking for a token (none was given)")


def anybody(may: str) -> Login:
    """Return that nothing is proven by what everybody may do."""
    hint = f"name a private repository {_WHERE}, and this can be told apart"
    return Login(LoginVerdict.INCONCLUSIVE, f"anybody {may} without a password, so this proves nothing: {hint}")


def nothing_more(public: Sequence[str], barred: Sequence[str], username: str) -> Login:
    """Return that the password opened no more than anybody does in any repository that was looked at.

    `public`: those where anybody may do as much; `barred`: those where the password gives no right at all.
    """
    if not barred:
        return anybody(f"may do as much in {', '.join(public)}")
    said = f"the password gives no right in {', '.join(barred)}"
    if public:
        said += f", and anybody may do as much in {', '.join(public)}"
    hint = (
        f"give {username} the right to pull from {barred[0]}, or name a private repository where it has that {_WHERE}"
    )
    return Login(LoginVerdict.INCONCLUSIVE, f"{said}, so this proves nothing: {hint}")


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
