"""Names that appear in keys, paths and messages, and what they may look like."""

from typing import Annotated, NewType

from rekey.model.shape import Shape

RegistryName = Annotated[
    str,
    Shape(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        "lower case letters, digits and hyphens, at most 63, with a letter or digit at both ends",
    ),
]
"""It is part of keys, paths and execution names."""

ConsumerName = Annotated[
    str,
    Shape(
        r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$",
        "lower case letters, digits, dots, hyphens and underscores, at most 63, with a letter or digit at both ends",
    ),
]

Generation = NewType("Generation", int)
"""The number of a password of one registry: 1 for the first that Rekey made, 0 for one it found."""

PlanVersion = NewType("PlanVersion", str)
"""The S3 version id of the pushed plan."""

StoreVersion = NewType("StoreVersion", str)
"""The store's own id of one value."""
