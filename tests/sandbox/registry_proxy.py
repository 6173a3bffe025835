"""The door before the sandbox's registry."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.sandbox.proxy import Proxy

if TYPE_CHECKING:
    from tests.sandbox.wire import Request


class RegistryProxy(Proxy):
    """Passes everything on to a registry."""


def shown(request: Request) -> tuple[str, str]:
    """Return the user and the password that a request shows; empty texts where it shows none."""
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    user, _, password = base64.b64decode(pair).decode().partition(":")
    return user, password
