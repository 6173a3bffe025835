"""Plans for tests: one that is good, and the changes that spoil it."""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]
Step = str | int


class _Removed:
    """Its name is the same in every process: parallel test runs compare the tests' names."""

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED = _Removed()
"""In place of a value: the key is left out."""


def good() -> Document:
    """Return a plan with every kind of part in it."""
    return copy.deepcopy(_GOOD)


def changed(*changes: tuple[str, object]) -> Document:
    """Return the good plan with values put at places such as `consumers.0.auth.secret`."""
    document = good()
    for where, value in changes:
        *way, last = [int(step) if step.isdigit() else step for step in where.split(".")]
        holder: Any = document
        for step in way:
            holder = holder[step]
        if value is REMOVED:
            del holder[last]
        else:
            holder[last] = value
    return document


_GOOD: Document = {
    "registry": {
        "name": "prod-images",
        "type": "cloudraya",
        "endpoint": "registry.example.com",
        "username": "prod-images",
        "api": {"login": {"secret": "rekey/cloudraya-api"}, "registry_id": "781"},
    },
    "store": {"type": "secrets-manager", "name": "registries/prod-images"},
    "accepts": {"console": ["requested", "lost"], "siem": ["compromised"]},
    "policy": {"compromised": {"unready_consumers": "proceed"}, "ready_for": "20 minutes"},
    "consumers": [
        {
            "name": "web-ci",
            "type": "github-secret",
            "repository": "acme/web",
            "secret": "REGISTRY_PASSWORD",
            "auth": {"secret": "rekey/github-app"},
        },
        {
            "name": "prod-cluster",
            "type": "kubernetes-pull-secret",
            "cluster": {"eks": "prod"},
            "secrets": ["shop/registry", "jobs/registry"],
        },
        {
            "name": "deploy-bot",
            "type": "webhook",
            "url": "https://hooks.example.com/deploy",
            "signing_key": {"secret": "rekey/deploy-bot"},
            "optional": True,
        },
    ],
    "notify": [{"type": "sns", "topic": "arn:aws:sns:eu-west-1:123456789012:rekey"}],
}

HTTP_REGISTRY: Document = {
    "name": "prod-images",
    "type": "http",
    "endpoint": "registry.example.com:5000",
    "username": "robot",
    "api": {
        "url": "https://api.example.com/v1",
        "login": {"secret": "rekey/api"},
        "sign_in": {"path": "/login", "body": {"user": "{user}"}, "token_at": "/token"},
        "health": "/health",
        "reset": {"path": "/reset", "password_at": "/data/password", "refused_status": [409], "body": {"a": [1, None]}},
    },
}
HARBOR_REGISTRY: Document = {
    "name": "prod-images",
    "type": "harbor",
    "endpoint": "harbor.example.com",
    "username": "robot$shop+deploy",
    "api": {
        "url": "https://harbor.example.com",
        "login": {"secret": "rekey/harbor"},
        "robot_id": 7,
        "timeout": "20s",
        "settle": "1m",
    },
}
VAULT_STORE: Document = {
    "type": "vault",
    "address": "https://vault.example.com:8200",
    "path": "registries/prod-images",
    "auth": {"approle": {"secret": "rekey/vault-approle"}},
}
GITEA_REGISTRY: Document = {
    "name": "prod-images",
    "type": "gitea",
    "endpoint": "gitea.example.com",
    "username": "deploy",
    "repositories": ["deploy/web"],
    "api": {"url": "https://gitea.example.com/git", "login": {"secret": "rekey/gitea"}, "settle": "1m"},
}
MANUAL_REGISTRY: Document = {
    "name": "by-hand",
    "type": "manual",
    "endpoint": "registry.example.com",
    "username": "by-hand",
    "where": "console.example.com, Change Password",
}
