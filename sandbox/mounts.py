"""Whether bubblewrap has mounted what was meant, seen from outside before the command begins.

Bubblewrap takes paths, and a path in a directory that another live command can write to may lead elsewhere by the
time it is mounted: a directory that was looked at is exchanged for a link to somebody's home. No look beforehand can
rule that out. So the mounts are compared afterwards: the kernel says of each where it is and of what.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from sandbox.paths import contains

_TMPFS: Final = "tmpfs"

_OUTSIDE: Final = "/oldroot"
_INSIDE: Final = "/newroot"
"""Where bubblewrap has the machine, and what it makes for the command, until it leaves the first behind."""


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


def are_as_meant(meant: Sequence[Meant], mountinfo: str) -> bool:
    """Whether all that is ``meant`` is mounted inside, over whatever was there before.

    Each mount comes on top of those that were outside before, so one that ended up elsewhere is missing where it
    was meant to be.

    Args:
        meant: What has to be where.
        mountinfo: ``/proc/PID/mountinfo`` of a bubblewrap that has made its mounts and still has the machine's.
    """
    wanted: dict[str, list[Meant]] = {}
    for each in meant:
        wanted.setdefault(each.path, []).append(each)
    outside, inside = _parted(mountinfo, wanted.keys())
    for path, stack in wanted.items():
        there = [mount for mount in inside if mount.point == path]
        before = sum(mount.point == path for mount in outside)
        if len(there) < before + len(stack) or not _is_of(stack[-1].source, there[-1], outside):
            return False
    return True


def _parted(mountinfo: str, wanted: AbstractSet[str]) -> tuple[list[Mount], list[Mount]]:
    """All outside, and those of ``wanted`` inside: in order, with the points that they have for whoever is there."""
    outside: list[Mount] = []
    inside: list[Mount] = []
    # Not splitlines, for which there are more ends of a line than one, and a directory may be called so.
    for row in mountinfo.split("\n"):
        words = row.split(" ")
        point = _plain(words[4]) if row else ""
        if contains(_INSIDE, point) and (point.removeprefix(_INSIDE) or "/") in wanted:
            inside.append(_mount(words, point.removeprefix(_INSIDE)))
        elif contains(_OUTSIDE, point):
            outside.append(_mount(words, point.removeprefix(_OUTSIDE)))
    return outside, inside


def _mount(words: Sequence[str], point: str) -> Mount:
    kind = words[words.index("-", 6) + 1]
    return Mount(device=words[2], root=_plain(words[3]), point=point or "/", kind=kind)


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


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
