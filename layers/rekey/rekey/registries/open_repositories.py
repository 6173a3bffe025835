"""Which repositories anybody may pull: a password that dies keeps nobody out of these."""

from collections.abc import Sequence

import httpx

from rekey.model.plan import RegistryPart
from rekey.registries.challenge import Challenge, offered
from rekey.registries.session import Session

_MOST = 20
"""Repositories that are tried."""


def open_to_anybody(session: Session, part: RegistryPart) -> list[str]:
    """Return those of the plan's repositories, or else of the user's own, that open without a password.

    Raises what `Session` raises.
    """
    challenge = offered(session.ask("/v2/"), "bearer")
    own = f"{part.username}/".casefold()
    named: Sequence[str] | None = part.repositories
    listed = _listed(session, challenge) if named is None else ()
    names = [name for name in listed if name.casefold().startswith(own)] if named is None else named
    return [name for name in names[:_MOST] if _opens(session, challenge, name)]


def _opens(session: Session, challenge: Challenge | None, repository: str) -> bool:
    shown = _as_anybody(session, challenge, f"repository:{repository}:pull")
    return session.ask(f"/v2/{repository}/tags/list", authorization=shown).status_code == httpx.codes.OK


def _listed(session: Session, challenge: Challenge | None) -> Sequence[str]:
    """Return what is listed to anybody; nothing where the list is closed."""
    shown = _as_anybody(session, challenge, "registry:catalog:*")
    response = session.ask("/v2/_catalog?n=1000", authorization=shown)
    try:
        found = response.json().get("repositories") if response.status_code == httpx.codes.OK else []
    except (ValueError, RecursionError, AttributeError):
        return []
    return [name for name in found or [] if isinstance(name, str)]


def _as_anybody(session: Session, challenge: Challenge | None, scope: str) -> str | None:
    return None if challenge is None else session.token(challenge, scope, None).authorization
