"""The kernel's own way to open a path beneath a directory: openat2 with RESOLVE_BENEATH (Linux 5.6)."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from functools import cache
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_OPENAT2: Final = 437
"""The same number on every machine that Python's wheels are built for."""

_AT_FDCWD: Final = -100
_NO_MAGICLINKS: Final = 0x02
_BENEATH: Final = 0x08
"""Implies the other today; the manual says that it may not for ever."""

_TRIES: Final = 8
"""EAGAIN: something was renamed anywhere while a ``..`` was resolved. Who renames without end is left to the walk."""


def _pin(directory: int, path: str, resolve: int) -> int:
    how = struct.pack("@QQQ", os.O_PATH | os.O_CLOEXEC, 0, resolve)  # flags, mode, resolve
    fd: int = _LIBC.syscall(
        ctypes.c_long(_OPENAT2), ctypes.c_int(directory), os.fsencode(path), how, ctypes.c_size_t(len(how))
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


@cache
def supported() -> bool:
    """Whether this kernel has the call (ENOSYS: an older one) and lets us use it (EPERM: a filter around us)."""
    try:
        os.close(_pin(_AT_FDCWD, "/", 0))
    except OSError:
        return False
    return True


def pin_beneath(directory: int, path: str) -> int:
    """An O_PATH descriptor of what ``path`` leads to, links followed as long as no step leaves ``directory``.

    Raises:
        OSError: EXDEV for a step out and for every absolute link, also one that would lead back; EAGAIN when renames
            elsewhere disturbed each try; and what ``open`` says.
    """
    for _ in range(_TRIES - 1):
        with suppress(BlockingIOError):
            return _pin(directory, path, _BENEATH | _NO_MAGICLINKS)
    return _pin(directory, path, _BENEATH | _NO_MAGICLINKS)
