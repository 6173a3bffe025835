"""The store in Secrets Manager keeps AWS's rules, and readers' shape."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rekey.errors import Conflict, Denied, FormatUnknown, NotFound, Superseded, Unfit, Unreachable
from rekey.model import plan
from rekey.model.names import StoreVersion
from rekey.stores.secrets_manager import SecretsManagerStore
from tests.contract.store_cases import REGISTRY, candidate, token
from tests.sandbox import aws_faults
from tests.sandbox.aws import AwsSandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from types_boto3_secretsmanager import SecretsManagerClient

PUT = "secretsmanager:PutSecretValue"
GET = "secretsmanager:GetSecretValue"
MOVE = "secretsmanager:UpdateSecretVersionStage"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[AwsSandbox]:
    with AwsSandbox() as sandbox:
        yield sandbox


class Place:
    """A secret, the store in it, and what AWS says of it."""

    def __init__(self, aws: AwsSandbox) -> None:
        self.aws = aws
        self.client: SecretsManagerClient = aws.client("secretsmanager")
        self.name = f"registries/{secrets.token_hex(4)}"
        self.client.create_secret(Name=self.name)
        self.store = self.aimed_at(self.name)

    def aimed_at(self, name: str, client: SecretsManagerClient | None = None) -> SecretsManagerStore:
        part = plan.SecretsManagerStore(type="secrets-manager", name=name)
        return SecretsManagerStore(part, REGISTRY, client or self.client)

    def put(self, value: object, as_token: str | None = None) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        named = {} if as_token is None else {"ClientRequestToken": as_token}
        return self.client.put_secret_value(SecretId=self.name, SecretString=text, **named)["VersionId"]

    def stages(self) -> dict[str, str]:
        """Return stage → version."""
        versions = self.client.describe_secret(SecretId=self.name).get("VersionIdsToStages", {})
        return {stage: version for version, stages in versions.items() for stage in stages}

    def sent(self, operation: str) -> list[Mapping[str, str]]:
        return [json.loads(request.body) for request in self.aws.requests if request.operation == operation]


@pytest.fixture
def place(sandbox: AwsSandbox) -> Place:
    sandbox.faults.clear()
    made = Place(sandbox)
    sandbox.requests.clear()
    return made


def answered_with(**fields: object) -> aws_faults.Effect:
    """Return an effect that adds to an answer, for secrets that the sandbox does not play."""

    def effect(_request: aws_faults.AwsRequest, act: aws_faults.Act) -> aws_faults.Answer:
        answer = act()
        body = json.dumps(json.loads(answer.body) | fields).encode()
        headers = tuple((name, value) for name, value in answer.headers if name.lower() != "content-length")
        return aws_faults.Answer(answer.status, headers, body)

    return effect


def test_readers_find_what_the_ecosystem_reads(place: Place) -> None:
    """ECS and CodeBuild read `username` and `password`; Docker and Kubernetes a ready `config.json`."""
    made = candidate(7)
    place.store.promote(place.store.stage(made, token()), None)
    seen = json.loads(place.client.get_secret_value(SecretId=place.name)["SecretString"])
    config = json.loads(seen.pop(".dockerconfigjson"))
    assert seen == {
        "format": 1,
        "registry": "prod-images",
        "endpoint": "registry.example.com:8443",
        "username": "prod",
        "password": made.password.reveal(),
        "generation": 7,
        "rotated_at": "2026-01-31T02:00:00.000Z",
    }
    assert list(config["auths"]) == ["registry.example.com:8443"]
    assert config["auths"]["registry.example.com:8443"]["password"] == made.password.reveal()


def test_the_reference_is_enough_to_find_it(place: Place) -> None:
    assert place.store.reference == {"type": "secrets-manager", "name": place.name, "region": "ap-southeast-1"}


def test_every_read_names_a_version_or_a_stage(place: Place) -> None:
    """Without one, replicas and tools differ on which version is meant."""
    place.store.check(token())
    under = token()
    place.store.promote(place.store.stage(candidate(), under), None)
    place.store.current()
    place.store.find(under)
    reads = place.sent(GET)
    assert reads
    assert all(("VersionId" in read) != ("VersionStage" in read) for read in reads)


def test_a_check_writes_once_and_leaves_no_label(place: Place) -> None:
    """A version of a check is never in force beside another, and the same check makes no second one."""
    place.put({"username": "prod", "password": "by-hand"})
    asked = token()
    before = place.stages()
    place.store.check(asked)
    place.store.check(asked)
    assert place.stages() == before
    versions = {write["ClientRequestToken"] for write in place.sent(PUT)[1:]}
    assert len(versions) == 1
    assert "by-hand" not in json.dumps(place.sent(PUT)[1:])


def test_a_check_of_a_new_secret_leaves_a_placeholder_in_force(place: Place) -> None:
    """The first version ever put is in force at once: it must not be a password that nobody has tried."""
    place.store.check(token())
    assert set(place.stages()) == {"AWSCURRENT"}
    text = place.client.get_secret_value(SecretId=place.name, VersionStage="AWSCURRENT")["SecretString"]
    assert json.loads(text) == {"format": 1, "registry": "prod-images", "placeholder": True}


def test_a_candidate_is_not_in_force_before_it_is_promoted(place: Place) -> None:
    """In a new secret too, and without a check before."""
    version = place.store.stage(candidate(), token())
    assert place.stages()["AWSPENDING"] == version
    assert place.stages()["AWSCURRENT"] != version
    assert place.store.current() is None


def test_a_version_is_named_by_its_token(place: Place) -> None:
    under = token()
    assert place.store.stage(candidate(), under) == under


def test_a_short_token_is_refused(place: Place) -> None:
    with pytest.raises(Unfit):
        place.store.stage(candidate(), "short")


def test_the_same_password_noted_at_another_time_is_the_same_candidate(place: Place) -> None:
    """A step that runs again may know a later time; AWS refuses the token with another text."""
    first, under = candidate(), token()
    version = place.store.stage(first, under)
    again = candidate(made_at=datetime(2026, 2, 1, tzinfo=UTC), password=first.password.reveal())
    assert place.store.stage(again, under) == version


def test_promoting_moves_the_stages(place: Place) -> None:
    """AWSPENDING must go: it would keep RotateSecret from starting."""
    old = place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(), token())
    place.store.promote(version, StoreVersion(old))
    assert place.stages() == {"AWSCURRENT": version, "AWSPREVIOUS": old, "REKEY_PROMOTED": version}


def test_promoting_is_one_compare_and_set(place: Place) -> None:
    old = place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(), token())
    place.store.promote(version, StoreVersion(old))
    moved = [move for move in place.sent(MOVE) if move["VersionStage"] == "AWSCURRENT"]
    assert [(move["MoveToVersionId"], move["RemoveFromVersionId"]) for move in moved] == [(version, old)]


def test_promoting_whose_answer_was_lost_is_success(place: Place) -> None:
    old = place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(), token())
    place.aws.faults.add(MOVE, aws_faults.drop_after())
    place.store.promote(version, StoreVersion(old))
    assert place.stages() == {"AWSCURRENT": version, "AWSPREVIOUS": old, "REKEY_PROMOTED": version}


def test_promoting_replaces_what_a_person_put_there_meanwhile(place: Place) -> None:
    """Also a text in another shape: a password that works goes before it."""
    old = place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(), token())
    place.put("bare text")
    place.store.promote(version, StoreVersion(old))
    assert place.stages()["AWSCURRENT"] == version


def test_somebody_faster_is_noticed_between_looking_and_moving(place: Place) -> None:
    old = place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(2), token())
    higher = place.store.stage(candidate(3), token())

    def be_faster(_: aws_faults.AwsRequest) -> None:
        place.aws.faults.clear()
        place.store.promote(higher, None)

    place.aws.faults.add(MOVE, aws_faults.call_before(be_faster))
    with pytest.raises(Superseded, match="holds generation 3, and this is 2"):
        place.store.promote(version, StoreVersion(old))
    assert place.stages()["AWSCURRENT"] == higher


def test_others_that_write_all_the_time_are_a_conflict(place: Place) -> None:
    place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(), token())

    def write(_: aws_faults.AwsRequest) -> None:
        place.put({"username": "prod", "password": "again"})

    place.aws.faults.add(MOVE, aws_faults.call_before(write), times=None)
    with pytest.raises(Conflict, match="keep changing"):
        place.store.promote(version, None)


def test_what_was_promoted_last_is_found_before_its_label_came(place: Place) -> None:
    """Whoever promoted it was cut off in between, and then a person wrote."""
    for generation in (1, 2):
        version = place.store.stage(candidate(generation), token())
        if generation == 2:
            place.aws.faults.add(MOVE, aws_faults.drop_before(), times=None, where=lambda one: b"REKEY_" in one.body)
        place.store.promote(version, None)
    assert place.stages()["REKEY_PROMOTED"] != version
    place.put({"username": "prod", "password": "by-hand"})
    last = place.store.last_promoted()
    assert last is not None
    assert (last.version, last.generation) == (version, 2)


def test_what_nobody_has_tried_is_marked_before_it_is_in_force(place: Place) -> None:
    """And the label goes from one version to the next."""
    for generation in (1, 2):
        version = place.store.stage(candidate(generation), token())
        place.aws.requests.clear()
        place.store.promote(version, None, proven=False)
        moves = [(move["VersionStage"], move.get("MoveToVersionId")) for move in place.sent(MOVE)]
        assert moves[:2] == [("REKEY_UNPROVEN", version), ("AWSCURRENT", version)]
        assert place.stages()["REKEY_UNPROVEN"] == version
    place.store.mark_proven(version)
    assert "REKEY_UNPROVEN" not in place.stages()


def test_a_label_that_stays_holds_nothing_back(place: Place) -> None:
    old = place.put({"username": "prod", "password": "by-hand"})
    version = place.store.stage(candidate(), token())
    place.aws.faults.add(MOVE, aws_faults.drop_before(), nth=2, times=None)
    place.store.promote(version, StoreVersion(old))
    assert place.stages()["AWSCURRENT"] == version


def test_a_version_that_is_gone_cannot_be_promoted(place: Place) -> None:
    place.put({"username": "prod", "password": "by-hand"})
    with pytest.raises(NotFound, match="no version"):
        place.store.promote(StoreVersion(token()), None)


@pytest.mark.parametrize(
    "value",
    [
        "bare-s3cret",
        '"bare-s3cret"',
        '["bare-s3cret"]',
        '{"username": "prod"}',
        '{"username": "prod", "password": ""}',
        '{"username": "prod", "password": 5}',
        "[" * 20_000,
    ],
)
def test_another_shape_is_refused_before_the_reset(place: Place, value: str) -> None:
    """And not quoted."""
    place.put(value)
    for ask in (lambda: place.store.check(token()), place.store.current):
        with pytest.raises(Unfit, match='JSON with "username" and "password"') as caught:
            ask()
        assert "s3cret" not in str(caught.value)
        assert place.name in str(caught.value)


def test_a_binary_value_is_another_shape(place: Place) -> None:
    place.client.put_secret_value(SecretId=place.name, SecretBinary=b"binary")
    with pytest.raises(Unfit, match='JSON with "username" and "password"'):
        place.store.check(token())


def test_another_registrys_password_is_not_overwritten(place: Place) -> None:
    place.put({"format": 1, "registry": "other", "generation": 3, "username": "u", "password": "p"})
    with pytest.raises(Unfit, match="another registry"):
        place.store.check(token())


def test_a_later_release_is_not_overwritten(place: Place) -> None:
    place.put({"format": 2, "registry": "prod-images", "generation": 3, "username": "u", "password": "p"})
    with pytest.raises(FormatUnknown, match=place.name):
        place.store.check(token())


def test_what_a_person_saves_is_of_no_generation_whatever_the_value_says(place: Place) -> None:
    """The console shows all fields: whoever adds one saves the others with it."""
    version = place.store.stage(candidate(2), token())
    place.store.promote(version, None)
    kept = place.client.get_secret_value(SecretId=place.name)["SecretString"]
    edited = place.put({**json.loads(kept), "note": "edited"})
    current, last = place.store.current(), place.store.last_promoted()
    assert current is not None
    assert last is not None
    assert (current.version, current.generation, last.version, last.generation) == (edited, 0, version, 2)
    following = place.store.stage(candidate(3), token())
    place.store.promote(following, StoreVersion(edited))
    assert place.stages()["AWSCURRENT"] == following


@pytest.mark.parametrize("generation", [-1, 0, True, "7", 1.5, None])
def test_a_generation_that_is_none_is_0(place: Place, generation: object) -> None:
    place.put({"username": "prod", "password": "by-hand", "generation": generation}, token())
    found = place.store.current()
    assert found is not None
    assert found.generation == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"RotationEnabled": True}, "rotates by itself: `aws secretsmanager cancel-rotate-secret --secret-id "),
        ({"OwningService": "rds"}, "belongs to rds: name a secret of your own"),
        ({"PrimaryRegion": "eu-west-1"}, "is a replica, which nobody can write: Rekey has to run in eu-west-1"),
        ({"DeletedDate": 1.0}, "is to be deleted: `aws secretsmanager restore-secret --secret-id "),
    ],
)
def test_a_secret_that_others_write_is_unfit(place: Place, fields: dict[str, object], says: str) -> None:
    """Nothing is written there."""
    place.aws.faults.add("secretsmanager:DescribeSecret", answered_with(**fields))
    with pytest.raises(Unfit, match=says):
        place.store.check(token())
    assert not place.sent(PUT)


def test_the_primary_of_replicas_is_fit(place: Place) -> None:
    fields = {"PrimaryRegion": "ap-southeast-1", "RotationEnabled": False}
    place.aws.faults.add("secretsmanager:DescribeSecret", answered_with(**fields))
    place.store.check(token())


def test_a_missing_secret_says_how_to_make_it(place: Place) -> None:
    with pytest.raises(NotFound, match="`aws secretsmanager create-secret --name registries/missing`"):
        place.aimed_at("registries/missing").check(token())


@pytest.mark.parametrize(("operation", "action"), [(PUT, "PutSecretValue"), (GET, "GetSecretValue"), (MOVE, "Update")])
def test_a_missing_right_is_named(place: Place, operation: str, action: str) -> None:
    """All that a rotation needs, before the reset."""
    place.aws.faults.add(operation, aws_faults.refuse(), times=None)
    with pytest.raises(Denied, match=f"secretsmanager:{action}.* on the secret {place.name}"):
        place.store.check(token())


def test_what_cannot_be_read_back_yet_is_asked_again(place: Place) -> None:
    """Nothing is taken for staged that was not read back."""
    place.put({"username": "prod", "password": "by-hand"})
    gone = aws_faults.refuse("ResourceNotFoundException")
    place.aws.faults.add(GET, gone, where=lambda request: b"VersionId" in request.body, times=2)
    with pytest.raises(Unreachable, match="cannot be read back yet"):
        place.store.stage(candidate(), token())
    with pytest.raises(Unreachable, match="cannot be read back yet"):
        place.store.check(token())


def test_what_comes_back_as_something_else_was_not_written(place: Place) -> None:
    place.put({"username": "prod", "password": "by-hand"})
    other = answered_with(SecretString=json.dumps({"username": "prod", "password": "another"}))
    place.aws.faults.add(GET, other, where=lambda request: b"VersionId" in request.body, times=2)
    with pytest.raises(Conflict, match="exists with another value"):
        place.store.stage(candidate(), token())
    with pytest.raises(Conflict, match="holds what no check wrote"):
        place.store.check(token())
