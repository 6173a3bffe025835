"""Which requests at the door before the registry a test means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sandbox.registry_proxy import RegistryProxy, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.wire import Predicate, Request

Front = RegistryProxy


def by(user: str, password: Callable[[str], bool] = bool) -> Predicate:
    """Return what picks the requests that show this user's name, with a password for which `password` holds."""

    def fits(request: Request) -> bool:
        name, given = shown(request)
        return name == user and password(given)

    return fits
