"""What lies in the bucket: pushed plans, and the files of each rotation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rekey.contracts import Contents, Prepared
from rekey.errors import Denied, FormatUnknown, NotFound, PlanInvalid, PlanMissing, Unreachable
from rekey.records.folder import EntryState, Folder, ShardFile
from rekey.records.plans import Plans, plan_key, to_stored
from tests.sandbox import aws_faults
from tests.unit.bare_stack import BareStack, plan_of

if TYPE_CHECKING:
    from tests.sandbox.aws_faults import Effect


@pytest.fixture
def folder(opened: BareStack, registry: str) -> Folder:
    return Folder(opened.bucket, registry, 3)


class TestBucket:
    def test_what_was_written_is_read_in_the_version_asked_for(self, opened: BareStack, registry: str) -> None:
        first = opened.bucket.write(f"{registry}/a", b"1", "text/plain")
        second = opened.bucket.write(f"{registry}/a", b"2", "text/plain")
        assert opened.bucket.read(f"{registry}/a") == (b"2", second)
        assert opened.bucket.read(f"{registry}/a", first) == (b"1", first)

    def test_names_are_those_with_a_beginning(self, opened: BareStack, registry: str) -> None:
        for name in ("b", "a"):
            opened.bucket.write(f"{registry}/{name}", b"", "text/plain")
        opened.bucket.write(f"{registry}-eu/c", b"", "text/plain")
        assert opened.bucket.names(f"{registry}/") == [f"{registry}/a", f"{registry}/b"]

    def test_json_has_its_format_and_one_order(self, opened: BareStack, registry: str) -> None:
        opened.bucket.write_json(f"{registry}/x.json", {"b": 1, "a": [2]})
        assert opened.bucket.read_json(f"{registry}/x.json") == {"format": 1, "a": [2], "b": 1}
        body = opened.bucket.read(f"{registry}/x.json")[0].decode()
        assert list(json.loads(body)) == ["a", "b", "format"]

    @pytest.mark.parametrize("body", [b'{"format": 2}', b"[]", b"{}"])
    def test_another_format_is_refused(self, opened: BareStack, registry: str, body: bytes) -> None:
        opened.bucket.write(f"{registry}/x.json", body, "application/json")
        with pytest.raises(FormatUnknown):
            opened.bucket.read_json(f"{registry}/x.json")

    @pytest.mark.parametrize(
        ("effect", "error"),
        [
            (aws_faults.refuse("AccessDenied", 403), Denied),
            (aws_faults.refuse("NoSuchKey", 404), NotFound),
            (aws_faults.drop_before(), Unreachable),
        ],
    )
    def test_what_aws_says_becomes_an_error_that_names_the_object(
        self, opened: BareStack, registry: str, effect: Effect, error: type[Exception]
    ) -> None:
        opened.aws.faults.add("s3:GetObject", effect, times=None)
        with pytest.raises(error, match=registry):
            opened.bucket.read(f"{registry}/a")


class TestPlans:
    def test_the_newest_is_found_and_an_older_version_by_its_id(self, opened: BareStack, registry: str) -> None:
        first = opened.push(registry)
        changed = to_stored(plan_of(registry, policy={"ready_for": "5m"}))
        second = opened.bucket.write(plan_key(registry), changed, "application/json")
        plans = Plans(opened.bucket)
        plan, body, version = plans.pushed(registry)
        assert (body, version, plan.policy.ready_for.total_seconds()) == (changed, second, 300)
        assert plans.pushed(registry, first)[2] == first

    def test_the_registries_are_those_with_a_plan(self, opened: BareStack, registry: str) -> None:
        opened.push(registry)
        assert registry in Plans(opened.bucket).registries()

    def test_a_registry_without_one_is_told_how_to_get_one(self, opened: BareStack, registry: str) -> None:
        with pytest.raises(PlanMissing, match="rekey plan push"):
            Plans(opened.bucket).pushed(registry)

    @pytest.mark.parametrize("body", [b"{", b'{"format": 2, "plan": {}}', b"[]"])
    def test_what_is_no_pushed_plan_is_refused(self, opened: BareStack, registry: str, body: bytes) -> None:
        opened.bucket.write(plan_key(registry), body, "application/json")
        with pytest.raises(FormatUnknown):
            Plans(opened.bucket).pushed(registry)

    def test_a_plan_that_this_release_cannot_use_names_its_problems(self, opened: BareStack, registry: str) -> None:
        opened.bucket.write(plan_key(registry), to_stored(plan_of(registry, store={})), "application/json")
        with pytest.raises(PlanInvalid, match=r"store\.type"):
            Plans(opened.bucket).pushed(registry)


class TestFolder:
    def test_the_plan_is_pinned_as_it_was_pushed(self, opened: BareStack, registry: str, folder: Folder) -> None:
        """A push in the middle of a rotation does not aim it elsewhere."""
        folder.pin_plan(to_stored(plan_of(registry)))
        opened.push(registry, policy={"ready_for": "5m"})
        assert folder.plan().policy.ready_for.total_seconds() == 1800

    def test_a_snapshot_comes_back(self, folder: Folder) -> None:
        assert folder.snapshot() is None
        contents = Contents({"api": {"1": "sha256:a"}, "empty": {}})
        folder.save_snapshot(contents)
        assert folder.snapshot() == contents

    def test_shards_come_back_as_they_went(self, folder: Folder) -> None:
        ready = Prepared("all/acme/web", {"repository": "acme/web"}, warning="archived soon")
        unready = Prepared("all/acme/old", problem="no such secret")
        shards = [
            ShardFile(0, (EntryState("all", (ready, unready)),), prepared=True),
            ShardFile(1, (EntryState("bot", problem="no answer", transient=True), EntryState("idle"))),
        ]
        for shard in shards:
            folder.save_shard(shard)
        assert folder.shards(2) == shards

    def test_a_shard_says_everything_that_is_not_ready(self) -> None:
        unready = Prepared("all/acme/old", problem="no such secret")
        state = EntryState("all", (Prepared("all/acme/web"), unready), problem="the rest was not found")
        assert state.problems == ["all: the rest was not found", "all/acme/old: no such secret"]

    def test_the_end_is_kept_for_machines_and_for_people(self, opened: BareStack, folder: Folder) -> None:
        folder.save_evidence({"outcome": "finished"}, "<p>finished</p>")
        client: Any = opened.aws.client("s3")
        page = client.get_object(Bucket="stack-bucket", Key=f"{folder.prefix}report.html")
        assert page["ContentType"] == "text/html; charset=utf-8"
        assert opened.bucket.read_json(f"{folder.prefix}evidence.json")["outcome"] == "finished"

    def test_generations_keep_apart(self, opened: BareStack, registry: str, folder: Folder) -> None:
        folder.save_shard(ShardFile(0, ()))
        with pytest.raises(NotFound):
            Folder(opened.bucket, registry, 4).shard(0)
