"""What the system knows of processes and open files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def children(parent: int | None = None) -> list[int]:
    """The pids of the children of ``parent`` (this process), ended ones that nobody has waited for included."""
    parent = os.getpid() if parent is None else parent
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))  # noqa: PTH208 – names are all that is wanted
    return sorted(pid for pid in pids if _stat(pid)[1:] == [str(parent)])


def is_ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has waited for it."""
    return _stat(pid)[:1] in ([], ["Z"])


def _stat(pid: int) -> list[str]:
    """State and parent; nothing when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return []
    # They come after the name, which is in brackets and may hold anything.
    return stat.rpartition(")")[2].split()[:2]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 – the listing itself has one open


def with_marker(marker: str) -> list[int]:
    """The processes that have ``marker`` in their arguments, those that nobody has reaped left out."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if marker.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found
