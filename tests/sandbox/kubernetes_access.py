"""Who may do what at the Kubernetes simulator: bearer tokens, and rules in the manner of RBAC."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sandbox.wire import RefusedError, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sandbox.wire import JsonObject, Request


@dataclass(frozen=True)
class Rule:
    """Allows these verbs on a resource; without a namespace everywhere, without names for every name.

    As in RBAC, a rule with names never allows `create` or `list`: those requests carry no name.
    """

    verbs: frozenset[str]
    namespace: str | None = None
    names: frozenset[str] | None = None
    resource: str = "secrets"

    @classmethod
    def of(
        cls, verbs: str, namespace: str | None = None, names: Iterable[str] | None = None, resource: str = "secrets"
    ) -> Rule:
        """Return a rule for verbs written as `get update`."""
        return cls(frozenset(verbs.split()), namespace, None if names is None else frozenset(names), resource)

    def allows(self, act: Act) -> bool:
        """Tell whether this rule allows the act."""
        return (
            act.verb in self.verbs
            and act.resource == self.resource
            and act.group == ""
            and self.namespace in {None, act.namespace}
            and (self.names is None or act.name in self.names)
        )


@dataclass(frozen=True)
class Act:
    """What somebody wants to do."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    group: str = ""


@dataclass(frozen=True)
class User:
    """A user or service account."""

    name: str
    rules: tuple[Rule, ...] = field(default=())

    def may(self, act: Act) -> bool:
        """Tell whether any rule allows the act."""
        return any(rule.allows(act) for rule in self.rules)


class Access:
    """The users, by their tokens."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    def create_token(self, name: str, *rules: Rule) -> str:
        """Make a bearer token, such as for `system:serviceaccount:rekey:rekey`."""
        token = secrets.token_urlsafe(32)
        self._users[token] = User(name, rules)
        return token

    def revoke(self, token: str) -> None:
        """Take a token back."""
        del self._users[token]

    def user(self, request: Request) -> User:
        """Return who asks; raises the refusal."""
        if "authorization" not in request.headers:
            raise refused(
                403, "Forbidden", f'forbidden: User "system:anonymous" cannot {request.method} {request.path}'
            )
        user = self._users.get(request.bearer() or "")
        if user is None:
            raise refused(401, "Unauthorized", "Unauthorized")
        return user

    def require(self, request: Request, act: Act) -> None:
        """Raise the refusal where the act is not allowed, before anything is looked up."""
        user = self.user(request)
        if not user.may(act):
            named = f'{act.resource} "{act.name}"' if act.name else act.resource
            where = f'in the namespace "{act.namespace}"' if act.namespace else "at the cluster scope"
            raise refused(
                403,
                "Forbidden",
                f'{named} is forbidden: User "{user.name}" cannot {act.verb} resource "{act.resource}" '
                f'in API group "{act.group}" {where}',
                {"name": act.name, "kind": act.resource},
            )


def status(code: int, reason: str, message: str, details: JsonObject | None = None) -> Response:
    """Return a failure as the API server writes it."""
    return Response.json(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details or {},
            "code": code,
        },
        code,
    )


def refused(code: int, reason: str, message: str, details: JsonObject | None = None) -> RefusedError:
    """Return such a failure to be raised."""
    return RefusedError(status(code, reason, message, details))
