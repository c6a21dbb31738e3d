"""What a file is besides its content: owner, group, mode, access list, extended attributes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

_ACCESS_LIST: Final = "system.posix_acl_access"
_OF_THE_CONTENT: Final = frozenset({"security.capability", "security.evm", "security.ima"})
"""Given to a program for what it holds: the kernel, too, takes the capabilities away when a file is written."""


def copy_attributes(source_fd: int, target_fd: int) -> None:
    """Make the target's attributes the source's, as far as we may.

    Nobody gains by what we may not: a file that changes its owner or group is no set-uid or set-gid one any more, and
    a group that is not the old one, or has lost the access list that bounds it, may do what everybody may.

    Raises:
        OSError: the disk fails.
    """
    old = os.fstat(source_fd)
    for uid in (old.st_uid, -1):
        try:
            os.fchown(target_fd, uid, old.st_gid)
            break
        except OSError:
            continue  # not ours to give, no such user in this namespace, the other's quota is used up
    has_list = _copy_extended(source_fd, target_fd)
    now = os.fstat(target_fd)
    mode = stat.S_IMODE(old.st_mode)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    if now.st_gid != old.st_gid or not has_list:
        mode = mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    set_mode(target_fd, mode)


def set_mode(fd: int, mode: int) -> None:
    """Set the mode, where the file system has modes.

    Raises:
        OSError: the disk fails.
    """
    with suppress(PermissionError):  # a file system for which every file has the same
        os.fchmod(fd, mode)


def _copy_extended(source_fd: int, target_fd: int) -> bool:
    """Copy what can be copied; whether the access list, if there is one, was."""
    try:
        names = os.listxattr(source_fd)
    except OSError:
        return True  # the file system has none
    complete = True
    for name in names:
        if name in _OF_THE_CONTENT:
            continue
        try:
            os.setxattr(target_fd, name, os.getxattr(source_fd, name))
        except OSError:
            complete = complete and name != _ACCESS_LIST
    return complete
