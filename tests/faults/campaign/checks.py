"""What is looked at from outside once a rotation is over: the registry itself, the consumers, the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.e2e import rotating
from tests.sandbox.registry_proxy import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.faults.campaign.points import Case
    from tests.faults.campaign.setting import Setting


def wrong(setting: Setting, case: Case) -> list[str]:
    """Return everything that is not as it has to be."""
    company = setting.company
    current = company.current()
    said = [
        *_of_consumers(setting, current),
        *_of_resets(setting, case),
        *_of_records(setting),
        *_of_evidence(setting, case),
    ]
    if rotating.logs_in(company, company.first_password):
        said.append("the old password still logs in")
    if not company.others_untouched():
        said.append("another registry's entry in a pull secret was changed")
    return said


def lost(setting: Setting) -> bool:
    """Whether what the store calls current does not log in."""
    return not rotating.logs_in(setting.company, setting.company.current())


def _of_consumers(setting: Setting, current: str) -> list[str]:
    company = setting.company
    held = rotating.held_by_consumers(company)
    mine = [one for one in company.world.receiver.deliveries if company.name in str(one.payload)]
    held["webhook"] = str(mine[-1].value) if mine else "nothing"
    return [f"{name} does not have the current password" for name, has in held.items() if has != current]


def _of_resets(setting: Setting, case: Case) -> list[str]:
    resets = setting.company.resets
    if case.fewest_resets <= resets <= case.most_resets:
        return []
    return [f"{resets} resets, expected {case.fewest_resets} to {case.most_resets}"]


def _of_records(setting: Setting) -> list[str]:
    company, said = setting.company, []
    lease = rotating.lease(company)
    if lease.owner is not None:
        said.append(f"the lease is still owned by {lease.owner.rpartition(':')[2]}")
    if kept := rotating.kept(company):
        said.append(f"{len(kept)} answers are left in the escrow")
    if left := rotating.open_things(company):
        said.append(f"left open: {left}")
    # On what is in force the label says nothing: where it could not be taken off, the next candidate takes it along.
    if any(fields["password"] != company.current() for fields in company.store.waiting()):
        said.append("a candidate is left in the store")
    return said


def _of_evidence(setting: Setting, case: Case) -> list[str]:
    company = setting.company
    latest = rotating.latest(company)
    try:
        every = [company.evidence(generation) for generation in range(1, latest.generation + 1)]
    except setting.world.cloud.client("s3").exceptions.NoSuchKey:
        return ["there is no evidence"]
    evidence, counts = every[-1], every[-1]["counts"]
    attempts = [attempt for each in every for attempt in each["attempts"]]
    found = {
        "outcome": (evidence["outcome"], "finished"),
        "new password": (evidence["new_password"]["verdict"], "accepted"),
        "old password": (evidence["old_password"]["verdict"], "refused"),
        "password changed": (evidence["password_changed"], True),
        "resets": (sum(each["resets"] for each in every), company.resets),
        "consumers done": (counts["done"], counts["consumers"]),
        "not told": (evidence["not_told"], []),
        "contents differ": (any(each["contents"]["unchanged"] is False for each in every), False),
        "promoted": (any(attempt["outcome"] == "promoted" for attempt in evidence["attempts"]), True),
        "pasted": (any(attempt["kind"] == "pasted" for attempt in attempts), setting.pasted),
        **_of_what_was_lost(case, attempts, setting),
    }
    said = [
        f"the evidence says {what}: {says}, seen: {is_so}" for what, (says, is_so) in found.items() if says != is_so
    ]
    refused = _refusals(setting)
    if not evidence["wrong_logins"] <= refused:
        said.append(f"the evidence says wrong logins: {evidence['wrong_logins']}, seen: {refused}")
    return said


def _of_what_was_lost(
    case: Case, attempts: Sequence[Mapping[str, Any]], setting: Setting
) -> dict[str, tuple[Any, Any]]:
    """Return whether an answer was lost. After two faults that is not certain; a paste may replace the lost attempt."""
    if len(case.strikes) > 1 or setting.pasted:
        return {}
    return {"answer lost": (any(attempt["outcome"] == "lost" for attempt in attempts), case.most_resets > 1)}


def _refusals(setting: Setting) -> int:
    """Return how often a login of the registry's user was refused, as seen at its door."""
    refused = [one.request for one in setting.proxy.exchanges if one.status == httpx.codes.UNAUTHORIZED]
    return sum(shown(request)[0] == setting.company.username for request in refused)


def unasked_person(case: Case, *, had_to: bool) -> list[str]:
    """Return what is wrong where a person had to help, and the protocol does not ask for one there; or the reverse."""
    if had_to and not case.may_need_a_person:
        return ["a person had to help"]
    if not had_to and len(case.strikes) == 1 and case.may_need_a_person and case.most_resets > 1:
        return ["nobody was asked for, though nobody else could know the password"]
    return []
