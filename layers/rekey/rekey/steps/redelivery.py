"""Redelivery: Begin takes up that a person wants the password in force delivered again."""

from datetime import datetime

from rekey.bus import Told
from rekey.errors import Conflict, Fenced, RekeyError, Superseded, Unreachable
from rekey.model.rotation import DeliveryOrder, Fence, Phase, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import Receipt
from rekey.observability import logger
from rekey.records.ledger import forgetting, none_after
from rekey.records.redelivering import check_same_account, told_again
from rekey.steps import shards
from rekey.steps.bench import Bench, last_promoted
from rekey.steps.standing import overtaken, unmet_leaks


def take_up(bench: Bench, fence: Fence, latest: Rotation | None, now: datetime) -> Rotation | None:
    """Open the rotation whose password a person wants delivered again, and return it; None where none is, or may be.

    What cannot be done is told and forgotten: it must hold no rotation back. Raises what the records raise.
    """
    order = bench.ledger.order(fence.registry)
    return _Redelivery(bench, fence, order, now).take_up(latest) if order is not None else None


class _Redelivery:
    """One wish, as Begin meets it."""

    def __init__(self, bench: Bench, fence: Fence, order: DeliveryOrder, now: datetime) -> None:
        self.bench, self.fence, self.order, self.now = bench, fence, order, now

    def take_up(self, latest: Rotation | None) -> Rotation | None:
        """Return the rotation that is open to be delivered again."""
        rotation = self.bench.ledger.rotation(self.order.registry, self.order.generation)
        if latest is None or rotation is None or not rotation.completed:
            logger.warning("a delivery was asked for of a password that the ledger does not know")
            self._forget()
            return None
        stopped = self.bench.ledger.stopped_after(rotation)
        if latest.generation > rotation.generation and stopped is None:
            if latest.completed or not latest.phase.open:
                self._forget()  # that one has told everybody
            return None
        if rotation.phase is Phase.NEEDS_ATTENTION or self._a_leak_goes_first(rotation, stopped):
            return None
        try:
            return self._opened(rotation, stopped)
        except (Fenced, Conflict):
            raise
        except RekeyError as error:
            if not error.definite:
                raise
            self._tell(rotation, error)
            self._forget()
            return None

    def _forget(self) -> None:
        self.bench.ledger.forget_order(self.fence, self.order)

    def _a_leak_goes_first(self, rotation: Rotation, stopped: Rotation | None) -> bool:
        """Whether a leak waits for the next rotation, which tells everybody; unless that was tried, and stopped."""
        tried_at = stopped.finished_at if stopped is not None else None
        return any(tried_at is None or tried_at < leak.arrived_at for leak in unmet_leaks(self.bench, rotation))

    def _opened(self, rotation: Rotation, stopped: Rotation | None) -> Rotation:
        ledger, registry, generation = self.bench.ledger, rotation.registry, rotation.generation
        pinned = self.bench.folder(registry, generation).plan()
        promoted = last_promoted(self.bench.store(pinned))
        if overtaken(self.bench, rotation, promoted):
            raise Superseded(f"the store holds generation {promoted.generation if promoted else 0} by now")
        plan, body, version = self.bench.plans.pushed(registry)
        check_same_account(rotation, pinned, plan)
        receipts = ledger.receipts(registry, generation)
        pending = told_again(shards.cut(plan.consumers), pinned, receipts, self.order.patterns)
        ledger.replace_receipts(self.fence, generation, pending)
        changes: dict[str, object] = {
            "phase": Phase.DELIVERING,
            "delivered_again_at": self.now,
            "gap_closed_at": _gap_closed_at(rotation, receipts),
            "plan_version": version,
            "shards": shards.pin(self.bench, rotation, plan, body),
            "execution": self.fence.owner,
            "outcome": "",
            "problems": (),
        }
        if not rotation.phase.open:
            changes |= {"cut_short": False, "finished_at": None}
            changes |= {"wrong_logins": 0, "logins_spent": False, "new_refusals": 0}  # long ago: nothing of today
        if rotation.contents_unchanged is None and not rotation.contents_note:
            changes["contents_note"] = "the contents were not compared before the password was delivered again"
        also = [forgetting(self.order), none_after(rotation, stopped)]
        return ledger.save_one(self.fence, rotation.having(**changes), also=also)

    def _tell(self, rotation: Rotation, error: RekeyError) -> None:
        why = f"{rotation.id} is not delivered again: {error}. `rekey deliver {rotation.registry}` once that is mended"
        if not self.bench.bus.tell(Told.ATTENTION_NEEDED, rotation.registry, rotation=rotation.id, why=why):
            raise Unreachable("the event bus does not take that a person is needed: the wish is not forgotten before")


def _gap_closed_at(rotation: Rotation, receipts: list[Receipt]) -> datetime | None:
    """Return when every consumer had the password: who is told after that had no gap, or had it closed."""
    if rotation.gap_closed_at is not None or rotation.outcome != Outcome.FINISHED:
        return rotation.gap_closed_at
    return max((receipt.answered_at for receipt in receipts if receipt.answered_at), default=None)
