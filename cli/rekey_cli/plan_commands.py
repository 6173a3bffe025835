"""`rekey plan`: check plans, push them, print their schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rekey.errors import Denied, NotFound, PlanProblem
from rekey.records.plans import plan_key, to_stored
from rekey_cli import console
from rekey_cli.console import ExitCode
from rekey_cli.help_text import Command, Group
from rekey_cli.plan_file import Checked, Finding, check
from rekey_cli.schema import render
from rekey_cli.stack import Stack, StackName

app = typer.Typer(cls=Group, rich_markup_mode=None, help="Check and push plans")

_File = typer.Argument(metavar="FILE", help="Plan in YAML", exists=True, dir_okay=False, show_default=False)
_Files = typer.Argument(metavar="FILE...", help="Plans in YAML", exists=True, dir_okay=False, show_default=False)


@app.command("check", cls=Command, epilog="$ rekey plan check plans/*.yaml\n$ rekey plan check prod-images.yaml --json")
def check_plans(
    files: Annotated[list[Path], _Files],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Output JSON")] = False,
) -> None:
    """Check plans and report every problem, with its line.

    Nothing is sent anywhere. Exits with 1 if a plan cannot be used.
    """
    checked = [check(file) for file in files]
    findings = [finding for one in checked for finding in one.findings] + _same_registry(checked)
    if as_json:
        console.put_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            console.put(str(finding))
    for one in checked:
        if one.plan and not any(finding.file == one.file for finding in findings):
            console.done(f"{one.file}: {one.plan.registry.name}, {_count(len(one.plan.consumers), 'consumer entry')}")
    if findings:
        bad = len({finding.file for finding in findings})
        console.failed(f"{_count(len(findings), 'problem')} in {_count(bad, 'file')}")
        raise typer.Exit(ExitCode.FAILED)


@app.command(
    "push", cls=Command, epilog="$ rekey plan push prod-images.yaml\n$ rekey plan push prod-images.yaml -s rekey-eu"
)
def push_plan(
    file: Annotated[Path, _File],
    stack: StackName = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Output JSON")] = False,
) -> None:
    """Check a plan and push it to a stack.

    Prints the version that is in force now. Rotations that are under way keep the version they began with. A plan that
    is there already is not pushed again.
    """
    checked = check(file)
    if checked.plan is None:
        for finding in checked.findings:
            console.say(str(finding))
        console.failed(f"not pushed: {_count(len(checked.findings), 'problem')}")
        raise typer.Exit(ExitCode.FAILED)
    registry = checked.plan.registry.name
    target = Stack(stack)
    body = to_stored(checked.document)
    there = _pushed(target, registry)
    changed = there is None or there[0] != body
    if there is not None and not changed:
        version = there[1]
        console.done(f"the plan of {registry} is in force already, nothing was pushed")
    else:
        version = target.bucket.write(plan_key(registry), body, "application/json")
        console.done(f"pushed the plan of {registry} to {target.name}")
    if as_json:
        console.put_json({"registry": registry, "version": version, "changed": changed})
    else:
        console.put(version)


@app.command("schema", cls=Command, epilog="$ rekey plan schema > plan.schema.json")
def print_schema() -> None:
    """Print the JSON Schema of a plan, for editors and CI."""
    typer.echo(render(), nl=False)


def _pushed(stack: Stack, registry: str) -> tuple[bytes, str] | None:
    try:
        return stack.bucket.read(plan_key(registry))
    except (NotFound, Denied):  # S3 says 403 for what does not exist to whoever may not list
        return None


def _same_registry(checked: Sequence[Checked]) -> list[Finding]:
    """Return a finding for every file whose registry another file has too: the later push would replace the earlier."""
    first: dict[str, str] = {}
    found: list[Finding] = []
    for one in checked:
        if one.plan and first.setdefault(one.plan.registry.name, one.file) != one.file:
            message = f"is the registry of {first[one.plan.registry.name]} already"
            found.append(Finding(one.file, one.line, PlanProblem(("registry", "name"), message)))
    return found


def _count(number: int, what: str) -> str:
    many = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number} {what if number == 1 else many}"
