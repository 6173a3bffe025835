"""The store, by the rules of its contract (`rekey.contracts.Store`)."""

from tests.faults.search import invariants
from tests.faults.search.model import Guard, Model
from tests.faults.search.world import Version, World


def staged(world: World, token: str, password: int, generation: int) -> World | None:
    """Return the world with a candidate in the store; None where the token exists with another value."""
    new, there = Version(token, password, generation), world.store.find(token)
    if there is not None:
        return world if there == new else None
    versions = tuple(sorted([*world.store.versions, new]))
    return world._replace(store=world.store._replace(versions=versions))


def promoted(model: Model, world: World, token: str, over: str | None, *, blind: bool) -> World | None:
    """Return the world with a version in force; None where a higher generation is."""
    version, current = world.store.find(token), world.store.current
    assert version is not None
    if current == version:
        return world
    faster = current is not None and current.token != over and current.generation > version.generation
    if faster and not model.without(Guard.COMPARE_AND_SET):
        return None
    invariants.at_promote(world, current, version, blind=blind)
    truth = world.truth
    there = tuple(sorted({*truth.promoted, (version.generation, version.password)}))
    return world._replace(store=world.store._replace(current=version), truth=truth._replace(promoted=there))
