"""The plan's rules: what a person may write, and what is said of everything else."""

from __future__ import annotations

import copy
import json
import random
from datetime import timedelta
from typing import Any

import pytest

from rekey.errors import FormatUnknown, PlanInvalid
from rekey.model.plan import (
    EksCluster,
    GitHubSecret,
    KubernetesPullSecret,
    VaultAppRole,
    VaultAws,
    VaultJwt,
    VaultKubernetes,
    VaultStore,
    VaultToken,
    read,
)
from rekey.model.request import Reason
from rekey.records.plans import from_stored, to_stored
from tests.unit.plan_documents import (
    GITEA_REGISTRY,
    HARBOR_REGISTRY,
    HTTP_REGISTRY,
    MANUAL_REGISTRY,
    REMOVED,
    VAULT_STORE,
    changed,
    good,
)

EMPTY = "is empty: write a value, or leave the key out"
DURATION = "must be a number and a unit, such as `90s`, `20 minutes`, `24h` or `30 days`"
PAIRS = "must be keys and values"
REASONS = "must be `scheduled`, `compromised`, `personnel_change`, `lost` or `requested`"
REGISTRY_KEYS = "name, endpoint, username, repositories, token_host, ca, alphabet, max_wrong_logins, type, api"
URL = "write a host such as `registry.example.com` or a URL such as `https://api.example.com`"


def problems(document: object) -> list[str]:
    """Return what `read` says of a document that is none."""
    with pytest.raises(PlanInvalid) as caught:
        read(document)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_plan_is_read() -> None:
    plan = read(good())
    web, cluster, hook = plan.consumers
    assert isinstance(web, GitHubSecret)
    assert web.api == "https://api.github.com"
    assert isinstance(cluster, KubernetesPullSecret)
    assert cluster.cluster == EksCluster(eks="prod")
    assert hook.optional
    assert plan.policy.ready_for == timedelta(minutes=20)
    assert plan.policy.recover_for == timedelta(hours=24)
    assert not plan.policy.unready_consumers_stop(Reason.COMPROMISED)
    assert plan.policy.unready_consumers_stop(Reason.REQUESTED)


@pytest.mark.parametrize(
    "registry",
    [HTTP_REGISTRY, HARBOR_REGISTRY, GITEA_REGISTRY, MANUAL_REGISTRY],
    ids=["http", "harbor", "gitea", "manual"],
)
def test_every_kind_of_registry_is_read(registry: dict[str, Any]) -> None:
    assert read(changed(("registry", registry))).registry.type == registry["type"]


@pytest.mark.parametrize(
    ("auth", "kind"),
    [
        ({"approle": {"secret": "rekey/vault-approle"}}, VaultAppRole),
        ({"aws": "rekey", "server_id": "vault.example.com", "mount": "aws/prod"}, VaultAws),
        ({"jwt": {"secret": "rekey/vault-jwt"}, "role": "rekey"}, VaultJwt),
        ({"kubernetes": {"secret": "rekey/vault-jwt"}, "role": "rekey"}, VaultKubernetes),
        ({"token": {"secret": "rekey/vault-token"}}, VaultToken),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.__name__,
)
def test_every_way_into_vault_is_read(auth: dict[str, Any], kind: type[object]) -> None:
    store = read(changed(("store", {**VAULT_STORE, "auth": auth, "namespace": "team/a"}))).store
    assert isinstance(store, VaultStore)
    assert isinstance(store.auth, kind)
    assert (store.mount, store.namespace) == ("secret", "team/a")


NAMES = "must be names with `/` between them and none at the ends: letters, digits and any of `_.-`, no dot first"
VAULT_SECRET = "must be the name of a secret that begins with `rekey/vault-`, such as `rekey/vault-approle`"  # noqa: S105


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "valt"}, ["store.type: unknown type: did you mean `vault`?"]),
        ({"type": REMOVED}, ["store.type: missing: write `secrets-manager` or `vault`"]),
        ({"address": REMOVED}, ["store.address: missing"]),
        ({"adress": "x"}, ["store.adress: unknown key: did you mean `address`?"]),
        ({"address": "http://vault:8200"}, ["store.address: plain http would send credentials readable: use https"]),
        ({"mount": "secret/"}, [f"store.mount: {NAMES}"]),
        ({"path": "/a"}, [f"store.path: {NAMES}"]),
        ({"path": "a/../b"}, [f"store.path: {NAMES}"]),
        ({"path": "a b"}, [f"store.path: {NAMES}"]),
        ({"path": "a" * 256}, ["store.path: must be at most 255 characters long"]),
        (
            {"path": "rekey/x"},
            ["store.path: must not begin with `rekey/`: what Rekey keeps for itself is there, and no reader looks"],
        ),
        (
            {"path": "data/x"},
            ["store.path: leave `data/` out: that is part of Vault's URLs, not of the path, as in `vault kv get`"],
        ),
        ({"namespace": "/team"}, [f"store.namespace: {NAMES}"]),
        ({"ca": "MIIB"}, ["store.ca: must be a certificate in PEM form"]),
        ({"auth": {}}, ["store.auth.approle: missing"]),
        ({"auth": "token"}, [f"store.auth: {PAIRS}"]),
        ({"auth": {"approle": {"secret": "rekey/github"}}}, [f"store.auth.approle.secret: {VAULT_SECRET}"]),
        ({"auth": {"aws": 5}}, ["store.auth.aws: must be text: put it in quotes"]),
        ({"auth": {"jwt": {"secret": "rekey/vault-jwt"}}}, ["store.auth.role: missing"]),
        (
            {"auth": {"token": {"secret": "rekey/vault-token"}, "approle": {"secret": "rekey/vault-approle"}}},
            ["store.auth.approle: unknown key: known are token"],
        ),
    ],
    ids=str,
)
def test_what_is_said_of_one_mistake_in_a_store_in_vault(change: dict[str, object], expected: list[str]) -> None:
    store = {key: value for key, value in {**VAULT_STORE, **change}.items() if value is not REMOVED}
    assert problems(changed(("store", store))) == expected


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("regitsry", {}, ["regitsry: unknown key: did you mean `registry`?"]),
        (
            "registry.flavour",
            "x",
            [f"registry.flavour: unknown key: known are {REGISTRY_KEYS}"],
        ),
        ("registry.usrname", "x", ["registry.usrname: unknown key: did you mean `username`?"]),
        ("consumers.0.repositry", "a/b", ["consumers[0].repositry: unknown key: did you mean `repository`?"]),
        ("consumers.1.cluster.server", "x", ["consumers[1].cluster.server: unknown key: known are eks"]),
        (
            "we\x1b[31m",
            1,
            ['["we\\u001b[31m"]: unknown key: known are registry, store, accepts, policy, consumers, notify'],
        ),
        ("registry", REMOVED, ["registry: missing"]),
        ("registry.username", REMOVED, ["registry.username: missing"]),
        ("registry.api.login", {}, ["registry.api.login.secret: missing"]),
        (
            "registry.type",
            REMOVED,
            ["registry.type: missing: write `http`, `cloudraya`, `harbor`, `gitea` or `manual`"],
        ),
        ("registry.type", "cloudray", ["registry.type: unknown type: did you mean `cloudraya`?"]),
        ("registry.type", 5, ["registry.type: unknown type: known are http, cloudraya, harbor, gitea, manual"]),
        ("consumers.0.type", "gitub-secret", ["consumers[0].type: unknown type: did you mean `github-secret`?"]),
        ("notify.0.type", "slack", ["notify[0].type: must be `sns`"]),
        ("registry", "x", [f"registry: {PAIRS}"]),
        ("store", [], [f"store: {PAIRS}"]),
        ("consumers.0", "x", [f"consumers[0]: {PAIRS}"]),
        ("consumers.1.cluster", 3, [f"consumers[1].cluster: {PAIRS}"]),
        ("accepts", ["console"], [f"accepts: {PAIRS}"]),
        ("consumers", {}, ["consumers: must be a list"]),
        ("consumers", [], ["consumers: must not be empty"]),
        ("consumers.1.secrets", [], ["consumers[1].secrets: must not be empty"]),
        ("accepts", {}, ["accepts: must not be empty"]),
        ("accepts.console", [], ["accepts.console: must not be empty"]),
        ("accepts.console", "lost", ["accepts.console: must be a list"]),
        ("accepts.console", ["lost", "requested", "lost"], ["accepts.console[2]: given twice: it is [0] already"]),
        ("consumers.1.secrets", ["a/b", "a/b"], ["consumers[1].secrets[1]: given twice: it is [0] already"]),
        ("accepts.console", ["requestd"], [f"accepts.console[0]: {REASONS}"]),
        (
            "accepts.My Source",
            ["lost"],
            ['accepts["My Source"]: must be the name of a source: lower case letters, digits and hyphens, at most 63'],
        ),
        ("policy", None, [f"policy: {EMPTY}"]),
        ("registry.username", None, [f"registry.username: {EMPTY}"]),
        ("registry.username", "", ["registry.username: must not be empty"]),
        ("registry.username", "a:b", ["registry.username: must be text without colons and control characters"]),
        ("registry.username", 5, ["registry.username: must be text: put it in quotes"]),
        ("registry.username", True, ["registry.username: must be text: put it in quotes"]),
        ("registry.username", ["a"], ["registry.username: must be text"]),
        ("registry.username", "x" * 256, ["registry.username: must be at most 255 characters long"]),
        ("registry.api.registry_id", 781, ["registry.api.registry_id: must be text: put it in quotes"]),
        ("registry.max_wrong_logins", 0, ["registry.max_wrong_logins: must be at least 1"]),
        ("registry.max_wrong_logins", 21, ["registry.max_wrong_logins: must be at most 20"]),
        ("registry.max_wrong_logins", "3", ["registry.max_wrong_logins: must be a whole number"]),
        ("registry.max_wrong_logins", 3.0, ["registry.max_wrong_logins: must be a whole number"]),
        ("registry.max_wrong_logins", True, ["registry.max_wrong_logins: must be a whole number"]),
        ("consumers.0.optional", "yes", ["consumers[0].optional: must be `true` or `false`"]),
        ("consumers.0.optional", 1, ["consumers[0].optional: must be `true` or `false`"]),
        ("policy.ready_for", 30, [f"policy.ready_for: {DURATION}"]),
        ("policy.ready_for", "20min", [f"policy.ready_for: {DURATION}"]),
        ("policy.ready_for", "4000 days", ["policy.ready_for: must be at most 3650 days"]),
        ("policy.lost", {"unready_consumers": "go"}, ["policy.lost.unready_consumers: must be `stop` or `proceed`"]),
        ("registry.endpoint", "registry example", [f"registry.endpoint: {URL}"]),
        (
            "registry.endpoint",
            "registry.example.com/v2",
            ["registry.endpoint: an endpoint is a host, such as `registry.example.com`: leave the path out"],
        ),
        (
            "consumers.2.url",
            "http://hooks.example.com",
            ["consumers[2].url: plain http would send credentials readable: use https"],
        ),
        ("registry.ca", "MIIB", ["registry.ca: must be a certificate in PEM form"]),
        (
            "consumers.0.auth.secret",
            "github-app",
            ["consumers[0].auth.secret: must be the name of a secret under `rekey/`, such as `rekey/github`"],
        ),
        (
            "store.name",
            "rekey/prod",
            ["store.name: must not begin with `rekey/`: what Rekey keeps for itself is there, and no reader looks"],
        ),
        ("consumers.0.repository", "web", ["consumers[0].repository: must be OWNER/NAME, such as `acme/web`"]),
        (
            "consumers.0.repositories",
            "acme/svc-*",
            ["consumers[0]: give either `repository` (one) or `repositories` (a pattern)"],
        ),
        (
            "consumers.0.repository",
            REMOVED,
            ["consumers[0]: give either `repository` (one) or `repositories` (a pattern)"],
        ),
        (
            "consumers.0.value",
            "docker-config",
            ["consumers[0].value: `docker-config` needs `exclusive: true`: say so if the secret holds nothing else"],
        ),
        ("consumers.0.value", "config", ["consumers[0].value: must be `password` or `docker-config`"]),
        (
            "consumers.0.secret",
            "GITHUB_TOKEN",
            ["consumers[0].secret: must not begin with GITHUB_: those names are GitHub's own"],
        ),
        ("consumers.1.name", "web-ci", ["consumers[1].name: is the name of consumers[0] already"]),
        (
            "consumers.1.secrets.1",
            "registry",
            ["consumers[1].secrets[1]: must be NAMESPACE/NAME as Kubernetes writes them, such as `shop/registry`"],
        ),
        ("notify.0.topic", "rekey", ["notify[0].topic: must be the ARN of an SNS topic"]),
    ],
)
def test_what_is_said_of_one_mistake(place: str, value: object, expected: list[str]) -> None:
    """Each mistake is reported once, at its exact key, in words that say what to write instead."""
    assert problems(changed((place, value))) == expected


@pytest.mark.parametrize("document", [[], "x", None, 5], ids=repr)
def test_a_document_that_is_no_mapping(document: object) -> None:
    assert problems(document) in ([f"the plan: {PAIRS}"], [f"the plan: {EMPTY}"])


@pytest.mark.parametrize(
    "document",
    [float("nan"), {"registry": object()}, {"registry": {1, 2}}, {"registry": b"x"}],
    ids=["no number", "object", "set", "bytes"],
)
def test_a_document_that_is_no_json(document: object) -> None:
    assert problems(document) == ["the plan: must be a JSON document"]


def test_an_empty_document_misses_everything_at_once() -> None:
    assert problems({}) == ["registry: missing", "store: missing", "accepts: missing", "consumers: missing"]


def test_all_problems_come_at_once_whatever_their_kind() -> None:
    """A rule between two keys is reported even where another key of the same entry is wrong too."""
    document = changed(
        ("consumers.0.repositories", "acme/*"),
        ("consumers.0.secret", "9"),
        ("consumers.1.name", "web-ci"),
        ("policy.ready_for", "soon"),
        ("extra", 1),
    )
    assert {problem.split(":")[0] for problem in problems(document)} == {
        "consumers[0]",
        "consumers[0].secret",
        "consumers[1].name",
        "policy.ready_for",
        "extra",
    }


@pytest.mark.parametrize("written", ["cloudray", "x", 5, REMOVED], ids=repr)
def test_a_type_nobody_knows_hides_nothing_else_of_its_part(written: object) -> None:
    """What is wrong whatever type is meant, and for one that was nearly written what is wrong with that."""
    document = changed(
        ("registry.type", written),
        ("registry.endpoint", "a b"),
        ("registry.usrname", "x"),
        ("registry.api.login.secret", "x"),
        ("consumers.0.type", "webook"),
        ("consumers.2.type", "hook"),
        ("consumers.2.optional", "yes"),
    )
    keys = [problem.split(":")[0] for problem in problems(document)]
    meant = ["registry.api.login.secret"] if written == "cloudray" else []
    assert sorted(keys) == sorted(
        [
            "registry.type",
            "registry.endpoint",
            "registry.usrname",
            *meant,
            "consumers[0].type",
            "consumers[0].url",
            "consumers[0].signing_key",
            "consumers[0].repository",
            "consumers[0].secret",
            "consumers[0].auth",
            "consumers[2].type",
            "consumers[2].optional",
        ]
    )


def test_a_key_named_like_a_type_is_told_from_the_type() -> None:
    """Pydantic names the branch of a union as if it were a key."""
    document = changed(("consumers.2.webhook", {"url": 1}), ("consumers.2.url", 5))
    keys = [problem.split(": ")[0] for problem in problems(document)]
    assert sorted(keys) == ["consumers[2].url", "consumers[2].webhook"]


def test_no_problem_quotes_a_value() -> None:
    """Somebody may have put a password where none belongs."""
    marker = "Canary-" + "x" * 20
    for place in ("registry.username.x", "registry.endpoint", "store.name", "consumers.0.type", "policy.ready_for"):
        spoilt = changed((place.removesuffix(".x"), {marker: marker} if place.endswith(".x") else f"{marker} :?#@"))
        assert marker not in "".join(problems(spoilt))


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("90s", timedelta(seconds=90)),
        ("1 second", timedelta(seconds=1)),
        ("20m", timedelta(minutes=20)),
        ("1 minute", timedelta(minutes=1)),
        ("24h", timedelta(hours=24)),
        ("2 hours", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("30 days", timedelta(days=30)),
        ("0s", timedelta(0)),
    ],
)
def test_durations(written: str, read_as: timedelta) -> None:
    assert read(changed(("policy.ready_for", written))).policy.ready_for == read_as


@pytest.mark.parametrize(
    "written", ["", "s", "1", "-1s", "1.5h", "1  h", "1h\n", "1 w", "٣ days", "1" * 10 + "s", None]
)
def test_what_is_no_duration(written: object) -> None:
    assert problems(changed(("policy.ready_for", written))) == [f"policy.ready_for: {DURATION}"]


@pytest.mark.parametrize("name", ["a", "prod-images", "0", "a" * 63])
def test_names_of_registries(name: str) -> None:
    assert read(changed(("registry.name", name))).registry.name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a b", "a/b", "a\n", "a" * 64, "ä"])
def test_what_is_no_name_of_a_registry(name: str) -> None:
    assert problems(changed(("registry.name", name))) == [
        "registry.name: must be lower case letters, digits and hyphens, at most 63, with a letter or digit at both ends"
    ]


def test_what_is_stored_is_read_back_and_the_same_document_gives_the_same_bytes() -> None:
    """`plan push` compares bytes to find out whether anything changed."""
    document = good()
    stored = to_stored(document)
    assert from_stored(stored) == read(document)
    assert to_stored(dict(reversed(document.items()))) == stored
    assert json.loads(stored) == {"format": 1, "plan": document}


@pytest.mark.parametrize(
    "stored",
    [b"", b"{", b"[]", b"{}", b'{"format":2,"plan":{}}', b'{"format":1}', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "cut", "list", "no format", "newer", "no plan", "no UTF-8", "deep"],
)
def test_what_this_release_did_not_store_is_refused(stored: bytes) -> None:
    with pytest.raises(FormatUnknown, match="push it again"):
        from_stored(stored)


def test_a_stored_plan_that_breaks_the_rules_is_refused_with_its_problems() -> None:
    with pytest.raises(PlanInvalid, match=r"registry: missing"):
        from_stored(b'{"format":1,"plan":{}}')


VALUES: list[Any] = [
    None, True, 0, -1, 10**30, 1.5, "", "x", "\ud800", "\x00", "1h", "type", [], {}, [[]], {"type": "http"}, "a" * 2000
]  # fmt: skip


def mutated(value: Any, chance: random.Random) -> Any:  # noqa: ANN401 (a JSON value)
    """Return the value with one place in it replaced, removed or doubled."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.85:
        key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
        act = chance.random()
        if act < 0.15:
            del value[key]
        elif act < 0.25 and isinstance(value, dict):
            value[chance.choice(["x", "", "type", "[key]", "\n"])] = value[key]
        else:
            value[key] = mutated(value[key], chance)
        return value
    return copy.deepcopy(chance.choice(VALUES))


def test_no_document_gives_anything_but_a_plan_or_its_problems() -> None:
    """Any exception of another kind would reach a person as a fault in Rekey."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311 (to find mistakes, not to hide anything)
    refused = 0
    for turn in range(1500):
        document = good()
        if turn % 3:
            document["registry"] = json.loads(
                json.dumps([HTTP_REGISTRY, HARBOR_REGISTRY, GITEA_REGISTRY, MANUAL_REGISTRY][turn // 3 % 4])
            )
        if turn % 2:
            document["store"] = copy.deepcopy(VAULT_STORE)
        for _ in range(chance.randint(1, 3)):
            document = mutated(document, chance)
        try:
            read(document)
        except PlanInvalid as invalid:
            refused += bool(invalid.problems)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {document}") from error
    assert refused > 500, f"seed {seed}: the mutations spoil too little"
