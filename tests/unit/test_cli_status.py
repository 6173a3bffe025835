"""`rekey status`: where registries stand, and what a person is told to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rekey.model.old_token import OldToken, TokenKind
from rekey.model.request import Reason, RequestState
from rekey.model.rotation import Again, Attempt, AttemptKind, AttemptOutcome, Phase
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict, Receipt
from rekey.records.codec import partition, receipts_key
from rekey.records.dynamo import Write
from rekey.records.ledger import following
from rekey_cli.console import ExitCode, ago
from tests.unit.cli_stack import FakeStack, run
from tests.unit.plan_documents import MANUAL_REGISTRY, changed

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def facts(registry: str = "prod-images") -> Mapping[str, str]:
    """Return the lines `name: value` of one registry's status."""
    result = run("status", registry)
    assert result.exit_code == ExitCode.OK, result.stderr
    return dict(line.split(":\t", 1) for line in result.stdout.splitlines() if ":\t" in line)


def put_receipts(stack: FakeStack, *receipts: Receipt) -> None:
    key = {"pk": partition("prod-images"), "sk": receipts_key(1, 0, 0)}
    item = {"format": 1, "receipts": [receipt.to_record() for receipt in receipts]}
    stack.ledger.table.write(Write(key=key, item=item))


def test_no_plan_yet(stack: FakeStack) -> None:
    del stack
    result = run("status")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == ""
    assert "`rekey plan push FILE` does that" in result.stderr
    assert json.loads(run("status", "--json").stdout) == []


def test_a_name_nobody_knows_gets_the_nearest_one(stack: FakeStack) -> None:
    stack.push()
    result = run("status", "prod-image")
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr == "✗ the stack rekey-test has no plan for prod-image: did you mean `prod-images`?\n"
    assert "`rekey plan push FILE` makes one" in run("status", "zzz").stderr


def test_every_registry_with_a_plan_is_a_line_with_tabs(stack: FakeStack) -> None:
    """Between programs: no header, nothing cut, one line a registry."""
    stack.push()
    stack.push(changed(("registry", {**MANUAL_REGISTRY, "name": "by-hand"})))
    stack.rotation(Phase.FINISHED, finished_at=datetime.now(UTC), outcome="consumers_failed", generation=7)
    stack.ask("by-hand", Reason.COMPROMISED)
    rows = [line.split("\t") for line in run("status").stdout.splitlines()]
    assert [row[:3] for row in rows] == [["by-hand", "", "never rotated"], ["prod-images", "7", "finished"]]
    assert rows[0][5] == "compromised"
    assert rows[1][3:5] == ["just now", "consumers failed"]


def test_all_of_it_as_json(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(
        Phase.FINISHED,
        started_at=NOW,
        finished_at=NOW,
        outcome="finished",
        old_verdict=LoginVerdict.REFUSED,
        new_verdict=LoginVerdict.ACCEPTED,
        contents_unchanged=True,
    )
    put_receipts(stack, Receipt("web-ci", "github-secret", ConsumerOutcome.UPDATED, ConsumerVerdict.WRITTEN))
    request = stack.ask()
    one = json.loads(run("status", "prod-images", "--json").stdout)
    assert one == {
        "registry": "prod-images",
        "generation": 1,
        "phase": "finished",
        "since": "2026-01-31T12:00:00.000Z",
        "outcome": "finished",
        "reason": "requested",
        "problems": [],
        "next": "tried again within a minute",
        "open_requests": [
            {
                "reason": "requested",
                "source": "siem",
                "arrived": request.arrived_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
        ],
        "old_password": "refused",
        "old_tokens": [],
        "new_password": "accepted",
        "warnings": [],
        "contents_unchanged": True,
        "consumers": [
            {"name": "web-ci", "type": "github-secret", "outcome": "updated", "verdict": "written", "reason": ""}
        ],
    }
    assert json.loads(run("status", "--json").stdout) == [one]


def test_a_registry_before_its_first_rotation(stack: FakeStack) -> None:
    stack.push()
    assert facts() == {"registry": "prod-images", "phase": "never rotated", "next": "`rekey rotate prod-images`"}
    stack.ask()
    assert facts()["next"] == "a rotation is about to begin"


def test_ready_tells_the_person_what_to_do_and_until_when(stack: FakeStack) -> None:
    stack.push(changed(("registry", {**MANUAL_REGISTRY, "name": "prod-images"})))
    until = datetime.now(UTC) + timedelta(minutes=20)
    stack.rotation(Phase.READY, outcome="ready", ready_at=datetime.now(UTC), ready_until=until)
    assert facts()["next"] == (
        f"console.example.com, Change Password, then `rekey paste prod-images` (until {until.astimezone():%H:%M})"
    )


def test_a_paste_that_was_not_taken_is_said_with_its_reason(stack: FakeStack) -> None:
    stack.push(changed(("registry", {**MANUAL_REGISTRY, "name": "prod-images"})))
    stack.rotation(Phase.READY, outcome="ready")
    refused = Attempt(
        registry="prod-images",
        generation=1,
        number=1,
        kind=AttemptKind.PASTED,
        nonce="n",
        deadline=NOW,
        outcome=AttemptOutcome.WRONG_PASTE,
        said="the pasted password is refused by the registry",
    )
    stack.write(refused)
    assert facts()["next"] == "the pasted password is refused by the registry: `rekey paste prod-images` once more"


@pytest.mark.parametrize(
    ("phase", "fields", "expected"),
    [
        (
            Phase.NEEDS_ATTENTION,
            {"problems": ("mend `password_at`",), "outcome": "needs_attention"},
            "mend `password_at`",
        ),
        (Phase.STOPPED, {"problems": ("no rights", "no store"), "outcome": "stopped"}, "no rights; no store"),
        (Phase.DELIVERING, {"outcome": "unfinished"}, "tried again at 12:30"),
        (Phase.DELIVERING, {}, ""),
        (Phase.FINISHED, {"outcome": "finished"}, ""),
        (
            Phase.FINISHED,
            {"outcome": "consumers_failed"},
            "mend web-ci, then `rekey deliver prod-images`",
        ),
    ],
)
def test_what_comes_next(stack: FakeStack, phase: Phase, fields: dict[str, object], expected: str) -> None:
    stack.push()
    stack.rotation(phase, **fields)
    put_receipts(
        stack,
        Receipt("web-ci", "github-secret", ConsumerOutcome.FAILED, reason="401: give the app access"),
        Receipt("deploy-bot", "webhook", ConsumerOutcome.UPDATED),
    )
    due = (datetime.now().astimezone() + timedelta(days=1)).replace(hour=12, minute=30)
    again = Again(registry="prod-images", tries=1, at=due.astimezone(UTC), rev="1")
    stack.ledger.table.write(following(again.having(rev=""), again))
    assert facts().get("next", "") == expected


def test_why_a_later_one_stopped_is_said_while_it_goes_on(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(Phase.DELIVERING, outcome="unfinished")
    stack.rotation(Phase.STOPPED, generation=2, problems=("registry: refused",))
    assert facts()["next"] == "prod-images/2 stopped: registry: refused; tried again within a minute"
    (said,) = json.loads(run("status", "--json").stdout)
    assert (said["generation"], said["problems"]) == (1, ["prod-images/2 stopped: registry: refused"])


def test_consumers_follow_with_their_reasons(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(Phase.FINISHED, outcome="consumers_failed", finished_at=NOW)
    put_receipts(
        stack,
        Receipt("web-ci", "github-secret", ConsumerOutcome.FAILED, reason="401:\tgive the app access"),
        Receipt("deploy-bot", "webhook", ConsumerOutcome.UPDATED, ConsumerVerdict.WRITTEN),
    )
    lines = run("status", "prod-images").stdout.splitlines()
    assert lines[-2:] == ["deploy-bot\tupdated\twritten\t", "web-ci\tfailed\tunknown\t401: give the app access"]


def test_what_outlives_the_password_is_said(stack: FakeStack) -> None:
    """The tokens that are known to be alive, and what was seen at the registry before the reset."""
    stack.push()
    bearer = OldToken(kind=TokenKind.BEARER, taken_at=NOW, ends_at=NOW + timedelta(hours=24))
    refresh = OldToken(kind=TokenKind.REFRESH, taken_at=NOW)
    tried = [one.tried(LoginVerdict.ACCEPTED, "", NOW) for one in (bearer, refresh)]
    warnings = ("anybody may pull acme/web", "a personal access token")
    stack.rotation(Phase.DELIVERING, promoted_at=NOW, old_tokens=(*tried, bearer), warnings=warnings)
    said = facts()["still accepted"]
    until = (NOW + timedelta(hours=24)).astimezone()
    assert (
        said
        == f"a bearer token of it, until {until:%Y-%m-%d %H:%M}; a refresh token of it, and nothing says until when"
    )
    assert facts()["warning"] == warnings[1]
    assert f"warning:\t{warnings[0]}" in run("status", "prod-images").stdout
    document = json.loads(run("status", "prod-images", "--json").stdout)
    assert document["warnings"] == list(warnings)
    assert document["old_tokens"] == [
        {"kind": "bearer", "verdict": "accepted", "ends": "2026-02-01T12:00:00.000Z"},
        {"kind": "refresh", "verdict": "accepted", "ends": None},
        {"kind": "bearer", "verdict": None, "ends": "2026-02-01T12:00:00.000Z"},
    ]


def test_a_closed_request_is_not_shown(stack: FakeStack) -> None:
    stack.push()
    stack.rotation(Phase.FINISHED, outcome="finished", finished_at=NOW)
    request = stack.ask()
    assert "requests" in facts()
    stack.close(request)
    closed = stack.ledger.request("prod-images", request.key)
    assert closed is not None
    assert closed.state is RequestState.CLOSED
    assert "requests" not in facts()


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=0), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=2), "2 hours ago"),
        (timedelta(days=3), "3 days ago"),
        (-timedelta(minutes=5), "in 5 minutes"),
        (-timedelta(seconds=5), "in a moment"),
    ],
)
def test_how_long_ago(passed: timedelta, said: str) -> None:
    assert ago(NOW - passed, NOW) == said
