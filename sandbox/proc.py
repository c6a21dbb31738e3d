"""What /proc says of processes. Every answer may be old by the time it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_GONE = (FileNotFoundError, ProcessLookupError)
"""What reading of a process that has just gone raises: the first in opening, the second in reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """``state`` is the kernel's letter (``S`` sleeps, ``T`` is stopped, ``Z`` has ended and is not reaped).

    ``started_ticks`` counts from boot; with the pid it names a process for ever.
    """

    pid: int
    parent: int
    state: str
    started_ticks: int


def stat(pid: int) -> Stat | None:
    """How the process is; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except _GONE:
        return None
    # The fields come after the name, which is in brackets and may hold anything.
    fields = text.rpartition(")")[2].split()
    return Stat(pid=pid, state=fields[0], parent=int(fields[1]), started_ticks=int(fields[19]))


def is_alive(pid: int) -> bool:
    found = stat(pid)
    return found is not None and found.state not in {"Z", "X"}


def pids() -> Iterator[int]:
    """All that are visible here."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 – names are all that is wanted


def command_line(pid: int) -> list[str]:
    """Its argv; empty when it is gone, has ended, or is a kernel thread."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (*_GONE, PermissionError):
        return []
    return [os.fsdecode(word) for word in line.removesuffix(b"\0").split(b"\0")] if line else []


def children(pid: int) -> list[int]:
    """Those of all its threads. One that is born or ends meanwhile may be missing, and others with it."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 – names are all that is wanted
        for thread in threads:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split())
    except _GONE:
        pass  # a thread or the process ended; what was found may still be there
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, parents first. Those whose parent ended are children of another now:
    in a PID namespace of its first process, so that they are found below that.
    """
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found
