"""The password is read out of an answer, or why there is none is said; the answer is never quoted."""

from __future__ import annotations

import gzip
import json

import pytest

from rekey.contracts import Answer
from rekey.errors import (
    Unintelligible,
)
from rekey.model.password import ESCROW_LIMIT, Password
from rekey.registries.http import HttpRegistry
from rekey.registries.pointer import resolve
from tests.unit.registry_api import NoCredentials, http_part


def reading(password_at: str = "/data/password", **alphabet: int) -> HttpRegistry:  # noqa: S107 (where it is)
    reset = {"path": "/reset", "password_at": password_at}
    api = {"url": "https://api.example.com", "login": {"secret": "rekey/x"}, "health": "/", "reset": reset}
    return HttpRegistry(http_part(api, alphabet=alphabet), NoCredentials())


class TestReadingTheAnswer:
    """The password, or why there is none; never a word of the answer."""

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            (b"", "it is empty"),
            (b" \r\n", "it is empty"),
            (b"<html>s3cret</html>", "it is HTML or XML"),
            (b"s3cret", "it is no JSON"),
            (b'{"data": {"password": "s3cr', "it is no JSON"),
            (b"\xff\xfes3cret", "it is no JSON"),
            (b"[" * 50_000, "it is no JSON"),
            (b"x" * ESCROW_LIMIT, "it is longer than the 64 kB that are kept"),
            (b'{"data": {"secret": "s3cret"}}', "its JSON has no such field"),
            (b'{"data": "s3cret"}', "its JSON has no such field"),
            (b'["s3cret"]', "its JSON has no such field"),
            (b'"s3cret"', "its JSON has no such field"),
            (b'{"data": {"password": null}}', "there is null there, and not a text"),
            (b'{"data": {"password": 53}}', "there is a number there, and not a text"),
            (b'{"data": {"password": true}}', "there is a truth value there, and not a text"),
            (b'{"data": {"password": {"s3cret": 1}}}', "there is an object there, and not a text"),
            (b'{"data": {"password": ["s3cret"]}}', "there is a list there, and not a text"),
            (b'{"data": {"password": ""}}', "the text there is empty"),
            (b'{"data": {"password": "s3cret\\n"}}', "the text there is too long or has control characters"),
            (b'{"data": {"password": "s3cret\\ud800"}}', "the text there is too long or has control characters"),
            (b'{"data": {"password": "' + b"s3cret" * 700 + b'"}}', "the text there is too long or has control"),
        ],
    )
    def test_says_what_was_found_instead(self, body: bytes, why: str) -> None:
        for answer in (Answer(200, body), Answer.from_bytes(Answer(200, body).to_bytes())):
            with pytest.raises(Unintelligible) as caught:
                reading().password_in(answer)
            assert str(caught.value).startswith(
                f"the answer to the reset (HTTP 200) has no password at /data/password: {why}"
            )
            assert "s3cr" not in str(caught.value)
            assert caught.value.__context__ is None or "s3cr" not in repr(caught.value.__context__)

    @pytest.mark.parametrize("length", [23, 25])
    def test_a_text_of_another_length_than_the_plan_says_is_no_password(self, length: int) -> None:
        """It is a message, or a part: a wrong `password_at` is noticed before the registry refuses a login."""
        adapter = reading(min_length=24, max_length=24)
        with pytest.raises(Unintelligible, match="is not as long as the plan's `alphabet` says"):
            adapter.password_in(Answer(200, json.dumps({"data": {"password": "x" * length}}).encode()))
        assert adapter.password_in(Answer(200, json.dumps({"data": {"password": "x" * 24}}).encode()))

    @pytest.mark.parametrize("status", [200, 201, 202, 500])
    def test_the_text_decides_and_not_the_status(self, status: int) -> None:
        text = "all of it: $\"\\/+=&%' é"
        answer = Answer(status, json.dumps({"data": {"password": text}}).encode())
        assert reading().password_in(answer) == Password(text)

    def test_compressed_though_it_was_asked_not_to_be(self) -> None:
        body = json.dumps({"data": {"password": "found"}}).encode()
        assert reading().password_in(Answer(200, gzip.compress(body))) == Password("found")
        for broken in (gzip.compress(body)[:20], b"\x1f\x8b" + body, gzip.compress(b" " * 10**8)):
            with pytest.raises(Unintelligible):
                reading().password_in(Answer(200, broken))


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", {"a": [{"b/c": 1, "d~e": 2}, 3], "": 4}),
        ("/a/1", 3),
        ("/a/0/b~1c", 1),
        ("/a/0/d~0e", 2),
        ("/", 4),
    ],
)
def test_pointers_are_those_of_rfc_6901(pointer: str, found: object) -> None:
    assert resolve({"a": [{"b/c": 1, "d~e": 2}, 3], "": 4}, pointer) == found


@pytest.mark.parametrize("pointer", ["/b", "/a/2", "/a/-", "/a/01", "/a/x", "/a/1/y", "/a/²", "/a/-1"])
def test_a_pointer_to_nothing_is_an_error(pointer: str) -> None:
    with pytest.raises(LookupError):
        resolve({"a": [{"b/c": 1}, 3]}, pointer)
