"""Files and directories of a project, read by open descriptors and in bounded memory (SPEC 5.1)."""

from __future__ import annotations

import heapq
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from plurnk.content import mimetypes
from plurnk.content.lines import whole_lines
from plurnk.errors import TooLarge, UnsupportedType
from plurnk.files.beneath import Root
from plurnk.files.refusals import ours

Kind: TypeAlias = Literal["file", "directory", "other"]

PIECE_BYTES: Final = 1024 * 1024
"""What is held of a file while its lines are counted, and how far apart the marks are from which a line is found."""

MAX_LISTED: Final = 10_000
"""Names in the listing of a directory."""

COUNTED_MAX_BYTES: Final = 1024 * 1024 * 1024
"""Of a longer file the lines are not counted, for that takes seconds. A file with holes may have any length."""

_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, and what ends a line or has what follows it shown in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileId:
    """Which file, and as it was when: of a file that has been written since, another."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    kind: Kind
    id: FileId


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """``id`` is from before the reading, so what was written meanwhile makes another one.

    ``path``: where what was read is, links resolved; who looked that up apart could be told of another file.
    """

    path: str
    data: bytes
    id: FileId
    mode: int


@dataclass(slots=True, kw_only=True)
class FileSource:
    """A file to be read in parts, as ``schemes.reading.Source``; what is added to it after the opening is left out.

    Of a file that has become shorter meanwhile it gives what is there.
    """

    fd: int
    path: str
    mimetype: str
    size_bytes: int
    channel: str = "body"
    _newlines: list[int] = field(default_factory=list[int], init=False)
    """Those before each piece, and those in all; empty until somebody asks."""
    _ends_newline: bool = field(default=True, init=False)

    @property
    def lines(self) -> int:
        """How many there are; the first time, all of the file is read.

        Raises:
            TooLarge: it has more than COUNTED_MAX_BYTES.
        """
        if self.size_bytes > COUNTED_MAX_BYTES:
            raise TooLarge(f"{self.path} has {self.size_bytes} bytes, too many to be read by lines")
        if not self._newlines:
            self._count()
        return self._newlines[-1] + (not self._ends_newline)

    def read(self, max_bytes: int | None = None) -> bytes:
        """All of it, or its first ``max_bytes``."""
        return self._bytes(0, self.size_bytes if max_bytes is None else max_bytes)

    def read_lines(self, first: int, last: int, max_bytes: int) -> tuple[bytes, int, bool]:
        """Lines ``first`` to ``last``, as ``store.channels.read_lines`` gives them."""
        start = self._line_start(first)
        end = self.size_bytes if last >= self.lines else self._line_start(last + 1)
        data = self._bytes(start, min(end - start, max_bytes))
        if end - start <= max_bytes or len(data) < max_bytes:
            return data, last, True
        return *whole_lines(data, first), False

    def _count(self) -> None:
        newlines, at = [0], 0
        while piece := self._bytes(at, PIECE_BYTES):
            newlines.append(newlines[-1] + piece.count(b"\n"))
            self._ends_newline = piece.endswith(b"\n")
            at += len(piece)
        self._newlines = newlines

    def _line_start(self, line: int) -> int:
        """The offset at which ``line`` begins; the end for any beyond."""
        if line > self.lines:
            return self.size_bytes
        if line <= 1:
            return 0
        # Line N begins after newline N-1, which lies in the last piece with fewer than N-1 newlines before it.
        number = bisect_left(self._newlines, line - 1) - 1
        piece = self._bytes(number * PIECE_BYTES, PIECE_BYTES)
        position = -1
        for _ in range(line - 1 - self._newlines[number]):
            position = piece.find(b"\n", position + 1)
            if position < 0:  # written over since they were counted
                return self.size_bytes
        return number * PIECE_BYTES + position + 1

    def _bytes(self, start: int, max_bytes: int) -> bytes:
        with ours(self.path):
            return _read(self.fd, start, min(max_bytes, self.size_bytes - start))


def can_be_written(name: str) -> bool:
    """Whether a line of text can hold a name and show it as it is: UTF-8, without control characters."""
    return _UNWRITABLE.search(name) is None


def look(root: Root, path: str) -> Look:
    """What ``path`` leads to, without opening it.

    Raises:
        Denied, Malformed, NotFound: as ``Root.open``.
    """
    fd = root.open(path, os.O_PATH)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    is_file, is_directory = stat.S_ISREG(status.st_mode), stat.S_ISDIR(status.st_mode)
    return Look(kind="file" if is_file else "directory" if is_directory else "other", id=_id(status))


def read_whole(root: Root, path: str, max_bytes: int) -> FileContent:
    """All of a regular file.

    Raises:
        Denied, Malformed, NotFound: as ``Root.open``.
        TooLarge: more than ``max_bytes``.
        UnsupportedType: a directory, device, socket or pipe.
    """
    fd = root.open(path)
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise UnsupportedType(f"{path or 'the workspace'} is a directory")
        with ours(path):
            real = root.path_of(fd)
            data = b"" if status.st_size > max_bytes else _read(fd, 0, max_bytes + 1)
        if max(status.st_size, len(data)) > max_bytes:
            raise TooLarge(f"{path} has more than {max_bytes} bytes")
    finally:
        os.close(fd)
    return FileContent(path=real, data=data, id=_id(status), mode=stat.S_IMODE(status.st_mode))


@contextmanager
def open_source(root: Root, path: str, mimetype: str) -> Iterator[FileSource]:
    """A regular file; of a directory, its names in lines of text, byte-wise ascending, directories with ``/``.

    Links are listed as names, wherever they lead. Names that cannot be written, and those after MAX_LISTED, are
    counted in the last lines.

    Args:
        root: what it is beneath.
        path: from there on.
        mimetype: of a file; that of a directory is text/plain.

    Raises:
        Denied, Malformed, NotFound: as ``Root.open``.
        UnsupportedType: a device, socket or pipe.
    """
    fd = root.open(path)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            with ours(path):
                listing, memory = _listing(root, fd), os.memfd_create("listing")
            os.close(fd)
            fd = memory
            os.write(fd, listing)
            mimetype = mimetypes.PLAIN
        yield FileSource(fd=fd, path=path, mimetype=mimetype, size_bytes=os.fstat(fd).st_size)
    finally:
        os.close(fd)


def _listing(root: Root, fd: int) -> bytes:
    here = os.readlink(f"/proc/self/fd/{fd}").rstrip("/")  # noqa: PTH115 – the text: it may be gone
    unwritable = more = 0

    def names() -> Iterator[str]:
        nonlocal unwritable, more
        with os.scandir(fd) as entries:
            for entry in entries:
                if root.hides(f"{here}/{entry.name}"):
                    continue
                if not can_be_written(entry.name):
                    unwritable += 1
                    continue
                more += 1
                yield f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name

    # In UTF-8, bytes sort as the characters do.
    listed = heapq.nsmallest(MAX_LISTED, names())
    more -= len(listed)
    if more:
        listed.append(f"… {more} more")
    if unwritable:
        listed.append(f"… {unwritable} name{'s' if unwritable > 1 else ''} that cannot be written")
    return "".join(f"{line}\n" for line in listed).encode()


def _read(fd: int, start: int, max_bytes: int) -> bytes:
    """The bytes from ``start`` on, fewer only when there are no more."""
    parts: list[bytes] = []
    while max_bytes > 0 and (part := os.pread(fd, max_bytes, start)):
        parts.append(part)
        start += len(part)
        max_bytes -= len(part)
    return b"".join(parts)


def _id(status: os.stat_result) -> FileId:
    return FileId(
        device=status.st_dev,
        inode=status.st_ino,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
