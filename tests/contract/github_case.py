"""Contract case: Actions secrets of repositories, reached by a pattern as a GitHub App."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekey.model.plan import GitHubSecret
from rekey.model.verdict import ConsumerVerdict
from tests.contract.consumer_case import ConsumerCase
from tests.sandbox.github import GitHub

if TYPE_CHECKING:
    from rekey.contracts import Delivery
    from tests.contract.world import World
    from tests.sandbox.wire import Request

SECRET = "REGISTRY_PASSWORD"  # noqa: S105 - its name


class GitHubCase(ConsumerCase[GitHub]):
    type = "github-secret"
    verdict = ConsumerVerdict.WRITTEN
    can_be_unchanged = False

    def __init__(self, world: World, server: GitHub, count: int) -> None:
        super().__init__(world, server, count)
        app = server.access.create_app()
        self.auth = world.credential(
            "github-app",
            server.url,
            app_id=str(app.id),
            installation_id=str(server.access.install(app, "acme")),
            private_key=app.private_key,
        )
        for repository in self._repositories():
            server.add_repository(repository)
            server.set_secret(repository, SECRET, world.new_secret())

    def parts(self) -> list[GitHubSecret]:
        return [
            GitHubSecret(
                name="services",
                type="github-secret",
                repositories="acme/svc-*",
                secret=SECRET,
                auth=self.auth,
                api=self.server.url,
            )
        ]

    def names(self) -> list[str]:
        return [f"services/{repository}" for repository in self._repositories()]

    def has(self, consumer: str, delivery: Delivery) -> bool:
        value = self.server.secret(consumer.removeprefix("services/"), SECRET)
        return value == delivery.password.reveal()

    def is_write(self, request: Request) -> bool:
        return request.method == "PUT"

    def _repositories(self) -> list[str]:
        return [f"acme/svc-{number}" for number in range(self.count)]
