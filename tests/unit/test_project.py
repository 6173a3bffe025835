"""What belongs together in the repository and stands in several files."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from moto.events.models import EventPattern
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rekey.bus import ASKING
from rekey.model.state import State
from rekey.steps import notify, trigger, webhook
from tests.structure import template
from tests.structure.asl import ROOT, substituted, tasks

if TYPE_CHECKING:
    from moto.events.utils import EventMessageType

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LAYER = ROOT / "layers" / "rekey" / "requirements.txt"
LOCK = ROOT / "requirements" / "dev.txt"
SAMPLES = sorted((ROOT / "events").glob("*.json"))
RUNTIME = {
    "implementation_name": "cpython",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "python_full_version": "3.13.0",
    "python_version": "3.13",
    "sys_platform": "linux",
}


def pins(path: Path) -> dict[str, str]:
    """Return every pin of a requirements file by its name: version, marker and hashes, without the comments."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.strip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return {canonicalize_name(re.split(r"[=\[; ]", line)[0]): " ".join(line.split()) for line in joined}


def sample(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text("utf-8"))
    return found


def of(function: str) -> list[Path]:
    return [path for path in SAMPLES if path.stem.startswith(f"{function}-")]


def test_the_layer_is_pinned_as_the_lock_is() -> None:
    """What the tests run with is what is deployed: version by version, hash by hash."""
    layer, lock = pins(LAYER), pins(LOCK)

    assert {name: lock.get(name) for name in layer} == layer
    assert all("--hash=sha256:" in pin for pin in layer.values())


def test_the_layer_holds_what_the_project_asks_for() -> None:
    asked = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    layer = pins(LAYER)

    for requirement in asked:
        version = re.match(r"\S+==(\S+)", layer[canonicalize_name(requirement.name)])
        assert version is not None
        assert requirement.specifier.contains(version[1]), requirement


def test_the_layer_is_complete() -> None:
    """What is missing would be fetched in whatever version there is, or be missing at the first import."""
    layer = pins(LAYER)
    following = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    seen: set[str] = set()
    while following:
        requirement = following.pop()
        name = canonicalize_name(requirement.name)
        assert name in layer, f"{name} is needed and not in the layer"
        if name not in seen:
            seen.add(name)
            following += needed_by(name, requirement.extras)

    assert seen == {name for name, pin in layer.items() if applies(pin)}


def needed_by(name: str, extras: set[str]) -> Iterator[Requirement]:
    """Yield what a distribution needs on the functions' platform."""
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        given = [{**RUNTIME, "extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(environment) for environment in given):
            yield requirement


def applies(pin: str) -> bool:
    """Return whether a pin is for the functions' platform."""
    condition = pin.partition(" --hash")[0].partition(" ; ")[2]
    return not condition or Marker(condition).evaluate(RUNTIME)


def test_every_function_has_a_sample_and_every_sample_a_function() -> None:
    functions = template.load().functions().keys()

    assert {path.stem.partition("-")[0] for path in SAMPLES} == functions


@pytest.mark.parametrize("function", ["begin", "reset", "distribute", "verify", "report"])
def test_samples_of_steps_are_what_the_machine_sends(function: str) -> None:
    given = template.load()
    payloads = [
        task.body["Parameters"]["Payload"]
        for task in tasks(substituted(given.substitutions()))
        if task.body["Parameters"]["FunctionName"].endswith(f":{function.capitalize()}Function")
    ]

    for path in of(function):
        event = sample(path)
        assert any(
            event["call"] == payload["call"] and event.keys() == {key.removesuffix(".$") for key in payload}
            for payload in payloads
        ), path.name
        state = State.read(event["state"])
        assert (state.shard is not None) == (function == "distribute"), path.name


def rule_of(function: str) -> EventPattern:
    for rule in template.load().properties("AWS::Events::Rule").values():
        if rule["Targets"][0]["Arn"]["Fn::GetAtt"][0] == f"{function.capitalize()}Function":
            return EventPattern.load(json.dumps(rule["EventPattern"]))
    raise KeyError(function)


@pytest.mark.parametrize("path", of("trigger") + of("notify"), ids=lambda path: path.stem)
def test_samples_of_events_are_what_the_rules_let_through(path: Path) -> None:
    event = sample(path)
    if "call" in event:
        assert event in ({"call": "tick"}, {"call": "ping"})
        return

    function = path.stem.partition("-")[0]
    assert rule_of(function).matches_event(cast("EventMessageType", event))
    if function == "notify":
        assert notify.to_message(event)[1] == "prod-images"
    elif event["detail-type"] == ASKING:
        assert trigger.read_request(event, datetime.now(UTC)).registry == "prod-images"


@pytest.mark.parametrize("path", of("webhook"), ids=lambda path: path.stem)
def test_samples_of_requests_hold_an_alert(path: Path) -> None:
    event = sample(path)

    assert event["version"] == "2.0"
    assert webhook.kept(webhook.body_of(event))["registry"] == "prod-images"


def files() -> list[Path]:
    """Return every file that is, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


FORBIDDEN = {
    "a path of this machine": re.compile(rf"{re.escape(str(ROOT))}/|/(home|Users)/[a-z]\w*/"),
    "a package registry": re.compile(r"pypi[.]org|pythonhosted[.]org|index[-]url|find[-]links"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE[ ]KEY-----"),
    "an AWS access key": re.compile(r"\bA[KS]IA[A-Z0-9]{16}\b"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})\b"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    """Nothing in the repository ties it to a machine or a mirror, or looks like a credential."""
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in files()
        if (match := FORBIDDEN[what].search(path.read_text("utf-8", errors="replace")))
    }

    assert found == {}


def targets() -> dict[str, str]:
    """Return every target of the Makefile that is for people, and what it says it does."""
    return dict(re.findall(r"^([a-z]+):.*?## (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_target_says_what_it_does() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)

    assert phony is not None
    assert set(phony[1].split()) == targets().keys()


def test_ci_runs_what_a_person_can_run() -> None:
    steps = re.search(r"for step in (.+); do", (ROOT / ".ci" / "run").read_text("utf-8"))

    assert steps is not None
    assert steps[1].split() == ["servers", "lint", "validate", "build", "test"]
    assert set(steps[1].split()) <= targets().keys()


def test_the_command_line_reads_outputs_that_the_stack_has() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "cli").rglob("*.py"))
    read = set(re.findall(r'_named\("\w+", "(\w+)"\)', code))

    assert read
    assert read <= template.load().body["Outputs"].keys()
