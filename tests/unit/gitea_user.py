"""A user of a real Gitea behind a door, and the adapter for it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from rekey.errors import RekeyError, Unfit
from rekey.model import plan
from rekey.model.password import Password
from rekey.registries.gitea import GiteaRegistry
from tests.unit.registry_api import credentials
from tests.unit.scripted_registry import fresh

if TYPE_CHECKING:
    from tests.sandbox.aws import AwsSandbox
    from tests.sandbox.gitea_door import GiteaDoor
    from tests.sandbox.wire import JsonObject, Request

NAME = "prod-images"


class User:
    """One user, and the adapter for it."""

    def __init__(self, aws: AwsSandbox, door: GiteaDoor, password: Password | None = None) -> None:
        self.aws, self.door, self.gitea = aws, door, door.gitea
        self.name, self.password = f"user-{secrets.token_hex(4)}", password or fresh()
        self.gitea.add_user(self.name, self.password.reveal())
        self.credential = {"token": self.gitea.admin_token}
        self.registry: JsonObject = {}
        self.path = f"/api/v1/admin/users/{self.name}"

    @property
    def adapter(self) -> GiteaRegistry:
        """The adapter for the plan as it is now."""
        resolver, secret = credentials(self.aws, NAME, self.door.host, **self.credential)
        document: JsonObject = {
            "name": NAME,
            "type": "gitea",
            "endpoint": self.gitea.url,
            "username": self.name,
            "api": {"url": self.door.url, "login": {"secret": secret}, "timeout": "5s"},
            **self.registry,
        }
        return GiteaRegistry(plan.GiteaRegistry.model_validate(document), resolver)

    def is_asked_about(self, request: Request) -> bool:
        """Whether a request asks what Gitea shows of this user."""
        return request.method == "GET" and request.path == f"/api/v1/users/{self.name}"

    def problem(self, error: type[RekeyError] = Unfit) -> str:
        """Return what the check finds, and see that it set nothing."""
        with pytest.raises(error) as caught:
            self.adapter.check()
        assert self.door.sets(self.name) == []
        return str(caught.value)

    def administrator(self, *scopes: str) -> None:
        """Let Rekey's own credential be an administrator's token with these scopes alone."""
        name, password = f"admin-{secrets.token_hex(4)}", fresh().reveal()
        self.gitea.add_user(name, password)
        self.gitea.change_user(name, admin=True)
        self.credential = {"token": self.gitea.token(name, password, scopes)}

    def refusal(self, password: str) -> str:
        """Return what the registry says to a password that its own rules decide about."""
        adapter = self.adapter
        adapter.prepare_reset()
        answer = adapter.set(Password(password))
        assert not adapter.took(answer)
        refusal = adapter.refusal(answer)
        assert refusal is not None
        assert password not in refusal
        assert self.gitea.lets_in(self.name, self.password.reveal())
        return refusal
