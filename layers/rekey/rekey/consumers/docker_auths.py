"""Entries of a Docker `config.json`: which of them are one registry's, and what they hold. Pure.

Read as the kubelet reads them (https://github.com/kubernetes/kubernetes/blob/v1.34.1/pkg/credentialprovider: keyring.go
and config.go): a key is a host with an optional scheme, port and path, and its host may have wildcards.
"""

import base64
import binascii
from collections.abc import Mapping
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from rekey.errors import Unfit
from rekey.model.origin import Origin
from rekey.model.password import Password, docker_auth

_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY = "https://index.docker.io/v1/"
_TOKENS = frozenset({"identitytoken", "registrytoken"})
"""https://github.com/docker/cli/blob/v28.5.1/cli/config/types/authconfig.go"""


def config_key(endpoint: str) -> str:
    """Return the key under which `docker login` keeps a registry: its host and port, without a scheme."""
    origin = Origin.parse(endpoint)
    return _HUB_KEY if origin.host in _HUB else origin.netloc


def is_of(key: str, entry: object, endpoint: str, username: str) -> bool:
    """Whether an entry holds this user's password of this registry, in whatever spelling, for whatever path.

    Another user of the same registry has another password.
    """
    return names(key, endpoint) and user_and_password(entry)[0] == username


def names(key: str, endpoint: str) -> bool:
    """Whether a key of `auths` is for this registry."""
    _, _, rest = key.rpartition("://")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    origin = Origin.parse(endpoint)
    if host in _HUB and origin.host in _HUB:
        return True
    no_port = ":" not in origin.netloc.rpartition("]")[2]  # then it is the scheme's own
    return (no_port if port is None else port == origin.port) and _host_matches(host, origin.host)


def _host_matches(pattern: str, host: str) -> bool:
    """Label by label: a wildcard does not match a dot."""
    labels, patterns = host.split("."), pattern.split(".")
    return len(labels) == len(patterns) and all(map(fnmatchcase, labels, patterns))


def user_and_password(entry: object) -> tuple[str | None, Password | None]:
    """Return what an entry holds: `auth` wins over the two fields. None for what is not there or unreadable."""
    if not isinstance(entry, dict):
        return None, None
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        return _pair_in(auth)
    username, password = entry.get("username"), entry.get("password")
    return (
        username if isinstance(username, str) else None,
        Password(password) if isinstance(password, str) else None,
    )


def _pair_in(auth: str) -> tuple[str | None, Password | None]:
    try:
        pair = base64.b64decode(auth + "=" * (-len(auth) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    username, colon, password = pair.partition(":")
    return (username, Password(password)) if colon else (None, None)


def with_password(entries: Mapping[str, object], endpoint: str, username: str, password: Password) -> dict[str, object]:
    """Return all entries, this user's of this registry with the new password, under the keys they have.

    Where there is none, one is added. Everything else is as it was, but for tokens beside the password: they are what
    an old one got, and clients prefer them to it. Raises Unfit where it would have to take the place of another user's.
    """
    auth = docker_auth(username, password)
    ours = [key for key, entry in entries.items() if is_of(key, entry, endpoint, username)]
    added = config_key(endpoint)
    if not ours and added in entries:
        raise Unfit(f"there is another user's password of {added}, which is left alone")
    changed = dict(entries)
    for key in ours or [added]:
        entry = changed.get(key)
        rest = entry if isinstance(entry, dict) else {}
        changed[key] = {**{name: value for name, value in rest.items() if name not in _TOKENS}, **auth}
    return changed
