"""Which repositories anybody may pull: a password that dies keeps nobody out of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from rekey.errors import OutOfTime
from rekey.model.plan import RegistryPart
from rekey.registries.challenge import Challenge, offered
from rekey.registries.session import Session

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


def open_to_anybody(session: Session, part: RegistryPart) -> Open:
    """Return those of the plan's repositories, or else of the user's own, that open without a password.

    Raises what `Session` raises, but for OutOfTime once the repositories are known.
    """
    challenge = offered(session.ask("/v2/"), "bearer")
    if part.repositories is None:
        names, unseen = _own(session, challenge, part.username)
    else:
        names, unseen = list(part.repositories), ""
    found: list[str] = []
    for number, name in enumerate(names):
        if number == MOST_TRIED:
            return Open(found, f"{number} of {len(names)} repositories were tried")
        try:
            if _opens(session, challenge, name):
                found.append(name)
        except OutOfTime:
            return Open(found, f"there was time for {number} of {len(names)} repositories")
    return Open(found, unseen)


def _opens(session: Session, challenge: Challenge | None, repository: str) -> bool:
    shown = _as_anybody(session, challenge, f"repository:{repository}:pull")
    return session.ask(f"/v2/{repository}/tags/list", authorization=shown).status_code == httpx.codes.OK


def _own(session: Session, challenge: Challenge | None, username: str) -> tuple[list[str], str]:
    """Return the user's own of those that are listed to anybody, and why there may be more.

    None where the list is closed. It is read from the user's name on: it is in the order of names, and long where a
    server has many users.
    """
    own = f"{username}/".casefold()
    shown = _as_anybody(session, challenge, "registry:catalog:*")
    path = f"/v2/_catalog?{httpx.QueryParams({'n': _PAGE, 'last': own})}"
    found: list[str] = []
    for _ in range(MOST_PAGES):
        response = session.ask(path, authorization=shown)
        found += [name for name in _names(response) if name.casefold().startswith(own)]
        following = session.next_page(response)
        if following is None:
            return found, ""
        path = following
    return found, (
        f"{MOST_PAGES} pages of the registry's list were read, and it goes on: name your repositories in the plan's "
        "`repositories`"
    )


def _names(response: httpx.Response) -> list[str]:
    try:
        found = response.json().get("repositories") if response.status_code == httpx.codes.OK else []
    except (ValueError, RecursionError, AttributeError):
        return []
    return [name for name in found or [] if isinstance(name, str)]


def _as_anybody(session: Session, challenge: Challenge | None, scope: str) -> str | None:
    return None if challenge is None else session.token(challenge, scope, None).authorization
