"""Everything Rekey raises on purpose, as a reader finds it drawn."""

from __future__ import annotations

import inspect
import re

import pytest

from rekey import errors
from rekey.errors import PlanInvalid, PlanProblem, RekeyError, TransientError

BASES = {"RekeyError", "TransientError"}
TOP_LEVEL = 8
"""Characters before the branch of a class right under "definite" or "transient"."""


def classes() -> dict[str, type[RekeyError]]:
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: kind for name, kind in found if issubclass(kind, RekeyError)}


def drawn() -> dict[str, tuple[str, bool]]:
    """Return what the docstring draws: class → its parent there, and whether it stands under "definite"."""
    tree: dict[str, tuple[str, bool]] = {}
    definite, above = True, ""
    for line in (errors.__doc__ or "").splitlines():
        if re.search(r"[├└]── (definite|transient):", line):
            definite = "definite" in line
            continue
        found = re.match(r"( .*)[├└]── (\w+)", line)
        if found:
            under_another = len(found[1]) > TOP_LEVEL
            tree[found[2]] = (above if under_another else "", definite)
            above = above if under_another else found[2]
    return tree


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert set(drawn()) == set(classes()) - BASES


@pytest.mark.parametrize("name", sorted(drawn()))
def test_each_stands_where_it_is_drawn(name: str) -> None:
    parent, definite = drawn()[name]
    kind = classes()[name]
    assert kind.definite is definite
    assert issubclass(kind, TransientError) is not definite
    expected = classes()[parent] if parent else (RekeyError if definite else TransientError)
    assert kind.__bases__ == (expected,)


def test_only_those_that_may_pass_are_transient() -> None:
    """The state machine tries again what is not named as definite (`ErrorEquals`)."""
    transient = {name for name, kind in classes().items() if not kind.definite} - BASES
    assert transient == {"Unreachable", "NotSent", "OutOfTime", "Defect"}


class TestPlanInvalid:
    @pytest.mark.parametrize(
        ("location", "key"),
        [
            ((), "the plan"),
            (("store", "name"), "store.name"),
            (("consumers", 0, "auth", "secret"), "consumers[0].auth.secret"),
            (("accepts", "a b"), 'accepts["a b"]'),
            (("x" * 200,), f'["{"x" * 80}"]'),
        ],
    )
    def test_a_problem_names_its_key(self, location: tuple[str | int, ...], key: str) -> None:
        """Also one that is no plain word, and never more of it than a line holds."""
        assert PlanProblem(location, "is wrong").key == key

    def test_every_problem_is_said_at_once(self) -> None:
        problems = [PlanProblem(("a",), "is wrong"), PlanProblem(("b", 1), "too")]
        error = PlanInvalid(problems)
        assert str(error).splitlines() == ["the plan cannot be used:", "  a: is wrong", "  b[1]: too"]
        assert error.problems == tuple(problems)
