"""A file and the temporary ones beside it: names in a held directory, and what is done with them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from plurnk.files.attributes import copy_attributes, set_mode

_NAME_BYTES: Final = 90
"""Of a file's name in its temporary ones: these are shorter than the least that file systems take (143)."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_PIECE_BYTES: Final = 1024 * 1024

_CONTENT_MAX_BYTES: Final = 256 * 1024 * 1024
"""No file that is changed is as long. One that was put in its place may be, and would be read for hours."""

_NOTHING_TO_READ: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Beside:
    """Methods raise OSError: as the disk says."""

    dir_fd: int
    """May be an O_PATH descriptor."""
    name: str
    token: str

    @property
    def part(self) -> str:
        """What is being written: ours, perhaps not whole."""
        return f".{self._stem}.part"

    @property
    def copy(self) -> str:
        """As ``part``: a copy of what was there."""
        return f".{self._stem}.copy"

    @property
    def swap(self) -> str:
        """What is whole, and may have become somebody else's."""
        return f".{self._stem}.swap"

    @property
    def kept(self) -> str:
        """What somebody else wrote, and nothing else holds: in sight, and never taken away."""
        return f"{self._stem}.kept"

    @property
    def _stem(self) -> str:
        return f"{self.name.encode()[:_NAME_BYTES].decode(errors='ignore')}.plurnk-{self.token}"

    def look(self, name: str) -> os.stat_result | None:
        """What has the name, a link not followed; None: nothing."""
        try:
            return os.stat(name, dir_fd=self.dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> int:
        """A descriptor to read from: no link is followed, nothing is waited for."""
        return os.open(name, _READ, dir_fd=self.dir_fd)

    def content(self, name: str) -> str | None:
        """The sha256 of a regular file; None: there is none, or none that we may read."""
        try:
            fd = self.open(name)
        except OSError as error:
            if error.errno in _NOTHING_TO_READ:
                return None
            raise
        try:
            return content(fd)
        finally:
            os.close(fd)

    def has_writer(self, name: str) -> bool:
        """Whether a program has it open to write; False, too, where nobody can tell, as of a file of another user's."""
        try:
            fd = self.open(name)
        except OSError as error:
            if error.errno in _NOTHING_TO_READ:
                return False
            raise
        try:
            return has_writer(fd)
        finally:
            os.close(fd)

    def is_settled(self, name: str, *contents: str | None) -> bool:
        """Whether a regular file holds one of these, and no program has it open to write something else into it."""
        # In this order: what is written between the two is seen by the content.
        return not self.has_writer(name) and self.content(name) in contents

    def write(
        self, name: str, data: bytes, *, like: int | None = None, mode: int | None = None, mtime_ns: int | None = None
    ) -> os.stat_result:
        """Make a file that holds ``data`` and is on the disk.

        Args:
            name: what nothing has.
            data: all of it.
            like: an open file, whose attributes it gets. Until it has them it is this user's alone.
            mode: its permissions; None: as the umask says, or the directory's default access list.
            mtime_ns: when it was changed; None: now.
        """
        fd = os.open(name, _CREATE, 0o666 if like is mode is None else 0o600, dir_fd=self.dir_fd)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            if like is not None:
                copy_attributes(like, fd)
            elif mode is not None:
                set_mode(fd, mode)
            if mtime_ns is not None:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.fsync(fd)
            return os.fstat(fd)
        finally:
            os.close(fd)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target, src_dir_fd=self.dir_fd, dst_dir_fd=self.dir_fd)

    def remove(self, name: str) -> None:
        """Remove a file that may be gone."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.dir_fd)

    def sync(self) -> None:
        """Bring the names to the disk."""
        try:
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.dir_fd)
        except PermissionError:
            return  # it may be written and not read: what was done there is not less done
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that does not sync directories
                raise
        finally:
            os.close(fd)


def content(fd: int) -> str | None:
    """The sha256 of an open file; None: it is no regular one, or a longer one than any that is changed here."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return None
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE_BYTES, at):
        digest.update(piece)
        at += len(piece)
        if at > _CONTENT_MAX_BYTES:
            return None
    return digest.hexdigest()


def has_writer(fd: int) -> bool:
    """Whether a program has a file, which we have open to read, open to write. False, too, where nobody can tell."""
    try:
        # Who opens it at this very moment waits for us. The usual signal for that would end us; this one is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
