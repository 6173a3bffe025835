"""The one table of adapters: complete, and each name once."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest

import rekey
from rekey import contracts
from rekey.adapters import ADAPTERS, Kind, index, load
from rekey.model import plan

PACKAGES = {"registry": "registries", "store": "stores", "consumer": "consumers", "notifier": "notifiers"}
HOME = Path(str(rekey.__file__)).parent


def types_of(union: Any) -> set[str]:  # noqa: ANN401 (a type expression)
    """Return the values of `type` in a part of the plan, or in a union of parts."""
    if get_origin(union) is Annotated:
        return types_of(get_args(union)[0])
    if inspect.isclass(union) and issubclass(union, plan.Part):
        field = union.model_fields["type"]
        return set(get_args(field.annotation))
    return {name for part in get_args(union) for name in types_of(part)}


WRITTEN: dict[Kind, set[str]] = {
    "registry": types_of(plan.Registry),
    "store": types_of(plan.Store),
    "consumer": types_of(plan.Consumer),
    "notifier": types_of(plan.Notifier),
}
"""What a person can write in a plan."""


@pytest.mark.parametrize("kind", list(WRITTEN))
def test_whatever_a_plan_can_say_has_an_adapter_and_no_adapter_cannot_be_asked_for(kind: Kind) -> None:
    assert {name for known, name in ADAPTERS if known == kind} == WRITTEN[kind] != set()


def test_a_name_that_stands_twice_is_an_error() -> None:
    twice: tuple[tuple[Kind, str, str], ...] = (("store", "x", "a:A"), ("consumer", "x", "b:B"), ("store", "x", "c:C"))
    with pytest.raises(ValueError, match="store x: a:A and c:C"):
        index(twice)
    assert len(index(twice[:2])) == 2


@pytest.mark.parametrize(("kind", "name"), sorted(ADAPTERS))
def test_an_adapter_has_every_method_of_its_contract(kind: Kind, name: str) -> None:
    contract = {
        "registry": contracts.Registry,
        "store": contracts.Store,
        "consumer": contracts.Consumer,
        "notifier": contracts.Notifier,
    }[kind]
    adapter = load(kind, name)
    methods = [method for method, _ in inspect.getmembers(contract, inspect.isfunction) if not method.startswith("_")]
    assert methods
    for method in methods:
        promised = inspect.signature(getattr(contract, method))
        assert list(inspect.signature(getattr(adapter, method)).parameters) == list(promised.parameters)
    assert not inspect.isabstract(adapter)


@pytest.mark.parametrize(("kind", "name"), sorted(ADAPTERS))
def test_an_adapter_lives_with_its_kind(kind: Kind, name: str) -> None:
    assert load(kind, name).__module__.startswith(f"rekey.{PACKAGES[kind]}.")


@pytest.mark.parametrize(("kind", "name"), sorted(ADAPTERS))
def test_adapters_know_neither_each_other_nor_the_steps(kind: Kind, name: str) -> None:
    """Data flows one way. A registry may build on another of its own kind; nothing else is shared between kinds."""
    source = Path(str(sys.modules[load(kind, name).__module__].__file__)).read_text("utf-8")
    strangers = [package for package in PACKAGES.values() if package != PACKAGES[kind]]
    for package in ["steps", "records", *strangers]:
        assert f"rekey.{package}" not in source
        assert f"from rekey import {package}" not in source


def test_the_table_alone_imports_no_adapter() -> None:
    """An import costs a cold start: each is imported when it is first asked for."""
    script = "import sys, rekey.adapters; print([name for name in sys.modules if name.count('.') > 1])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = ran.stdout
    assert not [package for package in PACKAGES.values() if f"rekey.{package}" in loaded]


def test_only_a_store_in_vault_pays_for_its_library() -> None:
    script = (
        "import sys, rekey.adapters as adapters, rekey.steps.reset; adapters.load('store', 'secrets-manager'); "
        "before = 'hvac' in sys.modules; adapters.load('store', 'vault'); print(before, 'hvac' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]
