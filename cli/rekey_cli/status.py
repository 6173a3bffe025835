"""`rekey status`: how the registries stand."""

from typing import Annotated

import typer

from rekey_cli import console
from rekey_cli.registry_name import OptionalRegistry
from rekey_cli.stack import Stack, StackName
from rekey_cli.view import View, view

EXAMPLES = """
$ rekey status
$ rekey status prod-images
$ rekey status --json | jq -r '.[] | select(.phase == "needs_attention").registry'
"""
STYLES = {
    "finished": "green",
    "updated": "green",
    "unchanged": "green",
    "consumers failed": "red",
    "needs attention": "red",
    "failed": "red",
    "stopped": "yellow",
    "ready": "yellow",
    "unfinished": "yellow",
    "pending": "yellow",
    "unreachable": "yellow",
}


def status(
    registry: OptionalRegistry = None,
    stack: StackName = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Output JSON")] = False,
) -> None:
    """Show where rotations stand, since when, and what to do next."""
    source = Stack(stack)
    if registry is None:
        views = [view(source, name) for name in source.plans.registries()]
        _show_all(views, as_json=as_json, stack=source.name)
        return
    found = view(source, registry)
    if found.rotation is None and not found.requests:
        source.plan(registry)
    if as_json:
        console.put_json(found.to_json())
    else:
        show(found)


def _show_all(views: list[View], *, as_json: bool, stack: str) -> None:
    if as_json:
        console.put_json([one.to_json() for one in views])
        return
    if not views:
        console.say(f"no plan was pushed to {stack} yet: `rekey plan push FILE` does that")
        return
    console.put_table(
        ("registry", "generation", "phase", "since", "outcome", "requests", "next"),
        [
            (
                one.registry,
                str(one.rotation.generation) if one.rotation else "",
                one.phase,
                console.ago(one.since) if one.since else "",
                one.outcome if one.outcome != one.phase else "",
                ", ".join(request.reason.value for request in one.requests),
                one.next_step(),
            )
            for one in views
        ],
        STYLES,
    )


def show(found: View) -> None:
    """Write one registry on stdout: first what is known of it, then its consumers."""
    rotation = found.rotation
    facts = [("registry", found.registry), ("phase", found.phase)]
    if rotation is not None:
        facts[0] = ("rotation", rotation.id)
        since = f"{found.since.astimezone():%Y-%m-%d %H:%M:%S}, {console.ago(found.since)}" if found.since else ""
        contents = {True: "unchanged", False: "changed", None: ""}[rotation.contents_unchanged]
        facts += [
            ("since", since),
            ("outcome", found.outcome if found.outcome != found.phase else ""),
            ("reason", rotation.reason.value),
            ("old password", rotation.old_verdict.value if rotation.old_verdict else ""),
            ("still accepted", found.outlived),
            ("new password", rotation.new_verdict.value if rotation.new_verdict else ""),
            ("contents", contents or rotation.contents_note),
        ]
    asked = [f"{one.reason.value} by {one.source}, {console.ago(one.arrived_at)}" for one in found.requests]
    facts += [("warning", said) for said in (rotation.warnings if rotation else ())]
    facts += [("requests", "; ".join(asked)), ("next", found.next_step())]
    console.put_facts([(name, text) for name, text in facts if text], STYLES)
    if found.receipts:
        console.put("")
        rows = [(one.consumer, one.outcome.value, one.verdict.value, one.reason) for one in found.receipts]
        console.put_table(("consumer", "outcome", "verdict", "reason"), rows, STYLES)
