"""Renames that keep what is there: two names exchanged, or a name taken only while it is free (renameat2)."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_NOREPLACE: Final = 1
_EXCHANGE: Final = 2

_CANNOT: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})
"""An old kernel, a file system without it, a filter around us. EPERM may be meant: the other way hears it, too."""


def renameat2(dir_fd: int, source: str, target: str, flags: int) -> None:
    """Rename within a held directory.

    Raises:
        OSError: as renameat2(2); ENOSYS also where the C library does not have it.
    """
    call = getattr(_LIBC, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    held = ctypes.c_int(dir_fd)
    if call(held, os.fsencode(source), held, os.fsencode(target), ctypes.c_uint(flags)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exchange(dir_fd: int, one: str, other: str) -> bool:
    """Give each the other's name, in one step. False: that cannot be done here, and nothing was.

    Raises:
        OSError: the disk refuses it.
    """
    try:
        renameat2(dir_fd, one, other, _EXCHANGE)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def rename_to_free(dir_fd: int, source: str, target: str) -> None:
    """Rename to a name that nothing has.

    Where a file system can do neither this nor a hard link, what takes the name at that very moment is lost.

    Raises:
        FileExistsError: something has it.
        OSError: the disk refuses it.
    """
    try:
        renameat2(dir_fd, source, target, _NOREPLACE)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    else:
        return
    try:
        os.link(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        try:
            os.stat(target, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
    else:
        os.unlink(source, dir_fd=dir_fd)
