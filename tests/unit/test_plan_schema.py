"""plan.schema.json says of a plan what the model says, as far as a schema can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rekey.errors import PlanInvalid
from rekey.model.plan import read
from rekey_cli.schema import plan_schema, render
from tests.unit.plan_documents import HTTP_REGISTRY, MANUAL_REGISTRY, REMOVED, VAULT_STORE, changed, good

COMMITTED = Path(__file__).parents[2] / "plan.schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = plan_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_the_generated_one() -> None:
    """If this fails: `rekey plan schema > plan.schema.json`."""
    assert COMMITTED.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize(
    "document",
    [
        good(),
        changed(("registry", HTTP_REGISTRY)),
        changed(("registry", MANUAL_REGISTRY)),
        changed(("registry.repositories", None)),
        changed(("consumers.0.repository", None), ("consumers.0.repositories", "acme/*")),
        changed(("consumers.0.value", "docker-config"), ("consumers.0.exclusive", True)),
        changed(
            ("consumers.1.cluster", {"server": "https://k8s.example.com", "token": {"secret": "rekey/k8s"}}),
        ),
        changed(("store", VAULT_STORE)),
        changed(("store", {**VAULT_STORE, "auth": {"aws": "rekey"}})),
        changed(("notify", [])),
        changed(("policy", REMOVED)),
    ],
)
def test_what_both_take(validator: jsonschema.Draft202012Validator, document: dict[str, Any]) -> None:
    read(document)
    validator.validate(document)


@pytest.mark.parametrize(
    "change",
    [
        ("extra", 1),
        ("registry", REMOVED),
        ("registry.type", "harbour"),
        ("registry.name", "Prod"),
        ("registry.name", "a" * 64),
        ("registry.username", 5),
        ("registry.username", ""),
        ("registry.username", "a:b"),
        ("registry.max_wrong_logins", 0),
        ("registry.max_wrong_logins", "3"),
        ("registry.api.registry_id", 781),
        ("registry.ca", "MIIB"),
        ("store.type", "vault9"),
        ("store", {**VAULT_STORE, "auth": {}}),
        ("store", {**VAULT_STORE, "mount": "/secret"}),
        ("store", {**VAULT_STORE, "auth": {"approle": {"secret": "rekey/approle"}}}),
        ("store", {**VAULT_STORE, "name": "x"}),
        ("accepts", {}),
        ("accepts", {"console": []}),
        ("accepts", {"console": ["asked"]}),
        ("accepts", {"console": ["lost", "lost"]}),
        ("accepts", {"My Source": ["lost"]}),
        ("policy", None),
        ("policy.ready_for", 30),
        ("policy.ready_for", "20 weeks"),
        ("consumers", []),
        ("consumers.0.type", "gitub-secret"),
        ("consumers.0.repositories", "acme/*"),
        ("consumers.0.repository", REMOVED),
        ("consumers.0.value", "docker-config"),
        ("consumers.0.optional", "yes"),
        ("consumers.0.secret", "1A"),
        ("consumers.0.auth.secret", "github"),
        ("consumers.1.cluster", {}),
        ("consumers.1.cluster", {"eks": "a", "server": "https://b.example"}),
        ("consumers.1.secrets", ["registry"]),
        ("consumers.1.secrets", ["a/b", "a/b"]),
        ("notify.0.topic", "rekey"),
    ],
    ids=str,
)
def test_what_both_refuse(validator: jsonschema.Draft202012Validator, change: tuple[str, object]) -> None:
    document = changed(change)
    with pytest.raises(PlanInvalid):
        read(document)
    assert not validator.is_valid(document)


@pytest.mark.parametrize(
    "change",
    [
        ("registry.endpoint", "http://registry.example.com"),
        ("consumers.1.name", "web-ci"),
        ("consumers.0.secret", "GITHUB_TOKEN"),
        ("store.name", "rekey/x"),
        ("policy.ready_for", "9999 days"),
    ],
    ids=str,
)
def test_what_only_the_model_can_say(validator: jsonschema.Draft202012Validator, change: tuple[str, object]) -> None:
    """So `plan check` is needed beside an editor; a rule that moves into the schema moves out of this list."""
    document = changed(change)
    with pytest.raises(PlanInvalid):
        read(document)
    assert validator.is_valid(document)


def test_defaults_in_the_schema_can_be_written_in_a_plan(validator: jsonschema.Draft202012Validator) -> None:
    """Editors insert them."""
    policy = plan_schema()["$defs"]["Policy"]["properties"]
    defaults = {name: part["default"] for name, part in policy.items() if "default" in part}
    assert set(defaults) >= {"ready_for", "recover_for"}
    document = changed(("policy", defaults))
    validator.validate(document)
    assert read(document).policy.recover_for == read(changed(("policy", REMOVED))).policy.recover_for


def test_the_docstring_under_a_field_is_its_description() -> None:
    """Those of a base class included."""
    parts = json.loads(render())["$defs"]
    assert parts["CloudRayaRegistry"]["properties"]["endpoint"]["description"].startswith("Host of the registry")
    assert parts["GitHubSecret"]["properties"]["optional"]["description"].startswith("True: the gate passes")
    assert plan_schema()["properties"]["accepts"]["description"].startswith("Source of a request")
