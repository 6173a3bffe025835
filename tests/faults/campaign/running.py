"""Runs cases: each with a company of its own, several at the same time, all in one world that is then searched."""

from __future__ import annotations

import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.places import Run
from tests.faults.campaign import checks, recovery, table
from tests.faults.campaign.outcome import NOT_REACHED, Outcome, Target
from tests.faults.campaign.points import OF_THE_MACHINE, Case, Strike
from tests.faults.campaign.setting import Setting, world_of
from tests.faults.campaign.stops import Stop
from tests.faults.campaign.strikes import Struck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox.company import Kind
    from tests.sandbox.world import World


@dataclass
class Result:
    """What came of a case."""

    case: Case
    resets: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    had_to: bool = False
    """Whether a person had to help."""
    lost: bool = False
    leaked: int = 0
    hit: bool = False

    @property
    def converged(self) -> bool:
        """Whether everything is as it has to be."""
        return not (self.wrong or self.lost or self.leaked)

    def outcome(self, target: Target) -> Outcome:
        """Return what is written down of it."""
        what, fault = table.labels(self.case)
        return Outcome(
            target=str(target),
            case=str(self.case),
            what=what,
            kind=fault,
            converged=self.converged,
            struck=self.hit,
            resets=self.resets,
            expected_resets=(self.case.fewest_resets, self.case.most_resets),
            person=self.had_to,
            lost=self.lost,
            leaked=self.leaked,
            wrong=tuple(self.wrong),
            seconds=round(self.seconds, 1),
        )

    def __str__(self) -> str:
        end = "converged" if self.converged else "WRONG: " + "; ".join(self.wrong)
        person = ", a person helped" if self.had_to else ""
        return f"{self.case.name} {self.seconds:5.1f} s  {self.case}: {end}{person}"


def run(cases: Sequence[Case], at_once: int, target: Target) -> list[Result]:
    """Run the cases in a world of their own, `at_once` at a time; each that went wrong is printed at once."""
    with tempfile.TemporaryDirectory() as folder, world_of(target, Path(folder)) as world:
        return run_in(world, cases, at_once, target.registry)


def run_in(world: World, cases: Sequence[Case], at_once: int, kind: Kind = "cloudraya") -> list[Result]:
    """Run the cases in this world, and search everything that was written there: its functions end with that."""
    everything = Run(world)

    def one(case: Case) -> Result:
        result = _run(everything, case, kind)
        if not result.converged:
            table.say(result)
        return result

    with ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(one, cases))
    world.cloud.lambdas.close()
    found = leaks(everything)
    for result in results:
        mine = found.get(result.case.name, []) + found.get("", [])
        result.leaked = len(mine)
        if mine:
            result.wrong.append(f"leaked: {', '.join(mine)}")
            table.say(result)
    return results


def leaks(everything: Run) -> dict[str, list[str]]:
    """Return what leaked where, by the registry that it is about; under "" where it is about several."""
    found: dict[str, list[str]] = {}
    for where, canary in sorted(everything.leaked(), key=str):
        found.setdefault(canary.owner, []).append(f"{canary.name} in {where}")
    return found


def _run(everything: Run, case: Case, kind: Kind) -> Result:
    result, began = Result(case), time.monotonic()
    with Setting(everything.world, case.name, kind) as setting:
        everything.add(setting.company, setting.proxy)
        faults = [_fault(setting, strike) for strike in case.strikes]
        try:
            if case.delivers_again:
                recovery.rotate_but_for_one(setting)
            for fault in faults:
                fault.put()
            if case.delivers_again:
                recovery.deliver_again(setting)
            else:
                recovery.ask(setting)
            result.had_to = recovery.converge(setting)
            for fault in faults:
                if isinstance(fault, Stop) and fault.hit.is_set():
                    fault.afterwards()
            recovery.converge(setting)
            result.wrong += checks.wrong(setting, case)
            result.wrong += checks.unasked_person(case, had_to=result.had_to)
        except Exception as error:  # noqa: BLE001 (a case that breaks is a finding, and the others go on)
            where = traceback.extract_tb(error.__traceback__)[-1]
            result.wrong.append(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
        finally:
            for fault in faults:
                fault.release()
        result.hit = all(fault.hit.is_set() for fault in faults)
        if case.must_all_strike and not result.hit:
            result.wrong.append(NOT_REACHED)
        result.lost = checks.lost(setting)
        result.resets, result.seconds = setting.company.resets, time.monotonic() - began
        everything.forgotten += setting.forgotten
    return result


def _fault(setting: Setting, strike: Strike) -> Struck | Stop:
    return Stop(setting, strike) if strike.kind in OF_THE_MACHINE else Struck(setting, strike)
