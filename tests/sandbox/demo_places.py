"""Where the password is used in the sandbox's company, read from the plan and looked at in the services themselves."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.company import Company


@dataclass(frozen=True)
class Place:
    """One consumer as it should be called in the evidence, and what it would use now. None: it has nothing."""

    name: str
    type: str
    seen_as: str
    """Who sees the password there."""
    password: Callable[[], str | None]


def places(company: Company) -> list[Place]:
    """Return every place that must have the password, in the order of the plan."""
    return [place for part in company.document["consumers"] for place in _places_of(company, part)]


def repositories_of(company: Company, part: dict[str, Any]) -> list[str]:
    """Return the repositories that an entry of type `github-secret` is about."""
    if "repository" in part:
        return [part["repository"]]
    return [name for name in company.repositories if fnmatchcase(name, part["repositories"])]


def _places_of(company: Company, part: dict[str, Any]) -> list[Place]:
    name, kind, world = str(part["name"]), str(part["type"]), company.world
    match kind:
        case "github-secret":
            single = "repository" in part
            return [
                Place(
                    name if single else f"{name}/{repository}",
                    kind,
                    "a job",
                    lambda repository=repository: world.github.secret(repository, part["secret"]),  # type: ignore[misc]
                )
                for repository in repositories_of(company, part)
            ]
        case "kubernetes-pull-secret":
            return [
                Place(f"{name}/{secret}", kind, "a pod", lambda secret=secret: company.pull_passwords()[secret])  # type: ignore[misc]
                for secret in part["secrets"]
            ]
        case "webhook":
            return [Place(name, kind, "the receiver", lambda: _received(company))]
        case _:
            raise ValueError(f"the demo cannot look into a consumer of type {kind}")


def _received(company: Company) -> str | None:
    """Return what the store gave for the reference in the last message that was taken."""
    deliveries = company.world.receiver.deliveries
    return deliveries[-1].value if deliveries else None
