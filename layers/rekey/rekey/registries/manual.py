"""A registry whose password a person resets in the vendor's console, and pastes once."""

from rekey.contracts import Manual
from rekey.model import plan
from rekey.registries.oci import OciRegistry
from rekey.secrets import Secrets


class ManualRegistry(OciRegistry, Manual):
    """Everything but the click."""

    def __init__(self, part: plan.ManualRegistry, secrets: Secrets) -> None:
        super().__init__(part, secrets)
        self.settle = part.settle
        self.where = part.where

    def check(self) -> None:
        """There is no control plane to ask: `reach` asks the registry itself."""
