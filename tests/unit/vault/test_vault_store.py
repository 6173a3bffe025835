"""The store in Vault beside its contract: what readers find, who wins of two writers, which rights are proven."""

from __future__ import annotations

import json
import re
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from rekey.errors import Conflict, Denied, FormatUnknown, NotFound, RekeyError, Superseded, Unfit, Unreachable
from rekey.model.names import StoreVersion
from rekey.model.password import Password
from rekey.stores import vault as adapter
from tests.contract.store_cases import VaultCase, candidate, token
from tests.sandbox import faults
from tests.sandbox.vault_policy import least_policy, without
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from rekey.contracts import Store
    from tests.sandbox.wire import Act, Predicate, Request


def put_in_force(store: Store, generation: int) -> StoreVersion:
    version = store.stage(candidate(generation), token())
    store.promote(version, None)
    return version


def facts(case: VaultCase) -> dict[str, Any]:
    found: dict[str, Any] = case.vault.call("GET", f"{case.vault.mount}/metadata/{case.path}")["data"]
    return found


def waiting(case: VaultCase) -> list[str]:
    return case.vault.names(f"rekey/{case.path}")


def asks(method: str, path: str) -> Predicate:
    """Return what picks requests of a method whose path ends so."""
    return lambda request: request.method == method and re.search(path, request.path) is not None


def writes(case: VaultCase) -> Predicate:
    """Return what picks the writes to the readers' path."""
    return asks("POST", f"/data/{case.path}$")


class TestWhatReadersFind:
    def test_the_fields_the_ecosystem_reads(self, case: VaultCase) -> None:
        made, under = candidate(7), token()
        case.store.promote(case.store.stage(made, under), None)
        seen = dict(case.reader_sees() or {})
        config = json.loads(str(seen.pop(".dockerconfigjson")))
        assert len(str(seen.pop("checksum"))) == 64
        assert seen == {
            "format": 1,
            "registry": "prod-images",
            "endpoint": "registry.example.com:8443",
            "username": "prod",
            "password": made.password.reveal(),
            "generation": 7,
            "rotated_at": "2026-01-31T02:00:00.000Z",
            "version": under,
        }
        assert config["auths"]["registry.example.com:8443"]["password"] == made.password.reveal()

    def test_custom_metadata_says_generation_and_registry_and_keeps_what_others_wrote(self, case: VaultCase) -> None:
        case.put_by_hand("prod", "by-hand")
        case.vault.call("POST", f"{case.vault.mount}/metadata/{case.path}", {"custom_metadata": {"owner": "shop"}})
        put_in_force(case.store, 3)
        assert facts(case)["custom_metadata"] == {"owner": "shop", "registry": "prod-images", "generation": "3"}

    def test_the_reference_is_enough_to_find_it(self, case: VaultCase) -> None:
        assert case.store.reference == {
            "type": "vault",
            "name": f"secret/{case.path}",
            "address": case.vault.url,
            "mount": "secret",
            "path": case.path,
        }
        assert case.at(namespace="team/a").reference["namespace"] == "team/a"


class TestCandidates:
    def test_one_is_in_force_nowhere_and_has_a_path_of_its_own(self, case: VaultCase) -> None:
        under = token()
        case.store.stage(candidate(), under)
        assert waiting(case) == [under]
        assert case.reader_sees() is None

    def test_one_that_is_gone_is_not_called_superseded_by_an_earlier_one(self, case: VaultCase) -> None:
        put_in_force(case.store, 1)
        version = case.store.stage(candidate(2), token())
        case.vault.call("DELETE", f"{case.vault.mount}/metadata/rekey/{case.path}/{version}")
        with pytest.raises(NotFound, match=rf"has no version {version}"):
            case.store.promote(version, None)

    def test_promoting_removes_it(self, case: VaultCase) -> None:
        """The live password is in one place."""
        put_in_force(case.store, 1)
        assert waiting(case) == []

    def test_promoting_removes_what_nobody_can_promote_any_more(self, case: VaultCase) -> None:
        """And nothing of its own generation or a later one: another attempt may be at work on it."""
        for generation in (1, 2, 3):
            case.store.stage(candidate(generation), token())
        put_in_force(case.store, 2)
        left = [case.vault.fields(f"rekey/{case.path}/{name}")["generation"] for name in waiting(case)]
        assert sorted(left) == [2, 3]

    def test_candidates_of_a_path_below_are_left_alone_and_stop_no_tidying(self, case: VaultCase) -> None:
        below = f"rekey/{case.path}/-below/{token()}"  # first in order
        case.vault.call("POST", f"{case.vault.mount}/data/{below}", {"data": {"password": token()}})
        left = case.store.stage(candidate(3), token())
        put_in_force(case.store, 4)
        assert waiting(case) == ["-below/"]
        assert case.store.find(left) is None

    def test_a_candidate_that_vault_does_not_take_is_said_so(self, case: VaultCase) -> None:
        refused = faults.answer(Response.json({"errors": ["no"]}, 400))
        case.vault.door.inject(refused, when=asks("POST", f"/data/rekey/{case.path}/"), times=None)
        with pytest.raises(Unreachable, match="did not take the candidate, though none is there"):
            case.store.stage(candidate(), token())

    def test_staging_again_after_promoting_makes_no_second_copy(self, case: VaultCase) -> None:
        made, under = candidate(), token()
        case.store.promote(case.store.stage(made, under), None)
        assert case.store.stage(made, under) == under
        assert waiting(case) == []

    def test_one_that_was_edited_is_not_taken_for_what_was_staged(self, case: VaultCase) -> None:
        under = token()
        case.store.stage(candidate(), under)
        path = f"rekey/{case.path}/{under}"
        fields = {**case.vault.fields(path), "password": "edited"}
        case.vault.call("POST", f"{case.vault.mount}/data/{path}", {"data": fields})
        assert case.store.find(under) is None
        with pytest.raises(NotFound):
            case.store.promote(StoreVersion(under), None)

    def test_what_vault_refuses_then_holds_nothing_back(self, case: VaultCase) -> None:
        """Delivery comes first: the rest is for the next rotation."""
        version = case.store.stage(candidate(), token())
        case.allow(without(case.policy, "/metadata/rekey/", "list", "delete"))
        case.store.promote(version, None)
        assert (case.reader_sees() or {})["version"] == version
        assert waiting(case) == [version]
        case.allow(case.policy)
        put_in_force(case.store, 2)
        assert waiting(case) == []

    def test_where_nobody_answers_it_is_done_again(self, case: VaultCase) -> None:
        """Nobody could read the password either to deliver it."""
        version = case.store.stage(candidate(), token())
        case.vault.door.inject(faults.gateway_page(), when=asks("DELETE", "/metadata/"), times=2)
        with pytest.raises(Unreachable):
            case.store.promote(version, None)
        case.store.promote(version, None)
        assert facts(case)["current_version"] == 1
        assert waiting(case) == []


class TestEarlierVersions:
    def test_the_ones_that_were_in_force_can_be_read(self, case: VaultCase) -> None:
        """Verify asks whether the one before is dead."""
        versions = [put_in_force(case.store, generation) for generation in (1, 2, 3)]
        assert [case.store.read(version).generation for version in versions] == [1, 2, 3]

    def test_one_that_was_promoted_and_edited_by_hand_since_is_promoted_again(self, case: VaultCase) -> None:
        version = put_in_force(case.store, 1)
        case.put_by_hand("prod", "by-hand")
        case.store.promote(version, None)
        assert (case.reader_sees() or {})["version"] == version

    def test_one_that_was_overtaken_stays_so(self, case: VaultCase) -> None:
        version = put_in_force(case.store, 1)
        put_in_force(case.store, 2)
        with pytest.raises(Superseded, match="holds generation 2, and this is 1"):
            case.store.promote(version, None)

    def test_a_deleted_version_is_none_in_force_and_can_be_followed(self, case: VaultCase) -> None:
        case.put_by_hand("prod", "by-hand")
        case.vault.call("DELETE", f"{case.vault.mount}/data/{case.path}")
        assert case.store.current() is None
        case.store.check(token())
        version = put_in_force(case.store, 1)
        assert case.store.read(version).version == version

    def test_one_that_is_gone_is_said_to_be(self, case: VaultCase) -> None:
        case.put_by_hand("prod", "by-hand")
        for version in ("kv-7", token()):
            with pytest.raises(NotFound, match=rf"the secret secret/{case.path} has no version {version}"):
                case.store.read(StoreVersion(version))


class TestWhatAPersonWrote:
    def test_editing_one_field_makes_the_value_a_persons(self, case: VaultCase) -> None:
        """Vault's web page fills a new version with the fields of the one before."""
        version = put_in_force(case.store, 4)
        before = case.store.read(version)
        number = case.put({**(case.reader_sees() or {}), "password": "by-hand"})
        found = case.store.current()
        assert found is not None
        assert (found.version, found.password, found.generation) == (f"kv-{number}", Password("by-hand"), 0)
        assert case.store.read(version) == before

    @pytest.mark.parametrize("fields", [{}, {"username": "prod"}, {"password": ""}, {"password": 5}])
    def test_another_shape_is_refused_before_the_reset(self, case: VaultCase, fields: dict[str, object]) -> None:
        case.put(fields)
        for ask in (lambda: case.store.check(token()), case.store.current):
            with pytest.raises(Unfit, match=f"the secret secret/{case.path}: it holds something else than"):
                ask()

    def test_a_generation_that_a_person_wrote_holds_nothing_back(self, case: VaultCase) -> None:
        """A value that was edited is a person's, whatever number stands in it."""
        put_in_force(case.store, 2)
        case.put({**dict(case.reader_sees() or {}), "generation": 99})
        mine = put_in_force(case.store, 3)
        current = case.store.current()
        assert current is not None
        assert (current.version, current.generation) == (mine, 3)

    def test_another_shape_is_replaced_after_it(self, case: VaultCase) -> None:
        version = case.store.stage(candidate(), token())
        case.put({"note": "no password here"})
        case.store.promote(version, None)
        assert (case.reader_sees() or {})["version"] == version

    def test_another_registrys_password_is_not_overwritten(self, case: VaultCase) -> None:
        case.put({"format": 1, "registry": "other", "generation": 3, "username": "u", "password": "p"})
        with pytest.raises(Unfit, match="another registry"):
            case.store.check(token())

    def test_a_later_release_is_not_overwritten(self, case: VaultCase) -> None:
        case.put({"format": 2, "registry": "prod-images", "generation": 3, "username": "u", "password": "p"})
        with pytest.raises(FormatUnknown, match=case.path):
            case.store.check(token())


class TestTwoWriters:
    def test_the_higher_generation_stays_whoever_comes_first(self, case: VaultCase) -> None:
        """Twenty times at once, by check-and-set alone: each knows nothing of the other."""
        for turn in range(20):
            low, high = 2 * turn + 1, 2 * turn + 2
            stores: dict[int, Store] = {low: case.at(), high: case.at()}
            versions = {number: store.stage(candidate(number), token()) for number, store in stores.items()}
            together = threading.Barrier(2)

            def promote(
                number: int,
                stores: dict[int, Store] = stores,
                versions: dict[int, StoreVersion] = versions,
                together: threading.Barrier = together,
            ) -> None:
                together.wait()
                with suppress(Superseded, NotFound):  # whoever is first may have removed the other's candidate
                    stores[number].promote(versions[number], None)

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(promote, (low, high)))
            assert (case.reader_sees() or {})["version"] == versions[high]
            assert facts(case)["custom_metadata"]["generation"] == str(high)

    def test_nor_do_two_people_or_one_who_deletes(self, case: VaultCase) -> None:
        """The versions before say what was in force, not the fields of the latest one."""
        put_in_force(case.store, 3)
        late = case.store.stage(candidate(2), token())
        for password in ("by-hand", "by-another"):
            case.put_by_hand("prod", password)
        with pytest.raises(Superseded, match="holds generation 3"):
            case.store.promote(late, None)
        case.vault.call("DELETE", f"{case.vault.mount}/data/{case.path}")
        assert case.store.current() is None
        with pytest.raises(Superseded, match="holds generation 3"):
            case.store.promote(late, None)
        last = case.store.last_promoted()
        assert last is not None
        assert last.generation == 3
        next_one = put_in_force(case.store, 4)
        assert (case.reader_sees() or {})["version"] == next_one

    def test_somebody_faster_is_noticed_between_looking_and_writing(self, case: VaultCase) -> None:
        put_in_force(case.store, 1)
        late, other = case.store.stage(candidate(2), token()), case.at()
        higher = other.stage(candidate(3), token())

        def be_faster(_: Request) -> None:
            case.restore()
            other.promote(higher, None)

        case.vault.door.inject(faults.call(be_faster), when=writes(case))
        with pytest.raises(NotFound, match=rf"has no version {late}"):
            case.store.promote(late, None)
        assert (case.reader_sees() or {})["version"] == higher

    def test_a_candidate_that_nobody_removed_is_overtaken_as_well(self, case: VaultCase) -> None:
        """The one that overtook it was cut off before it tidied up."""
        late = case.store.stage(candidate(2), token())
        higher = case.store.stage(candidate(3), token())
        case.vault.door.inject(faults.drop(), when=asks("LIST", "/metadata/"), times=None)
        with pytest.raises(Unreachable):
            case.store.promote(higher, None)
        with pytest.raises(Superseded, match="holds generation 3, and this is 2"):
            case.store.promote(late, None)

    def test_others_that_write_all_the_time_are_a_conflict(self, case: VaultCase) -> None:
        version = case.store.stage(candidate(), token())
        write = faults.call(lambda _: case.put({"username": "prod", "password": "again"}))
        case.vault.door.inject(write, when=writes(case), times=None)
        with pytest.raises(Conflict, match="others keep changing"):
            case.store.promote(version, None)

    def test_the_mark_of_the_slower_one_does_not_stay(self, case: VaultCase) -> None:
        """`custom_metadata` is a call of its own: who is overtaken between the two looks again."""
        version, other = case.store.stage(candidate(2), token()), case.at()
        higher = other.stage(candidate(3), token())

        def be_faster(_: Request) -> None:
            case.restore()
            other.promote(higher, None)

        case.vault.door.inject(faults.call(be_faster), when=asks("PATCH", f"/metadata/{case.path}$"))
        case.store.promote(version, None)
        assert facts(case)["custom_metadata"]["generation"] == "3"

    def test_promoting_whose_answer_was_lost_is_success(self, case: VaultCase) -> None:
        version = case.store.stage(candidate(), token())
        case.vault.door.inject(faults.drop(acted=True), when=writes(case))
        case.store.promote(version, None)
        assert facts(case)["current_version"] == 1

    def test_a_write_that_vault_refuses_for_another_reason_is_no_conflict(self, case: VaultCase) -> None:
        version = case.store.stage(candidate(), token())
        refused = faults.answer(Response.json({"errors": ["no"]}, 400))
        case.vault.door.inject(refused, when=writes(case), times=None)
        with pytest.raises(Unfit, match="though nobody else wrote"):
            case.store.promote(version, None)


class TestWhatNobodyHasTried:
    @pytest.mark.parametrize("fresh", [True, False])
    def test_it_is_marked_before_it_is_in_force(self, case: VaultCase, *, fresh: bool) -> None:
        """In a new path a placeholder goes before it: what is not there cannot be marked."""
        if not fresh:
            put_in_force(case.store, 1)
        version = case.store.stage(candidate(2), token())
        seen: list[object] = []

        def look(request: Request) -> None:
            if b'"password"' in request.body:
                seen.append(facts(case)["custom_metadata"]["unproven"])

        case.vault.door.inject(faults.call(look), when=writes(case), times=None)
        case.store.promote(version, None, proven=False)
        assert seen == ["2"]
        assert facts(case)["current_version"] == 2
        assert case.reader_is_warned()

    def test_a_placeholder_that_was_left_is_no_password(self, case: VaultCase) -> None:
        """Whoever wrote it was cut off before the password."""
        version = case.store.stage(candidate(2), token())
        case.vault.door.inject(faults.drop(), when=asks("PATCH", f"/metadata/{case.path}$"), times=None)
        with pytest.raises(Unreachable):
            case.store.promote(version, None, proven=False)
        assert "password" not in (case.reader_sees() or {"password": ""})
        assert case.store.current() is None
        case.restore()
        case.store.check(token())
        case.store.promote(version, None)
        assert not case.reader_is_warned()

    @pytest.mark.parametrize("lost", [faults.drop(acted=True), faults.gateway_page(acted=True)])
    def test_it_stays_marked_where_the_answer_to_its_write_is_lost(
        self, case: VaultCase, lost: Callable[[Request, Act], Response]
    ) -> None:
        """The request is made again, and refused: what it was to do is done."""
        put_in_force(case.store, 1)
        version = case.store.stage(candidate(2), token())
        case.vault.door.inject(lost, when=writes(case))
        case.store.promote(version, None, proven=False)
        assert (case.reader_sees() or {})["version"] == version
        assert case.reader_is_warned()

    def test_a_mark_that_was_left_goes_when_it_is_promoted_as_proven(self, case: VaultCase) -> None:
        put_in_force(case.store, 1)
        version = case.store.stage(candidate(2), token())
        case.vault.door.inject(faults.drop(), when=writes(case), times=None)
        with pytest.raises(Unreachable):
            case.store.promote(version, None, proven=False)
        assert facts(case)["custom_metadata"]["unproven"] == "2"
        case.restore()
        case.store.promote(version, None)
        assert facts(case)["custom_metadata"] == {"registry": "prod-images", "generation": "2"}

    def test_whoever_was_faster_is_not_left_marked(self, case: VaultCase) -> None:
        late, other = case.store.stage(candidate(2), token()), case.at()
        put_in_force(case.store, 1)
        higher = other.stage(candidate(3), token())

        def be_faster(_: Request) -> None:
            case.restore()
            other.promote(higher, None)

        case.vault.door.inject(faults.call(be_faster), when=asks("PATCH", f"/metadata/{case.path}$"))
        with pytest.raises(NotFound):
            case.store.promote(late, None, proven=False)
        assert not case.reader_is_warned()

    def test_the_rights_of_the_readmes_policy_are_enough(self, case: VaultCase) -> None:
        case.allow(case.policy)
        for generation in (1, 2):
            version = case.store.stage(candidate(generation), token())
            case.store.promote(version, None, proven=False)
            case.store.mark_proven(version)


class TestWhatACheckProves:
    def test_it_writes_nothing_where_readers_look(self, case: VaultCase) -> None:
        case.put_by_hand("prod", "by-hand")
        before = facts(case)
        case.store.check(token())
        assert {**facts(case), "updated_time": ""} == {**before, "updated_time": ""}
        assert waiting(case) == []

    def test_the_policy_of_the_readme_is_enough_for_a_new_path_and_for_a_used_one(self, case: VaultCase) -> None:
        case.allow(case.policy)
        for generation in (1, 2):
            case.store.check(token())
            put_in_force(case.store, generation)

    @pytest.mark.parametrize(
        ("place", "right"),
        [
            (place, right)
            for place, capabilities in re.findall(
                r'^path "(.*?)" \{\s*capabilities = \[(.*?)\]', least_policy("secret", "registries/x"), re.MULTILINE
            )
            for right in re.findall(r"\w+", capabilities)
        ],
    )
    def test_each_right_of_it_is_missed(self, case: VaultCase, place: str, right: str) -> None:
        """So none is too much, and none is found missing after the reset; what it says names path and right."""
        place = place.replace("registries/x", case.path)
        case.allow(without(case.policy, f'"{place}"', right))
        needed = re.escape(place.rstrip("*"))
        if right == "create" and "/rekey/" not in place:
            with pytest.raises(Denied, match=rf'"create and update" on `{needed}`'):
                case.store.check(token())
            return
        case.put_by_hand("prod", "by-hand")
        if right == "create":
            with pytest.raises(Denied, match=rf'"create and update" on `{needed}\w+`'):
                case.store.check(token())
            return
        with pytest.raises(Denied, match=rf'"[a-z ]*{right}[a-z ]*" on `{needed.rstrip("/")}'):
            case.store.check(token())

    def test_what_answers_without_comparing_is_found_out(self, case: VaultCase) -> None:
        taken = faults.answer(Response.json({"data": {"version": 1}}))
        case.vault.door.inject(taken, when=writes(case), times=None)
        with pytest.raises(Unfit, match="compares nothing before it sets"):
            case.store.check(token())

    def test_what_another_wrote_under_its_path_is_a_conflict(self, case: VaultCase) -> None:
        other = faults.answer(Response.json({"data": {"data": {"a": "b"}, "metadata": {"version": 1}}}))
        case.vault.door.inject(other, when=asks("GET", f"/data/rekey/{case.path}/"), times=None)
        with pytest.raises(Conflict, match="holds what no check wrote"):
            case.store.check(token())

    @pytest.mark.parametrize("of", ["config", "metadata"])
    def test_an_engine_that_keeps_one_version_is_unfit(self, case: VaultCase, of: str) -> None:
        case.put_by_hand("prod", "by-hand")
        with _set(case, of, max_versions=1), pytest.raises(Unfit, match="-max-versions=10"):
            case.store.check(token())

    @pytest.mark.parametrize("of", ["config", "metadata"])
    def test_an_engine_that_deletes_after_a_time_is_unfit(self, case: VaultCase, of: str) -> None:
        case.put_by_hand("prod", "by-hand")
        with _set(case, of, delete_version_after="720h"), pytest.raises(Unfit, match="delete_version_after"):
            case.store.check(token())

    def test_one_that_requires_check_and_set_is_fit(self, case: VaultCase) -> None:
        with _set(case, "config", cas_required=True):
            case.store.check(token())
            put_in_force(case.store, 1)


class TestTheEngine:
    def test_version_1_is_refused_before_anything_is_written(self, case: VaultCase) -> None:
        mount = f"kv1-{secrets.token_hex(4)}"
        case.vault.server.mount_kv(mount, 1)
        case.allow(least_policy(mount, case.path))
        store = case.at(mount=mount)
        for ask in (lambda: store.check(token()), lambda: store.stage(candidate(), token())):
            with pytest.raises(Unfit, match=f"`vault kv enable-versioning {mount}/`"):
                ask()
        assert store.current() is None
        assert not [one for one in case.vault.door.requests("POST") if f"/v1/{mount}/" in one.path]

    def test_version_1_with_a_key_of_its_own_named_config_is_no_version_2(self, case: VaultCase) -> None:
        mount = f"kv1-{secrets.token_hex(4)}"
        case.vault.server.mount_kv(mount, 1)
        case.vault.call("POST", f"{mount}/config", {"max_versions": "10"})
        case.allow(least_policy(mount, case.path))
        with pytest.raises(Unfit, match="no key-value engine of version 2"):
            case.at(mount=mount).check(token())

    def test_another_kind_of_engine_is_refused(self, case: VaultCase) -> None:
        """`cubbyhole` is always there."""
        case.allow(least_policy("cubbyhole", case.path))
        with pytest.raises(RekeyError, match="cubbyhole"):
            case.at(mount="cubbyhole").check(token())


def test_the_version_that_no_key_reaches_is_none() -> None:
    assert adapter._NEVER > 10**9  # noqa: SLF001 (a key would have to be written a thousand times a second for years)


class _set:  # noqa: N801 (reads as what it does)
    """Sets a setting of the engine or of the key, and takes it back."""

    def __init__(self, case: VaultCase, of: str, **settings: object) -> None:
        where = "config" if of == "config" else f"metadata/{case.path}"
        self._case, self._where, self._settings = case, f"{case.vault.mount}/{where}", settings

    def __enter__(self) -> None:
        self._case.vault.call("POST", self._where, self._settings)

    def __exit__(self, *_: object) -> None:
        unset = {"max_versions": 0, "cas_required": False, "delete_version_after": "0s"}
        self._case.vault.call("POST", self._where, {name: unset[name] for name in self._settings})
