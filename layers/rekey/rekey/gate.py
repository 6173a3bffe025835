"""The gate before the reset: go or not, decided once, from what was checked. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rekey.model.plan import Policy
from rekey.model.request import Reason, Request, RequestState
from rekey.model.rotation import Rotation
from rekey.wording import some


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `problem` is empty where it is well."""

    what: str
    problem: str = ""
    waivable: bool = False
    """Whether a policy may let the gate pass without it: consumers, never store, escrow or the registry's API."""
    can_wait: bool = False
    """Whether it stops only what can be tried again later: a leak or a lost password goes on."""
    optional: bool = False
    """Whether the plan says that the gate passes without it."""

    def __str__(self) -> str:
        return f"{self.what}: {self.problem}"


@dataclass(frozen=True)
class Decision:
    """What the gate says. `problems` stop it; `waived` are what it passes over, to be said in the evidence."""

    go: bool
    reason: Reason | None
    problems: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()


def met(requests: Sequence[Request], *rotations: Rotation | None) -> list[Request]:
    """Return the open requests that the completed reset of one of these rotations meets."""
    resets = [each.called_at for each in rotations if each is not None and each.completed and each.called_at]
    return [one for one in requests if one.state is RequestState.OPEN and any(map(one.is_met_by, resets))]


def decide(checks: Sequence[Check], requests: Sequence[Request], policy: Policy) -> Decision:
    """Return whether to reset. Not ready is no failure: nothing has happened, and each problem says what to mend."""
    if not requests:
        return Decision(go=False, reason=None, problems=("nothing asks for a new password any more",))
    reason = max((request.reason for request in requests), key=lambda one: one.urgency)
    strict = policy.unready_consumers_stop(reason)
    failed = [check for check in checks if check.problem]
    urgent = reason in (Reason.COMPROMISED, Reason.LOST)
    passed_over = [
        check for check in failed if check.optional or (check.waivable and not strict) or (check.can_wait and urgent)
    ]
    problems = some([str(check) for check in failed if check not in passed_over])
    waived = some([str(check) for check in passed_over])
    return Decision(go=not problems, reason=reason, problems=problems, waived=waived)
