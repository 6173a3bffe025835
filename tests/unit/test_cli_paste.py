"""`rekey paste`: the password goes into the escrow and nowhere else."""

from __future__ import annotations

import os
import pty
import secrets
import string
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from moto.server import ThreadedMotoServer

from rekey import aws
from rekey.model.password import Alphabet
from rekey.model.rotation import AttemptKind, Phase
from rekey.model.verdict import LoginVerdict
from rekey.records.dynamo import decode
from rekey_cli.console import ExitCode
from rekey_cli.paste import oddities, shape
from tests.unit.cli_stack import NAMES, FakeStack, client, run
from tests.unit.plan_documents import changed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rekey.model.rotation import Attempt, Rotation


def new_password() -> str:
    """Return a password with every kind of character in it."""
    return "Aa1-" + secrets.token_urlsafe(20)


def pasted(stack: FakeStack) -> tuple[Attempt, str]:
    """Return the only attempt there is, and the password in its escrow."""
    (attempt,) = stack.ledger.attempts("prod-images", 1)
    raw = stack.escrow.read(attempt)
    assert raw is not None
    return attempt, raw.decode()


def everything_stored() -> str:
    """Return all items and objects as one text."""
    tables = [NAMES["REKEY_LEDGER_TABLE"], NAMES["REKEY_ESCROW_TABLE"]]
    scanned = [client("dynamodb").scan(TableName=table)["Items"] for table in tables]
    return repr([decode(item) for items in scanned for item in items])


def test_a_piped_line_goes_into_the_escrow_and_its_event_onto_the_bus(stack: FakeStack) -> None:
    stack.push()
    password = new_password()
    result = run("paste", "prod-images", piped=password + "\n")
    assert result.exit_code == ExitCode.OK, result.stderr
    attempt, kept = pasted(stack)
    assert kept == password
    assert attempt.kind is AttemptKind.PASTED
    assert attempt.called_at is None
    assert password not in result.output
    assert password not in everything_stored()
    (event,) = stack.events()
    assert (event["source"], event["detail-type"]) == ("rekey.in/paste", "Password Pasted")
    assert event["detail"] == {"format": 1, "registry": "prod-images"}


def test_what_is_said_of_it_is_its_length_and_its_kinds(stack: FakeStack) -> None:
    stack.push()
    password = new_password()
    result = run("paste", "prod-images", piped=password)
    assert f"got {len(password)} characters: capitals, small letters, digits, signs\n" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_only_the_line_s_end_is_taken_off(stack: FakeStack, end: str) -> None:
    """A space may be part of it: it is kept, and said."""
    stack.push()
    password = f" {new_password()} "
    result = run("paste", "prod-images", piped=password + end)
    assert pasted(stack)[1] == password
    assert "! it begins or ends with a space: part of it?" in result.stderr


@pytest.mark.parametrize(
    ("piped", "said"),
    [
        ("", "nothing was pasted"),
        ("\n", "nothing was pasted"),
        ("  \n", "nothing was pasted"),
        ("one\ntwo\n", "more than one line was piped in"),
        ("one\rtwo\n", "more than one line was piped in"),
        (b"\xff\xfe\n", "is no text: it is not UTF-8"),
        ("x" * 70_000, "longer than 64 kB"),
    ],
    ids=["nothing", "line end", "spaces", "two lines", "two old lines", "bytes", "long"],
)
def test_what_cannot_be_a_password_is_not_taken(stack: FakeStack, piped: str | bytes, said: str) -> None:
    stack.push()
    result = run("paste", "prod-images", piped=piped)
    assert result.exit_code == ExitCode.FAILED
    assert said in result.stderr
    assert stack.ledger.latest("prod-images") is None
    assert stack.events() == []


@pytest.mark.parametrize("extra", [["{}"], ["--", "{}"], ["{}", "--yes"], ["a", "{}"]])
def test_a_password_as_an_argument_is_refused_and_not_repeated(stack: FakeStack, extra: list[str]) -> None:
    stack.push()
    password = new_password()
    result = run("paste", "prod-images", *[part.format(password) for part in extra], piped="other\n")
    assert result.exit_code == ExitCode.USAGE
    assert "a password is never an argument" in result.stderr
    assert password not in result.output
    assert stack.ledger.latest("prod-images") is None


@pytest.mark.parametrize("option", ["--password={}", "-p{}", "--password {}"])
def test_a_password_as_an_option_is_not_repeated(option: str) -> None:
    password = new_password()
    result = run("paste", "prod-images", *option.format(password).split())
    assert result.exit_code == ExitCode.USAGE
    assert password not in result.output


def test_a_registry_without_a_plan_gets_no_rotation(stack: FakeStack) -> None:
    """A paste opens a rotation where none is open: a slip of the finger must not."""
    stack.push()
    result = run("paste", "prod-image", piped="x\n")
    assert result.exit_code == ExitCode.FAILED
    assert "did you mean `prod-images`?" in result.stderr
    assert stack.ledger.latest("prod-image") is None


def test_it_belongs_to_the_rotation_that_waits_for_it(stack: FakeStack) -> None:
    stack.push()
    ready = stack.rotation(Phase.READY, ready_at=datetime.now(UTC))
    run("paste", "prod-images", piped=new_password())
    latest = stack.ledger.latest("prod-images")
    assert latest is not None
    assert (latest.generation, latest.phase, latest.attempts) == (ready.generation, Phase.READY, 1)


def test_an_execution_that_writes_at_the_same_moment_is_met_with_another_try(stack: FakeStack) -> None:
    """The rotation moves on between the reading and the writing: nothing was written, so it is read again."""
    stack.push()
    stack.rotation(Phase.READY)
    moved: list[Rotation] = []

    def move(**_: object) -> None:
        if len(moved) < 2:
            moved.append(stack.rotation(Phase.READY, old_refusals=len(moved) + 1))

    events = aws.client("dynamodb").meta.events
    events.register("before-call.dynamodb.TransactWriteItems", move)
    result = run("paste", "prod-images", piped=new_password())
    events.unregister("before-call.dynamodb.TransactWriteItems", move)
    assert result.exit_code == ExitCode.OK, result.stderr
    latest = stack.ledger.latest("prod-images")
    assert latest is not None
    assert (latest.old_refusals, latest.attempts, len(moved)) == (2, 1, 2)


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00"])
def test_when_it_was_clicked_is_the_time_of_the_call(stack: FakeStack, form: str) -> None:
    """Only so does a paste that nobody waited for close a request."""
    stack.push()
    clicked = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=30)
    result = run("paste", "prod-images", "--clicked-at", clicked.strftime(form), piped=new_password())
    assert result.exit_code == ExitCode.OK, result.stderr
    assert pasted(stack)[0].called_at == clicked


ASKED_FOR = "a new password is asked for: unless the registry shows that this one is newer, Rekey resets once more"


def test_whoever_does_not_say_when_hears_that_it_may_be_reset_once_more(stack: FakeStack) -> None:
    stack.push()
    stack.ask()
    assert ASKED_FOR in run("paste", "prod-images", piped=new_password()).stderr


def test_and_does_not_where_that_is_known_or_nobody_asks(stack: FakeStack) -> None:
    stack.push()
    assert ASKED_FOR not in run("paste", "prod-images", piped=new_password()).stderr
    stack.ask()
    assert ASKED_FOR not in run("paste", "prod-images", "--clicked-at", "00:00", piped=new_password()).stderr
    now = datetime.now(UTC)
    stack.rotation(Phase.READY, generation=2, ready_at=now, old_before=LoginVerdict.ACCEPTED)
    assert ASKED_FOR not in run("paste", "prod-images", piped=new_password()).stderr


def test_a_time_alone_is_today_on_this_machine_s_clock(stack: FakeStack) -> None:
    stack.push()
    clicked = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    run("paste", "prod-images", "--clicked-at", "00:00", piped=new_password())
    assert pasted(stack)[0].called_at == clicked


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("soon", "must be a time such as 14:05"),
        ("25:00", "must be a time such as 14:05"),
        ("2026-01-31T14:05:00", "must be a time such as 14:05"),
        ("2999-01-31T14:05:00Z", "must not be in the future"),
    ],
)
def test_what_is_no_time_of_a_click(stack: FakeStack, time: str, said: str) -> None:
    stack.push()
    result = run("paste", "prod-images", "--clicked-at", time, piped=new_password())
    assert result.exit_code == ExitCode.USAGE
    assert f"Invalid value for '--clicked-at': {said}" in result.stderr
    assert stack.ledger.latest("prod-images") is None


def test_what_the_plan_says_of_passwords_is_compared(stack: FakeStack) -> None:
    """A warning and no more: the registry decides."""
    stack.push(changed(("registry.alphabet", {"characters": string.digits, "min_length": 8, "max_length": 8})))
    result = run("paste", "prod-images", piped="abc\n")
    assert result.exit_code == ExitCode.OK
    assert "! the plan says 8 to 8 characters: pasted whole?" in result.stderr
    assert "! it holds characters that the plan's alphabet does not have" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AB", "2 characters: capitals"),
        ("a1", "2 characters: small letters, digits"),
        ("#", "1 characters: signs"),
        ("é ", "2 characters: others"),
    ],
)
def test_the_shape_of_a_text(text: str, said: str) -> None:
    assert shape(text) == said


def test_what_is_odd_names_no_character() -> None:
    assert oddities("plain", Alphabet()) == []
    assert oddities("a\x1b[b", Alphabet()) == ["it holds a control character: pasted from the wrong place?"]


STARTER = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
from rekey_cli.main import run
run()
"""


class Typing:
    """A person at a terminal, in front of `rekey paste`."""

    def __init__(self, env: Mapping[str, str], *args: str) -> None:
        self.seen = ""
        self._mine, theirs = pty.openpty()
        # A session of its own, with this terminal: else it would ask on the one that the tests were started from.
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER, "paste", *args],
            env={**env, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, text: str) -> None:
        """Wait until the terminal shows this."""
        deadline = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline, f"waited for {text!r}: {self.seen}"
            self.seen += self._read()

    def type(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def end(self) -> int:
        """Return the exit code, once it is there."""
        while chunk := self._read():
            self.seen += chunk
        os.close(self._mine)
        return self.process.wait(timeout=30)

    def _read(self) -> str:
        try:
            return os.read(self._mine, 4096).decode()
        except OSError:  # Linux answers EIO when the other side has closed
            return ""


@pytest.fixture
def env(stack: FakeStack) -> Iterator[Mapping[str, str]]:
    """Let another process reach the stack, through a server over the same moto."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    stack.push()
    yield {"PATH": os.environ["PATH"], **stack.env, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    server.stop()


def test_what_a_person_types_is_not_shown(env: Mapping[str, str], stack: FakeStack) -> None:
    """It says whose password it asks for, and asks whether what it got looks right."""
    password = new_password()
    person = Typing(env, "prod-images")
    person.until("New password (not shown): ")
    person.type(password + "\n")
    person.until("Does that look right?")
    person.type("\n")
    assert person.end() == ExitCode.OK
    assert "prod-images: user prod-images at registry.example.com" in person.seen
    assert f"got {len(password)} characters" in person.seen
    assert password not in person.seen
    assert pasted(stack)[1] == password


@pytest.mark.parametrize(("keys", "code"), [("n\n", ExitCode.FAILED), ("\x03", 130)], ids=["no", "ctrl-c"])
def test_a_person_may_think_better_of_it(env: Mapping[str, str], stack: FakeStack, keys: str, code: int) -> None:
    person = Typing(env, "prod-images")
    person.until("New password (not shown): ")
    if code == ExitCode.FAILED:
        person.type(new_password() + "\n")
        person.until("Does that look right?")
    person.type(keys)
    assert person.end() == code
    assert "Traceback" not in person.seen
    assert stack.ledger.latest("prod-images") is None
