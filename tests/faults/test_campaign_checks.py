"""The campaign's checks see what they are there for: a rotation went well, one thing at a time is broken from outside.

What is wrong is then said in one line, that one; and nothing once it is mended.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import uuid
from base64 import b64decode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest

from rekey.records.codec import OPEN, partition
from rekey.records.lease import SORT_KEY
from tests.e2e import rotating
from tests.e2e.canaries import Canary
from tests.e2e.places import Run
from tests.faults.campaign import checks, recording, recovery, running, stops
from tests.faults.campaign.outcome import Target
from tests.faults.campaign.points import AWS, REGISTRY, Case, Kind, Point, Role, Strike, Task
from tests.faults.campaign.setting import Setting, world_of
from tests.sandbox.company import OTHER_REGISTRY
from tests.sandbox.webhook_receiver import sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.sandbox.company import Company

Break: TypeAlias = "Callable[[Company], AbstractContextManager[None]]"
ONE_RESET = Case("checked", (Strike(Point(Task("verify"), AWS, "s3:GetObject"), Kind.HANG),))
ATTEMPT = {"number": 1, "kind": "reset", "outcome": "promoted", "said": ""}
TWO_RESETS = Case("checked", (Strike(Point(Task("reset"), REGISTRY, "PATCH", role=Role.RESET_CALL), Kind.KILL_AFTER),))
SOMEBODY = "arn:aws:states:eu-central-1:123456789012:execution:machine:somebody"


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Setting, Run]]:
    """Rotate once, without any fault; return what is searched for secrets too."""
    with world_of(Target(), tmp_path_factory.mktemp("checks")) as world, Setting(world, ONE_RESET.name) as setting:
        everything = Run(world)
        everything.add(setting.company, setting.proxy)
        recovery.ask(setting)
        recovery.converge(setting)
        yield setting, everything


@pytest.fixture
def setting(rotated: tuple[Setting, Run]) -> Setting:
    return rotated[0]


@pytest.fixture
def everything(rotated: tuple[Setting, Run]) -> Run:
    return rotated[1]


def test_a_rotation_that_went_well_is_all_right(setting: Setting) -> None:
    assert checks.wrong(setting, ONE_RESET) == []
    assert not checks.lost(setting)


@contextmanager
def _job(company: Company) -> Iterator[None]:
    company.world.github.set_secret(company.repositories[1], "REGISTRY_PASSWORD", company.first_password)
    yield
    company.world.github.set_secret(company.repositories[1], "REGISTRY_PASSWORD", company.current())


@contextmanager
def _pull_secret(company: Company) -> Iterator[None]:
    with _entries(company) as entries:
        (mine,) = (entry for entry in entries.values() if entry["username"] == company.username)
        mine["password"] = company.first_password
    yield
    _mend_entries(company)


@contextmanager
def _other_entry(company: Company) -> Iterator[None]:
    with _entries(company) as entries:
        entries[OTHER_REGISTRY]["password"] = secrets.token_urlsafe(18)
    yield
    _mend_entries(company)


@contextmanager
def _no_other_entry(company: Company) -> Iterator[None]:
    with _entries(company) as entries:
        del entries[OTHER_REGISTRY]
    yield
    _mend_entries(company)


@contextmanager
def _entries(company: Company) -> Iterator[dict[str, Any]]:
    """Give the entries of one pull secret, and store what was made of them."""
    namespace, name = company.pull_secrets[1]
    entries: dict[str, Any] = company.world.kubernetes.auths(namespace, name)
    yield entries
    company.world.kubernetes.add_pull_secret(namespace, name, entries)


def _mend_entries(company: Company) -> None:
    with _entries(company) as entries:
        entries[OTHER_REGISTRY] = {"username": "robot", "password": company.other_password}
        (mine,) = (entry for entry in entries.values() if entry["username"] == company.username)
        mine["password"] = company.current()


@contextmanager
def _webhook(company: Company) -> Iterator[None]:
    """Tell the receiver, rightly signed, of the version before."""
    (told,) = (one.payload for one in company.world.receiver.deliveries if company.name in str(one.payload))
    versions = company.world.cloud.client("secretsmanager").describe_secret(SecretId=company.secret_name)
    (before,) = (one for one, labels in versions["VersionIdsToStages"].items() if "AWSPREVIOUS" in labels)
    earlier: Any = json.loads(json.dumps(told))
    earlier["data"]["store"]["version"] = before
    _tell(company, earlier)
    yield
    _tell(company, told)


def _tell(company: Company, payload: Any) -> None:  # noqa: ANN401 (JSON)
    body, now, number = json.dumps(payload).encode(), str(int(time.time())), uuid.uuid4().hex
    key = b64decode(company.world.webhook_key.removeprefix("whsec_"))
    headers = {"webhook-id": number, "webhook-timestamp": now, "webhook-signature": sign(key, number, now, body)}
    url = f"{company.world.receiver.url}/hooks/{company.name}"
    httpx.post(url, content=body, headers={"content-type": "application/json", **headers}).raise_for_status()


@contextmanager
def _lease(company: Company) -> Iterator[None]:
    key = {"pk": partition(company.name), "sk": SORT_KEY}
    with _changed_item(company, "LEDGER", key, {"owner": SOMEBODY}):
        yield


@contextmanager
def _open(company: Company) -> Iterator[None]:
    with _changed_item(company, "LEDGER", {"pk": OPEN, "sk": f"rotation#{company.name}#1"}, {"format": 1}):
        yield


@contextmanager
def _answer(company: Company) -> Iterator[None]:
    key = {"pk": company.name, "sk": secrets.token_hex(32)}
    with _changed_item(company, "ESCROW", key, {"sealed": b"answer"}):
        yield


@contextmanager
def _changed_item(company: Company, which: str, key: dict[str, str], fields: dict[str, Any]) -> Iterator[None]:
    """Put these fields into an item, which may not be there yet."""
    table = company.world.cloud.session.resource("dynamodb").Table(rotating.table(company.world.cloud, which).name)
    before = table.get_item(Key=key).get("Item")
    table.put_item(Item={**(before or key), **fields})
    yield
    if before is None:
        table.delete_item(Key=key)
    else:
        table.put_item(Item=before)


@contextmanager
def _candidate(company: Company) -> Iterator[None]:
    client = company.world.cloud.client("secretsmanager")
    fields = json.dumps({"username": company.username, "password": secrets.token_urlsafe(18)})
    put = client.put_secret_value(SecretId=company.secret_name, SecretString=fields, VersionStages=["AWSPENDING"])
    yield
    client.update_secret_version_stage(
        SecretId=company.secret_name, VersionStage="AWSPENDING", RemoveFromVersionId=put["VersionId"]
    )


@contextmanager
def _old_password(company: Company) -> Iterator[None]:
    company.registry.set_password(company.username, company.first_password)
    yield
    company.registry.set_password(company.username, company.current())


@contextmanager
def _third_password(company: Company) -> Iterator[None]:
    company.registry.set_password(company.username, secrets.token_urlsafe(18))
    yield
    company.registry.set_password(company.username, company.current())


def _evidence(**fields: Any) -> Break:  # noqa: ANN401 (JSON)
    """Return what makes the evidence say something else; None: there is none."""

    @contextmanager
    def broken(company: Company) -> Iterator[None]:
        client, bucket = company.world.cloud.client("s3"), company.world.bucket
        key = f"rotations/{company.name}/1/evidence.json"
        before = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        if fields:
            client.put_object(Bucket=bucket, Key=key, Body=json.dumps(json.loads(before) | fields).encode())
        else:
            client.delete_object(Bucket=bucket, Key=key)
        yield
        client.put_object(Bucket=bucket, Key=key, Body=before)

    return broken


BROKEN: dict[str, tuple[Break, str]] = {
    "job": (_job, "org-checked/svc-billing does not have the current password"),
    "pull secret": (_pull_secret, "org-checked-jobs/registry does not have the current password"),
    "webhook": (_webhook, "webhook does not have the current password"),
    "lease": (_lease, "the lease is still owned by somebody"),
    "escrow": (_answer, "1 answers are left in the escrow"),
    "open": (_open, "left open: ['rotation#checked#1']"),
    "candidate": (_candidate, "a candidate is left in the store"),
    "old password": (_old_password, "the old password still logs in"),
    "other registry": (_other_entry, "another registry's entry in a pull secret was changed"),
    "other registry gone": (_no_other_entry, "another registry's entry in a pull secret was changed"),
    "no evidence": (_evidence(), "there is no evidence"),
    "outcome": (_evidence(outcome="unfinished"), "the evidence says outcome: unfinished, seen: finished"),
    "resets": (_evidence(resets=2), "the evidence says resets: 2, seen: 1"),
    "new password": (
        _evidence(new_password={"verdict": "unreachable"}),
        "the evidence says new password: unreachable, seen: accepted",
    ),
    "old password's verdict": (
        _evidence(old_password={"verdict": "accepted"}),
        "the evidence says old password: accepted, seen: refused",
    ),
    "counts": (_evidence(counts={"consumers": 6, "done": 5}), "the evidence says consumers done: 5, seen: 6"),
    "untold": (_evidence(not_told=["web-ci"]), "the evidence says not told: ['web-ci'], seen: []"),
    "unchanged": (_evidence(password_changed=None), "the evidence says password changed: None, seen: True"),
    "contents": (_evidence(contents={"unchanged": False}), "the evidence says contents differ: True, seen: False"),
    "no attempt": (_evidence(attempts=[]), "the evidence says promoted: False, seen: True"),
    "lost": (
        _evidence(attempts=[ATTEMPT | {"outcome": "lost"}, ATTEMPT]),
        "the evidence says answer lost: True, seen: False",
    ),
    "pasted": (_evidence(attempts=[ATTEMPT | {"kind": "pasted"}]), "the evidence says pasted: True, seen: False"),
    "wrong logins": (_evidence(wrong_logins=99), "the evidence says wrong logins: 99, seen: 2"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_seen_and_nothing_else(setting: Setting, what: str) -> None:
    broken, said = BROKEN[what]
    with broken(setting.company):
        assert checks.wrong(setting, ONE_RESET) == [said]
    assert checks.wrong(setting, ONE_RESET) == []


def test_a_reset_too_few_is_seen(setting: Setting) -> None:
    """What was to lose an answer has to be in the evidence too."""
    assert checks.wrong(setting, TWO_RESETS) == [
        "1 resets, expected 2 to 2",
        "the evidence says answer lost: False, seen: True",
    ]


def test_a_paste_that_the_evidence_does_not_know_is_seen(setting: Setting) -> None:
    setting.pasted = True
    assert checks.wrong(setting, ONE_RESET) == ["the evidence says pasted: False, seen: True"]
    setting.pasted = False


@pytest.mark.parametrize("broken", [_old_password, _third_password])
def test_a_password_that_does_not_log_in_is_lost(setting: Setting, broken: Break) -> None:
    with broken(setting.company):
        assert checks.lost(setting)
    assert not checks.lost(setting)


def test_what_leaks_is_seen_and_whose_it_is(setting: Setting, everything: Run) -> None:
    """Tests of the search itself are in tests/e2e; here that the campaign looks, also at what was deleted."""
    assert running.leaks(everything) == {}
    cloud, canary = setting.world.cloud, Canary("planted", secrets.token_urlsafe(18), setting.company.name)
    cloud.lambdas.logs["rekey-sandbox-notify"].append(json.dumps({"Cause": json.dumps({"why": canary.text})}))
    arn = cloud.start_execution({"format": 1, "operation": "rotate", "registry": canary.text, "start": 1})
    cloud.wait_for(arn)
    stops.delete(setting, arn)
    everything.forgotten += setting.forgotten
    everything.more.append(canary)
    assert set(running.leaks(everything)[setting.company.name]) >= {"planted in execution", "planted in log"}
    everything.more.clear()
    assert running.leaks(everything) == {}


def test_a_secret_of_several_registries_is_everybodys(everything: Run) -> None:
    everything.more.append(Canary("planted", "rekey-sandbox-begin"))
    assert "planted in process" in running.leaks(everything)[""]
    everything.more.clear()


def test_requests_of_no_task_are_counted(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be no points, and nobody would hear of it. The tick's are known, and the tests' own are no function's.

    Somebody is whoever else there is: a function that signs with other keys, or a process that it starts.
    """
    cloud, recorder = setting.world.cloud, recording.Recorder(setting)
    recorder.listen()
    try:
        cloud.tick_now()
        rotating.lease(setting.company)
        httpx.get(setting.proxy.url)
        assert (recorder.points(), recorder.unattributed) == ([], {})
        monkeypatch.setattr(recording, "OF_NO_ROTATION", {})
        cloud.tick_now()
        keys: Any = {"aws_access_key_id": "NOBODYS", "aws_secret_access_key": "none"}
        cloud.session.client("dynamodb", **keys).list_tables()
        lookup = f"import urllib.request; urllib.request.urlopen('{setting.proxy.url}/elsewhere')"
        subprocess.run([sys.executable, "-c", lookup], check=False, capture_output=True)
    finally:
        cloud.faults.clear()
        for server in setting.servers.values():
            server.clear_faults()
    assert recorder.unattributed["trigger tick: dynamodb:Query of aws"] >= 1
    assert recorder.unattributed["somebody: dynamodb:ListTables of aws"] == 1
    assert recorder.unattributed["somebody: GET /elsewhere as nobody of registry"] == 1


def test_a_person_who_was_not_to_be_asked_is_seen() -> None:
    unreadable = Strike(Point(Task("reset"), REGISTRY, "PATCH", role=Role.RESET_CALL), Kind.GATEWAY_AFTER)
    asks = Case("asks", (unreadable,))
    assert checks.unasked_person(ONE_RESET, had_to=True) == ["a person had to help"]
    assert checks.unasked_person(ONE_RESET, had_to=False) == checks.unasked_person(asks, had_to=True) == []
    assert checks.unasked_person(asks, had_to=False) == [
        "nobody was asked for, though nobody else could know the password"
    ]
