"""How a person talks to the running sandbox: the environment to read in, and the commands to try."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.company import Company

_REKEY = Path(sys.executable).with_name("rekey")
_PASTED_WITHIN = 60  # seconds
_COMMAND_LINE_NEEDS = (
    "REKEY_STACK",
    "REKEY_LEDGER_TABLE",
    "REKEY_ESCROW_TABLE",
    "REKEY_ESCROW_KEY_ID",
    "REKEY_BUCKET",
    "REKEY_BUS",
)
# A generated password holds quotes, backslashes and dollar signs: it goes through pipes, never through a command line.
_FUNCTIONS = """\
registry_password() {{ {read}; }}
registry_curl() {{ registry_password | {python} -c {configure} {user} | curl -sS --config - "$@"; }}
"""
_CONFIGURE = """\
import json, sys
print("user = " + json.dumps(sys.argv[1] + ":" + sys.stdin.read()))"""


class PasteError(Exception):
    """`rekey paste` did not take the password; the text is what it said."""


class Talk:
    """The commands for one company of the sandbox.

    `folder` gets a file that a shell reads in. `private` ends with the sandbox, and with it what a login leaves there.
    """

    def __init__(self, company: Company, folder: Path, private: Path) -> None:
        self._company = company
        self._file = folder / "sandbox.env"
        self._auth = private / "auth.json"

    def write_environment(self) -> None:
        """Write where `aws` and `rekey` find the sandbox, and a shell function that gives the password of now."""
        environment, read = self._company.store.reading()
        exported = {**self._environment(), **environment}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in exported.items()]
        functions = _FUNCTIONS.format(
            python=shlex.quote(sys.executable),
            read=shlex.join(read),
            configure=shlex.quote(_CONFIGURE),
            user=shlex.quote(self._company.username),
        )
        self._file.write_text("".join(lines) + functions, encoding="utf-8")

    def remove_environment(self) -> None:
        """Remove the file: soon there is nothing to find any more."""
        self._file.unlink(missing_ok=True)

    def to_look(self) -> list[str]:
        """Return what a person may try against the running sandbox."""
        company = self._company
        host, user = company.registry.host, company.username
        image = company.document["registry"]["repositories"][0]
        auth = f"--tls-verify=false --authfile {shlex.quote(str(self._auth))}"
        return [
            *self._read_in(),
            "Log in with the password that the store has:",
            f"  registry_password | docker login --username {user} --password-stdin {host}",
            f"  registry_password | skopeo login {auth} --username {user} --password-stdin {host}",
            f"  skopeo inspect {auth} docker://{host}/{image}:latest",
            f"  registry_curl http://{host}/v2/_catalog",
            "Look at what was written down:",
            f"  {_short(_REKEY)} status {user}",
            f"  aws s3 ls --recursive s3://{company.world.bucket}/rotations/",
            f"  aws dynamodb scan --table-name {self._environment()['REKEY_LEDGER_TABLE']}",
        ]

    def to_paste(self) -> list[str]:
        """Return what a person does for a registry that is reset by hand."""
        click, paste = f"curl -sS -X POST {self._dashboard}", f"{_short(_REKEY)} paste {self._company.name}"
        return [
            *self._read_in(),
            "Click Change Password (it shows the new password, once), and hand that over:",
            f"  {click}",
            f"  {paste}",
            "Or both at once:",
            f"  {click} | {paste}",
        ]

    def click(self) -> str:
        """Press Change Password in the dashboard, and return the password it shows."""
        return httpx.post(self._dashboard).raise_for_status().text.removesuffix("\n")

    def paste(self, password: str) -> str:
        """Hand a password over through the real command line, and return what that says. Raises PasteError."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REKEY_"))}
        try:
            done = subprocess.run(
                [_REKEY, "paste", self._company.name],
                input=password,
                env={**own, **self._environment()},
                capture_output=True,
                text=True,
                timeout=_PASTED_WITHIN,
                check=False,
            )
        except OSError:
            raise PasteError(f"there is no {_REKEY}: `make demo` installs it") from None
        except subprocess.TimeoutExpired:
            raise PasteError(f"`rekey paste` took longer than {_PASTED_WITHIN} s") from None
        said = done.stderr.strip()
        if done.returncode:
            raise PasteError(f"`rekey paste` ended with status {done.returncode}: {said}")
        return said

    @property
    def _dashboard(self) -> str:
        return f"{self._company.world.cloudraya.url}/dashboard/registries/{self._company.name}/change-password"

    def _read_in(self) -> list[str]:
        return [
            "In another terminal, in this folder:",
            f"  . {_short(self._file)}",
            "which says, among other things:",
            *(f"  export {name}={value}" for name, value in self._environment().items() if name.startswith("AWS_END")),
        ]

    def _environment(self) -> Mapping[str, str]:
        cloud = self._company.world.cloud
        settings: dict[str, str] = {}
        for function in cloud.stack.functions:
            settings.update(function.environment)
        return {**cloud.env, **{name: settings[name] for name in _COMMAND_LINE_NEEDS}}


def _short(path: Path) -> str:
    """Return a path as one types it here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
