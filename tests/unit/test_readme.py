"""What the README shows is what the program takes."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from rekey.model import plan
from rekey_cli.main import app
from rekey_cli.plan_file import check
from tests.unit.cli_stack import as_yaml, run
from tests.unit.plan_documents import good

if TYPE_CHECKING:
    from collections.abc import Mapping

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)]
PARAMETERS = (Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8")


def registry_types() -> list[str]:
    kinds: tuple[type[plan.RegistryPart], ...] = get_args(get_args(plan.Registry)[0])
    return [get_args(kind.model_fields["type"].annotation)[0] for kind in kinds]


PLANS = [block for block in BLOCKS if not block.startswith("apiVersion:")]  # the others are Kubernetes' own


@pytest.mark.parametrize("block", PLANS, ids=lambda block: block.splitlines()[1].strip())
def test_every_plan_in_it_is_a_good_one(block: str, tmp_path: Path) -> None:
    """A part alone is tried in a plan that is good."""
    file = tmp_path / "plan.yaml"
    rest: Mapping[str, object] = {
        key: value for key, value in good().items() if not re.search(rf"^{key}:", block, re.MULTILINE)
    }
    file.write_text(block + (as_yaml(rest) if rest else ""), encoding="utf-8")
    assert [str(finding) for finding in check(file).findings] == []


def test_it_names_every_type_of_registry() -> None:
    """Where the first plan names its own."""
    line = next(line for line in README.splitlines() if line.startswith("  type: cloudraya "))
    assert {*re.findall(r"\w+", line)} >= {*registry_types()}


def test_it_names_every_command_and_none_besides() -> None:
    named = set(re.findall(r"\brekey (rotate|status|deliver|resume|paste|plan (?:check|push|schema))\b", README))
    assert named == {"rotate", "status", "deliver", "resume", "paste", "plan check", "plan push", "plan schema"}
    for command in named:
        assert run(*command.split(), "--help").exit_code == 0
    top = {one.name for one in app.registered_commands} | {group.name for group in app.registered_groups}
    assert {command.split()[0] for command in named} == top


@pytest.mark.parametrize("name", ["StoreSecretPrefix", "NotifyTopicPrefix", "WebhookSources", "Publishers", "Pasters"])
def test_parameters_it_names_are_parameters(name: str) -> None:
    assert name in README
    assert re.search(rf"^  {name}:$", PARAMETERS, re.MULTILINE)
