"""Plans as YAML: what is read as what, what is refused, and on which line a problem is."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from rekey.errors import InputInvalid
from rekey.model.plan import PLAN_LIMIT
from rekey_cli.plan_file import check
from tests.unit.cli_stack import as_yaml
from tests.unit.plan_documents import changed, good

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
registry:
  name: prod-images
  type: cloudraya
  endpoint: registry.example.com
  username: prod-images
  api:
    login: {secret: rekey/cloudraya-api}
    registry_id: "781"
store: {type: secrets-manager, name: registries/prod-images}
accepts:
  console: [requested]
consumers:
  - name: web-ci
    type: github-secret
    repository: acme/web
    secret: REGISTRY_PASSWORD
    auth: {secret: rekey/github-app}
"""
ONE_PLACE = "give either `repository` (one) or `repositories` (a pattern)"
TAG = "a tag (`!name`): leave it out, a value is what it looks like"
ALIAS = "an alias (`*name`): write the value out"
NO_NUMBER = "is no number that JSON can hold: put it in quotes if it is text"
TAB = "found character '\\t' that cannot start any token: indent with spaces"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "plan.yaml"


def found(plan: Path, text: str | bytes) -> list[str]:
    """Return the problems of a text, without the file's name."""
    plan.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [str(finding).removeprefix(f"{plan}:") for finding in check(plan).findings]


def read(plan: Path, value: str) -> Any:  # noqa: ANN401 (a JSON value)
    """Return what a written value is read as."""
    plan.write_text(f"x: {value}\n", encoding="utf-8")
    document: Any = check(plan).document
    return document["x"]


def test_a_good_plan_has_no_findings(plan: Path) -> None:
    assert found(plan, HEAD) == []
    checked = check(plan)
    assert checked.plan is not None
    assert checked.plan.registry.name == "prod-images"
    assert isinstance(checked.document, dict)
    assert checked.document["registry"] == good()["registry"]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T02:00:00Z", "2026-01-31T02:00:00Z"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("=", "="),
        ("781", 781),
        ("-1", -1),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ('"781"', "781"),
        ("'true'", "true"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("{a: [1, x]}", {"a": [1, "x"]}),
        ("ä", "ä"),
    ],
)
def test_values_are_read_as_yaml_1_2_has_them(plan: Path, written: str, read_as: object) -> None:
    """As editors read them with the schema: `on` and dates are text (https://yaml.org/spec/1.2.2/#103-core-schema)."""
    value = read(plan, written)
    assert value == read_as
    assert type(value) is type(read_as)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("type: cloudraya", "type: cloudray", ["3: registry.type: unknown type: did you mean `cloudraya`?"]),
        ('registry_id: "781"', "registry_id: 781", ["8: registry.api.registry_id: must be text: put it in quotes"]),
        ("  username: prod-images\n", "", ["1: registry.username: missing"]),
        ("secret: rekey/cloudraya-api", "", ["7: registry.api.login.secret: missing"]),
        ("    repository: acme/web\n", "", [f"13: consumers[0]: {ONE_PLACE}"]),
        (
            "    repository:",
            "    repositry:",
            [
                f"13: consumers[0]: {ONE_PLACE}",
                "15: consumers[0].repositry: unknown key: did you mean `repository`?",
            ],
        ),
        (
            "[requested]",
            "[requested, lots]",
            ["11: accepts.console[1]: must be `scheduled`, `compromised`, `personnel_change`, `lost` or `requested`"],
        ),
        ("  name: prod-images", "  name: prod-images\n  name: b", ["3: registry.name: given twice: first in line 2"]),
        ("auth: {secret", "auth: {secret: x, secret", ["17: consumers[0].auth.secret: given twice: first in line 17"]),
        ("store: {", "store: &store {", ["9: store: an anchor (`&name`): leave it out"]),
        ("auth: {secret: rekey/github-app}", "auth: *store", [f"17: consumers[0].auth: {ALIAS}"]),
        ("[requested]", "!!set {requested}", [f"11: accepts.console: {TAG}"]),
        ("username: prod-images", "username: !secret x", [f"5: registry.username: {TAG}"]),
        ("username: prod-images", "username: .nan", [f"5: registry.username: {NO_NUMBER}"]),
        ("username: prod-images", "username: 1e999", [f"5: registry.username: {NO_NUMBER}"]),
        ("username: prod-images", f"username: {'9' * 5000}", [f"5: registry.username: {NO_NUMBER}"]),
        (
            "username: prod-images",
            'username: "\\ud800"',
            ["5: registry.username: holds half of a surrogate pair, which is no character"],
        ),
        ("  console:", "  [a, b]:", ["11: accepts: a key must be text, not a list, a mapping or an alias"]),
        (
            "  console:",
            "  <<: {console: [lost]}\n  console:",
            [
                '11: accepts["<<"]: must be the name of a source: lower case letters, digits and hyphens, at most 63',
                '11: accepts["<<"]: must be a list',
            ],
        ),
    ],
)
def test_each_problem_is_found_on_its_line(plan: Path, old: str, new: str, expected: list[str]) -> None:
    """The line of the exact key; for a missing one, of the key it belongs under."""
    assert HEAD.count(old) >= 1
    assert found(plan, HEAD.replace(old, new, 1)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the plan: is empty"),
        ("# nothing\n", "1: the plan: is empty"),
        ("a: 1\n---\nb: 2\n", "2: the plan: a second document begins here: one file is one plan"),
        ("a: [1\nb: 2\n", "2: the plan: is not YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n\tb: 2\n", f"2: the plan: is not YAML: {TAB}"),
        ("a: 1\n b: 2\n", "2: the plan: is not YAML: mapping values are not allowed here"),
        ("a: *b\n\x00", "2: the plan: holds a character that YAML does not allow"),
        (b"a: 1\nb: \xff\n", "2: the plan: is not UTF-8"),
        ("a: " + "[" * 30 + "]" * 30, "1: a: nested too deeply"),
        ("a: " + "[" * 100_000, "1: a: nested too deeply"),
        ("a: " + "x" * PLAN_LIMIT, "1: the plan: is longer than 256 kB"),
    ],
    ids=["nothing", "comment", "two", "open", "tab", "indent", "control", "latin-1", "deep", "deeper", "long"],
)
def test_what_cannot_be_read_to_its_end(plan: Path, text: str | bytes, expected: str) -> None:
    assert found(plan, text)[0] == expected


def test_problems_of_the_text_and_of_the_plan_come_together_in_the_order_of_lines(plan: Path) -> None:
    text = (
        HEAD.replace("store: {", "store: &s {").replace("name: prod-images", "name: Prod", 1).replace("acme/web", "web")
    )
    lines = [int(problem.split(":")[0]) for problem in found(plan, text)]
    assert lines == [2, 9, 15]


def test_a_value_that_was_refused_is_not_complained_of_twice(plan: Path) -> None:
    """An alias is read as nothing; that it is empty too would only confuse."""
    assert len(found(plan, HEAD.replace("{secret: rekey/github-app}", "*a"))) == 1


def test_aliases_cannot_blow_a_plan_up(plan: Path) -> None:
    """Nine levels of ten aliases each would be a billion values."""
    levels = ["a0: &a0 x"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    problems = found(plan, "\n".join(levels))
    assert any("an alias" in problem for problem in problems)


def test_a_plan_with_a_byte_order_mark_and_windows_line_ends_is_read(plan: Path) -> None:
    assert found(plan, b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode()) == []


def test_a_key_that_is_no_text_hides_nothing_else(plan: Path) -> None:
    """Neither above nor below it, nor in its own part; what hangs on it is passed over."""
    text = (
        HEAD.replace("endpoint: registry.example.com", "endpoint: a b")
        .replace("  console:", "  ? {a: [b, {c: &d e}]}\n  : {f: [g, *d]}\n  *d : h\n  Console:")
        .replace("repository: acme/web", "repository: web")
    )
    assert [line.split(": ")[:2] for line in found(plan, text)] == [
        ["4", "registry.endpoint"],
        ["11", "accepts"],
        ["13", "accepts"],
        ["14", "accepts.Console"],
        ["18", "consumers[0].repository"],
    ]


def test_a_file_that_cannot_be_opened_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"gone\.yaml: no such file"):
        check(tmp_path / "gone.yaml")


def test_a_problem_is_json_too(plan: Path) -> None:
    plan.write_text(HEAD.replace("type: cloudraya", "type: x"), encoding="utf-8")
    assert [finding.to_json() for finding in check(plan).findings] == [
        {
            "file": str(plan),
            "line": 3,
            "key": "registry.type",
            "problem": "unknown type: known are http, cloudraya, harbor, gitea, manual",
        }
    ]


def test_any_text_gives_a_plan_or_findings(plan: Path) -> None:
    """Whatever a person or an editor leaves in the file: no exception of another kind."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311 (to find mistakes, not to hide anything)
    base = as_yaml(changed(("registry.repositories", ["a", "b"])))
    signs = [
        "&a ",
        "*a",
        "!x ",
        "\t",
        "\n",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "|",
        ">",
        "%",
        "@",
        "\0",
        "? ",
        "---\n",
    ]
    refused = 0
    for _ in range(150):
        text = base
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(signs) + text[at + chance.randint(0, 3) :]
        try:
            refused += bool(found(plan, text))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {text!r}") from error
    assert refused > 75, f"seed {seed}: the mutations spoil too little"
