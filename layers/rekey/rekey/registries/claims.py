"""What a token says of itself, where it is a JWT. Its signature is for the registry to verify.

https://distribution.github.io/distribution/spec/auth/jwt/
"""

from collections.abc import Mapping

import jwt

Grants = frozenset[tuple[str, str, str]]
"""Type, name and action each: `("repository", "shop/web", "pull")`."""


def grants(token: str) -> Grants | None:
    """Return what a token says it grants, or None where it does not say."""
    access = _claims(token).get("access")
    if not isinstance(access, list):
        return None
    return frozenset(
        (str(entry.get("type")), str(entry.get("name")), str(action))
        for entry in access
        if isinstance(entry, dict)
        for action in _listed(entry.get("actions"))
    )


def end_of(token: str) -> float | None:
    """Return when a token ends, in seconds since the epoch, or None where it does not say."""
    end = _claims(token).get("exp")
    try:
        return float(end) if isinstance(end, (int, float)) else None
    except OverflowError:
        return None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _claims(token: str) -> Mapping[str, object]:
    try:
        claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):
        return {}
    return claims
