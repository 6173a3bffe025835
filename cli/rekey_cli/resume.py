"""`rekey resume`: let a rotation that needed a person go on, under the plan as it is pushed now."""

from datetime import UTC, datetime

from rekey.model.plan import ManualRegistry
from rekey.records import resuming
from rekey_cli import console
from rekey_cli.registry_name import Registry
from rekey_cli.stack import Stack, StackName

EXAMPLES = """
$ rekey plan push prod-images.yaml
$ rekey resume prod-images
"""


def resume(registry: Registry, stack: StackName = None) -> None:
    """Go on with a rotation that needed attention, under the plan as it is pushed now.

    An answer of the registry that could not be read is kept: it is read once more, and nothing is reset for it.
    """
    target = Stack(stack)
    plan, _, version = target.plans.pushed(registry)
    manual = isinstance(plan.registry, ManualRegistry)
    rotation = resuming.resume(target.ledger, registry, version, datetime.now(UTC), manual=manual)
    console.done(f"{rotation.id} goes on within a minute: `rekey status {registry}` shows how")
