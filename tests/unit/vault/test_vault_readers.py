"""docs/vault.md: each command and file in it does with the real server what it says."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from rekey.contracts import Candidate
from rekey.model.names import Generation
from rekey.model.password import Password
from tests.contract.store_cases import Surroundings, VaultCase, candidate, token
from tests.sandbox.registry import Registry
from tests.servers.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = (Path(__file__).parents[3] / "docs" / "vault.md").read_text(encoding="utf-8")
BLOCKS: dict[str, list[str]] = {
    kind: re.findall(rf"^```{kind}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    for kind in ("bash", "hcl", "yaml", "json")
}
PATH, HOST, USER = "registries/prod-images", "registry.example.com", "prod-images"


class Reader:
    """Somebody with the document's policy, the commands, and a home of their own; in Vault is a registry's password."""

    def __init__(self, case: VaultCase, registry: Registry, home: Path) -> None:
        self.case, self.registry, self.home = case, registry, home
        self.password = 'a"\\b$ <é>' + secrets.token_urlsafe(12)
        registry.add_user(f"user-{case.id}", self.password)
        made = Candidate(
            registry="prod-images",
            endpoint=registry.url,
            username=f"user-{case.id}",
            password=Password(self.password),
            generation=Generation(1),
            made_at=datetime.now(UTC),
        )
        case.store.promote(case.store.stage(made, secrets.token_hex(32)), None)
        name = f"reader-{case.id}"
        case.vault.server.write_policy(name, BLOCKS["hcl"][0].replace(PATH, case.path))
        self.token = case.vault.server.token([name])
        (home / "bin").mkdir()
        (home / "bin" / "vault").symlink_to(case.vault.program)
        (home / ".docker").mkdir()
        # With an empty one Docker looks for a credential helper, and some machines have one that asks.
        (home / ".docker" / "config.json").write_text('{"auths": {"none.invalid": {}}}', encoding="utf-8")

    def run(self, text: str) -> str:
        """Run a block of the document here, and return what it said."""
        for written, here in ((PATH, self.case.path), (HOST, self.registry.host), (USER, f"user-{self.case.id}")):
            text = re.sub(rf"(?<![\w/]){re.escape(written)}(?![\w/])|(?<=/data/){re.escape(written)}", here, text)
        environment = {
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "VAULT_ADDR": self.case.vault.url,
            "VAULT_TOKEN": self.token,
            "DOCKER_HOST": "tcp://127.0.0.1:1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / ".docker" / "config.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry(require("registry")) as registry:
        yield registry


@pytest.fixture
def reader(surroundings: Surroundings, registry: Registry, tmp_path: Path) -> Reader:
    return Reader(VaultCase(surroundings), registry, tmp_path)


def needs(command: str) -> None:
    """Skip where a command is not here; in CI that is a failure."""
    if shutil.which(command) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {command} on PATH")


@pytest.mark.parametrize("block", BLOCKS["bash"][1:3], ids=["vault", "curl"])
def test_docker_logs_in_with_the_password_on_stdin(reader: Reader, block: str) -> None:
    for command in ("docker", "curl", "jq"):
        needs(command)
    assert "Login Succeeded" in reader.run(block)
    entry = reader.config["auths"][reader.registry.host]
    answer = httpx.get(f"{reader.registry.url}/v2/", headers={"Authorization": f"Basic {entry['auth']}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("proven", [True, False])
def test_a_reader_can_tell_what_nobody_has_tried(reader: Reader, *, proven: bool) -> None:
    needs("jq")
    store = reader.case.store
    store.promote(store.stage(candidate(9), token()), None, proven=proven)
    assert reader.run(BLOCKS["bash"][0]).strip() == ("tried" if proven else "not tried yet")


def test_the_whole_file_at_once(reader: Reader) -> None:
    reader.run(BLOCKS["bash"][3])
    entry = reader.config["auths"][reader.registry.host]
    assert (entry["username"], entry["password"]) == (f"user-{reader.case.id}", reader.password)
    assert (reader.home / ".docker" / "config.json").stat().st_mode & 0o077 == 0


def test_vault_agent_writes_the_file(reader: Reader) -> None:
    # It looks its token up, which every token may that has the policy `default`.
    own = reader.case.vault.server.token([f"reader-{reader.case.id}"], no_default_policy=False)
    (reader.home / "token").write_text(own, encoding="utf-8")
    template = BLOCKS["hcl"][1].replace(PATH, reader.case.path).replace("/root/", f"{reader.home}/")
    config = f"""\
exit_after_auth = true
auto_auth {{
  method "token_file" {{ config = {{ token_file_path = "{reader.home}/token" }} }}
}}
{template}"""
    (reader.home / "agent.hcl").write_text(config, encoding="utf-8")
    reader.run("vault agent -config=agent.hcl")
    assert reader.config["auths"][reader.registry.host]["password"] == reader.password


def test_what_external_secrets_is_told_is_there(reader: Reader) -> None:
    """Its own controller is not: it takes a field by its whole name first (pkg/provider/vault/client_get.go)."""
    store, secret = yaml.safe_load_all(BLOCKS["yaml"][0])
    vault = store["spec"]["provider"]["vault"]
    assert (vault["path"], vault["version"]) == (reader.case.vault.mount, "v2")
    (entry,) = secret["spec"]["data"]
    assert entry["remoteRef"]["key"] == PATH
    held = reader.case.vault.fields(reader.case.path, token=reader.token)[entry["remoteRef"]["property"]]
    assert list(json.loads(str(held))["auths"]) == [reader.registry.host]
    assert (entry["secretKey"], secret["spec"]["target"]["template"]["type"]) == (
        ".dockerconfigjson",
        "kubernetes.io/dockerconfigjson",
    )


def test_the_reference_of_a_webhook_has_these_fields(reader: Reader) -> None:
    shown = json.loads(BLOCKS["json"][0])
    assert shown.keys() == {*reader.case.store.reference, "version"}
    assert shown["name"] == f"{shown['mount']}/{shown['path']}"


def test_the_fields_are_named(reader: Reader) -> None:
    table = DOCUMENT.partition("| Field |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w.]+)`", "\n".join(row.split("|")[1] for row in table.splitlines()[2:])))
    assert named == set(reader.case.vault.fields(reader.case.path, token=reader.token))


def test_a_reader_sees_no_candidate(reader: Reader) -> None:
    made = Candidate("prod-images", reader.registry.url, "u", Password("not tried"), Generation(2), datetime.now(UTC))
    reader.case.store.stage(made, secrets.token_hex(32))
    for path in (f"data/rekey/{reader.case.path}", f"metadata/rekey/{reader.case.path}"):
        url = f"{reader.case.vault.url}/v1/{reader.case.vault.mount}/{path}"
        assert httpx.get(f"{url}?list=true", headers={"X-Vault-Token": reader.token}).status_code == 403
    assert reader.case.vault.fields(reader.case.path, token=reader.token)["password"] == reader.password
