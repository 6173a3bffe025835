"""The rights that README.md gives for `kubernetes-pull-secret`: tests run with these and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.sandbox.kubernetes_access import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

README = Path(__file__).parents[2] / "README.md"
_ROLE = re.compile(
    r"^```yaml\n(apiVersion: rbac\.authorization\.k8s\.io/v1\nkind: Role\n.*?)^```$", re.MULTILINE | re.DOTALL
)


def readme_rule(namespace: str, secrets: Iterable[str]) -> Rule:
    """Return the one rule of README's Role, with this namespace and these secrets in the place of its own."""
    (text,) = _ROLE.findall(README.read_text(encoding="utf-8"))
    (rule,) = yaml.safe_load(text)["rules"]
    if rule["apiGroups"] != [""] or not rule["resourceNames"]:
        raise ValueError("README.md gives a right to more than some named objects of the core API")
    (resource,) = rule["resources"]
    return Rule(frozenset(rule["verbs"]), namespace, frozenset(secrets), resource)
