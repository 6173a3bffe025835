"""`rekey deliver`: deliver the password in force to whoever lacks it, without a reset."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rekey.records import redelivering
from rekey_cli import console
from rekey_cli.registry_name import Registry
from rekey_cli.stack import Stack, StackName

EXAMPLES = """
$ rekey deliver prod-images
$ rekey deliver prod-images web-ci 'prod-*'
$ rekey deliver prod-images '*'
"""


def deliver(
    registry: Registry,
    consumers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONSUMER]...",
            help="Who is told too, though they have it: `web-ci`, `prod-*`, `*`",
            show_default=False,
        ),
    ] = None,
    stack: StackName = None,
) -> None:
    """Deliver the password in force to every consumer that lacks it, under the plan as it is pushed now.

    Nothing is reset: that is for consumers that failed and are mended, and for those that are new in the plan. Whoever
    is named is told as well, though they have it.
    """
    target = Stack(stack)
    request = redelivering.deliver(target.ledger, target.bucket, registry, consumers or (), datetime.now(UTC))
    console.done(
        f"{registry}/{request.generation} is to be delivered again: the next tick takes that up, or the first one "
        f"after what runs now. `rekey status {registry}` shows how it goes"
    )
