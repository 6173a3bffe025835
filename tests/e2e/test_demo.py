"""The demo, run as a person runs it: what it says, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox import demo_checks
from tests.sandbox.demo_places import places
from tests.sandbox.demo_talk import Talk
from tests.sandbox.world import ROOT
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.conftest import NewCompany
    from tests.sandbox.company_store import StoreKind
    from tests.sandbox.world import World

pytestmark = pytest.mark.timeout(240)
_COMMAND = [sys.executable, "-m", "tests.sandbox.demo"]
_WITHIN = 220  # seconds
CONSUMERS = {
    "web-ci": "written",
    "all-services/acme/svc-billing": "written",
    "all-services/acme/svc-search": "written",
    "prod-cluster/acme-shop/registry": "matches",
    "prod-cluster/acme-jobs/registry": "matches",
    "deploy-bot": "written",
}
"""Every consumer and its honest verdict: `written` where the service cannot be read back."""


@dataclass(frozen=True)
class Run:
    """One run that has ended."""

    status: int
    said: str
    complained: str
    out: Path

    @property
    def evidence(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "evidence.json").read_text("utf-8"))
        return found


def run(out: Path, *arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Run:
    done = subprocess.run(
        [*_COMMAND, "--out", str(out), *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, out)


@pytest.fixture(scope="module")
def registry() -> None:
    require("registry")


@pytest.fixture(scope="module")
def plain(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Run:  # noqa: ARG001
    return run(tmp_path_factory.mktemp("plain"))


def test_demo_exits_0_and_the_evidence_says_that_all_is_well(plain: Run) -> None:
    assert (plain.status, plain.complained) == (0, "")
    evidence = plain.evidence
    assert evidence["format"] == 1
    assert (evidence["registry"], evidence["rotation"], evidence["reason"]) == (
        "prod-images",
        "prod-images/1",
        "compromised",
    )
    assert evidence["outcome"] == "finished"
    assert evidence["plan_version"]
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["old_password"]["at"]
    assert evidence["new_password"]["at"]
    assert {key: evidence["contents"][key] for key in ("unchanged", "repositories", "tags", "digests")} == {
        "unchanged": True,
        "repositories": 3,
        "tags": 6,
        "digests": 4,
    }
    assert evidence["counts"] == {"consumers": len(CONSUMERS), "done": len(CONSUMERS)}
    assert {row["name"]: row["verdict"] for row in evidence["consumers"]} == CONSUMERS
    assert {row["outcome"] for row in evidence["consumers"]} == {"updated"}
    assert 0 < evidence["credential_gap_s"] < 60
    assert evidence["resets"] == 1
    assert evidence["wrong_logins"] == 2


def test_demo_writes_the_report_beside_the_evidence(plain: Run) -> None:
    report = (plain.out / "report.html").read_text("utf-8")
    assert "6 of 6 consumers have the new one" in report
    assert all(name in report for name in CONSUMERS)
    assert str(plain.out / "report.html") in plain.said


def test_demo_in_a_log_is_one_plain_line_an_event_in_order(plain: Run) -> None:
    assert "\x1b" not in plain.said
    lines = re.findall(r"^ +(\d+\.\d\d) s  (event|step|consumer|end) +(\S.*?)(?:  +(\S.*))?$", plain.said, re.MULTILINE)
    times = [float(at) for at, *_ in lines]
    assert times == sorted(times)
    happened = [(kind, name) for _, kind, name, _ in lines]
    order = [
        ("event", "Credential Compromised"),
        ("event", "Request Accepted"),
        ("step", "Begin"),
        ("step", "PrepareConsumers"),
        ("step", "Reset"),
        ("event", "Password Reset"),
        ("step", "DeliverToConsumers"),
        ("step", "Verify"),
        ("event", "Old Password Refused"),
        ("step", "VerifyConsumers"),
        ("step", "Report"),
    ]
    assert [happened.index(one) for one in order] == sorted(happened.index(one) for one in order)
    assert ("end", "Succeeded") in happened
    told = {(name, said) for _, kind, name, said in lines if kind == "consumer"}
    assert told == {(name, "updated") for name in CONSUMERS} | set(CONSUMERS.items())


def test_demo_ends_with_what_it_saw_itself(plain: Run) -> None:
    table = plain.said.partition("SEEN FROM OUTSIDE")[2]
    claims = dict.fromkeys(["old password", "new password", "contents", "all consumers", "credential gap", *CONSUMERS])
    for claim in claims:
        assert re.search(rf"^✓ +{re.escape(claim)} ", table, re.MULTILINE), claim
    assert "✗" not in table


def test_consumer_that_fails_makes_the_status_1_and_leaves_the_others_updated(registry: None, tmp_path: Path) -> None:  # noqa: ARG001
    done = run(tmp_path, "--fail", "web-ci")
    evidence = done.evidence
    assert done.status == 1
    assert evidence["outcome"] == "consumers_failed"
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["counts"] == {"consumers": len(CONSUMERS), "done": len(CONSUMERS) - 1}
    assert evidence["credential_gap_s"] == "still open"
    rows = {row["name"]: row for row in evidence["consumers"]}
    assert rows["web-ci"]["outcome"] == "failed"
    assert "Secrets: read and write" in rows["web-ci"]["reason"]
    assert {row["outcome"] for name, row in rows.items() if name != "web-ci"} == {"updated"}
    assert "a job does not have it" in done.said
    assert "DISAGREES" not in done.said
    assert "5 of 6 consumers have the new password" in done.said


def test_registry_without_an_api_is_clicked_and_pasted(registry: None, tmp_path: Path) -> None:  # noqa: ARG001
    done = run(tmp_path, "--registry", "manual", "--unattended")
    evidence = done.evidence
    assert (done.status, done.complained) == (0, "")
    assert evidence["outcome"] == "finished"
    assert [attempt["kind"] for attempt in evidence["attempts"]] == ["pasted"]
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["new_password"]["verdict"] == "accepted"
    assert evidence["contents"]["unchanged"] is True
    assert {row["name"]: row["verdict"] for row in evidence["consumers"]} == CONSUMERS
    assert evidence["counts"] == {"consumers": len(CONSUMERS), "done": len(CONSUMERS)}
    assert [request["met"] for request in evidence["requests"]] == [True]
    assert re.search(r"event +Password Pasted", done.said)
    assert not (tmp_path / "sandbox.env").exists()


def test_vault_keeps_the_password(registry: None, tmp_path: Path) -> None:  # noqa: ARG001
    require("vault")
    done = run(tmp_path, "--store", "vault")
    assert (done.status, done.complained) == (0, "")
    assert re.search(r"Vault 127\.0\.0\.1:\d+, control plane", done.said)
    assert done.evidence["outcome"] == "finished"
    assert {row["name"]: row["verdict"] for row in done.evidence["consumers"]} == CONSUMERS


@pytest.mark.parametrize("store", ["secrets-manager", "vault"])
def test_a_shell_that_reads_the_environment_in_has_the_password_of_now(
    new_company: NewCompany, tmp_path: Path, store: StoreKind
) -> None:
    company = new_company(store=store)
    company.store.put({"username": company.name, "password": 'a"\\b$ <é>'})
    Talk(company, tmp_path, tmp_path).write_environment()
    done = subprocess.run(
        ["bash", "-c", ". ./sandbox.env && registry_password"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == company.current() == 'a"\\b$ <é>'


def test_gitea_is_registry_and_control_plane_in_one(tmp_path: Path) -> None:
    """And the demo's own token of the old password is still good, as the evidence says."""
    require("gitea")
    done = run(tmp_path, "--registry", "gitea")
    evidence = done.evidence
    assert (done.status, done.complained) == (0, "")
    assert (evidence["outcome"], evidence["resets"]) == ("finished", 1)
    assert evidence["old_password"]["verdict"] == "refused"
    assert evidence["contents"]["unchanged"] is True
    assert {row["name"]: row["verdict"] for row in evidence["consumers"]} == CONSUMERS
    (bearer,) = evidence["old_tokens"]["tokens"]
    assert re.search(rf"a token it had given +accepted, until {re.escape(bearer['ends'])} +accepted", done.said)


def test_unknown_consumer_is_answered_with_the_names_there_are(registry: None, tmp_path: Path) -> None:  # noqa: ARG001
    done = run(tmp_path, "--fail", "nobody")
    assert done.status == 2
    assert done.complained == (
        "make demo: there is no consumer nobody: the plan has web-ci, all-services, prod-cluster, deploy-bot\n"
    )


@pytest.mark.parametrize("arguments", [["--unattended"], ["--registry", "harbor"], ["--no-such-flag"]])
def test_arguments_that_cannot_be_are_refused_before_anything_starts(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path / "out", *arguments)
    assert done.status == 2
    assert "error: " in done.complained
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("made", [False, True], ids=["a folder that cannot be made", "a file"])
def test_a_folder_that_cannot_be_written_to_is_said_before_anything_starts(tmp_path: Path, *, made: bool) -> None:
    out = tmp_path / "file" if made else Path("/proc/x")
    if made:
        out.touch()
    done = run(out)
    assert (done.status, done.said) == (2, "")
    assert re.fullmatch(
        rf"make demo: nothing can be written into {out} \([a-z ]+\): name another folder with --out\n", done.complained
    )


def test_what_a_login_leaves_behind_ends_with_the_sandbox(untouched: demo_checks.Outside, tmp_path: Path) -> None:
    """It holds the password: skopeo keeps it where it is told to."""
    lines = Talk(untouched.company, tmp_path / "out", tmp_path / "sandbox").to_look()
    files = {found for line in lines for found in re.findall(r"--authfile (\S+)", line)}
    assert files == {str(tmp_path / "sandbox" / "auth.json")}


def test_without_a_registry_to_be_had_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    for name in ("tests", "template.yaml"):  # a checkout of its own: nothing is in its cache
        (tmp_path / name).symlink_to(ROOT / name)
    done = run(tmp_path / "out", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert done.status == 1
    assert re.fullmatch(r"make demo: no registry can be had: install [^\n]+\n", done.complained)


def test_ctrl_c_stops_everything_and_leaves_no_earlier_proof(registry: None, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "evidence.json").write_text("{}", encoding="utf-8")
    command = [*_COMMAND, "--out", str(tmp_path)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        assert any("PrepareConsumers" in line for line in demo.stdout)
        assert len(processes_of(demo.pid)) > 2
        os.killpg(demo.pid, signal.SIGINT)
        os.killpg(demo.pid, signal.SIGINT)
        _, complained = demo.communicate(timeout=_WITHIN)
    assert (demo.returncode, complained) == (130, "make demo: interrupted; everything is stopped\n")
    assert processes_of(demo.pid) == []
    assert not (tmp_path / "evidence.json").exists()


def processes_of(session: int) -> list[int]:
    """Return the processes of a session, which the demo's children share whatever their process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture(scope="module")
def untouched(world: World) -> demo_checks.Outside:
    """Set up a company in which nothing is rotated."""
    company = world.company("prod-images", org="acme")
    return demo_checks.look(company)


def test_evidence_that_claims_what_is_not_so_is_found_out(plain: Run, untouched: demo_checks.Outside) -> None:
    """Nothing was rotated here, and the evidence is that of a rotation that went well."""
    checks = demo_checks.check(plain.evidence, {}, untouched)
    false = {"old password", "all consumers", "resets", "credential gap", *CONSUMERS}
    assert false <= {one.claim for one in checks if not one.agrees}
    assert not {one.claim for one in checks if one.passed} & {"new password", *false}


def test_evidence_that_leaves_a_consumer_out_is_found_out(plain: Run, untouched: demo_checks.Outside) -> None:
    evidence = plain.evidence
    left_out = evidence["consumers"].pop()["name"]
    evidence["counts"] = {"consumers": len(CONSUMERS), "done": 0}  # which is so: here nobody has the new one
    (every,) = [one for one in demo_checks.check(evidence, {}, untouched) if one.claim == "all consumers"]
    assert not every.agrees
    evidence["not_told"] = [left_out]
    (every,) = [one for one in demo_checks.check(evidence, {}, untouched) if one.claim == "all consumers"]
    assert every.agrees


def test_secret_in_a_file_for_people_is_found_in_any_writing(plain: Run, untouched: demo_checks.Outside) -> None:
    company = untouched.company
    for written in (company.first_password, json.dumps(company.github_token)):
        checks = demo_checks.check(plain.evidence, {"report.html": f"<p>{written}</p>".encode()}, untouched)
        (secrets,) = [one for one in checks if one.claim == "secrets in evidence and report"]
        assert (secrets.passed, secrets.seen) == (False, "in report.html")


def test_demo_looks_at_every_consumer_of_the_plan(untouched: demo_checks.Outside) -> None:
    assert {place.name for place in places(untouched.company)} == set(CONSUMERS)
