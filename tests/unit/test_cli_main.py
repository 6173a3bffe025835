"""The manners of the command line: help, mistakes, exit codes, colours, pipes. No traceback ever."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from rekey import aws
from rekey.model.rotation import Phase
from rekey.model.verdict import ConsumerOutcome, Receipt
from rekey.records.codec import partition, receipts_key
from rekey.records.dynamo import Write
from rekey_cli import console
from rekey_cli.main import app
from rekey_cli.stack import Stack
from tests.unit.cli_stack import CREDENTIALS, NAMES, REGION, FakeStack, as_yaml, run
from tests.unit.plan_documents import good

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COMMANDS = ("plan", "plan check", "plan push", "plan schema", "rotate", "status", "deliver", "resume", "paste")
REASONS = "must be requested, lost, personnel_change or compromised"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def rekey(*args: str, env: Mapping[str, str] | None = None, **options: object) -> subprocess.Popen[bytes]:
    """Start `rekey` as a process of its own, through its entry point."""
    # A shell's background job ignores Ctrl-C, and so would what it starts.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", start + "from rekey_cli.main import run; run()", *args]
    everything = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **CREDENTIALS, **(env or {})}
    return subprocess.Popen(command, env=everything, **{"stdout": -1, "stderr": -1, **options})  # type: ignore[call-overload,no-any-return]


def test_without_a_command_it_shows_the_help() -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout == run("--help").stdout
    for name in ("plan:", "rotate:", "status:", "paste:", "EXAMPLES", "Exit codes"):
        assert name in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines()[0]
    assert f"USAGE\n  root {command}" in result.stdout  # typer's runner calls the program so
    assert command == "plan" or "EXAMPLES\n  $ rekey" in result.stdout
    assert not re.search(r"<\w+>(?! \[flags\]|`| --help)", result.stdout), "a type of Python's in the help"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["rotat"], "No such command 'rotat'. Did you mean 'rotate'?"),
        (["xyz"], "No such command 'xyz'"),
        (["plan", "chek"], "Did you mean 'check'"),
        (["rotate"], "Missing argument 'REGISTRY'"),
        (["rotate", "a", "--reson", "lost"], "No such option: --reson"),
        (["rotate", "a", "--reason", "boredom"], f"'--reason' / '-r': {REASONS}"),
        (["rotate", "a", "--reason", "scheduled"], f"'--reason' / '-r': {REASONS}"),
        (["rotate", "Prod Images"], "'REGISTRY': must be lower case letters, digits and hyphens"),
        (["status", "a", "b"], "unexpected extra argument"),
        (["plan", "check"], "Missing argument 'FILE...'"),
        (["plan", "check", "gone.yaml"], "file 'gone.yaml' does not exist"),
    ],
)
def test_a_mistake_is_answered_with_what_is_wrong_and_where_the_help_is(args: list[str], said: str) -> None:
    result = run(*args)
    assert result.exit_code == console.ExitCode.USAGE
    assert result.stdout == ""
    assert said in result.stderr
    assert "--help' for help" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_has_a_short_name_everywhere(command: str) -> None:
    short, long = run(*command.split(), "-h"), run(*command.split(), "--help")
    assert (short.exit_code, short.stdout) == (0, long.stdout)
    assert "-h, --help" in long.stdout


def test_the_shell_completes_reasons() -> None:
    completing = {"_ROOT_COMPLETE": "complete_bash", "COMP_WORDS": "root rotate a --reason p", "COMP_CWORD": "4"}
    assert CliRunner().invoke(app, [], env=completing).stdout.split() == ["personnel_change"]


def test_it_says_its_version() -> None:
    assert run("--version").stdout == f"rekey {version('rekey')}\n"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Credentials and a region, and nothing else of AWS."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "REKEY_"))]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    aws.client.cache_clear()
    yield monkeypatch
    aws.client.cache_clear()


@pytest.mark.parametrize(
    ("without", "setting", "said"),
    [
        ("AWS_ACCESS_KEY_ID", {}, "no AWS credentials: sign in"),
        ("AWS_DEFAULT_REGION", {}, "no AWS region: set AWS_DEFAULT_REGION"),
        (None, {"AWS_PROFILE": "nobody"}, "AWS_PROFILE names a profile that does not exist"),
    ],
)
def test_who_is_not_signed_in_is_told_how(
    environment: pytest.MonkeyPatch, without: str | None, setting: dict[str, str], said: str
) -> None:
    if without:
        environment.delenv(without)
    if without == "AWS_ACCESS_KEY_ID":
        environment.delenv("AWS_SECRET_ACCESS_KEY")
    for name, value in setting.items():
        environment.setenv(name, value)
    result = run("status")
    assert result.exit_code == console.ExitCode.NOT_SIGNED_IN
    assert said in result.stderr


class Refusing(BaseHTTPRequestHandler):
    """Answers as AWS does once a session has ended."""

    def do_POST(self) -> None:
        body = b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Say nothing."""


def test_credentials_that_are_over_are_told_from_a_failure(environment: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        result = run("status")
        server.shutdown()
        thread.join()
    assert result.exit_code == console.ExitCode.NOT_SIGNED_IN
    assert "AWS does not take these credentials (any more): sign in" in result.stderr


def test_a_stack_is_found_by_its_outputs(environment: pytest.MonkeyPatch) -> None:
    """The names of the environment count only where no stack is named."""
    with mock_aws():
        outputs = {
            "LedgerTable": "found-ledger",
            "EscrowTable": "found-escrow",
            "EscrowKey": "found-key",
            "Bucket": "found-bucket",
            "Bus": "found-bus",
        }
        template = {
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        boto3.client("cloudformation", REGION).create_stack(StackName="found", TemplateBody=json.dumps(template))
        for name, value in NAMES.items():
            environment.setenv(name, value)
        assert Stack("found").ledger.table.name == "found-ledger"
        assert Stack(None).ledger.table.name == NAMES["REKEY_LEDGER_TABLE"]
        result = run("status", "--stack", "gone")
    assert result.exit_code == console.ExitCode.FAILED
    assert f"there is no stack gone in {REGION}: name it with `--stack`" in result.stderr


def test_a_stack_of_something_else_is_told(environment: pytest.MonkeyPatch) -> None:
    del environment
    with mock_aws():
        template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
        boto3.client("cloudformation", REGION).create_stack(StackName="other", TemplateBody=template)
        result = run("status", "--stack", "other")
    assert result.exit_code == console.ExitCode.FAILED
    assert "the stack other has no output `Bucket`" in result.stderr


def test_a_fault_nobody_expected_is_one_line_without_what_it_was_about(stack: FakeStack) -> None:
    """The text of an exception may quote the very thing that must not be shown."""
    stack.push()
    stack.rotation(Phase.DELIVERING)
    spoilt = Receipt("web-ci", "github-secret", ConsumerOutcome.FAILED).to_record() | {"outcome": "Canary-1"}
    key = {"pk": partition("prod-images"), "sk": receipts_key(1, 0, 0)}
    stack.ledger.table.write(Write(key=key, item={"receipts": [spoilt]}))
    result = run("status")
    assert result.exit_code == console.ExitCode.FAILED
    assert "a fault in Rekey itself: ValueError at " in result.stderr
    assert "Canary-1" not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_a_setup_that_botocore_refuses_is_one_line(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_DEFAULTS_MODE", "sideways")
    result = run("status")
    assert result.exit_code == console.ExitCode.FAILED
    assert result.stderr == "✗ AWS cannot be used as it is set up here: InvalidDefaultsMode\n"


def test_ctrl_c_ends_quietly_with_130(tmp_path: Path) -> None:
    """While it waits for something, here for a pipe to be written."""
    fifo = tmp_path / "plan.yaml"
    os.mkfifo(fifo)
    process = rekey("plan", "check", str(fifo))
    writer = os.open(fifo, os.O_WRONLY)  # opens as soon as rekey reads
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    os.close(writer)
    assert process.returncode == 130
    assert (out, err) == (b"", b"")


def test_a_reader_that_has_gone_is_no_failure_to_talk_about(tmp_path: Path) -> None:
    """`rekey plan check … | head -1`, with more to say than a pipe holds."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(as_yaml(good() | {f"key-{n:05}-{'x' * 40}": 1 for n in range(2000)}), encoding="utf-8")
    reading, writing = os.pipe()
    with rekey("plan", "check", str(plan), stdout=writing) as process:
        os.close(writing)
        assert os.read(reading, 10)
        os.close(reading)
        assert process.stderr
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def on_terminal(*args: str, env: Mapping[str, str] | None = None) -> str:
    """Return what a person sees of a command on a terminal 100 columns wide."""
    mine, theirs = pty.openpty()
    process = rekey(*args, env={"COLUMNS": "100", **(env or {})}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            seen += os.read(mine, 4096) or b""
        except OSError:  # Linux answers EIO when the other side has closed
            break
    process.wait(timeout=30)
    os.close(mine)
    return seen.decode()


def test_colours_only_where_a_person_sees_them_and_wants_them(tmp_path: Path) -> None:
    """https://no-color.org."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(as_yaml(good()), encoding="utf-8")
    assert ANSI.search(on_terminal("plan", "check", str(plan)))
    assert ANSI.search(on_terminal("--help"))
    assert not ANSI.search(on_terminal("plan", "check", str(plan), env={"NO_COLOR": "1"}))
    assert not ANSI.search(on_terminal("--help", env={"NO_COLOR": "1"}))
    out, err = rekey("plan", "check", str(plan)).communicate(timeout=30)
    assert not ANSI.search((out + err).decode())


def test_a_terminal_that_cannot_show_a_letter_is_no_reason_to_fail() -> None:
    with rekey("plan", "schema", env={"PYTHONIOENCODING": "latin-1"}) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert b"Source of a request ? the reasons" in out


def test_nothing_from_outside_steers_the_terminal(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(Phase.NEEDS_ATTENTION, problems=("\x1b[31mred\x07\x9b2J",))
    result = run("status")
    assert "red" in result.stdout
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.stdout.replace("\n", "").replace("\t", ""))
