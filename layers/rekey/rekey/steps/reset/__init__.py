"""Reset: the gate, then the protocol, one act at a time."""

from rekey.steps.reset.loop import run

__all__ = ["run"]
