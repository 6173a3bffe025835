"""What the report's page says at a glance: both passwords, what the old one gave, contents, consumers, the gap."""

from typing import TYPE_CHECKING

from rekey.model.verdict import LoginVerdict
from rekey.page_parts import Document, Tone, count, duration, fact, number, part, rows, seconds, text

if TYPE_CHECKING:
    from collections.abc import Mapping


def done(evidence: Document) -> tuple[int, int]:
    """Return how many consumers have the password, and of how many."""
    counts = part(evidence, "counts")
    return count(counts, "done"), count(counts, "consumers")


def facts(evidence: Document) -> str:
    """Return them as HTML."""
    have_it, total = done(evidence)
    changed = evidence.get("password_changed") is True
    all_have_it: Tone = "good" if total and have_it == total else "warn" if changed else "plain"
    found = [
        _login("Old password", part(evidence, "old_password"), LoginVerdict.REFUSED, LoginVerdict.ACCEPTED),
        *_old_tokens(part(evidence, "old_tokens")),
        _login("New password", part(evidence, "new_password"), LoginVerdict.ACCEPTED, LoginVerdict.REFUSED),
        _contents(part(evidence, "contents")),
        fact("Consumers that have it", f"{have_it} of {total}", all_have_it),
        _gap(evidence),
    ]
    alert = seconds(evidence, "alert_to_refused_s")
    if alert is not None:
        found.append(fact("Alert to “old password refused”", duration(alert), "plain"))
    proof = number(count(evidence, "wrong_logins"), "wrong login")
    found.append(fact("Resets", str(count(evidence, "resets")), "plain", f"{proof} spent on proof"))
    return "\n".join(['<dl class="facts">', *found, "</dl>"])


def _login(title: str, said: Document, wanted: LoginVerdict, feared: LoginVerdict) -> str:
    verdict = text(said, "verdict")
    known: Mapping[str, Tone] = {wanted: "good", feared: "bad", "": "plain"}
    return fact(title, verdict or "not asked", known.get(verdict, "warn"), text(said, "note"), text(said, "at"))


def _old_tokens(said: Document) -> list[str]:
    """Return how tokens of the old password fared, and until when they live."""
    found = []
    for token in rows(said, "tokens"):
        verdict, ends = text(token, "verdict"), text(token, "ends")
        known: Mapping[str, Tone] = {LoginVerdict.REFUSED: "good", LoginVerdict.ACCEPTED: "bad"}
        shown = "still accepted" if verdict == LoginVerdict.ACCEPTED else verdict or "not tried"
        until = "it ends at the time below" if ends else "nothing says when it ends"
        note = "; ".join(filter(None, [until, text(token, "note")]))
        title = f"A {text(token, 'kind')} token of the old password"
        found.append(fact(title, shown, known.get(verdict, "warn"), note, ends))
    if not found and text(said, "note"):
        found.append(fact("Tokens of the old password", "none", "plain", text(said, "note")))
    return found


def _contents(said: Document) -> str:
    notes = [text(said, "note")]
    if said.get("tags") is not None:
        parts = [number(count(said, f"{noun}s"), noun) for noun in ("tag", "digest")]
        notes.insert(0, ", ".join([number(count(said, "repositories"), "repository"), *parts]))
    note = "; ".join(each for each in notes if each)
    match said.get("unchanged"):
        case True:
            return fact("Contents of the registry", "unchanged", "good", note)
        case False:
            return fact("Contents of the registry", "changed", "bad", note)
        case _:
            return fact("Contents of the registry", "not compared", "plain", note)


def _gap(evidence: Document) -> str:
    length, said = seconds(evidence, "credential_gap_s"), text(evidence, "credential_gap_s")
    note = text(evidence, "credential_gap_note")
    if length is not None:
        return fact("Credential gap", duration(length), "plain", note)
    if said:
        return fact("Credential gap", said, "bad", note)
    return fact("Credential gap", "none" if evidence.get("password_changed") is False else "not known", "plain", note)
