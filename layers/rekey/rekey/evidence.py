"""The evidence of a rotation: what was asked, what was done, what was seen. Pure, and without any secret."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from rekey.contracts import Contents, Prepared
from rekey.model.moment import render
from rekey.model.request import Request
from rekey.model.rotation import Attempt, AttemptKind, Rotation
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict, LoginVerdict, Receipt
from rekey.outlived import old_tokens, outlived
from rekey.protocol import REFUSALS_THAT_COUNT
from rekey.wording import some

STILL_OPEN = "still open"


@dataclass(frozen=True)
class Findings:
    """Everything a report is made of."""

    rotation: Rotation
    attempts: Sequence[Attempt]
    requests: Sequence[Request]
    consumers: Sequence[tuple[str, str]]
    """Name and type of every consumer that is known, told or not."""
    receipts: Sequence[Receipt]
    before: Contents | None
    warnings: Sequence[Prepared] = field(default=())
    given_up: bool = False
    """The plan's `recover_for` is over: what could not be proven until now will not be."""


def outcome_of(found: Findings) -> Outcome:
    """Return how a rotation whose password is promoted stands. Finished only where nothing is left to try."""
    rotation = found.rotation
    left = [receipt for receipt in found.receipts if receipt.outcome.left]
    told = {receipt.consumer for receipt in found.receipts}
    untold = [name for name, _ in found.consumers if name not in told]
    if left or untold:
        return Outcome.UNFINISHED
    decided = rotation.old_version is None or rotation.old_verdict in (LoginVerdict.REFUSED, LoginVerdict.ACCEPTED)
    proven = rotation.new_verdict is LoginVerdict.ACCEPTED and rotation.heard
    asked = (proven and decided) or rotation.logins_spent
    if not found.given_up and (_unverified(found) or not asked):
        return Outcome.UNFINISHED
    if unproven(found):
        return Outcome.NEEDS_ATTENTION
    return Outcome.FINISHED if all(receipt.has_it for receipt in found.receipts) else Outcome.CONSUMERS_FAILED


def unproven(found: Findings) -> list[str]:
    """Return what a person has to look at though the new password is in force."""
    rotation, said = found.rotation, []
    if rotation.contents_unchanged is False:
        said.append(f"the registry's contents differ: {rotation.contents_note}")
    why = "the wrong logins are used up" if rotation.logins_spent else "the time to try is over"
    if rotation.new_verdict is not LoginVerdict.ACCEPTED:
        said.append(f"{why} and the new password was never accepted: try it by hand")
    elif not rotation.heard:
        said.append(f"{why} and the new password was not tried after it was delivered: try it by hand")
    if rotation.old_version is not None and rotation.old_verdict is LoginVerdict.ACCEPTED:
        said.append("the registry still accepts the old password: look for a second credential, or reset it by hand")
    elif rotation.old_version is not None and rotation.old_verdict is not LoginVerdict.REFUSED:
        said.append(f"{why} and the old password was not refused twice: try it by hand")
    unverified = _unverified(found)
    if unverified:
        said.append(f"consumers took the password and could not be verified: {', '.join(some(unverified))}")
    return said


def _unverified(found: Findings) -> list[str]:
    """Return the consumers that took the password, and of which nobody knows yet whether they have it."""
    took = (ConsumerOutcome.UPDATED, ConsumerOutcome.UNCHANGED)
    return [r.consumer for r in found.receipts if r.outcome in took and r.verdict is ConsumerVerdict.UNKNOWN]


def given_up(receipts: Sequence[Receipt], consumers: Sequence[tuple[str, str]], tried_for: str) -> list[Receipt]:
    """Return the receipts when the time to try is over: what is left has failed, and whoever was never told too."""
    told = {receipt.consumer for receipt in receipts}
    untold = [Receipt(name, kind, ConsumerOutcome.PENDING, reason="never told") for name, kind in consumers]
    return [
        replace(
            receipt,
            outcome=ConsumerOutcome.FAILED,
            verdict=ConsumerVerdict.UNKNOWN,
            reason=f"given up after {tried_for}: {receipt.reason}",
        )
        if receipt.outcome.left
        else receipt
        for receipt in [*receipts, *(receipt for receipt in untold if receipt.consumer not in told)]
    ]


def build(found: Findings, outcome: Outcome, now: datetime) -> dict[str, object]:
    """Return the document. INTERFACES of the project: at least these fields, and a reader may count on them."""
    rotation = found.rotation
    return {
        "registry": rotation.registry,
        "rotation": rotation.id,
        "generation": rotation.generation,
        "plan_version": rotation.plan_version,
        "reason": rotation.reason.value,
        "outcome": outcome.value,
        "problems": list(rotation.problems),
        "requests": [_request(request, rotation) for request in found.requests],
        "password_changed": _changed(found),
        "old_password": _old(rotation),
        "old_tokens": old_tokens(rotation, found.attempts),
        "new_password": _said(rotation.new_verdict, rotation.new_at),
        "contents": _contents(rotation, found.before),
        "consumers": [_consumer(receipt) for receipt in found.receipts],
        "not_told": [name for name, _ in found.consumers if name not in {r.consumer for r in found.receipts}],
        "waived": list(rotation.waived),
        "warnings": _warnings(found),
        "counts": {
            "consumers": len(found.consumers),
            "done": sum(receipt.has_it for receipt in found.receipts),
        },
        "credential_gap_s": _gap(found),
        "credential_gap_note": _gap_note(found),
        "times": {
            "started": _moment(rotation.started_at),
            "gate_passed": _moment(rotation.gate_at),
            "called": _moment(rotation.called_at),
            "answered": _moment(rotation.answered_at),
            "promoted": _moment(rotation.promoted_at),
            "delivered_again": _moment(rotation.delivered_again_at),
            "reported": render(now),
        },
        "alert_to_refused_s": _alert_to_refused(found),
        "resets": rotation.resets,
        "attempts": [
            {"number": attempt.number, "kind": attempt.kind.value, "outcome": attempt.outcome, "said": attempt.said}
            for attempt in found.attempts
        ],
        "wrong_logins": rotation.wrong_logins,
    }


def _changed(found: Findings) -> bool | None:
    """Return whether the registry's password is another one now. None: a reset was called, and nobody can say."""
    rotation = found.rotation
    if rotation.completed or rotation.answered_at is not None:
        return True
    if any(_killed_the_old(attempt) for attempt in found.attempts):
        return True
    return None if rotation.resets else False


def _killed_the_old(attempt: Attempt) -> bool:
    return attempt.old_before is LoginVerdict.ACCEPTED and attempt.old_refusals >= REFUSALS_THAT_COUNT


def _said(verdict: LoginVerdict | None, at: datetime | None) -> dict[str, object]:
    return {"verdict": verdict.value if verdict else None, "at": _moment(at)}


def _old(rotation: Rotation) -> dict[str, object]:
    said = _said(rotation.old_verdict, rotation.old_at)
    if rotation.completed and rotation.old_version is None:
        return said | {"note": "the store holds no earlier password to ask about"}
    return said


def _warnings(found: Findings) -> list[str]:
    """Return what a person should know though it stopped nothing."""
    of_consumers = [f"{one.consumer}: {one.warning}" for one in found.warnings]
    return [*outlived(found.rotation), *(f"registry: {said}" for said in found.rotation.warnings), *of_consumers]


def _moment(at: datetime | None) -> str | None:
    return render(at) if at else None


def _request(request: Request, rotation: Rotation) -> dict[str, object]:
    called = rotation.called_at
    return {
        "key": request.key,
        "reason": request.reason.value,
        "source": request.source,
        "arrived": render(request.arrived_at),
        "exposed": _moment(request.exposed_at),
        "detected": _moment(request.detected_at),
        "met": rotation.completed and called is not None and request.is_met_by(called),
    }


def _contents(rotation: Rotation, before: Contents | None) -> dict[str, object]:
    repositories, tags, digests = before.count() if before else (None, None, None)
    return {
        "unchanged": rotation.contents_unchanged,
        "repositories": repositories,
        "tags": tags,
        "digests": digests,
        "note": rotation.contents_note,
    }


def _consumer(receipt: Receipt) -> dict[str, object]:
    return {
        "name": receipt.consumer,
        "type": receipt.type,
        "outcome": receipt.outcome.value,
        "verdict": receipt.verdict.value,
        "reason": receipt.reason,
        "answered": _moment(receipt.answered_at),
    }


def _gap(found: Findings) -> float | str | None:
    """Return the credential gap in seconds: from the reset call to the answer of the last consumer's write.

    None where nothing was reset. "still open" while a consumer does not have the password.
    """
    called = found.rotation.called_at
    if called is None:
        return None
    done = [receipt for receipt in found.receipts if receipt.has_it]
    if len(done) < len(found.consumers) or not done:
        return STILL_OPEN
    last = max((receipt.answered_at for receipt in done if receipt.answered_at), default=None)
    last = found.rotation.gap_closed_at or last
    return None if last is None else round((last - called).total_seconds(), 3)


def _gap_note(found: Findings) -> str:
    """Return what the gap is counted between. When a person clicked is not known: it is then no longer than said."""
    pasted = any(attempt.kind is AttemptKind.PASTED and attempt.promoted_at for attempt in found.attempts)
    start = "the moment a person was told to click (at most, therefore)" if pasted else "the reset call"
    opened = found.rotation.delivered_again_at is not None and found.rotation.gap_closed_at is None
    again = "; some waited until a person had it delivered again" if opened else ""
    return f"from {start} to the answer of the last consumer's write{again}"


def _alert_to_refused(found: Findings) -> float | None:
    """Return the seconds from the first alert that the reset meets to the refusal of the old password."""
    rotation, called = found.rotation, found.rotation.called_at
    arrived = [request.arrived_at for request in found.requests if called is not None and request.is_met_by(called)]
    if rotation.old_verdict is not LoginVerdict.REFUSED or rotation.old_at is None or called is None or not arrived:
        return None
    if rotation.old_at < called:
        return None  # what the store had was dead before: nobody asked for the one that leaked
    return round((rotation.old_at - min(arrived)).total_seconds(), 3)
