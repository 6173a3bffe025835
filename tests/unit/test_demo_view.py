"""The demo's display: on a narrow terminal names and durations stay whole, and what explains them gives way."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console

from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, Receipt
from tests.sandbox.demo_checks import Check
from tests.sandbox.demo_places import Place
from tests.sandbox.demo_view import View
from tests.sandbox.demo_watch import STEPS, Happening, Step

if TYPE_CHECKING:
    from tests.sandbox.demo_watch import Watch

BEGAN = datetime(2026, 1, 31, 2, tzinfo=UTC)
PLACES = [
    Place("web-ci", "github-secret", "a job", lambda: None),
    Place("prod-cluster/acme-jobs/registry", "kubernetes-pull-secret", "a pod", lambda: None),
    Place("deploy-bot", "webhook", "the receiver", lambda: None),
]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RECEIPT = Receipt(
    "deploy-bot", "webhook", ConsumerOutcome.FAILED, ConsumerVerdict.UNKNOWN, reason="403: " + "why " * 40
)


@dataclass
class Over:
    """A rotation that has been watched to its end."""

    began: datetime = BEGAN
    ended: bool = True
    steps: dict[str, Step] = field(
        default_factory=lambda: {name: Step(BEGAN, BEGAN + timedelta(seconds=12.3)) for name in STEPS}
    )
    receipts: dict[str, Receipt] = field(default_factory=lambda: {"deploy-bot": RECEIPT})

    def take(self, *, everything: bool) -> list[Happening]:
        """Return what happened."""
        assert everything
        said = "twice, with the registry well in between"
        return [
            Happening(BEGAN, "event", "Old Password Refused", said),
            Happening(BEGAN, "end", "Succeeded", "finished"),
        ]


def shown(width: int, *, terminal: bool = True) -> list[str]:
    """Return the lines of the display at its end, and of the last table."""
    view, text = View(), io.StringIO()
    view.console = Console(file=text, width=width, height=60, force_terminal=terminal, highlight=False)
    with view.showing(cast("Watch", Over()), PLACES):
        view.refresh(last=True)
    names = [place.name for place in PLACES]
    view.checks(
        [Check(name, "updated, written", "the receiver has the new one", agrees=True, wanted=True) for name in names]
    )
    view.checks(
        [Check("contents", "unchanged: 3 repositories, 6 tags, 4 digests", "as before", agrees=True, wanted=True)]
    )
    return [line.rstrip() for line in ANSI.sub("", text.getvalue()).replace("\r", "").splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_names_and_durations_are_whole(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    for name in STEPS:
        assert any(re.match(rf"✓  {name} +12\.3 s  \S", line) for line in lines), name
    for place in PLACES:
        assert any(re.match(rf"[✓✗·]  {place.name} +{place.type} +\S", line) for line in lines), place.name
    assert any("event    Old Password Refused    twice" in line for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_the_last_table_breaks_no_word(width: int) -> None:
    lines = shown(width)
    for place in PLACES:
        assert any(re.match(rf"✓  {place.name}  +updated, written +the receiver", line) for line in lines), place.name
    words = set(" ".join(lines[-12:]).split())
    assert words >= {"unchanged:", "repositories,", "tags,", "digests", "receiver"}


def test_a_log_has_every_line_to_its_end() -> None:
    lines = shown(80, terminal=False)
    assert any(line.endswith("twice, with the registry well in between") for line in lines)
