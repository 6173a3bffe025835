"""The policy that the README gives to Rekey's login, for a path of one's own."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
_MOUNT, _PATH = "secret", "registries/prod-images"
"""What the README's example has."""


def least_policy(mount: str, path: str) -> str:
    """Return the policy in HCL."""
    (text,) = re.findall(r"^```hcl\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return re.sub(rf'"{_MOUNT}/(\w+(?:/rekey)?)/{_PATH}', rf'"{mount}/\1/{path}', text).replace(
        f'"{_MOUNT}/config"', f'"{mount}/config"'
    )


def without(policy: str, place: str, *capabilities: str) -> str:
    """Return a policy that lacks capabilities on the one path in which `place` is found."""
    rules = re.findall(r"^path .*?^}\n", policy, re.MULTILINE | re.DOTALL)
    (found,) = [rule for rule in rules if place in rule.partition("{")[0]]
    listed = [name for name in re.findall(r'"(\w+)"', found.partition("{")[2]) if name not in capabilities]
    lacking = found.partition("{")[0] + "{\n  capabilities = " + str(listed or ["deny"]).replace("'", '"') + "\n}\n"
    return policy.replace(found, lacking)
