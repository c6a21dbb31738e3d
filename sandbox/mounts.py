"""Whether bubblewrap has mounted what was meant, seen from outside before the command begins.

Bubblewrap takes paths, and a path in a directory that another live command can write to may lead elsewhere by the
time it is mounted: a directory that was looked at is exchanged for a link to somebody's home. No look beforehand can
rule that out. So the mounts are compared afterwards: the kernel says of each where it is and of what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.paths import contains

_TMPFS: Final = "tmpfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """``source`` is to be seen at ``path``; None: an empty file system in memory. Both are real paths."""

    path: str
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A row of ``/proc/PID/mountinfo``: ``root`` of the file system ``device`` is seen at ``point``."""

    device: str
    root: str
    point: str
    kind: str


def mounts_of(pid: int | str) -> list[Mount]:
    """Those that this process sees, in the order in which they were made.

    Raises:
        OSError: the process is gone.
    """
    # Not splitlines, for which there are more ends of a line than one, and a directory may be called so.
    rows = Path(f"/proc/{pid}/mountinfo").read_text("utf-8", "surrogateescape").split("\n")
    return [_mount(row) for row in rows if row]


def _mount(row: str) -> Mount:
    before, _, after = row.partition(" - ")
    _id, _parent, device, root, point = before.split(" ")[:5]
    return Mount(device=device, root=_plain(root), point=_plain(point), kind=after.partition(" ")[0])


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def are_as_meant(meant: Iterable[Meant], outside: Sequence[Mount], inside: Sequence[Mount]) -> bool:
    """Whether all that is ``meant`` is mounted ``inside``, where the mounts ``outside`` came along before.

    Each mount comes on top of those, so one that ended up elsewhere is missing where it was meant to be.
    """
    wanted: dict[str, list[Meant]] = {}
    for each in meant:
        wanted.setdefault(each.path, []).append(each)
    for path, stack in wanted.items():
        there = [mount for mount in inside if mount.point == path]
        before = sum(mount.point == path for mount in outside)
        if len(there) < before + len(stack) or not _is_of(stack[-1].source, there[-1], outside):
            return False
    return True


def _is_of(source: str | None, mount: Mount, outside: Sequence[Mount]) -> bool:
    if source is None:
        return mount.kind == _TMPFS and mount.root == "/"
    above = None
    for each in outside:
        if contains(each.point, source) and (above is None or len(each.point) >= len(above.point)):
            above = each
    if above is None:
        return False
    rest = source.removeprefix(above.point.rstrip("/"))
    return (mount.device, mount.root) == (above.device, above.root.rstrip("/") + rest or "/")
