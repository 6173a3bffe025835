"""The invariants, as assertions on what an act is about to do."""

from collections.abc import Collection

from tests.faults.search.model import LIMITS, Violation
from tests.faults.search.records import NONE
from tests.faults.search.world import MISREAD, OLD, Answer, Held, Version, World


def broken(what: str) -> Violation:
    """Return the violation."""
    return Violation(what)


def at_call(world: World, *, sending: bool = False, leaked: bool = False, forgotten: Collection[str] = ()) -> None:
    """Assert that no live password is in hand: kept, staged, or in the store and not delivered yet.

    `sending`: "called at" is written. A paste that comes after that comes too late, and the call makes it a wrong one.
    `leaked`: the one in the store was reported as leaked since, and is not worth delivering.
    `forgotten`: candidates of which a restored ledger does not know that they were set. One may be live: then this is a
    reset more than needed, of a password that no consumer has; none is lost by that.
    """
    live = world.registry.password
    for answer in world.answers:
        if answer.password == live and not (sending and answer.pasted):
            how = "" if answer.readable else " nobody understands"
            raise broken(f"a reset is called though an answer{how} with the live password is in the escrow")
    current = world.store.current
    if live == OLD or (current is not None and current.password == live):
        undelivered = current is not None and current.generation and world.consumer.password != live
        if undelivered and not leaked and not world.truth.restored:
            raise broken("a reset is called though the live password is in the store and not delivered")
        return
    if any(version.password == live and version.token not in forgotten for version in world.store.versions):
        raise broken("a reset is called though the live password is staged")


def birth(world: World, password: int) -> int:
    """Return how many requests had arrived when a password came into force."""
    births = world.truth.births
    return births[password] if 0 <= password < len(births) else NONE


def at_effect(world: World) -> None:
    """Assert that no more resets acted than one a request, and one for each answer that was lost.

    One more where somebody else reset, where the ledger was restored (it may have forgotten the one before), and for
    a paste of which nobody said when it was reset, where the old password cannot say it either.
    """
    truth = world.truth
    if truth.effects > world.arrivals + truth.lost + truth.foreign + truth.restored + truth.undated:
        raise broken(f"{truth.effects} resets acted, for {world.arrivals} requests, with {truth.lost} answers lost")


def at_login(world: World) -> None:
    """Assert that wrong logins stay within the budget."""
    if world.truth.restored:
        return  # what was counted is forgotten
    if world.truth.wrong > LIMITS.wrong_logins:
        raise broken(f"{world.truth.wrong} wrong logins")


def at_promote(world: World, before: Version | None, after: Version, *, blind: bool) -> None:
    """Assert that the store never goes back, and gets what the registry takes, unless somebody else reset it.

    `blind`: an answer may be misread, and nobody could be asked about what was read from it the first time.
    """
    if before is not None and before.generation > after.generation:
        raise broken(f"generation {after.generation} overwrites {before.generation} in the store")
    if after.password != world.registry.password and not world.truth.foreign and not blind:
        raise broken("a password that the registry does not take is promoted")
    twice = [
        password
        for generation, password in world.truth.promoted
        if generation == after.generation and password not in (after.password, MISREAD)
    ]
    untold = world.truth.foreign and world.consumer.generation < after.generation
    if twice and not untold and not world.truth.restored:
        raise broken(f"generation {after.generation} is promoted twice, with two passwords")


def at_telling(world: World, held: Held, *, tried: bool) -> None:
    """Assert that a consumer gets what the store has, tried or positively answered, and never an older generation."""
    if world.consumer.generation > held.generation:
        raise broken(f"generation {held.generation} overwrites {world.consumer.generation} at the consumer")
    if not tried:
        raise broken("a consumer is told a password that was neither tried nor positively answered")
    if not any(version.password == held.password for version in world.store.versions):
        raise broken("a consumer is told a password that the store does not have")


def at_deleting(world: World, answer: Answer | None) -> None:
    """Assert that a live password leaves the escrow only when the store has it in force."""
    if answer is None or answer.password != world.registry.password:
        return
    current = world.store.current
    if current is None or current.password != answer.password:
        raise broken("the answer with the live password is deleted though the store does not have it in force")


def at_closing(world: World, arrived: int, password: int) -> None:
    """Assert that a request is closed only by a reset that came after it."""
    if birth(world, password) <= arrived:
        raise broken("a request is closed by a reset that was called before it arrived")
