"""The way from a root down to a path, one name at a time, so that no link is followed but by us.

Each directory on the way is held open. So ``..`` in a link leads back to where the way came from, whatever is
renamed meanwhile, and the kernel's own ``..`` (which a renamed directory takes elsewhere) is never asked for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from plurnk.errors import Denied, Malformed, NotFound
from plurnk.files.spelling import ESCAPES, MAX_DEPTH, names_of

_MAX_LINKS: Final = 40
"""As many as the kernel follows."""


class Descent:
    """Who is done leaves the ``with`` block, which closes all that is held.

    Args:
        root_fd: the root.
        roots: the absolute spellings of the root: an absolute link that begins with one of them leads back in.
        admit: asked for each name and the directory it is in before it is looked up; raises to refuse.
        follows: links. If not, none is expected, and one that has come in is as good as nothing.
    """

    def __init__(
        self, root_fd: int, *, roots: tuple[str, ...], admit: Callable[[int, str], None], follows: bool = True
    ) -> None:
        self._roots = [names_of(root) for root in roots]
        self._admit = admit
        self._follows = follows
        self._fds = [os.dup(root_fd)]
        self.names: list[str] = []
        """Where the way has come to: real names, no links."""
        self.made: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._fds:
            os.close(self._fds.pop())

    @property
    def directory(self) -> int:
        """The directory that the last name is in (of the root: the root). It stays ours."""
        return self._fds[max(0, len(self.names) - 1)]

    @property
    def is_there(self) -> bool:
        """Whether there is something at the end of the way."""
        return len(self._fds) > len(self.names)

    @property
    def end(self) -> int:
        """What the way has come to, if it is there. It stays ours."""
        return self._fds[-1]

    def take(self) -> int:
        """An O_PATH descriptor of what the way has come to; the caller closes it.

        Raises:
            FileNotFoundError: nothing is there.
        """
        if not self.is_there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return os.dup(self.end)

    def go(self, path: str, *, make: bool = False) -> None:
        """Go to ``path``, in its canonical spelling. The last name need not exist, the directories above it have to.

        Args:
            path: from the root on.
            make: directories that are missing are made, and named in ``made``.

        Raises:
            Denied: a link leads out. Nothing outside was looked at, so this says nothing of what is there.
            Malformed: links make the way too long.
            NotFound: a directory is missing or is none; more than 40 links.
            OSError: what the disk says.
        """
        links = 0
        ahead = names_of(path)[::-1]
        while ahead:
            name = ahead.pop()
            if name == "..":
                self._up()
                continue
            target = self._step(name, last=not ahead, make=make)
            if target is not None:
                if not self._follows:
                    raise NotFound(f"{path} is not there any more: a link is in its place")
                links += 1
                if links > _MAX_LINKS:
                    raise NotFound(f"{path} is not there: too many links")
                ahead.extend(reversed(self._from_here(target)))

    def _step(self, name: str, *, last: bool, make: bool) -> str | None:
        """Go down one name. A link is not gone to: its target is returned."""
        if len(self.names) == MAX_DEPTH:
            raise Malformed(f"a path has at most {MAX_DEPTH} names, also where links lead")
        here = self._fds[-1]
        self._admit(here, name)
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=here)
        except FileNotFoundError:
            if last:
                self.names.append(name)
                return None
            if not make:
                raise
            self._make(name)
            fd = os.open(name, flags, dir_fd=here)
        self._fds.append(fd)
        self.names.append(name)
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink("", dir_fd=fd)  # of this very link, whatever has its name by now
            self._up()
            return target
        if not last and not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return None

    def _make(self, name: str) -> None:
        try:
            os.mkdir(name, dir_fd=self._fds[-1])
        except FileExistsError:
            return  # someone else was faster: what it is, the next step sees
        self.made.append("/".join([*self.names, name]))
        sync_directory(self._fds[-1])

    def _up(self) -> None:
        if not self.names:
            raise Denied(ESCAPES)
        os.close(self._fds.pop())
        self.names.pop()

    def _from_here(self, target: str) -> list[str]:
        """The names to go from here on for a link's target; an absolute one begins at the root again."""
        names = names_of(target)
        if not target.startswith("/"):
            return names
        for above in self._roots:
            if names[: len(above)] == above:
                while self.names:
                    self._up()
                return names[len(above) :]
        raise Denied(ESCAPES)


def sync_directory(fd: int) -> None:
    """Bring the names in this directory (an O_PATH descriptor will do) to the disk, where its file system can do that.

    A directory that may be written and not read cannot be synced: what was done there is not less done.
    """
    with suppress(OSError):
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            os.fsync(readable)
        finally:
            os.close(readable)
