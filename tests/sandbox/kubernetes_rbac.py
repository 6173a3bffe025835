"""Identities of the real cluster: service accounts, roles and bindings, each of them made anew.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from tests.sandbox.kube_api import KubeApiRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.sandbox.kube_api import KubeApi
    from tests.sandbox.kubernetes_access import Rule

_IN_FORCE_WITHIN = 20.0
"""Seconds. The API server sees a new role when its watch tells it, and knows a revoked token for ten seconds more."""
_LOOK_EVERY = 0.02
_GROUP = "rbac.authorization.k8s.io"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_OUR_NAMESPACE = "rekey"
_WITHOUT_A_NAME = frozenset({"create", "list"})
"""Verbs whose requests carry none."""


@dataclass(frozen=True)
class _Account:
    namespace: str
    name: str
    rules: tuple[Rule, ...]


class RealAccess:
    """Makes tokens, and takes them or their rights back."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._accounts: dict[str, _Account] = {}

    def create_token(self, name: str, *rules: Rule) -> str:
        """Make a token of a fresh service account, in the namespace that `system:serviceaccount:…` names or in ours."""
        parts = name.split(":")
        namespace = parts[2] if parts[:2] == ["system", "serviceaccount"] else _OUR_NAMESPACE
        account = _Account(namespace, f"{parts[-1]}-{secrets.token_hex(4)}", rules)
        token = self._api.token(namespace, account.name)
        self._accounts[token] = account
        for number, rule in enumerate(rules):
            self._bind(account, number, rule)
        self._await_rules(token, rules, allowed=True)
        return token

    def revoke(self, token: str) -> None:
        """Delete the token's service account and return once the token is refused."""
        account = self._accounts.pop(token)
        self._api.call("DELETE", f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}")
        self._until(token, {"verb": "get", "resource": "secrets"}, allowed=None)

    def take_away(self, token: str) -> None:
        """Delete what binds rules to the token's service account and return once none is in force."""
        account = self._accounts[token]
        for number, rule in enumerate(account.rules):
            self._api.call("DELETE", f"{_path(rule)}bindings/{account.name}-{number}")
        self._await_rules(token, account.rules, allowed=False)

    def _bind(self, account: _Account, number: int, rule: Rule) -> None:
        named = {"metadata": {"name": f"{account.name}-{number}"}}
        allowed = {"apiGroups": [""], "resources": [rule.resource], "verbs": sorted(rule.verbs)}
        if rule.names is not None:
            allowed["resourceNames"] = sorted(rule.names)
        self._api.call("POST", f"{_path(rule)}s", {**named, "rules": [allowed]})
        kind = "Role" if rule.namespace else "ClusterRole"
        bound = {
            "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": f"{account.name}-{number}"},
            "subjects": [{"kind": "ServiceAccount", "namespace": account.namespace, "name": account.name}],
        }
        self._api.call("POST", f"{_path(rule)}bindings", {**named, **bound})

    def _await_rules(self, token: str, rules: tuple[Rule, ...], *, allowed: bool) -> None:
        for rule in rules:
            for wanted in _wanted(rule):
                self._until(token, wanted, allowed=allowed)

    def _until(self, token: str, wanted: Mapping[str, str], *, allowed: bool | None) -> None:
        deadline = time.monotonic() + _IN_FORCE_WITHIN
        while self._review(token, wanted) is not allowed:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{wanted}: allowed is not {allowed} within {_IN_FORCE_WITHIN} s")
            time.sleep(_LOOK_EVERY)

    def _review(self, token: str, wanted: Mapping[str, str]) -> bool | None:
        """Return whether a token's owner may do so; None where it is nobody's."""
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        try:
            answer = self._api.call("POST", _REVIEWS, {**review, "spec": {"resourceAttributes": wanted}}, token=token)
        except KubeApiRefusedError as refused:
            if refused.status == httpx.codes.UNAUTHORIZED:
                return None
            raise
        return bool(answer["status"]["allowed"])


def _path(rule: Rule) -> str:
    """Return where a rule's role is, without the plural's letter."""
    within = f"/namespaces/{rule.namespace}/role" if rule.namespace else "/clusterrole"
    return f"/apis/{_GROUP}/v1{within}"


def _wanted(rule: Rule) -> Iterator[Mapping[str, str]]:
    """Return everything that a rule allows, as an access review asks."""
    for verb in rule.verbs:
        for name in sorted(rule.names) if rule.names and verb not in _WITHOUT_A_NAME else [""]:
            yield {"verb": verb, "resource": rule.resource, "namespace": rule.namespace or "", "name": name}
