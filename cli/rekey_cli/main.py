"""The command `rekey`."""

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from rekey_cli import console, deliver, paste, plan_commands, resume, rotate, status
from rekey_cli.help_text import Command, Group


class Root(Group):
    """The commands of `rekey`, with the one place where an error becomes a message."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer's own types are private)
        """Run the command that was asked for."""
        with console.told():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Root,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="""
    Rotate the password of a container registry and get the new one to everything that uses it.

    Exit codes: 0 done, 1 failed, 2 command not understood, 4 not signed in to AWS, 8 waiting for a person,
    130 interrupted.
    """,
    epilog="""
    $ rekey plan check prod-images.yaml
    $ rekey plan push prod-images.yaml
    $ rekey rotate prod-images --reason compromised
    $ rekey status
    """,
)
app.add_typer(plan_commands.app, name="plan")
app.command("rotate", cls=Command, epilog=rotate.EXAMPLES)(rotate.rotate)
app.command("status", cls=Command, epilog=status.EXAMPLES)(status.status)
app.command("deliver", cls=Command, epilog=deliver.EXAMPLES)(deliver.deliver)
app.command("resume", cls=Command, epilog=resume.EXAMPLES)(resume.resume)
app.command("paste", cls=Command, epilog=paste.EXAMPLES, context_settings={"allow_extra_args": True})(paste.paste)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if wanted:
        typer.echo(f"rekey {version('rekey')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version")
    ] = False,
) -> None:
    """Show the help where no command was given."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def run() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")  # a terminal that cannot show a letter is no reason to fail
    app()
