"""The files of a project, as FIND sees them (SPEC 5.1): a walk by open directories, in which no link is followed.

What is a link to a regular file beneath the root is a file; what a link to a directory leads to is found where it is.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import trio

from plurnk.errors import Draining, Malformed, PlurnkError, TookTooLong, TooLarge
from plurnk.files.beneath import Root, open_root
from plurnk.files.ignoring import Ignoring, Rules
from plurnk.files.reading import can_be_written, look
from plurnk.files.refusals import ours, refusal
from plurnk.files.spelling import inside

MAX_PATHS: Final = 200_000
"""Files and directories in one walk: 20,000 files in 1,000 directories take 0.12 s."""

_CHECK_EVERY: Final = 500
"""Names between two looks at whether the walk was cancelled: a few milliseconds."""

LIMIT_S: float = 30.0
"""How long a walk may take. 5,000 patterns in a .gitignore of no repository are held against each name, for minutes."""

_OUT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What is missing then is not the directory's fault, and leaving it out would be an answer that is wrong."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """``paths`` from the root on, byte-wise ascending; ``unnamed``: how many more have no name that can be written."""

    paths: tuple[str, ...]
    unnamed: int


async def walk(project_root: str, prefix: str = "", hidden: Collection[str] = ()) -> Walked:
    """Find the regular files beneath the root that are not ignored; nothing in a ``.git``.

    Directories that may not be read are passed over.

    Args:
        project_root: absolute; may be a link.
        prefix: of the paths that are wanted. Directories that cannot have any are not looked into.
        hidden: absolute paths of files and directories that are left out.

    Raises:
        NotFound: the root is not there any more.
        Denied: it may not be read.
        TooLarge: more than MAX_PATHS files and directories.
        TookTooLong: more than LIMIT_S.
        Draining: no more files can be opened now.

    Cancelled: returns soon, whatever the size of the tree.
    """
    return await trio.to_thread.run_sync(_walk, project_root, prefix, hidden)


def _walk(project_root: str, prefix: str, hidden: Collection[str]) -> Walked:
    with open_root(project_root, hidden) as root:
        walker = _Walker(root, prefix)
        walker.walk()
    return Walked(paths=tuple(sorted(walker.paths)), unnamed=walker.unnamed)  # UTF-8 sorts as its characters do


class _Walker:
    def __init__(self, root: Root, prefix: str) -> None:
        self._root = root
        self._above = root.path.rstrip("/")
        self._prefix = prefix
        self._ignoring = Ignoring(root.path, prefix.rpartition("/")[0])
        self._met = 0
        self._until = time.monotonic() + LIMIT_S
        self.paths: list[str] = []
        self.unnamed = 0

    def walk(self) -> None:
        with ours(""):
            fd = os.open(".", _DIRECTORY, dir_fd=self._root.fd)
        try:
            self._visit(fd, "", self._ignoring.of_root(fd))
        finally:
            os.close(fd)

    def _visit(self, fd: int, beneath: str, rules: Rules) -> None:
        """Go through a directory; ``beneath`` is its path with a ``/``."""
        below: list[str] = []
        try:
            with os.scandir(fd) as entries:
                for number, entry in enumerate(entries):
                    if number % _CHECK_EVERY == 0:
                        trio.from_thread.check_cancelled()
                        if time.monotonic() > self._until:
                            raise TookTooLong("this takes too long: name a narrower scope")
                    if self._take(entry, beneath + entry.name, rules):
                        below.append(entry.name)
        except OSError as error:
            _pass_over(error, beneath)
        for name in below:
            self._descend(fd, name, beneath + name, rules)

    def _descend(self, fd: int, name: str, path: str, rules: Rules) -> None:
        try:
            inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            _pass_over(error, path)
            return
        try:
            self._visit(inner, f"{path}/", self._ignoring.of_directory(inner, path, rules))
        finally:
            os.close(inner)

    def _take(self, entry: os.DirEntry[str], path: str, rules: Rules) -> bool:
        """Note a file that is wanted; whether this is a directory to go into."""
        is_dir, is_link = entry.is_dir(follow_symlinks=False), entry.is_symlink()
        if entry.name == ".git" or not (is_dir or is_link or entry.is_file(follow_symlinks=False)):
            return False
        wanted = path.startswith(self._prefix) or (is_dir and self._prefix.startswith(f"{path}/"))
        if not wanted or rules.ignores(path, is_dir=is_dir) or self._root.hides(f"{self._above}/{path}"):
            return False
        if not _can_be_said(path):
            self.unnamed += 1
            return False
        if is_link and not self._leads_to_file(path):
            return False
        self._met += 1
        if self._met > MAX_PATHS:
            raise TooLarge(f"more than {MAX_PATHS} files and directories: name a narrower scope")
        if not is_dir:
            self.paths.append(path)
        return is_dir

    def _leads_to_file(self, path: str) -> bool:
        try:
            return look(self._root, path).kind == "file"
        except Draining:
            raise
        except PlurnkError:  # it leads out, is hidden, or leads to nothing
            return False


def _can_be_said(path: str) -> bool:
    """Whether ``path``, of which all but the last name was looked at, can be written in a line and be a target."""
    if not can_be_written(path):
        return False
    try:
        return bool(inside("", path))
    except Malformed:  # too deep, too long
        return False


def _pass_over(error: OSError, path: str) -> None:
    if error.errno in _OUT_OF:
        raise refusal(error, path) from error
