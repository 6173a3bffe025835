"""A password does not show itself, whichever way somebody looks."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import secrets
import traceback

import pytest

from rekey.model.password import REDACTED, Password, docker_auth, docker_config

TEXT = secrets.token_urlsafe(16)


@pytest.mark.parametrize(
    "shown",
    [
        repr(Password(TEXT)),
        str(Password(TEXT)),
        f"{Password(TEXT)}",
        f"{Password(TEXT)!r:>40}",
        "{0} {0!s}".format(Password(TEXT)),
        "%s %r" % (Password(TEXT), Password(TEXT)),  # noqa: UP031 (another way to show it)
        str([Password(TEXT), {"password": Password(TEXT)}]),
    ],
)
def test_no_way_of_writing_it_shows_it(shown: str) -> None:
    assert TEXT not in shown
    assert REDACTED in shown


def test_json_does_not_take_it() -> None:
    with pytest.raises(TypeError, match="not JSON serializable") as caught:
        json.dumps({"password": Password(TEXT)})
    assert TEXT not in str(caught.value)


def test_a_log_line_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("anything").warning("got %s", Password(TEXT))
    assert caplog.messages == [f"got {REDACTED}"]


def test_it_cannot_be_pickled() -> None:
    """A pickle holds it readable."""
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Password(TEXT))


def test_it_has_no_attributes_to_be_dumped() -> None:
    """What shows the variables of a frame shows `vars` or `repr`."""
    with pytest.raises(TypeError):
        vars(Password(TEXT))


def test_a_traceback_with_its_locals_does_not_show_it() -> None:
    def fail(password: Password) -> None:
        raise LookupError(f"for {password}")

    try:
        fail(Password(TEXT))
    except LookupError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert f"password = {REDACTED}" in shown


def test_two_are_the_same_if_their_texts_are() -> None:
    assert Password("a") == Password("a")
    assert len({Password("a"), Password("a"), Password("b")}) == 2
    assert Password("a") != "a"
    assert not Password("")
    assert Password("a").reveal() == "a"


def test_docker_reads_what_is_made_for_it() -> None:
    """`auth` is base64 of `user:password`, in UTF-8."""
    config = json.loads(docker_config("registry.example.com", "robot", Password("pä:ss")))
    entry = config["auths"]["registry.example.com"]
    assert entry == docker_auth("robot", Password("pä:ss"))
    assert base64.b64decode(entry["auth"]).decode() == "robot:pä:ss"
