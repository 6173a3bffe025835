"""Holds the evidence against what is seen from outside: by logins of the demo's own, and in the services themselves."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from rekey.model.verdict import ConsumerOutcome
from tests.sandbox import demo_tokens
from tests.sandbox.demo_faults import Stopwatch
from tests.sandbox.demo_places import Place, places
from tests.sandbox.images import Contents, Images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.company import Company

_CLOCKS_MAY_DIFFER = 0.05  # seconds: the evidence is written in milliseconds, by other processes' clocks


@dataclass(frozen=True)
class Check:
    """One claim: what the evidence says of it, what is seen, whether these agree, and whether it is as wanted."""

    claim: str
    evidence: str
    seen: str
    agrees: bool
    wanted: bool

    @property
    def passed(self) -> bool:
        """Whether it is so."""
        return self.agrees and self.wanted


@dataclass(frozen=True)
class Outside:
    """What the demo itself noted before the rotation, and measured during it."""

    company: Company
    before: Contents
    stopwatch: Stopwatch
    bearer: str | None = None
    """A token that the demo itself got with the old password; None where the registry gives none."""


def look(company: Company) -> Outside:
    """Note what is so before the rotation."""
    return Outside(company, contents_of(company), Stopwatch(company), demo_tokens.take(company))


def contents_of(company: Company) -> Contents:
    """Return what the registry holds, read with the password of now."""
    with Images(company.registry.url, company.username, company.current()) as images:
        return images.contents()


def check(evidence: Mapping[str, Any], files: Mapping[str, bytes], outside: Outside) -> list[Check]:
    """Return every claim. `files` are those that were written for people: no secret may be in one."""
    company = outside.company
    return [
        _old_password(evidence, company),
        *_old_tokens(evidence, outside),
        _new_password(evidence, company),
        _contents(evidence, outside),
        *(_consumer(evidence, place, company) for place in places(company)),
        _every_consumer(evidence, company),
        _other_registry(company),
        _resets(evidence, company),
        _gap(evidence, outside),
        _secrets(files, outside),
    ]


def login(company: Company, password: str) -> str:
    """Return what the registry says of a password."""
    answer = httpx.get(f"{company.registry.url}/v2/", auth=(company.username, password))
    return {200: "accepted", 401: "refused"}.get(answer.status_code, f"answered {answer.status_code}")


def _old_password(evidence: Mapping[str, Any], company: Company) -> Check:
    says, seen = evidence["old_password"]["verdict"], login(company, company.first_password)
    return Check("old password", says or "not asked", seen, says in (None, seen), wanted=seen == "refused")


def _old_tokens(evidence: Mapping[str, Any], outside: Outside) -> list[Check]:
    """Try a token of the demo's own: the old password is dead, and what it had given may live on."""
    if outside.bearer is None:
        return []
    found = next((one for one in evidence["old_tokens"]["tokens"] if one["kind"] == "bearer"), None)
    says = (found and found["verdict"]) or "not tried"
    seen = demo_tokens.shown(outside.company, outside.bearer)
    until = f", until {found['ends']}" if found and found["ends"] else ""
    return [Check("a token it had given", f"{says}{until}", seen, agrees=says in ("not tried", seen), wanted=True)]


def _new_password(evidence: Mapping[str, Any], company: Company) -> Check:
    """Try what the store has, and compare it with what the control plane made."""
    stored, made = company.current(), company.made
    says, seen = evidence["new_password"]["verdict"], login(company, stored)
    wanted = seen == "accepted" and made[-1:] == [stored]
    shown = seen if wanted or not made else f"{seen}, and it is not the one that was made"
    return Check("new password", says or "not asked", shown, says in (None, seen), wanted)


def _contents(evidence: Mapping[str, Any], outside: Outside) -> Check:
    after, says = contents_of(outside.company), evidence["contents"]
    unchanged = after == outside.before
    digests = {digest for tags in after.values() for digest in tags.values()}
    counts = (len(after), sum(len(tags) for tags in after.values()), len(digests))
    agrees = says["unchanged"] in (None, unchanged) and (says["repositories"], says["tags"], says["digests"]) == counts
    word = {True: "unchanged", False: "changed", None: "not compared"}[says["unchanged"]]
    numbers = f"{says['repositories']} repositories, {says['tags']} tags, {says['digests']} digests"
    seen = "every digest as before" if unchanged else "not as before"
    return Check("contents", f"{word}: {numbers}", seen, agrees, wanted=unchanged)


def _consumer(evidence: Mapping[str, Any], place: Place, company: Company) -> Check:
    found = next((row for row in evidence["consumers"] if row["name"] == place.name), None)
    has_it = place.password() == company.current() != company.first_password
    seen = f"{place.seen_as} {'has the new one' if has_it else 'does not have it'}"
    if found is None:
        return Check(place.name, "not told", seen, agrees=not has_it, wanted=has_it)
    done = ConsumerOutcome(found["outcome"]).done
    says = f"{found['outcome']}, {found['verdict']}" if done else str(found["outcome"])
    return Check(place.name, says, seen, agrees=done is has_it, wanted=has_it)


def _every_consumer(evidence: Mapping[str, Any], company: Company) -> Check:
    counts, expected = evidence["counts"], places(company)
    have_it = sum(place.password() == company.current() != company.first_password for place in expected)
    named = {row["name"] for row in evidence["consumers"]} | set(evidence["not_told"])
    agrees = named == {place.name for place in expected} and (counts["done"], counts["consumers"]) == (
        have_it,
        len(expected),
    )
    says = f"{counts['done']} of {counts['consumers']} done"
    return Check(
        "all consumers", says, f"{have_it} of {len(expected)} have it", agrees, wanted=have_it == len(expected)
    )


def _other_registry(company: Company) -> Check:
    untouched = company.others_untouched()
    seen = "as it was in every pull secret" if untouched else "changed"
    return Check("another registry's password", "", seen, agrees=True, wanted=untouched)


def _resets(evidence: Mapping[str, Any], company: Company) -> Check:
    """Compare with the control plane. How often a person clicked before a paste was taken, Rekey cannot know."""
    says, seen = int(evidence["resets"]), company.resets
    if company.document["registry"]["type"] == "manual":
        return Check("resets", f"{says} pasted", f"{seen} clicked", says <= seen, wanted=says == 1)
    return Check("resets", str(says), str(seen), says == seen, wanted=seen == 1)


def _gap(evidence: Mapping[str, Any], outside: Outside) -> Check:
    """Compare with the stopwatch at the services: the evidence may say more than they saw, never less."""
    says, measured = evidence["credential_gap_s"], outside.stopwatch.seconds
    closed = all(place.password() == outside.company.current() for place in places(outside.company))
    if says is None:
        seen = "no reset" if not outside.company.resets else "a reset"
        return Check("credential gap", "none", seen, not outside.company.resets, wanted=False)
    if not isinstance(says, int | float):
        return Check("credential gap", str(says), "closed" if closed else "still open", not closed, wanted=False)
    seen = "nothing measured" if measured is None else f"{measured:.2f} s between the services"
    agrees = closed and measured is not None and says >= measured - _CLOCKS_MAY_DIFFER
    return Check("credential gap", f"{says:.2f} s", seen if closed else "still open", agrees, wanted=closed)


def _secrets(files: Mapping[str, bytes], outside: Outside) -> Check:
    company = outside.company
    known = [
        *([outside.bearer] if outside.bearer else []),
        company.first_password,
        company.current(),
        company.other_password,
        company.admin_password,
        company.github_token,
        company.cluster_token,
        company.world.webhook_key,
        *company.store.credentials,
    ]
    # As it is, and as JSON and HTML would write it: the generated password has quotes and backslashes in it.
    forms = {form.encode() for one in known for form in (one, json.dumps(one)[1:-1], html.escape(one))}
    found = [name for name, content in files.items() if any(form in content for form in forms)]
    seen = f"in {', '.join(found)}" if found else "none"
    return Check("secrets in evidence and report", "", seen, agrees=True, wanted=not found)
