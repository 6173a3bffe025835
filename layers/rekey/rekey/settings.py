"""What a function's environment says, typed. template.yaml is where the values stand."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from rekey.errors import InputInvalid

_ASKS_WITHIN = 10
"""How often a registry is asked within `prove_within`."""


def _seconds(value: str) -> timedelta:
    return timedelta(seconds=float(value))


@dataclass(frozen=True)
class Settings:
    """The environment of a function. What one function does not need is empty there."""

    stack: str
    ledger_table: str
    escrow_table: str
    bucket: str
    bus: str
    state_machine_arn: str
    escrow_key_id: str
    signing_key_id: str
    webhook_sources: Mapping[str, Mapping[str, str]]
    prove_within: timedelta
    """How long a registry that cannot be asked holds back a password it has confirmed."""
    refusal_pause: timedelta
    """Between the two refusals that count as one."""
    escrow_within: timedelta
    """Kept free after the reset call: for the escrow's write with its retries, else the store's."""
    drain_margin: timedelta
    longest_timeout: timedelta
    """The longest function timeout: for so long a function of a dead execution may still run."""
    snapshot_within: timedelta
    again_after: tuple[timedelta, ...]
    """Waits before the tick starts an unfinished rotation again; the last one repeats."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the environment. Raises InputInvalid, naming the variable, where a value cannot be read."""
        values = os.environ if env is None else env

        def duration(name: str, default: str) -> timedelta:
            try:
                return _seconds(values.get(name, default))
            except ValueError:
                raise InputInvalid(f"the environment variable {name} is no number of seconds") from None

        try:
            sources = json.loads(values.get("REKEY_WEBHOOK_SOURCES") or "{}")
            again = tuple(_seconds(part) for part in values.get("REKEY_AGAIN_AFTER", "60,120,300,900,1800").split(","))
        except ValueError:
            raise InputInvalid("REKEY_WEBHOOK_SOURCES must be JSON, REKEY_AGAIN_AFTER seconds with commas") from None
        return cls(
            stack=values.get("REKEY_STACK", ""),
            ledger_table=values.get("REKEY_LEDGER_TABLE", ""),
            escrow_table=values.get("REKEY_ESCROW_TABLE", ""),
            bucket=values.get("REKEY_BUCKET", ""),
            bus=values.get("REKEY_BUS", ""),
            state_machine_arn=values.get("REKEY_STATE_MACHINE_ARN", ""),
            escrow_key_id=values.get("REKEY_ESCROW_KEY_ID", ""),
            signing_key_id=values.get("REKEY_SIGNING_KEY_ID", ""),
            webhook_sources=sources,
            prove_within=duration("REKEY_PROVE_WITHIN", "60"),
            refusal_pause=duration("REKEY_REFUSAL_PAUSE", "3"),
            escrow_within=duration("REKEY_ESCROW_WITHIN", "30"),
            drain_margin=duration("REKEY_DRAIN_MARGIN", "30"),
            longest_timeout=duration("REKEY_LONGEST_TIMEOUT", "300"),
            snapshot_within=duration("REKEY_SNAPSHOT_WITHIN", "20"),
            again_after=again,
        )

    @property
    def ask_again(self) -> timedelta:
        """How long to wait before a registry that gave no verdict is asked again: each is a pass of an execution."""
        return max(self.refusal_pause, self.prove_within / _ASKS_WITHIN)

    def again_in(self, tries: int) -> timedelta:
        """Return how long the tick waits after so many tries."""
        return self.again_after[min(tries, len(self.again_after) - 1)]
