"""The report's page: what it says at a glance, for every outcome, and that nothing of it comes alive."""

from __future__ import annotations

import copy
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from rekey import page, page_parts
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict

VOID = {"meta", "link", "br", "hr", "img", "input"}


def consumer(name: str, outcome: str = "updated", verdict: str = "written", reason: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "type": "github-secret",
        "outcome": outcome,
        "verdict": verdict,
        "reason": reason,
        "answered": "2026-11-24T16:23:25.781Z",
    }


FINISHED: dict[str, Any] = {
    "format": 1,
    "registry": "prod-images",
    "rotation": "prod-images/7",
    "generation": 7,
    "plan_version": "v-1",
    "reason": "personnel_change",
    "outcome": "finished",
    "problems": [],
    "requests": [
        {
            "key": "k",
            "reason": "personnel_change",
            "source": "console",
            "arrived": "2026-11-24T16:23:18.805Z",
            "exposed": "2026-11-22T16:23:18.805Z",
            "detected": None,
            "met": True,
        }
    ],
    "password_changed": True,
    "old_password": {"verdict": "refused", "at": "2026-11-24T16:23:26.969Z"},
    "new_password": {"verdict": "accepted", "at": "2026-11-24T16:23:25.350Z"},
    "contents": {"unchanged": True, "repositories": 1, "tags": 6, "digests": 4, "note": ""},
    "consumers": [consumer("web-ci"), consumer("cluster", verdict="matches")],
    "not_told": [],
    "waived": [],
    "warnings": [],
    "counts": {"consumers": 2, "done": 2},
    "credential_gap_s": 0.629,
    "times": {
        "started": "2026-11-24T16:23:20.308Z",
        "gate_passed": "2026-11-24T16:23:25.098Z",
        "called": "2026-11-24T16:23:25.153Z",
        "answered": "2026-11-24T16:23:25.169Z",
        "promoted": "2026-11-24T16:23:25.350Z",
        "reported": "2026-11-24T16:23:28.047Z",
    },
    "alert_to_refused_s": 8.164,
    "resets": 1,
    "attempts": [{"number": 1, "kind": "reset", "outcome": "promoted", "said": ""}],
    "wrong_logins": 2,
}
NEVER_ASKED = {"verdict": None, "at": None}
BEFORE_THE_RESET = {
    "password_changed": False,
    "old_password": NEVER_ASKED,
    "new_password": NEVER_ASKED,
    "contents": {"unchanged": None, "repositories": 1, "tags": 6, "digests": 4, "note": ""},
    "consumers": [],
    "not_told": ["web-ci", "cluster"],
    "counts": {"consumers": 2, "done": 0},
    "credential_gap_s": None,
    "times": {"started": "2026-11-24T16:23:20.308Z", "reported": "2026-11-24T16:23:28.047Z"},
    "alert_to_refused_s": None,
    "resets": 0,
    "attempts": [],
    "wrong_logins": 0,
}


def evidence(**changes: object) -> dict[str, Any]:
    return {**copy.deepcopy(FINISHED), **changes}


class Reader(HTMLParser):
    """Reads a page: its elements, what of them may load or run something, its text, and whether its tags fit."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.opened: list[str] = []
        self.misfits: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.opened or self.opened.pop() != tag:
            self.misfits.append(tag)

    def handle_data(self, data: str) -> None:
        if self.opened[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(**changes: object) -> Reader:
    return Reader(page.render(evidence(**changes)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "The password was changed, and 2 of 2 consumers have the new one."),
        (
            {"outcome": "consumers_failed", "counts": {"consumers": 2, "done": 1}},
            "The password was changed, and 1 of 2 consumers does not have it.",
        ),
        ({"outcome": "unfinished"}, "The password was changed, and work is left: Rekey takes it up again by itself."),
        (
            {"outcome": "needs_attention", "times": {"called": "2026-11-24T16:23:25.153Z", "promoted": None}},
            "The new password is not in force yet, and Rekey cannot go on without a person.",
        ),
        ({"outcome": "stopped", **BEFORE_THE_RESET}, "Stopped before the reset: the password is as it was."),
        ({"outcome": "ready", **BEFORE_THE_RESET}, "Everything is ready: a person resets the password now."),
        ({"outcome": "rehearsed", **BEFORE_THE_RESET}, "Rehearsed: nothing was changed."),
        ({"outcome": "joined", **BEFORE_THE_RESET}, "Served by a rotation that was there already."),
    ],
)
def test_outcome_is_said_in_the_first_sentence(changes: dict[str, object], said: str) -> None:
    assert said in read(**changes).text


def test_every_outcome_and_verdict_there_is_has_its_words() -> None:
    assert set(page.TONES) == set(Outcome)
    assert set(page.MEANINGS) == set(ConsumerVerdict)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("rest", [{}, BEFORE_THE_RESET], ids=["after the reset", "before the reset"])
def test_page_of_any_outcome_is_whole(outcome: Outcome, rest: dict[str, object]) -> None:
    found = read(outcome=outcome.value, **rest)
    assert (found.misfits, found.opened) == ([], [])
    assert outcome.value.replace("_", " ") in found.text
    assert "prod-images/7" in found.text
    assert "None" not in found.text


def test_page_says_what_is_proven() -> None:
    text = read().text
    for fact in (
        "Old password refused 2026-11-24 16:23:26.969Z",
        "New password accepted 2026-11-24 16:23:25.350Z",
        "Contents of the registry unchanged 1 repository, 6 tags, 4 digests",
        "Consumers that have it 2 of 2",
        "Credential gap 0.6 s",
        "8.2 s",
        "Resets 1 2 wrong logins spent on proof",
        "written : the service took it and cannot be read back",
        "matches : read back, and the same",
    ):
        assert fact in text


def test_consumer_that_needs_a_person_comes_first_with_what_to_do() -> None:
    rows = [
        consumer("fine"),
        consumer("late", "pending", "unknown", "not sent yet"),
        consumer("gone", verdict="differs", reason="find out what wrote it back"),
        consumer("refused", "failed", "unknown", "give the token the right"),
    ]
    text = read(outcome="consumers_failed", consumers=rows, not_told=["unheard"]).text
    todo, _, rest = text.partition("Consumers that have it")
    assert "refused: give the token the right" in todo
    table = rest.partition("Why, and what to do")[2].partition("Time line")[0]
    order = [table.index(name) for name in ("gone", "refused", "late", "unheard", "fine")]
    assert order == sorted(order)
    assert "not told" in table
    assert "find out what wrote it back" in table


def test_problems_waived_consumers_and_warnings_are_said() -> None:
    text = read(
        outcome="stopped", problems=["store: let it write"], waived=["old-ci: is gone"], warnings=["x: Helm"]
    ).text
    assert "Why, and what to do store: let it write" in text
    assert "Passed over at the gate old-ci: is gone" in text
    assert "Warnings x: Helm" in text


def test_registry_that_is_ready_says_how_to_paste() -> None:
    assert "`rekey paste prod-images`" in read(outcome="ready", **BEFORE_THE_RESET).text


def test_gap_that_is_still_open_is_said_so() -> None:
    assert "Credential gap still open" in read(credential_gap_s="still open").text
    assert "Credential gap none" in read(**BEFORE_THE_RESET).text


@pytest.mark.parametrize("changed", [True, None])
def test_gap_of_a_password_that_may_have_changed_is_not_called_none(*, changed: bool | None) -> None:
    said = read(**{**BEFORE_THE_RESET, "password_changed": changed}).text
    assert "Credential gap not known" in said
    assert "Credential gap none" not in said


@pytest.mark.parametrize(
    ("verdict", "tone"), [("refused", "good"), ("accepted", "bad"), ("locked", "warn"), (None, "plain")]
)
def test_old_password_has_the_colour_of_what_it_means(verdict: str | None, tone: str) -> None:
    html = page.render(evidence(old_password={"verdict": verdict, "at": None}))
    assert f'<dt>Old password</dt><dd class="value {tone}">{verdict or "not asked"}</dd>' in html


def test_time_line_counts_from_the_request_and_is_in_order() -> None:
    line = read().text.partition("Time line")[2].partition("Requests")[0]
    assert line.lstrip().startswith("\N{MINUS SIGN}2 d 0 h Exposed, says console")
    order = [
        "Exposed",
        "+0.0 s Request from console: personnel change",
        "+1.5 s Rotation started",
        "Gate passed",
        "Reset called",
        "Reset answered",
        "New password in force in the store",
        "First consumer answered",
        "Old password: refused",
        "+9.2 s Reported",
    ]
    assert [line.index(one) for one in order] == sorted(line.index(one) for one in order)


def test_pasted_password_was_reset_by_a_person() -> None:
    pasted = [{"number": 1, "kind": "pasted", "outcome": "promoted", "said": ""}]
    text = read(attempts=pasted).text
    assert "Ready: a person resets from here on" in text
    assert "Reset called" not in text


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"' &amp; javascript:alert(1)"


def poisoned(value: object) -> object:
    """Return the same document with every text replaced, but for the times: those that are none are not shown."""
    if isinstance(value, dict):
        return {key: poisoned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each) for each in value]
    return EVIL if isinstance(value, str) and not value.startswith("2026-") else value


@pytest.mark.parametrize("keep", ["outcome", "nothing"])
def test_no_text_comes_alive(keep: str) -> None:
    document = evidence(problems=["p"], waived=["w"], warnings=["x"], not_told=["n"])
    document["consumers"] = [consumer("web-ci", "failed", "differs", "why")]
    document["contents"]["note"] = "note"
    document["old_password"]["note"] = "note"
    document["attempts"][0]["said"] = "said"
    poison = poisoned(document)
    assert isinstance(poison, dict)
    if keep == "outcome":
        poison["outcome"] = "consumers_failed"
    found = Reader(page.render(poison))
    assert (found.misfits, found.opened) == ([], [])
    assert not {"script", "img", "a", "link", "iframe", "object", "form", "base"} & set(found.elements)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in {"src", "href", "style"}]
    assert EVIL in "".join(found.texts)


def test_time_that_is_none_is_no_error_and_does_not_come_alive() -> None:
    document = evidence(times={"started": EVIL, "reported": EVIL})
    document["consumers"][0]["answered"] = EVIL
    assert not {"script", "img"} & set(Reader(page.render(document)).elements)


def test_page_loads_nothing_and_forbids_itself_to() -> None:
    html = page.render(evidence())
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    for outside in ("http:", "https:", "//", "@import", "url(", "src=", "href=", "<script", "data:"):
        assert outside not in html


def test_document_that_says_little_is_no_error() -> None:
    found = Reader(page.render({}))
    assert (found.misfits, found.opened) == ([], [])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "+0.0 s"),
        (59.94, "+59.9 s"),
        (60, "+1 min 00 s"),
        (3725, "+1 h 02 min"),
        (-0.25, "\N{MINUS SIGN}0.2 s"),
        (93600, "+1 d 2 h"),
    ],
)
def test_offset_is_said_in_the_units_that_matter(seconds: float, said: str) -> None:
    assert page_parts.offset(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize("outcome", list(ConsumerOutcome))
def test_outcome_of_a_consumer_is_marked(outcome: ConsumerOutcome) -> None:
    tone = "good" if outcome.done else "warn" if outcome.left else "bad"
    html = page.render(evidence(consumers=[consumer("web-ci", outcome.value)]))
    assert f'<span class="mark {tone}">{outcome.value}</span>' in html


def test_page_adds_nothing_heavy_to_a_cold_start() -> None:
    """It needs the standard library and the records' words: no template engine is loaded for it."""
    code = "import sys, rekey.page; print([name for name in ('jinja2', 'boto3', 'httpx') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestOldTokens:
    """Two statements: the old password is dead, and nobody who had it can pull."""

    @staticmethod
    def token(**fields: object) -> dict[str, object]:
        given = {"kind": "bearer", "verdict": "accepted", "taken": "2026-11-24T16:23:25.100Z"}
        return {**given, "ends": "2026-11-25T16:23:25.000Z", "tried": None, "note": "opens GET /v2/", **fields}

    def test_one_that_outlived_it_is_bad_and_says_until_when(self) -> None:
        found = read(old_tokens={"note": "", "tokens": [self.token()]})
        assert "A bearer token of the old password still accepted" in found.text
        assert ("datetime", "2026-11-25T16:23:25.000Z") in found.attributes
        assert ("class", "value bad") in found.attributes

    def test_one_that_says_no_end(self) -> None:
        found = read(old_tokens={"note": "", "tokens": [self.token(kind="refresh", ends=None)]})
        assert "A refresh token of the old password still accepted nothing says when it ends" in found.text

    @pytest.mark.parametrize(
        ("verdict", "said"), [("refused", "refused"), (None, "not tried"), ("unreachable", "unreachable")]
    )
    def test_one_that_did_not_or_may_not_have(self, verdict: str | None, said: str) -> None:
        found = read(old_tokens={"note": "", "tokens": [self.token(verdict=verdict)]})
        assert f"A bearer token of the old password {said}" in found.text
        assert "still accepted" not in found.text

    def test_why_there_is_none(self) -> None:
        assert (
            "Tokens of the old password none it gives none"
            in read(old_tokens={"note": "it gives none", "tokens": []}).text
        )

    def test_what_is_not_said_is_left_out(self) -> None:
        assert "of the old password" not in read().text
