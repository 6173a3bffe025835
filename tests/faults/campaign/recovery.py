"""Asks for a rotation, and lets the system come back for it as in production: by itself and by the tick."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from rekey.bus import PASTED, PASTED_SOURCE, Told
from rekey.model.password import Password
from rekey.model.rotation import Phase
from rekey.model.state import Outcome
from rekey.records import pasting, resuming
from rekey.steps.trigger import execution_name
from tests.e2e import rotating
from tests.sandbox.aws_stepfunctions import status_of
from tests.sandbox.faults import answer
from tests.sandbox.wire import Response

if TYPE_CHECKING:
    from tests.faults.campaign.setting import Setting
    from tests.sandbox.world import World

WITHIN = 150.0
"""Seconds after which a rotation does not converge any more: several takeovers fit into it."""
_DELETED = 1
"""Executions of a case that are deleted at most."""
_POLL = 0.05
_TICK = 1.0  # seconds between two ticks, where production has a minute
_GONE = answer(Response.json({"message": "gone"}, 410))
_ticking = threading.Lock()
_ticked: WeakKeyDictionary[World, float] = WeakKeyDictionary()


class NotConvergedError(Exception):
    """The rotation is not over, and nothing comes of the tick any more."""


def ask(setting: Setting) -> None:
    """Put the alert on the bus."""
    setting.company.ask()


def rotate_but_for_one(setting: Setting) -> None:
    """Rotate while the webhook's receiver refuses for good: it has not got the password."""
    receiver = setting.servers["webhook"]
    fault = receiver.inject(_GONE, when=rotating.is_write(setting.company), times=None)
    ask(setting)
    converge(setting)
    receiver.withdraw(fault)


def deliver_again(setting: Setting) -> None:
    """Have the password in force delivered to whom lacks it, and to one of those who have it."""
    rotating.deliver(setting.company, "prod-*")


def executions(setting: Setting) -> list[str]:
    """Return the ARNs of the executions that exist, in the order of their start, without a request over the wire.

    One may have been deleted: its name is not used again.
    """
    machine = setting.world.cloud.machine_arn.replace(":stateMachine:", ":execution:")
    found: list[str] = []
    number = missing = 0
    while missing <= _DELETED:
        number += 1
        arn = f"{machine}:{execution_name(setting.company.name, number)}"
        try:
            status_of(arn)
        except KeyError:
            missing += 1
        else:
            found.append(arn)
    return found


def running(setting: Setting) -> bool:
    """Whether an execution of the company runs."""
    return any(status_of(arn) == "RUNNING" for arn in executions(setting))


def at_work(setting: Setting) -> bool:
    """Whether a function works for the company."""
    name = setting.company.name.encode()
    return any(name in work.event for work in setting.world.cloud.lambdas.at_work())


def converge(setting: Setting, *, person: bool = True) -> bool:
    """Tick until nothing is open; let a person act where one is asked for, and return whether one had to.

    Raises NotConvergedError.
    """
    deadline, had_to, next_tick = time.monotonic() + WITHIN, False, time.monotonic() + 2 * _TICK
    while time.monotonic() < deadline:
        time.sleep(_POLL)
        if running(setting) or at_work(setting):
            continue
        if person and _asks_for_a_person(setting):
            had_to = True
            _help(setting)
        elif _over(setting):
            with _ticking:  # a tick that saw it open may yet start an execution, which finds nothing to do
                pass
            if running(setting) or at_work(setting):
                continue
            return had_to
        elif time.monotonic() >= next_tick:
            tick(setting)
            next_tick = time.monotonic() + _TICK
        time.sleep(4 * _POLL)
    raise NotConvergedError(_standing(setting))


def tick(setting: Setting) -> None:
    """Let the tick come, unless it came just now: one serves every company of the world."""
    with _ticking:
        if time.monotonic() - _ticked.get(setting.world, 0.0) >= _TICK / 2:
            setting.world.cloud.tick_now()
            _ticked[setting.world] = time.monotonic()


def _over(setting: Setting) -> bool:
    return bool(executions(setting)) and not rotating.open_things(setting.company)


def _asks_for_a_person(setting: Setting) -> bool:
    """Whether a person is needed, and the bus took that: who hears nothing does not come."""
    latest = rotating.ledger(setting.company).latest(setting.company.name)
    if latest is None or latest.phase not in (Phase.NEEDS_ATTENTION, Phase.FINISHED):
        return False
    # One that was over before it was delivered again is over again where its password is refused.
    needed = latest.phase is Phase.NEEDS_ATTENTION or latest.outcome == Outcome.NEEDS_ATTENTION
    return needed and _was_told(setting)


def _was_told(setting: Setting) -> bool:
    name = setting.company.name
    told = [passed.event for passed in list(setting.world.cloud.events)]
    details = [event["detail"] for event in told if event["detail-type"] == Told.ATTENTION_NEEDED]
    return any(isinstance(detail, dict) and detail.get("registry") == name for detail in details)


def _help(setting: Setting) -> None:
    """Do what the page says: resume where the answer's password is the right one, else reset by hand and paste."""
    company, now = setting.company, datetime.now(UTC)
    ledger, escrow = rotating.ledger(company), rotating.escrow(company)
    latest = rotating.latest(company)
    attempts = ledger.attempts_of(latest)
    if attempts and attempts[-1].outcome is None and attempts[-1].refusals:
        version = setting.world.cloud.client("s3").head_object(
            Bucket=setting.world.bucket, Key=f"plans/{company.name}.json"
        )["VersionId"]
        resuming.resume(ledger, company.name, version, now)
        return
    password, setting.pasted = Password(setting.click()), True
    pasting.paste(ledger, escrow, company.name, password, now=now, clicked_at=now)
    setting.world.cloud.put_event(PASTED_SOURCE, PASTED, {"format": 1, "registry": company.name})


def _standing(setting: Setting) -> str:
    company = setting.company
    latest = rotating.ledger(company).latest(company.name)
    ends = [f"{arn.rpartition('-')[2]} {status_of(arn)}" for arn in executions(setting)]
    where = "no rotation" if latest is None else f"{latest.phase.value}: {'; '.join(latest.problems)}"
    return f"not over after {WITHIN:.0f} s; {where}; open: {rotating.open_things(company)}; executions: {ends}"
