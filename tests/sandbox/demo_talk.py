"""How a person talks to the running sandbox: where everything is, and the commands to try."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.world import Company

_REKEY = Path(sys.executable).with_name("rekey")
_ENV_FILE = "sandbox.env"
_PASTED_WITHIN = 60  # seconds
# The password has signs in it that a shell would take for its own: it goes from program to program, never as a word.
_READ = "import json, sys; print(json.load(sys.stdin)['password'], end='')"


class PasteError(Exception):
    """`rekey paste` did not take the password; the text is what it said."""


class Talk:
    """The commands for one company of the sandbox. `folder` gets the file with its environment."""

    def __init__(self, company: Company, folder: Path) -> None:
        self._company = company
        self._file = folder / _ENV_FILE

    def write_environment(self) -> None:
        """Write the variables with which `aws` and `rekey` find the sandbox, for a shell to read."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self._environment().items()]
        self._file.write_text("".join(lines), encoding="utf-8")

    def remove_environment(self) -> None:
        """Remove the file: there is nothing to find any more."""
        self._file.unlink(missing_ok=True)

    def click_command(self) -> str:
        """Return the command that presses Change Password in the dashboard, and shows the new password."""
        return f"curl -sS -X POST {self._dashboard}"

    def paste_command(self) -> str:
        """Return the command that hands a password over; it asks for it, or reads it from a pipe."""
        return f"{_short(_REKEY)} paste {self._company.name}"

    def to_paste(self) -> list[str]:
        """Return what a person does for a registry that is reset by hand."""
        return [
            "In another terminal, in this folder:",
            f"  . {_short(self._file)}",
            f"  {self.click_command()}    # clicks; the password is shown once",
            f"  {self.paste_command()}    # asks for it",
            "or both at once:",
            f"  {self.click_command()} | {self.paste_command()}",
        ]

    def to_look(self) -> list[str]:
        """Return what a person may try by hand against the running sandbox."""
        company, world = self._company, self._company.world
        host, user = world.registry.host, company.name
        stored = (
            f"aws secretsmanager get-secret-value --secret-id {company.secret_name} --query SecretString --output text"
        )
        without = f"{_short(Path(sys.executable))} -m tests.sandbox.demo_password {company.secret_name}"
        read = f'{without}'
        image = company.document["registry"]["repositories"][0]
        return [
            "In another terminal, in this folder:",
            f"  . {_short(self._file)}",
            "The password, as the store has it (the second way needs no aws command):",
            f"  {stored}",
            f"  {read}",
            "Log in with it:",
            f"  {read} | docker login --username {user} --password-stdin {host}",
            f"  {read} | skopeo login --tls-verify=false --authfile /tmp/auth.json --username {user} --password-stdin {host}",
            f"  skopeo inspect --tls-verify=false --authfile /tmp/auth.json docker://{host}/{image}:latest",
            f'  curl -sS -o /dev/null -w "%{{http_code}}\\n" --user "{user}:$({read})" http://{host}/v2/',
        ]
