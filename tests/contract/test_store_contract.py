"""What every store promises (`rekey.contracts.Store`)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from rekey.adapters import ADAPTERS, load
from rekey.errors import Conflict, Denied, NotFound, Superseded, Unreachable
from rekey.model.names import StoreVersion
from rekey.model.password import Password
from tests.contract.store_cases import CASES, StoreCase, Surroundings, candidate, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rekey.contracts import Candidate


@pytest.fixture(scope="module")
def surroundings() -> Iterator[Surroundings]:
    with Surroundings() as surroundings:
        yield surroundings


@pytest.fixture(params=sorted(name for kind, name in ADAPTERS if kind == "store"))
def case(request: pytest.FixtureRequest, surroundings: Surroundings) -> Iterator[StoreCase]:
    """Every store of the table; one without a case fails here."""
    case = CASES[request.param](surroundings)
    assert type(case.store) is load("store", request.param)
    yield case
    case.restore()


def put_in_force(case: StoreCase, made: Candidate) -> StoreVersion:
    current = case.store.current()
    version = case.store.stage(made, token())
    case.store.promote(version, current.version if current else None)
    return version


def reader_gets(case: StoreCase) -> object:
    seen = case.reader_sees()
    return seen and seen.get("password")


def test_a_fresh_place_holds_no_password(case: StoreCase) -> None:
    assert case.store.current() is None
    case.store.check(token())
    assert case.store.current() is None


def test_a_check_disturbs_no_reader(case: StoreCase) -> None:
    made = candidate(1)
    version = put_in_force(case, made)
    before = case.reader_sees()
    asked = token()
    case.store.check(asked)
    case.store.check(asked)
    case.store.check(token())
    assert case.reader_sees() == before
    found = case.store.current()
    assert found is not None
    assert (found.version, found.password, found.generation) == (version, made.password, 1)


def test_a_check_of_a_fresh_place_shows_no_password(case: StoreCase) -> None:
    case.store.check(token())
    assert reader_gets(case) is None


@pytest.mark.parametrize("deny", [lambda case: case.deny_writing(), lambda case: case.deny_promoting()])
def test_a_check_finds_missing_rights(case: StoreCase, deny: Callable[[StoreCase], None]) -> None:
    """Also the right that is needed last: after the reset it would be too late."""
    deny(case)
    with pytest.raises(Denied):
        case.store.check(token())


def test_what_a_person_put_there_is_generation_0(case: StoreCase) -> None:
    password = secrets.token_urlsafe(16)
    case.put_by_hand("prod", password)
    case.store.check(token())
    found = case.store.current()
    assert found is not None
    assert (found.password, found.generation) == (Password(password), 0)
    assert case.store.read(found.version) == found


@pytest.mark.parametrize("fresh", [True, False])
def test_readers_do_not_see_what_is_staged(case: StoreCase, *, fresh: bool) -> None:
    """Not even in a place that was empty."""
    if not fresh:
        case.put_by_hand("prod", "by-hand")
    made, under = candidate(1), token()
    version = case.store.stage(made, under)
    assert reader_gets(case) == (None if fresh else "by-hand")
    found = case.store.find(under)
    assert found == case.store.read(version)
    assert found is not None
    assert (found.password, found.generation) == (made.password, 1)


def test_nothing_is_found_under_another_token(case: StoreCase) -> None:
    case.store.stage(candidate(1), token())
    assert case.store.find(token()) is None
    with pytest.raises(NotFound):
        case.store.read(StoreVersion(token()))


def test_staging_again_is_the_same_version(case: StoreCase) -> None:
    made, under = candidate(1), token()
    assert case.store.stage(made, under) == case.store.stage(made, under)


def test_a_token_is_for_one_value(case: StoreCase) -> None:
    made, under = candidate(1), token()
    version = case.store.stage(made, under)
    for other in (candidate(1), candidate(2, made.password.reveal())):
        with pytest.raises(Conflict):
            case.store.stage(other, under)
    assert case.store.read(version).password == made.password


def test_promoting_puts_it_in_force(case: StoreCase) -> None:
    case.put_by_hand("prod", "by-hand")
    old = case.store.current()
    assert old is not None
    made = candidate(1)
    version = case.store.stage(made, token())
    case.store.promote(version, old.version)
    assert case.store.current() == case.store.read(version)
    seen = case.reader_sees()
    assert seen is not None
    assert (seen["username"], seen["password"]) == ("prod", made.password.reveal())
    assert case.store.read(old.version) == old


def test_promoting_again_is_success(case: StoreCase) -> None:
    version = put_in_force(case, candidate(1))
    for over in (None, StoreVersion(token()), version):
        case.store.promote(version, over)
    found = case.store.current()
    assert found is not None
    assert found.version == version


@pytest.mark.parametrize("generation", [1, 2])
def test_a_generation_that_is_not_higher_is_replaced(case: StoreCase, generation: int) -> None:
    """Whatever the caller thought was in force."""
    case.put_by_hand("prod", "by-hand")
    thought = case.store.current()
    assert thought is not None
    version = case.store.stage(candidate(2), token())
    put_in_force(case, candidate(generation))
    case.store.promote(version, thought.version)
    found = case.store.current()
    assert found is not None
    assert found.version == version


def test_a_higher_generation_stays_in_force(case: StoreCase) -> None:
    case.put_by_hand("prod", "by-hand")
    thought = case.store.current()
    assert thought is not None
    late = case.store.stage(candidate(2), token())
    higher = put_in_force(case, candidate(3))
    for over in (thought.version, None):
        with pytest.raises((Superseded, NotFound)):  # whoever promoted the higher one may have removed it
            case.store.promote(late, over)
    found = case.store.current()
    assert found is not None
    assert found.version == higher


def test_a_value_that_a_person_put_there_since_lets_no_lower_generation_in(case: StoreCase) -> None:
    """And is replaced by the same generation or a higher one."""
    late, same = case.store.stage(candidate(2), token()), case.store.stage(candidate(3), token())
    before = put_in_force(case, candidate(3))
    for password in ("mistyped", "by-hand"):
        case.put_by_hand("prod", password)
    with pytest.raises((Superseded, NotFound)):
        case.store.promote(late, None)
    assert reader_gets(case) == "by-hand"
    last = case.store.last_promoted()
    assert last == case.store.read(before)
    case.store.promote(same, None)
    found = case.store.current()
    assert found is not None
    assert found.version == same


def test_what_rekey_put_there_last_is_what_is_in_force(case: StoreCase) -> None:
    assert case.store.last_promoted() is None
    case.put_by_hand("prod", "by-hand")
    assert case.store.last_promoted() is None
    case.store.stage(candidate(2), token())
    assert case.store.last_promoted() is None, "nothing was promoted"
    put_in_force(case, candidate(1))
    assert case.store.last_promoted() == case.store.current()


@pytest.mark.parametrize("fresh", [True, False])
def test_what_nobody_has_tried_is_marked_until_it_is_proven(case: StoreCase, *, fresh: bool) -> None:
    if not fresh:
        put_in_force(case, candidate(1))
        assert not case.reader_is_warned()
    made = candidate(2)
    version = case.store.stage(made, token())
    for _ in range(2):
        case.store.promote(version, None, proven=False)
        assert (reader_gets(case), case.reader_is_warned()) == (made.password.reveal(), True)
    for _ in range(2):
        case.store.mark_proven(version)
        assert (reader_gets(case), case.reader_is_warned()) == (made.password.reveal(), False)


def test_a_mark_is_of_one_version_alone(case: StoreCase) -> None:
    first, second, third = (case.store.stage(candidate(number), token()) for number in (1, 2, 3))
    case.store.promote(first, None, proven=False)
    case.store.promote(second, None)
    assert not case.reader_is_warned()
    case.store.promote(third, None, proven=False)
    case.store.mark_proven(second)
    assert case.reader_is_warned(), "the proof was of another one"


def test_a_person_who_writes_there_meets_no_mark(case: StoreCase) -> None:
    version = case.store.stage(candidate(1), token())
    case.store.promote(version, None, proven=False)
    case.put_by_hand("prod", "by-hand")
    assert not case.reader_is_warned()
    case.store.mark_proven(version)
    assert reader_gets(case) == "by-hand"


def test_the_reference_names_the_place_and_holds_no_password(case: StoreCase) -> None:
    made = candidate(1)
    put_in_force(case, made)
    assert case.store.reference["type"] in {name for kind, name in ADAPTERS if kind == "store"}
    assert case.store.reference["name"]
    assert made.password.reveal() not in repr(dict(case.store.reference)) + repr(case.store.current())


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.check(token()),
        lambda store: store.current(),
        lambda store: store.last_promoted(),
        lambda store: store.stage(candidate(1), token()),
        lambda store: store.find(token()),
        lambda store: store.promote(StoreVersion(token()), None),
        lambda store: store.read(StoreVersion(token())),
    ],
)
class TestEveryMethod:
    """Says what is wrong with the place."""

    def test_names_a_place_that_is_not_there(self, case: StoreCase, ask: Callable[[object], object]) -> None:
        with pytest.raises(NotFound, match=case.elsewhere.reference["name"]):
            ask(case.elsewhere)

    def test_says_that_nothing_answers(self, case: StoreCase, ask: Callable[[object], object]) -> None:
        case.go_down()
        with pytest.raises(Unreachable):
            ask(case.store)
