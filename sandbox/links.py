"""Symbolic links, which a command that lives may make, exchange and remove at any moment where it can write.

Imported by the supervisor, so ``os`` only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as typing has it, without what it costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_MANY: Final = 40
"""Links on the way of one path, as many as the kernel follows."""

_TRIES: Final = 16

_GONE: Final = " (deleted)"

# Paths are words of a command line here, so they stay text.
# ruff: noqa: PTH115, PTH118, PTH120


def real(path: str) -> str:
    """As ``os.path.realpath``, but in one step where the kernel can be asked.

    That function fails when a link is no link any more once it reads it: then it is asked again.

    Raises:
        OSError: it is exchanged all the time.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there, or out of reach
        return _real_in_steps(path)
    try:
        found = os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return _real_in_steps(path) if found.endswith(_GONE) else found


def _real_in_steps(path: str) -> str:
    for _ in range(_TRIES):
        try:
            return os.path.realpath(path)
        except OSError:
            continue
    return os.path.realpath(path)


def leads_through(path: str, is_meant: Callable[[str], bool]) -> bool:
    """Whether a link that is followed to where ``path`` (absolute) leads is one for which ``is_meant`` is true."""
    if real(path) == path:
        return False
    at, names, followed = "/", _names(path), 0
    while names:
        name = names.pop(0)
        if name == "..":
            at = os.path.dirname(at)
            continue
        step = os.path.join(at, name)
        try:
            target = os.readlink(step)
        except OSError:  # no link, or nothing
            at = step
            continue
        followed += 1
        if is_meant(step) or followed > _MANY:
            return True
        at = "/" if target.startswith("/") else at
        names = _names(target) + names
    return False


def open_real(path: str, flags: int) -> int:
    """Open ``path`` (absolute) where no part of it is a link.

    Raises:
        OSError: one is, or the file cannot be had.
    """
    names = _names(path)
    at = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for position, name in enumerate(names):
        last = position == len(names) - 1
        wanted = flags if last else os.O_PATH | os.O_DIRECTORY
        try:
            below = os.open(name, wanted | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in {"", "."}]
