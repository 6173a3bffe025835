"""What the registry contract needs of each adapter: a real registry, a control plane, an outage of either."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from rekey.model import plan
from rekey.model.password import Password
from rekey.registries.cloudraya import CloudRayaRegistry
from rekey.registries.gitea import GiteaRegistry
from rekey.registries.harbor import HarborRegistry
from rekey.registries.http import HttpRegistry
from rekey.registries.manual import ManualRegistry
from rekey.secrets import Secrets
from tests.sandbox.cloudraya import CloudRaya
from tests.sandbox.company import ImageRegistry
from tests.sandbox.gitea import Gitea
from tests.sandbox.gitea_door import GiteaDoor, set_in
from tests.sandbox.harbor import Harbor
from tests.sandbox.harbor_robots import problem
from tests.sandbox.images import namespace_of
from tests.sandbox.wire import Response
from tests.unit.registry_api import SmallApi, credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack

    from rekey.contracts import GeneratesPassword, Manual, Registry, TakesPassword
    from tests.sandbox.aws import AwsSandbox
    from tests.sandbox.http_server import HttpServer

NAME = "prod-images"


class RealRegistry(ImageRegistry, Protocol):
    """A real registry of any kind."""

    def stop(self) -> None:
        """End it; connections are refused from now on."""


class RegistryCase(ABC):
    """One adapter for a user of its own in a real registry."""

    adapter: Registry
    prefix = "user-"

    def __init__(self, real: RealRegistry) -> None:
        self.real = real
        self.user = f"{self.prefix}{secrets.token_hex(4)}"
        self.password = Password(secrets.token_urlsafe(16))
        real.add_user(self.user, self.password.reveal())

    @property
    def namespace(self) -> str:
        """Where this user's images are."""
        return namespace_of(self.user)

    @property
    def common(self) -> dict[str, str]:
        """The part of the plan that every registry has."""
        return {"name": NAME, "endpoint": self.real.url, "username": self.user}

    @abstractmethod
    def take_away(self) -> None:
        """Stop what `check` asks."""


class ManualCase(RegistryCase):
    """There is nothing but the registry, and a person."""

    adapter: Manual

    def __init__(self, real: RealRegistry, aws: AwsSandbox, _exit: ExitStack) -> None:
        super().__init__(real)
        part = plan.ManualRegistry.model_validate(
            {**self.common, "type": "manual", "where": "press the button", "settle": "3s"}
        )
        self.adapter = ManualRegistry(part, Secrets(NAME, aws.client("secretsmanager")))

    def take_away(self) -> None:
        self.real.stop()


class GeneratingCase(RegistryCase):
    """A control plane makes the passwords up."""

    adapter: GeneratesPassword
    api: HttpServer
    reset_path: str

    @property
    @abstractmethod
    def made(self) -> list[str]:
        """The passwords that were made, in order."""

    def take_away(self) -> None:
        self.api.stop()

    def resets(self) -> int:
        """Return how many reset calls arrived, whatever became of them."""
        return len(self.api.requests(path=self.reset_path))


class HttpCase(GeneratingCase):
    """Described in the plan, down to where in a list the password is."""

    api: SmallApi

    def __init__(self, real: RealRegistry, aws: AwsSandbox, leave: ExitStack) -> None:
        super().__init__(real)
        self.api = leave.enter_context(SmallApi(self.user, real))
        self.reset_path = f"/users/{self.user}/rotate"
        resolver, secret = credentials(aws, NAME, self.api.host, token=self.api.key)
        part = plan.HttpRegistry.model_validate(
            {
                **self.common,
                "type": "http",
                "api": {
                    "url": self.api.url,
                    "login": {"secret": secret},
                    "health": "/status",
                    "reset": {"path": self.reset_path, "password_at": "/result/0/secret", "timeout": "5s"},
                },
                "alphabet": {"min_length": 32, "max_length": 32},
            }
        )
        self.adapter = HttpRegistry(part, resolver)

    @property
    def made(self) -> list[str]:
        return self.api.made


class CloudRayaCase(GeneratingCase):
    """By the vendor's conventions alone."""

    api: CloudRaya

    def __init__(self, real: RealRegistry, aws: AwsSandbox, leave: ExitStack) -> None:
        super().__init__(real)
        self.api = leave.enter_context(CloudRaya())
        self.reset_path = "/image-registry/v1/registries/781/reset-password"
        self.api.add_registry("781", self.user, real)
        email, password = "robot@example.test", secrets.token_urlsafe(12)
        self.api.add_login(email, password)
        resolver, secret = credentials(aws, NAME, self.api.host, email=email, password=password)
        part = plan.CloudRayaRegistry.model_validate(
            {
                **self.common,
                "type": "cloudraya",
                "api": {"url": self.api.url, "login": {"secret": secret}, "registry_id": "781"},
            }
        )
        self.adapter = CloudRayaRegistry(part, resolver)

    @property
    def made(self) -> list[str]:
        return [reset.password for reset in self.api.resets("781")]


class TakingCase(RegistryCase):
    """A control plane takes a password of ours."""

    adapter: TakesPassword
    api: HttpServer

    @abstractmethod
    def calls(self) -> int:
        """Return how many calls that set a password arrived, whatever became of them."""

    @abstractmethod
    def sets(self) -> list[str]:
        """Return the passwords that were put in force, in order."""

    @abstractmethod
    def no(self, status: int) -> Response:
        """Return an answer with which this API says that nothing was set."""

    def take_away(self) -> None:
        self.api.stop()


class HarborCase(TakingCase):
    """A robot account of a project."""

    api: Harbor
    prefix = "robot$shop+"

    def __init__(self, real: RealRegistry, aws: AwsSandbox, leave: ExitStack) -> None:
        super().__init__(real)
        self.api = leave.enter_context(Harbor())
        name = self.user.removeprefix(self.prefix)
        self.robot = self.api.add_robot(name, self.password.reveal(), project="shop", accounts=real)
        resolver, secret = credentials(aws, NAME, self.api.host, username="admin", password=self.api.admin)
        part = plan.HarborRegistry.model_validate(
            {
                **self.common,
                "type": "harbor",
                "api": {"url": self.api.url, "login": {"secret": secret}, "robot_id": self.robot.id, "timeout": "5s"},
            }
        )
        self.adapter = HarborRegistry(part, resolver)

    def calls(self) -> int:
        return len(self.api.requests("PATCH"))

    def sets(self) -> list[str]:
        return self.api.sets(self.robot.id)

    def no(self, status: int) -> Response:
        return problem(status, "SOME_CODE", "no, and here is a s3cret")


class GiteaCase(TakingCase):
    """A user of Gitea, whose own the registry is."""

    api: GiteaDoor

    def __init__(self, real: RealRegistry, aws: AwsSandbox, leave: ExitStack) -> None:
        assert isinstance(real, Gitea)
        super().__init__(real)
        self.api = leave.enter_context(GiteaDoor(real))
        resolver, secret = credentials(aws, NAME, self.api.host, token=real.admin_token)
        part = plan.GiteaRegistry.model_validate(
            {**self.common, "type": "gitea", "api": {"url": self.api.url, "login": {"secret": secret}, "timeout": "5s"}}
        )
        self.adapter = GiteaRegistry(part, resolver)

    @property
    def namespace(self) -> str:
        return self.user

    def calls(self) -> int:
        return len([one for one in self.api.requests("PATCH") if set_in(one)])

    def sets(self) -> list[str]:
        return self.api.sets(self.user)

    def no(self, status: int) -> Response:
        return Response.json({"message": "no, and here is a s3cret", "url": "https://gitea.test/api/swagger"}, status)


CASES: Mapping[str, Callable[[RealRegistry, AwsSandbox, ExitStack], RegistryCase]] = {
    "http": HttpCase,
    "cloudraya": CloudRayaCase,
    "harbor": HarborCase,
    "gitea": GiteaCase,
    "manual": ManualCase,
}
"""The type of the plan → how its case is made."""
