"""Fixtures of the unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rekey import aws
from tests.unit.bare_stack import BareStack
from tests.unit.cli_stack import FakeStack, fake_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def opened() -> Iterator[BareStack]:
    """Open what the functions find on AWS, for a module's tests."""
    with BareStack() as opened:
        yield opened


@pytest.fixture
def registry(opened: BareStack) -> str:
    """Return the name of a registry that no other test knows."""
    return opened.new_registry()


@pytest.fixture(scope="module")
def clients() -> Iterator[None]:
    """Let a module's tests share the product's AWS clients, and none with another module's: making one is slow."""
    aws.client.cache_clear()
    yield
    aws.client.cache_clear()


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, clients: None) -> Iterator[FakeStack]:  # noqa: ARG001
    """Make a stack for the command line, named by the environment as the functions' is."""
    with fake_stack() as made:
        for name, value in made.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield made
