"""What the records say of one registry, for a person: where it stands, since when, what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rekey.errors import Denied, PlanInvalid, PlanMissing
from rekey.model.moment import render
from rekey.model.old_token import OldToken
from rekey.model.plan import ManualRegistry
from rekey.model.request import Request
from rekey.model.rotation import Again, AttemptOutcome, Phase, RedeliveryRequest, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import LoginVerdict, Receipt
from rekey.wording import some
from rekey_cli.stack import Stack

_WAITS_FOR_PASTE = (Phase.READY, Phase.NEEDS_ATTENTION)
_RESET = "reset it in the registry's console"


@dataclass(frozen=True)
class View:
    """One registry as it stands."""

    registry: str
    rotation: Rotation | None = None
    requests: Sequence[Request] = ()
    """Those that no completed reset has met yet."""
    receipts: Sequence[Receipt] = ()
    again: Again | None = None
    stopped: Rotation | None = None
    """The one that came after it and stopped before its reset, while it is not finished."""
    where: str = ""
    """`manual`: what the person is to do."""
    redelivery: RedeliveryRequest | None = None
    """What a person wants delivered again, as long as nobody has taken that up."""
    paste: str = ""
    """Why the last paste was not taken; empty where it was, or there was none."""

    @property
    def phase(self) -> str:
        """The rotation's phase, in words."""
        return self.rotation.phase.value.replace("_", " ") if self.rotation else "never rotated"

    @property
    def outcome(self) -> str:
        """How the last execution ended, in words; empty while one has yet to end."""
        return self.rotation.outcome.replace("_", " ") if self.rotation else ""

    @property
    def since(self) -> datetime | None:
        """When the phase began; where that is not written down, the last thing that is."""
        rotation = self.rotation
        if rotation is None:
            return None
        begun = {
            Phase.PREPARING: rotation.started_at,
            Phase.READY: rotation.ready_at,
            Phase.RESETTING: rotation.gate_at,
            Phase.DELIVERING: rotation.delivered_again_at or rotation.promoted_at,
            Phase.FINISHED: rotation.finished_at,
            Phase.STOPPED: rotation.finished_at,
        }.get(rotation.phase)
        noted = (
            rotation.gate_at,
            rotation.ready_at,
            rotation.called_at,
            rotation.promoted_at,
            rotation.new_at,
            rotation.delivered_again_at,
        )
        return begun or max([rotation.started_at, *(moment for moment in noted if moment)])

    @property
    def not_begun(self) -> str:
        """Why the last execution neither began a rotation nor took one up; empty where one did."""
        again, rotation = self.again, self.rotation
        if again is None or again.not_begun_at is None or not self._is_open:
            return ""
        return "" if rotation is not None and rotation.started_at > again.not_begun_at else again.not_begun

    @property
    def _is_open(self) -> bool:
        """Whether an execution is to come."""
        return (
            bool(self.requests)
            or self.redelivery is not None
            or (self.rotation is not None and self.rotation.phase.open)
        )

    @property
    def outlived(self) -> str:
        """The tokens that are known to have outlived the old password, and until when; empty where none is."""
        tokens = self.rotation.old_tokens if self.rotation else ()
        alive = [one for one in tokens if one.verdict is LoginVerdict.ACCEPTED]
        return "; ".join(f"a {one.kind.value} token of it, {_until(one)}" for one in alive)

    @property
    def problems(self) -> list[str]:
        """What stands in the way, the latest first."""
        said = filter(None, [self.not_begun, self._why_stopped])
        return [*said, *(self.rotation.problems if self.rotation else ())]

    @property
    def _why_stopped(self) -> str:
        return f"{self.stopped.id} stopped: {'; '.join(self.stopped.problems)}" if self.stopped else ""

    def next_step(self) -> str:
        """Return what a person is to do, or what comes by itself; empty where nothing is left."""
        waits_for_a_person = self.rotation is not None and self.rotation.phase in _WAITS_FOR_PASTE
        if self.not_begun and not waits_for_a_person:
            return f"{self.not_begun}; {self._again()}"
        return "; ".join(filter(None, [self.not_begun, self._next_of_rotation()]))

    def _next_of_rotation(self) -> str:
        rotation = self.rotation
        if rotation is None:
            return "a rotation is about to begin" if self.requests else f"`rekey rotate {self.registry}`"
        match rotation.phase:
            case Phase.READY:
                until = f" (until {_clock(rotation.ready_until)})" if rotation.ready_until else ""
                if self.paste:
                    return f"{self.paste}: `rekey paste {self.registry}` once more{until}"
                return f"{self.where or _RESET}, then `rekey paste {self.registry}`{until}"
            case Phase.NEEDS_ATTENTION:
                return "; ".join(rotation.problems) or self.paste or f"{_RESET}, then `rekey paste {self.registry}`"
            case Phase.STOPPED:
                return "; ".join([*rotation.problems, self._again()] if self.requests else rotation.problems)
            case Phase.FINISHED if self.redelivery is not None:
                asked = f"{self.registry}/{self.redelivery.generation} is to be delivered again, as was asked for at "
                return f"{asked}{_clock(self.redelivery.asked_at)}: {self._again()}"
            case Phase.FINISHED if rotation.outcome == Outcome.CONSUMERS_FAILED:
                failed = [receipt.consumer for receipt in self.receipts if not receipt.has_it]
                return f"mend {', '.join(some(failed)) or 'what failed'}, then `rekey deliver {self.registry}`"
            case Phase.FINISHED if rotation.outcome == Outcome.NEEDS_ATTENTION and not self.requests:
                return "; ".join(rotation.problems)
            case Phase.FINISHED:
                return self._again() if self.requests else ""
        again = self._again() if rotation.outcome == Outcome.UNFINISHED else ""
        return "; ".join(filter(None, [self._why_stopped, again]))

    def _again(self) -> str:
        """Return when the tick comes back."""
        due = self.again is not None and self.again.at > datetime.now(UTC)
        return f"tried again at {_clock(self.again.at)}" if self.again and due else "tried again within a minute"

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-ready values."""
        rotation = self.rotation
        return {
            "registry": self.registry,
            "generation": rotation.generation if rotation else None,
            "phase": rotation.phase.value if rotation else None,
            "since": render(self.since) if self.since else None,
            "outcome": rotation.outcome or None if rotation else None,
            "reason": rotation.reason.value if rotation else None,
            "problems": self.problems,
            "next": self.next_step(),
            "open_requests": [
                {"reason": one.reason.value, "source": one.source, "arrived": render(one.arrived_at)}
                for one in self.requests
            ],
            "old_password": _verdict(rotation.old_verdict) if rotation else None,
            "old_tokens": [_token(one) for one in rotation.old_tokens] if rotation else [],
            "new_password": _verdict(rotation.new_verdict) if rotation else None,
            "warnings": list(rotation.warnings) if rotation else [],
            "contents_unchanged": rotation.contents_unchanged if rotation else None,
            "consumers": [
                {
                    "name": one.consumer,
                    "type": one.type,
                    "outcome": one.outcome.value,
                    "verdict": one.verdict.value,
                    "reason": one.reason,
                }
                for one in self.receipts
            ],
        }


def view(stack: Stack, registry: str) -> View:
    """Return how a registry stands, with its newest rotation."""
    return view_with(stack, registry, stack.ledger.latest(registry))


def view_with(stack: Stack, registry: str, rotation: Rotation | None) -> View:
    """Return how a registry stands, with this rotation."""
    ledger = stack.ledger
    receipts = ledger.receipts(registry, rotation.generation) if rotation else []
    return View(
        registry=registry,
        rotation=rotation,
        requests=ledger.open_requests(registry),
        receipts=sorted(receipts, key=lambda receipt: receipt.consumer),
        again=ledger.again(registry),
        stopped=_stopped_after(stack, rotation) if rotation and rotation.phase.open else None,
        redelivery=ledger.redelivery(registry),
        where=_where(stack, registry) if rotation and rotation.phase is Phase.READY else "",
        paste=_refused_paste(stack, rotation) if rotation and rotation.phase in _WAITS_FOR_PASTE else "",
    )


def _stopped_after(stack: Stack, rotation: Rotation) -> Rotation | None:
    stopped = stack.ledger.stopped_after(rotation)
    return None if stopped is None or rotation.opened_after(stopped) else stopped


def _refused_paste(stack: Stack, rotation: Rotation) -> str:
    attempts = stack.ledger.attempts(rotation.registry, rotation.generation)
    return attempts[-1].said if attempts and attempts[-1].outcome is AttemptOutcome.WRONG_PASTE else ""


def _where(stack: Stack, registry: str) -> str:
    try:
        plan = stack.plans.pushed(registry)[0]
    except (Denied, PlanMissing, PlanInvalid):
        return ""  # whoever may see the ledger need not see plans
    return plan.registry.where if isinstance(plan.registry, ManualRegistry) else ""


def _clock(moment: datetime | None) -> str:
    return f"{moment.astimezone():%H:%M}" if moment else "?"


def _until(token: OldToken) -> str:
    return f"until {token.ends_at.astimezone():%Y-%m-%d %H:%M}" if token.ends_at else "and nothing says until when"


def _token(token: OldToken) -> dict[str, str | None]:
    ends = render(token.ends_at) if token.ends_at else None
    return {"kind": token.kind.value, "verdict": _verdict(token.verdict), "ends": ends}


def _verdict(verdict: LoginVerdict | None) -> str | None:
    return verdict.value if verdict else None
