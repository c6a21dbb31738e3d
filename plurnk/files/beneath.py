"""Paths that stay beneath the project's root at the moment of use, whatever links and renames say (SPEC 5.1).

Everything goes by descriptors from the held root on, so a name that is swapped for a link between two steps is seen as
the link it is. Nothing outside is ever looked at: a path out is refused in the same words whether its target exists.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from plurnk.errors import Denied, Malformed, NotFound, PlurnkError, UnsupportedType
from plurnk.files import openat2
from plurnk.files.descent import Descent
from plurnk.files.refusals import ours, refusal
from plurnk.files.spelling import ESCAPES, inside, is_gits

__all__ = ["ESCAPES", "Place", "Root", "inside", "open_root"]

_HIDDEN: Final = "this path belongs to plurnk itself"
_GITS_OWN: Final = "what is in .git is written by git alone"
_GIT: Final = ".git"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a write happens. ``name`` was no link when it was looked at: open it with O_NOFOLLOW, or rename onto it."""

    dir_fd: int
    """An O_PATH descriptor of the directory; open "." from it for what needs more (fsync)."""
    name: str
    path: str
    """From the root on, links resolved."""
    made: tuple[str, ...]
    """The directories that were made on the way, outermost first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A project's root, held open. All methods block on the disk: for threads."""

    fd: int
    path: str
    """The real path of the root when it was opened."""
    given: str
    hidden: tuple[str, ...]
    hidden_ids: frozenset[tuple[int, int]]
    """Device and inode of each of these that is there: so it is known by any other name, such as a hard link's."""

    def locate(self, path: str) -> str:
        """``path`` in its canonical spelling; an absolute one may be beneath the root as given or the real one.

        Raises:
            Malformed, Denied: as ``inside``.
        """
        with suppress(Denied):
            return inside(self.given, path)
        return inside(self.path, path)

    def path_of(self, fd: int) -> str:
        """Where an open file is, from the root on, links resolved.

        Raises:
            Denied: not beneath the root any more.
            Malformed: nobody can say its name.
        """
        return inside(self.path, _real_path(fd))

    def hides(self, real_path: str) -> bool:
        """Whether an absolute path without links is one of the hidden, or beneath one."""
        return any(real_path == path or real_path.startswith(path + "/") for path in self.hidden)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of the file or directory that ``path`` leads to; never creates one.

        Links are followed as long as they stay beneath the root. With O_PATH it may be of any kind; else devices,
        sockets and pipes are refused without being opened, for that alone can block or do something.

        Raises:
            Denied: it leads out, is hidden, or the disk forbids it.
            NotFound: nothing is there, or more than 40 links.
            Malformed: as ``inside``.
            UnsupportedType: a device, socket or pipe.
        """
        path = self.locate(path)
        with ours(path):
            pinned = self._pin(path)
            try:
                self._check_own(pinned)
                if flags & os.O_PATH:
                    return os.dup(pinned)
                mode = os.fstat(pinned).st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise UnsupportedType(f"{path} is a device, socket or pipe")
                # Through /proc the kernel opens this very file again, whatever has its name by now.
                again = (flags & ~(os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL)) | os.O_CLOEXEC | os.O_NONBLOCK
                return os.open(f"/proc/self/fd/{pinned}", again)
            finally:
                os.close(pinned)

    @contextmanager
    def place(self, path: str, *, make: bool = False) -> Iterator[Place]:
        """Where a write to ``path`` happens, a link at its end followed, also one that leads to nothing yet.

        Args:
            path: from the root on, or absolute beneath it.
            make: directories that are missing above it are made. If the block raises, they are taken away again.

        Raises:
            Denied: it leads out, is hidden, is git's own, or the disk forbids it.
            NotFound: a directory above it is missing, or more than 40 links.
            Malformed: as ``inside``; the root itself; a link that leads to a name that is not UTF-8.
            OutOfRoom: no room for a directory.
        """
        path = self.locate(path)
        with self._way_to_write() as way:
            try:
                with ours(path):
                    way.go(path, make=make)
                    if way.is_there:
                        self._check_own(way.end)
                yield _arrived(way)
            except BaseException:
                self.unmake(way.made)
                raise

    @contextmanager
    def directory_of(self, path: str) -> Iterator[int]:
        """An O_PATH descriptor of the directory in which a write to ``path``, that of a Place, was done.

        No link is followed: there was none then, and one that has come in since leads elsewhere.

        Raises:
            NotFound: the directory is gone, or a link is in its place.
            Denied: as ``place``.
        """
        above, _, name = path.rpartition("/")
        with self._way_to_write(follows=False) as way:
            with ours(path):
                way.go(above)
                if not way.is_there:
                    raise NotFound(f"{above} is not there any more")
                self._admit_writing(way.end, name)
            yield way.end

    def check_missing(self, path: str) -> None:
        """See that ``path``, where directories are still missing, may be written: ``place`` could not go so far.

        Raises:
            Denied: it is hidden or git's own.
        """
        if self.hides(f"{self.path.rstrip('/')}/{path}"):
            raise Denied(_HIDDEN)
        if any(map(is_gits, path.split("/"))):
            raise Denied(_GITS_OWN)

    def unmake(self, made: Sequence[str]) -> None:
        """Take away directories that were made for a write that came to nothing, the empty ones only."""
        for path in reversed(made):
            with suppress(OSError, PlurnkError), self.place(path) as place:
                if place.path == path:  # else it is a link by now
                    os.rmdir(place.name, dir_fd=place.dir_fd)

    def _pin(self, path: str) -> int:
        """An O_PATH descriptor of what is there. What the kernel's way refuses, the walk decides, and has the words."""
        if openat2.supported():
            with suppress(OSError):
                return openat2.pin_beneath(self.fd, path or ".")
        with Descent(self.fd, roots=(self.given, self.path), admit=self._admit) as way:
            way.go(path)
            return way.take()

    def _way_to_write(self, *, follows: bool = True) -> Descent:
        if any(map(is_gits, self.path.split("/"))):  # a folder that is the root of one project is another's to rename
            raise Denied(_GITS_OWN)
        return Descent(self.fd, roots=(self.given, self.path), admit=self._admit_writing, follows=follows)

    def _check_own(self, fd: int) -> None:
        if self.hidden:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) in self.hidden_ids or self.hides(_real_path(fd)):
                raise Denied(_HIDDEN)

    def _admit(self, directory: int, name: str) -> None:
        # Before the look: what is hidden is refused alike whether it is there or not.
        if self.hidden and self.hides(f"{_real_path(directory).rstrip('/')}/{name}"):
            raise Denied(_HIDDEN)

    def _admit_writing(self, directory: int, name: str) -> None:
        self._admit(directory, name)
        if is_gits(name) or _is_same(directory, name, _GIT):
            raise Denied(_GITS_OWN)


@contextmanager
def open_root(project_root: str, hidden: Collection[str] = ()) -> Iterator[Root]:
    """Hold the root open: the directory that an absolute path, which may be a link, leads to now.

    Args:
        project_root: absolute.
        hidden: absolute paths of files and directories that are refused whatever leads to them.

    Raises:
        NotFound: it is not there any more.
        Denied: it may not be entered.
    """
    try:
        fd = os.open(project_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise refusal(error, project_root) from error
    try:
        real = tuple(dict.fromkeys(os.path.realpath(path) for path in hidden))
        ids = frozenset(found for found in map(_id, real) if found is not None)
        yield Root(fd=fd, path=_real_path(fd), given=project_root, hidden=real, hidden_ids=ids)
    finally:
        os.close(fd)


def _id(path: str) -> tuple[int, int] | None:
    """Device and inode; None: nothing is there."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_same(directory: int, one: str, other: str) -> bool:
    """Whether both names are there and mean the same file: on some disks a name has short and folded forms."""
    try:
        stats = [os.stat(name, dir_fd=directory, follow_symlinks=False) for name in (other, one)]
    except OSError:
        return False
    return os.path.samestat(*stats)


def _real_path(fd: int) -> str:
    """Where an open file is now; where it was, if it was deleted meanwhile."""
    link = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 – the text: what is deleted has no path
    return link.removesuffix(" (deleted)")


def _arrived(way: Descent) -> Place:
    if not way.names:
        raise Malformed("this is the workspace itself, not a file in it")
    path = inside("", "/".join(way.names))  # links may lead to names that nobody can say
    return Place(dir_fd=way.directory, name=way.names[-1], path=path, made=tuple(way.made))
