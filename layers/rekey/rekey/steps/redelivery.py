"""Redelivery: Begin takes up that a person wants the password in force delivered again."""

from datetime import datetime

from rekey.bus import Told
from rekey.errors import Conflict, Fenced, RekeyError, Superseded, Unreachable
from rekey.model.names import StoreVersion
from rekey.model.rotation import Fence, Phase, RedeliveryRequest, Rotation
from rekey.model.state import Outcome
from rekey.observability import logger
from rekey.records.ledger import forgetting, none_after
from rekey.records.redelivering import check_same_account
from rekey.steps import unclaimed
from rekey.steps.bench import Bench, last_promoted
from rekey.steps.standing import overtaken, unmet_leaks


def take_up(bench: Bench, fence: Fence, latest: Rotation | None, now: datetime) -> Rotation | None:
    """Open the rotation whose password a person wants delivered again, and return it; None where none is, or may be.

    What cannot be done is told and forgotten: it must hold no rotation back. Raises what the records raise.
    """
    request = bench.ledger.redelivery(fence.registry)
    return _Redelivery(bench, fence, request, now).take_up(latest) if request is not None else None


class _Redelivery:
    """One request, as Begin meets it."""

    def __init__(self, bench: Bench, fence: Fence, request: RedeliveryRequest, now: datetime) -> None:
        self.bench, self.fence, self.request, self.now = bench, fence, request, now

    def take_up(self, latest: Rotation | None) -> Rotation | None:
        """Return the rotation that is open to be delivered again."""
        rotation = self.bench.ledger.rotation(self.request.registry, self.request.generation)
        if latest is None or rotation is None or not rotation.completed:
            logger.warning("a delivery was asked for of a password that the ledger does not know")
            self._forget()
            return None
        stopped = self.bench.ledger.stopped_after(rotation)
        if latest.generation > rotation.generation and stopped is None:
            if latest.completed or not latest.phase.open:
                self._forget()  # that one has told everybody
            return None
        if rotation.phase is Phase.NEEDS_ATTENTION or self._another_goes_first(rotation, stopped):
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
        self.bench.ledger.forget_redelivery(self.fence, self.request)

    def _another_goes_first(self, rotation: Rotation, stopped: Rotation | None) -> bool:
        """Whether the next rotation comes before, which tells everybody: unless it was tried since, and stopped.

        Of a rotation that is open only a leak makes it come; and whatever an answer is that the ledger has forgotten.
        """
        registry = rotation.registry
        open_ = rotation.phase.open
        asked = unmet_leaks(self.bench, rotation) if open_ else self.bench.ledger.open_requests(registry)
        tried_at = stopped.finished_at if stopped is not None else None
        if any(tried_at is None or tried_at < request.arrived_at for request in asked):
            return True
        return stopped is None and unclaimed.forgotten(self.bench, rotation)

    def _opened(self, rotation: Rotation, stopped: Rotation | None) -> Rotation:
        """Write what is to be done, in one transaction: Begin then does it, and once more where it is cut off."""
        bench, registry, generation = self.bench, rotation.registry, rotation.generation
        plan, _, version = bench.plans.pushed(registry)
        check_same_account(rotation, bench.folder(registry, generation).plan(), plan)
        store = bench.store(plan)
        store.read(StoreVersion(rotation.store_version or ""))  # NotFound: there is nothing to deliver any more
        promoted = last_promoted(store)
        if overtaken(bench, rotation, promoted):
            raise Superseded(f"the store holds generation {promoted.generation if promoted else 0} by now")
        changes: dict[str, object] = {
            "phase": Phase.DELIVERING,
            "delivered_again_at": self.now,
            "deliver_to": self.request.patterns,
            "pin_again": True,
            "plan_version": version,
            "execution": self.fence.owner,
            "outcome": "",
            "problems": (),
        }
        if not rotation.phase.open:
            changes |= {"reopened": True, "cut_short": False, "finished_at": None}
            changes |= {"gap_closed_at": self._gap_closed_at(rotation)}
            changes |= {"wrong_logins": 0, "logins_spent": False, "new_refusals": 0}  # long ago: nothing of today
            if rotation.contents_unchanged is None and not rotation.contents_note:
                changes["contents_note"] = "the contents were not compared before the password was delivered again"
        also = [forgetting(self.request), none_after(rotation, stopped)]
        return bench.ledger.save_one(self.fence, rotation.having(**changes), also=also)

    def _gap_closed_at(self, rotation: Rotation) -> datetime | None:
        """Return when every consumer had the password: who is told after that had no gap, or had it closed."""
        if rotation.gap_closed_at is not None or rotation.outcome != Outcome.FINISHED:
            return rotation.gap_closed_at
        receipts = self.bench.ledger.receipts(rotation.registry, rotation.generation)
        return max((receipt.answered_at for receipt in receipts if receipt.answered_at), default=None)

    def _tell(self, rotation: Rotation, error: RekeyError) -> None:
        why = f"{rotation.id} is not delivered again: {error}. `rekey deliver {rotation.registry}` once that is mended"
        if not self.bench.bus.tell(Told.ATTENTION_NEEDED, rotation.registry, rotation=rotation.id, why=why):
            raise Unreachable("the event bus does not take that a person is needed: nothing is forgotten before")
