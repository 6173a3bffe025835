"""Which entries of a Docker `config.json` are one registry's, in all the spellings that the kubelet takes."""

from __future__ import annotations

import base64
import secrets

import pytest

from rekey.consumers.docker_auths import config_key, names, user_and_password, with_password
from rekey.errors import Unfit
from rekey.model.password import Password, docker_auth

HOST = "registry.example.com"
NEW = Password(secrets.token_urlsafe())


@pytest.mark.parametrize(
    "key",
    [
        "registry.example.com",
        "Registry.Example.COM",
        "registry.example.com:443",
        "https://registry.example.com",
        "https://registry.example.com/",
        "https://registry.example.com/v1/",
        "https://registry.example.com/v2/",
        "http://registry.example.com",
        "registry.example.com/team/app",
        "*.example.com",
        "registry.*.com",
        "reg*.example.com:443",
    ],
)
def test_spellings_of_a_registry(key: str) -> None:
    assert names(key, HOST)
    assert names(key, f"https://{HOST}")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "registry.example.com:5000",
        "registry.example.com.evil.net",
        "evil-registry.example.com",
        "example.com",
        "*.com",
        "*.*",
        "docker.io",
        "https://index.docker.io/v1/",
        "registry.example.com:port",
        "[registry.example.com",
        "https://",
    ],
)
def test_other_registries(key: str) -> None:
    assert not names(key, HOST)


@pytest.mark.parametrize(
    ("endpoint", "key", "expected"),
    [
        ("http://127.0.0.1:5000", "127.0.0.1:5000", True),
        ("http://127.0.0.1:5000", "127.0.0.1", False),
        ("http://localhost", "localhost", True),
        ("registry.example.com:5000", "https://registry.example.com:5000/v2/", True),
        ("registry.example.com:5000", "registry.example.com", False),
        ("[2001:db8::1]:5000", "[2001:db8::1]:5000", True),
        ("[2001:db8::1]", "[2001:db8::1]", True),
        ("[2001:db8::1]:5000", "[2001:db8::1]", False),
        ("docker.io", "https://index.docker.io/v1/", True),
        ("index.docker.io", "docker.io", True),
        ("registry-1.docker.io", "index.docker.io", True),
        ("docker.io", "hub.docker.io", False),
    ],
)
def test_ports_and_docker_hub(endpoint: str, key: str, expected: bool) -> None:  # noqa: FBT001
    assert names(key, endpoint) is expected


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        (HOST, HOST),
        (f"https://{HOST}", HOST),
        (f"{HOST}:443", HOST),
        (f"{HOST}:5000", f"{HOST}:5000"),
        ("docker.io", "https://index.docker.io/v1/"),
    ],
)
def test_a_new_entry_has_the_key_that_docker_login_writes(endpoint: str, key: str) -> None:
    assert config_key(endpoint) == key
    assert names(key, endpoint)


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": pair("robot:a:b")}, ("robot", "a:b")),
        ({"auth": pair("robot:abc").rstrip("=")}, ("robot", "abc")),
        ({"auth": pair("robot:new"), "username": "other", "password": "old"}, ("robot", "new")),
        ({"auth": "", "username": "robot", "password": "p"}, ("robot", "p")),
        ({"username": "robot"}, ("robot", None)),
        ({"auth": pair("robot")}, (None, None)),
        ({"auth": "%%%"}, (None, None)),
        ({"auth": base64.b64encode(b"\xff\xfe").decode()}, (None, None)),
        ({"username": 7, "password": []}, (None, None)),
        ({}, (None, None)),
        (None, (None, None)),
        ("robot:p", (None, None)),
    ],
)
def test_what_an_entry_holds(entry: object, expected: tuple[str | None, str | None]) -> None:
    """`auth` wins over the two fields, as for the kubelet; what cannot be read is nobody's."""
    username, password = user_and_password(entry)
    assert (username, password and password.reveal()) == expected


def entry_of(username: str) -> dict[str, str]:
    return docker_auth(username, Password(secrets.token_urlsafe()))


def test_only_this_users_entries_of_this_registry_change() -> None:
    """Under the keys they have, keeping what else stands in them and in which order they stand."""
    entries: dict[str, object] = {
        "other.example.net": entry_of("robot"),
        "https://registry.example.com/v2/": {**entry_of("robot"), "email": "me@example.com"},
        "registry.example.com/team": entry_of("team"),
        "registry.example.com:443": {"auth": pair("robot:old")},
        "broken.example.com": "text",
    }
    changed = with_password(entries, HOST, "robot", NEW)
    assert list(changed) == list(entries)
    assert changed["https://registry.example.com/v2/"] == {**docker_auth("robot", NEW), "email": "me@example.com"}
    assert changed["registry.example.com:443"] == docker_auth("robot", NEW)
    kept = ("other.example.net", "registry.example.com/team", "broken.example.com")
    assert [changed[key] for key in kept] == [entries[key] for key in kept]


def test_where_there_is_none_one_is_added() -> None:
    other = entry_of("robot")
    assert with_password({"other.example.net": other}, HOST, "robot", NEW) == {
        "other.example.net": other,
        HOST: docker_auth("robot", NEW),
    }


def test_another_users_entry_is_never_overwritten() -> None:
    with pytest.raises(Unfit, match=f"another user's password of {HOST}"):
        with_password({HOST: entry_of("somebody")}, HOST, "robot", NEW)


@pytest.mark.parametrize("token", ["identitytoken", "registrytoken"])
def test_a_token_that_an_old_password_got_goes_with_it(token: str) -> None:
    """Clients show it in the password's place."""
    entries: dict[str, object] = {HOST: {**entry_of("robot"), token: secrets.token_urlsafe()}}
    assert with_password(entries, HOST, "robot", NEW) == {HOST: docker_auth("robot", NEW)}
