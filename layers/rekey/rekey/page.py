"""The report as a page for people: one file, no scripts, nothing from elsewhere. Made of the evidence alone.

Names and reasons come from plans and from services: everything is escaped (page_parts). What a document does not say is
left out, never guessed.
"""

from collections.abc import Mapping

from rekey import page_facts
from rekey.model.rotation import AttemptKind
from rekey.model.state import Outcome
from rekey.model.verdict import ConsumerOutcome, ConsumerVerdict
from rekey.page_parts import (
    Cell,
    Document,
    Tone,
    bullets,
    escaped,
    mark,
    moment,
    number,
    offset,
    part,
    rows,
    table,
    text,
    texts,
    time_tag,
    words,
)
from rekey.page_style import PAGE, STYLE

TONES: Mapping[str, Tone] = {
    Outcome.FINISHED: "good",
    Outcome.REHEARSED: "good",
    Outcome.JOINED: "good",
    Outcome.READY: "warn",
    Outcome.STOPPED: "warn",
    Outcome.UNFINISHED: "warn",
    Outcome.CONSUMERS_FAILED: "bad",
    Outcome.NEEDS_ATTENTION: "bad",
}
MEANINGS: Mapping[str, str] = {
    ConsumerVerdict.ACCEPTED: "something used the password there",
    ConsumerVerdict.MATCHES: "read back, and the same",
    ConsumerVerdict.WRITTEN: "the service took it and cannot be read back",
    ConsumerVerdict.DIFFERS: "read back, and another one",
    ConsumerVerdict.UNKNOWN: "nothing was delivered, or the service could not be asked",
}
_VERDICT_TONES: Mapping[str, Tone] = {
    ConsumerVerdict.ACCEPTED: "good",
    ConsumerVerdict.MATCHES: "good",
    ConsumerVerdict.DIFFERS: "bad",
}
_OUTCOME_TONES: Mapping[str, Tone] = {
    ConsumerOutcome.FAILED: "bad",
    ConsumerOutcome.PENDING: "warn",
    ConsumerOutcome.UNREACHABLE: "warn",
    **{outcome: "good" for outcome in ConsumerOutcome if outcome.done},
}
_WORST_FIRST: tuple[Tone, ...] = ("bad", "warn", "plain", "good")


def render(evidence: Document) -> str:
    """Return the page of an evidence document."""
    sections = [
        _hero(evidence),
        page_facts.facts(evidence),
        _consumers(evidence),
        bullets("Passed over at the gate", texts(evidence, "waived")),
        bullets("Warnings", texts(evidence, "warnings")),
        _timeline(evidence),
        _requests(evidence),
        _attempts(evidence),
        _footer(evidence),
    ]
    title = escaped(f"{text(evidence, 'rotation')}: {words(text(evidence, 'outcome'))}")
    return PAGE.substitute(title=title, style=STYLE, body="\n".join(section for section in sections if section))


def _hero(evidence: Document) -> str:
    outcome = text(evidence, "outcome")
    tone = TONES.get(outcome, "plain")
    about = f"Rotation {text(evidence, 'rotation')}, reason {words(text(evidence, 'reason'))}, reported"
    lines = [
        f'<section class="hero {tone}">',
        mark(words(outcome), tone),
        f"<h1>{escaped(_headline(evidence, outcome))}</h1>",
        f'<p class="soft">{escaped(about)} {time_tag(text(part(evidence, "times"), "reported"))}</p>',
    ]
    if todo := _todo(evidence, outcome):
        items = "".join(f"<li>{escaped(item)}</li>" for item in todo)
        lines.append(f'<div class="todo {tone}"><strong>Why, and what to do</strong><ul>{items}</ul></div>')
    return "\n".join([*lines, "</section>"])


def _headline(evidence: Document, outcome: str) -> str:
    in_force = text(part(evidence, "times"), "promoted") != ""
    done, total = page_facts.done(evidence)
    lack = "does" if total - done == 1 else "do"
    changed = "The password was changed" if in_force else "The new password is not in force yet"
    said: Mapping[str, str] = {
        Outcome.FINISHED: f"{changed}, and {done} of {number(total, 'consumer')} have the new one.",
        Outcome.CONSUMERS_FAILED: f"{changed}, and {total - done} of {number(total, 'consumer')} {lack} not have it.",
        Outcome.NEEDS_ATTENTION: f"{changed}, and Rekey cannot go on without a person.",
        Outcome.UNFINISHED: f"{changed}, and work is left: Rekey takes it up again by itself.",
        Outcome.STOPPED: "Stopped before the reset: the password is as it was.",
        Outcome.READY: "Everything is ready: a person resets the password now.",
        Outcome.REHEARSED: "Rehearsed: nothing was changed.",
        Outcome.JOINED: "Served by a rotation that was there already.",
    }
    return said.get(outcome, words(outcome))


def _todo(evidence: Document, outcome: str) -> list[str]:
    todo = texts(evidence, "problems")
    if outcome == Outcome.READY:
        paste = f"rekey paste {text(evidence, 'registry')}"
        todo.append(f"Reset the password in the registry's console, then hand the new one over with `{paste}`.")
    failed = [row for row in rows(evidence, "consumers") if text(row, "outcome") == ConsumerOutcome.FAILED]
    return todo + [f"{text(row, 'name')}: {text(row, 'reason') or 'failed'}" for row in failed]


def _consumers(evidence: Document) -> str:
    lines = [(_tone(row), row) for row in rows(evidence, "consumers")]
    lines += [("warn", {"name": name, "outcome": "not told"}) for name in texts(evidence, "not_told")]
    lines.sort(key=lambda line: (_WORST_FIRST.index(line[0]), text(line[1], "name")))
    columns = ("Consumer", "Outcome", "Verdict", "Answered", "Why, and what to do")
    found = table("Consumers", columns, [_consumer(row) for _, row in lines])
    used = sorted({text(row, "verdict") for _, row in lines} & MEANINGS.keys())
    legend = "".join(f"<li><strong>{escaped(verdict)}</strong>: {MEANINGS[verdict]}</li>" for verdict in used)
    return f'{found}\n<ul class="words">{legend}</ul>' if legend else found


def _tone(row: Document) -> Tone:
    if text(row, "verdict") == ConsumerVerdict.DIFFERS:
        return "bad"
    return _OUTCOME_TONES.get(text(row, "outcome"), "plain")


def _consumer(row: Document) -> list[Cell]:
    outcome, verdict, answered = (text(row, field) for field in ("outcome", "verdict", "answered"))
    outcome_tone = _OUTCOME_TONES.get(outcome, "warn")
    return [
        Cell(f"<span>{escaped(text(row, 'name'))}<small>{escaped(text(row, 'type'))}</small></span>"),
        Cell(mark(words(outcome), outcome_tone)),
        Cell(mark(words(verdict), _VERDICT_TONES.get(verdict, "plain")) if verdict else ""),
        Cell(time_tag(answered)),
        Cell.of(text(row, "reason")),
    ]


def _timeline(evidence: Document) -> str:
    """Return what happened, in order, with how long after the first request each thing was."""
    times, requests = part(evidence, "times"), rows(evidence, "requests")
    pasted = any(text(attempt, "kind") == AttemptKind.PASTED for attempt in rows(evidence, "attempts"))
    answers = sorted(text(row, "answered") for row in rows(evidence, "consumers") if text(row, "answered"))
    happened = [
        *((text(one, "exposed"), f"Exposed, says {text(one, 'source')}") for one in requests),
        *((text(one, "detected"), f"Detected, says {text(one, 'source')}") for one in requests),
        *(
            (text(one, "arrived"), f"Request from {text(one, 'source')}: {words(text(one, 'reason'))}")
            for one in requests
        ),
        (text(times, "started"), "Rotation started"),
        (text(times, "gate_passed"), "Gate passed"),
        (text(times, "called"), "Ready: a person resets from here on" if pasted else "Reset called"),
        (text(times, "answered"), "Reset answered"),
        (text(times, "promoted"), "New password in force in the store"),
        (text(times, "delivered_again"), "Delivered again, as a person asked"),
        (
            text(part(evidence, "new_password"), "at"),
            f"New password: {text(part(evidence, 'new_password'), 'verdict')}",
        ),
        (answers[0] if answers else "", "First consumer answered"),
        (answers[-1] if answers else "", "Last consumer answered"),
        (
            text(part(evidence, "old_password"), "at"),
            f"Old password: {text(part(evidence, 'old_password'), 'verdict')}",
        ),
        (text(times, "reported"), "Reported"),
    ]
    known = [(at, value, said) for value, said in happened if (at := moment(value))]
    if not known:
        return ""
    known.sort(key=lambda one: one[0])
    arrivals = [at for one in requests if (at := moment(text(one, "arrived")))]
    first = min(arrivals, default=known[0][0])
    items = "\n".join(
        f'<li><span class="at">{escaped(offset(at - first))}</span><span>{escaped(said)}</span>{time_tag(value)}</li>'
        for at, value, said in known
    )
    return f'<section><h2>Time line</h2>\n<ol class="line">\n{items}\n</ol></section>'


def _requests(evidence: Document) -> str:
    columns = ("Source", "Reason", "Arrived", "Exposed", "Detected", "Met")
    return table("Requests", columns, [_request(one) for one in rows(evidence, "requests")])


def _request(one: Document) -> list[Cell]:
    met = one.get("met") is True
    return [
        Cell.of(text(one, "source")),
        Cell.of(words(text(one, "reason"))),
        *(Cell(time_tag(text(one, field))) for field in ("arrived", "exposed", "detected")),
        Cell(mark("met" if met else "open", "good" if met else "warn")),
    ]


def _attempts(evidence: Document) -> str:
    lines = [
        [
            Cell.of(text(one, "number")),
            Cell.of(words(text(one, "kind"))),
            Cell.of(words(text(one, "outcome"))),
            Cell.of(text(one, "said")),
        ]
        for one in rows(evidence, "attempts")
    ]
    return table("Attempts", ("Attempt", "Kind", "Outcome", "The registry said"), lines)


def _footer(evidence: Document) -> str:
    fields = [("registry", "registry"), ("generation", "generation"), ("plan_version", "plan version")]
    known = [f"{title} <code>{escaped(text(evidence, name))}</code>" for name, title in fields if text(evidence, name)]
    return f"<footer>Made of evidence.json: {', '.join(known)}. No password and no other secret stands here.</footer>"
