"""The name of a registry, as an argument of a command."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from rekey.model import names

_name = TypeAdapter(names.RegistryName)


def _check(text: str | None) -> str | None:
    """Return the name. Raises BadParameter without the text: it could be a password in the wrong place."""
    try:
        return text if text is None else _name.validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


Registry = Annotated[
    str, typer.Argument(metavar="REGISTRY", help="Name of the registry, as in its plan", callback=_check)
]
OptionalRegistry = Annotated[
    str | None,
    typer.Argument(metavar="[REGISTRY]", help="One registry; without it, all", callback=_check, show_default=False),
]
