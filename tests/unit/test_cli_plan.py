"""`rekey plan check` and `rekey plan push`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rekey.model.plan import read
from rekey_cli.console import ExitCode
from tests.unit.cli_stack import NAMES, FakeStack, as_yaml, client, run
from tests.unit.plan_documents import changed, good

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "prod-images.yaml"
    path.write_text(as_yaml(good()), encoding="utf-8")
    return path


def spoil(plan: Path, *changes: tuple[str, object]) -> None:
    plan.write_text(as_yaml(changed(*changes)), encoding="utf-8")


def versions() -> list[str]:
    """Return the versions of all pushed plans, newest first."""
    found = client("s3").list_object_versions(Bucket=NAMES["REKEY_BUCKET"])
    return [version["VersionId"] for version in found.get("Versions", [])]


def test_check_says_what_is_in_a_good_plan(plan: Path) -> None:
    result = run("plan", "check", str(plan))
    assert result.exit_code == ExitCode.OK
    assert result.stdout == ""
    assert result.stderr == f"✓ {plan}: prod-images, 3 consumer entries\n"


def test_check_writes_problems_as_data_and_the_summary_beside_them(plan: Path) -> None:
    spoil(plan, ("registry.username", 5), ("policy.ready_for", "soon"))
    result = run("plan", "check", str(plan))
    assert result.exit_code == ExitCode.FAILED
    lines = result.stdout.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["registry.username", "policy.ready_for"]
    assert all(line.startswith(f"{plan}:") for line in lines)
    assert result.stderr == "✗ 2 problems in 1 file\n"


def test_check_goes_through_all_files(plan: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("registry: 5\n", encoding="utf-8")
    result = run("plan", "check", str(bad), str(plan))
    assert result.exit_code == ExitCode.FAILED
    assert f"{bad}:1: registry: must be keys and values" in result.stdout
    assert f"✓ {plan}: prod-images" in result.stderr


def test_check_as_json(plan: Path) -> None:
    assert json.loads(run("plan", "check", str(plan), "--json").stdout) == []
    spoil(plan, ("registry.username", 5))
    result = run("plan", "check", str(plan), "--json")
    assert result.exit_code == ExitCode.FAILED
    assert [(one["file"], one["key"]) for one in json.loads(result.stdout)] == [(str(plan), "registry.username")]


def test_check_finds_two_files_for_one_registry(plan: Path, tmp_path: Path) -> None:
    """The later push would replace the earlier one."""
    other = tmp_path / "other.yaml"
    other.write_text(plan.read_text(encoding="utf-8"), encoding="utf-8")
    result = run("plan", "check", str(plan), str(other))
    assert result.exit_code == ExitCode.FAILED
    assert result.stdout == f"{other}:2: registry.name: is the registry of {plan} already\n"


def test_push_stores_the_plan_and_prints_its_version(stack: FakeStack, plan: Path) -> None:
    result = run("plan", "push", str(plan))
    assert result.exit_code == ExitCode.OK
    assert result.stderr == "✓ pushed the plan of prod-images to rekey-test\n"
    assert result.stdout.split() == versions()
    body, _ = stack.bucket.read("plans/prod-images.json")
    stored: Any = json.loads(body)
    assert stored["format"] == 1
    assert read(stored["plan"]) == read(good())


def test_push_does_not_push_what_is_there(stack: FakeStack, plan: Path) -> None:
    """Not even where the file was written in another order: a version is a change."""
    del stack
    first = run("plan", "push", str(plan)).stdout
    plan.write_text(as_yaml(dict(reversed(good().items()))), encoding="utf-8")
    again = run("plan", "push", str(plan))
    assert again.stdout == first
    assert "nothing was pushed" in again.stderr
    assert len(versions()) == 1
    spoil(plan, ("policy.ready_for", "25 minutes"))
    assert run("plan", "push", str(plan)).stdout.split() == versions()[:1]
    assert len(versions()) == 2


def test_push_as_json(stack: FakeStack, plan: Path) -> None:
    del stack
    first, second = (json.loads(run("plan", "push", str(plan), "--json").stdout) for _ in range(2))
    assert first == {"registry": "prod-images", "version": versions()[0], "changed": True}
    assert second == first | {"changed": False}


def test_push_of_a_plan_with_problems_pushes_nothing(stack: FakeStack, plan: Path) -> None:
    del stack
    spoil(plan, ("registry.username", 5))
    result = run("plan", "push", str(plan))
    assert result.exit_code == ExitCode.FAILED
    assert result.stdout == ""
    assert "registry.username: must be text: put it in quotes" in result.stderr
    assert "not pushed: 1 problem" in result.stderr
    assert versions() == []


def test_push_to_a_bucket_that_is_gone_says_so(stack: FakeStack, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del stack
    monkeypatch.setenv("REKEY_BUCKET", "gone")
    result = run("plan", "push", str(plan))
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr == "✗ plans/prod-images.json in the bucket: NoSuchBucket\n"
