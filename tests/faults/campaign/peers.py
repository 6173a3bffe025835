"""Which process a connection on this machine comes from, as Linux tells in /proc."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def owner_of(port: int, among: Iterable[int]) -> int | None:
    """Return which of these processes has a TCP socket of IPv4 at this port of its own; None where none has.

    /proc/net/tcp: proc_net_tcp(5) of Linux's documentation.
    """
    # Thousands of lines, most of closed connections: only those with this port are taken apart.
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()
    rows = [line.split() for line in lines if f":{port:04X} " in line]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")}
    return next((pid for pid in among if sockets & _open_by(pid)), None)


def _open_by(pid: int) -> set[str]:
    found: set[str] = set()
    with suppress(OSError):  # it is gone
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found
