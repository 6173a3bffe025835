"""Help in the manner of the GitHub CLI: one line, usage, what there is, examples."""

import os
import shutil
import textwrap
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_WIDEST = 100


class Command(TyperCommand):
    """A command with our help."""

    def get_usage(self, ctx: Any) -> str:  # noqa: ANN401 (typer's own type is private)
        """Return the usage line that goes with an error."""
        return f"Usage: {_usage(self, ctx)}"

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401
        """Return the help page."""
        return _page(self, ctx)


class Group(TyperGroup):
    """A group of commands with our help."""

    def get_usage(self, ctx: Any) -> str:  # noqa: ANN401
        """Return the usage line that goes with an error."""
        return f"Usage: {_usage(self, ctx)}"

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401
        """Return the help page."""
        return _page(self, ctx)


def _usage(command: TyperCommand | TyperGroup, ctx: Any) -> str:  # noqa: ANN401
    if isinstance(command, TyperGroup):
        return f"{ctx.command_path} <command> [flags]"
    places = [param.metavar or param.name.upper() for param in _arguments(command)]
    return " ".join([ctx.command_path, *places, "[flags]"])


def _arguments(command: TyperCommand | TyperGroup) -> list[Any]:
    return [param for param in command.params if param.param_type_name == "argument"]


def _page(command: TyperCommand | TyperGroup, ctx: Any) -> str:  # noqa: ANN401
    paragraphs = textwrap.dedent(command.help or "").strip().split("\n\n")
    parts = [textwrap.fill(paragraph, _width()) for paragraph in paragraphs]
    parts.append(_section("USAGE", [(_usage(command, ctx), "")]))
    if isinstance(command, TyperGroup):
        commands = [one for one in command.commands.values() if not one.hidden]
        parts.append(_section("COMMANDS", [(f"{one.name}:", _first_line(one.help)) for one in commands]))
    arguments = [(param.metavar or param.name.upper(), param.help or "") for param in _arguments(command)]
    parts.append(_section("ARGUMENTS", arguments))
    parts.append(_section("FLAGS", [_flag(option) for option in _options(command, ctx)]))
    if command.epilog:
        parts.append("\n".join([heading("EXAMPLES"), textwrap.indent(textwrap.dedent(command.epilog).strip(), "  ")]))
    if isinstance(command, TyperGroup):
        parts.append(f"Use `{ctx.command_path} <command> --help` for more about a command.")
    return "\n\n".join(part for part in parts if part)


def _options(command: TyperCommand | TyperGroup, ctx: Any) -> list[Any]:  # noqa: ANN401
    params: list[Any] = list(command.get_params(ctx))
    return [param for param in params if param.param_type_name == "option" and not param.hidden]


def _flag(option: Any) -> tuple[str, str]:  # noqa: ANN401
    short = [name for name in option.opts if not name.startswith("--")]
    long = [name for name in [*option.opts, *option.secondary_opts] if name.startswith("--")]
    names = ", ".join([*short, "/".join(long)])
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ("" if short else "    ") + names + value, option.help or ""


def _section(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    width = max(len(name) for name, _ in rows) + 2
    lines = [heading(title)]
    for name, text in rows:
        wrapped = textwrap.wrap(text.removesuffix("."), max(_width() - width - 2, 40)) or [""]
        lines.append(f"  {name:{width}}{wrapped[0]}".rstrip())
        lines += [" " * (width + 2) + more for more in wrapped[1:]]
    return "\n".join(lines)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n\n")[0].replace("\n", " ")


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST)


def heading(text: str) -> str:
    """Return a heading: bold, unless the environment says NO_COLOR. typer drops it where there is no terminal."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)
