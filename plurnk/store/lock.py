"""One daemon per database (SPEC 7.1): an advisory lock beside the file, which dies with its holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plurnk.errors import Conflict


@contextmanager
def hold_database(path: Path) -> Iterator[None]:
    """Hold ``<path>.lock`` with our pid in it for the length of the block.

    The lock is the kernel's (``flock``): a killed holder leaves nothing that must be cleaned up. The
    file itself stays, because removing it would let two processes lock two different files.

    Raises:
        Conflict: another process holds it; the message names its pid.
    """
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(f"database {path} is in use by the daemon with pid {holder}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds the database; None: nobody does.

    It is looked up in the kernel's table: trying the lock could make a daemon fail that starts at this moment.
    """
    file = path.with_name(path.name + ".lock")
    try:
        pid, inode = int(file.read_text("ascii")), file.stat().st_ino
        table = Path("/proc/locks").read_text("ascii")
    except (OSError, ValueError):
        return None
    # E.g. ``1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234567 0 EOF``. The device is not every file system's own.
    for row in table.splitlines():
        match row.split():
            case [_, "FLOCK", _, "WRITE", owner, place, *_] if owner == str(pid) and place.endswith(f":{inode}"):
                return pid
            case _:
                pass
    return None
