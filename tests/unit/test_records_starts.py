"""Starts are counted conditionally: of two that saw the same number, one gets the next."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rekey.records.starts import Starts
from tests.sandbox import aws_faults

if TYPE_CHECKING:
    from tests.unit.bare_stack import BareStack

RACERS = 50


def test_it_counts_from_one(opened: BareStack, registry: str) -> None:
    starts = Starts(opened.table)
    assert starts.last(registry) == 0
    assert starts.advance(registry, 0)
    assert starts.advance(registry, 1)
    assert starts.last(registry) == 2


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_whoever_saw_another_number_does_not_count(opened: BareStack, registry: str, seen: int) -> None:
    starts = Starts(opened.table)
    assert starts.advance(registry, 0)
    assert starts.advance(registry, 1)
    assert not starts.advance(registry, seen)
    assert starts.last(registry) == 2


def test_a_lost_answer_is_no_second_start(opened: BareStack, registry: str) -> None:
    opened.aws.faults.add("dynamodb:TransactWriteItems", aws_faults.drop_after())
    starts = Starts(opened.table)
    assert starts.advance(registry, 0)
    assert starts.last(registry) == 1


def test_of_fifty_at_once_one_counts(opened: BareStack, registry: str) -> None:
    together = threading.Barrier(RACERS)

    def run(_number: int) -> bool:
        together.wait()
        return Starts(opened.table).advance(registry, 0)

    with ThreadPoolExecutor(RACERS) as pool:
        assert sum(pool.map(run, range(RACERS))) == 1
    assert Starts(opened.table).last(registry) == 1
