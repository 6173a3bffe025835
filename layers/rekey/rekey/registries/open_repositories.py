"""Which repositories anybody may pull: a password that dies keeps nobody out of these."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from rekey.errors import OutOfTime
from rekey.model.plan import RegistryPart
from rekey.registries.challenge import Challenge, offered
from rekey.registries.session import Session
from rekey.registries.verdicts import CLOSED

MOST_TRIED = 200
"""Repositories that are tried."""
MOST_PAGES = 20
"""Pages of the catalogue that are read. Gitea has 100 names on one at the most."""
_PAGE = 1000


@dataclass(frozen=True)
class Open:
    """What was found."""

    names: Sequence[str]
    unseen: str
    """Why there may be more; empty where all were looked at."""


class _Unseen(Exception):
    """Why there may be more than was looked at."""


def open_to_anybody(session: Session, part: RegistryPart) -> Open:
    """Return those of the plan's repositories, or else of the user's own, that open without a password.

    Raises what `Session` raises, but for OutOfTime once the registry has answered.
    """
    challenge = offered(session.ask("/v2/"), "bearer")
    named = part.repositories
    names = _own(session, challenge, part.username) if named is None else iter(named)
    of = "" if named is None else f" of {len(named)}"
    found: list[str] = []
    tried, unanswered = 0, 0
    try:
        for name in names:
            if tried == MOST_TRIED:
                return Open(found, f"{tried}{of} repositories were tried")
            status = _tried(session, challenge, name)
            tried += 1
            found += [name] if status == httpx.codes.OK else []
            unanswered += status not in CLOSED | {httpx.codes.OK}
    except OutOfTime:
        return Open(found, f"there was time for {tried}{of} repositories")
    except _Unseen as unseen:
        return Open(found, str(unseen))
    return Open(found, f"the registry did not answer for {unanswered}{of} repositories" if unanswered else "")


def _tried(session: Session, challenge: Challenge | None, repository: str) -> int:
    """Return the status with which a repository's tags are answered to anybody."""
    shown = _as_anybody(session, challenge, f"repository:{repository}:pull")
    return session.ask(f"/v2/{repository}/tags/list", authorization=shown).status_code


def _own(session: Session, challenge: Challenge | None, username: str) -> Iterator[str]:
    """Yield the user's own of those that are listed to anybody; none where the list is closed.

    It is read from the user's name on: it is in the order of names, and long where a server has many users. Raises
    _Unseen where there may be more.
    """
    own = f"{username}/".casefold()
    shown = _as_anybody(session, challenge, "registry:catalog:*")
    path = f"/v2/_catalog?{httpx.QueryParams({'n': _PAGE, 'last': own})}"
    for _ in range(MOST_PAGES):
        response = session.ask(path, authorization=shown)
        if response.status_code in CLOSED:
            return
        if response.status_code != httpx.codes.OK:
            raise _Unseen(f"the registry answered {response.status_code} to who asked for its list")
        yield from (name for name in _names(response) if name.casefold().startswith(own))
        following = session.next_page(response)
        if following is None:
            return
        path = following
    raise _Unseen(
        f"{MOST_PAGES} pages of the registry's list were read, and it goes on: name your repositories in the plan's "
        "`repositories`"
    )


def _names(response: httpx.Response) -> list[str]:
    try:
        found = response.json().get("repositories")
    except (ValueError, RecursionError, AttributeError):
        return []
    return [name for name in found or [] if isinstance(name, str)]


def _as_anybody(session: Session, challenge: Challenge | None, scope: str) -> str | None:
    return None if challenge is None else session.token(challenge, scope, None).authorization
