"""A change of one file that is whole or not at all, and that can be undone until it is recorded (SPEC 5.2).

The new content is written beside the file and exchanged with it in one step, so that what was there is still there,
under a temporary name, until ``finish`` or ``undo``. Only then is it compared: an editor that wrote at the last moment
gets its file back. Names that a killed daemon leaves say by their token whose they are.

A file with several hard links gets a new inode: its other names keep the old content. A file that another program
has open to write is left alone: what it writes would go into a file that has no name any more.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from plurnk.errors import NotFound, Stale, UnsupportedType
from plurnk.files.beneath import Root
from plurnk.files.beside import Beside
from plurnk.files.refusals import ours
from plurnk.files.renames import exchange, rename_to_free

CHANGED: Final = "changed on disk since the proposal"
WRITTEN: Final = "another program has it open, and writes to it"

_log: Final = logging.getLogger(__name__)


class Step(msgspec.Struct, frozen=True):
    """One file's change: from content with sha256 ``base`` (None: not there) to ``new`` (None: not there any more).

    Made by ``plan``, and stored before anything is done on disk, so that the next start can undo it.
    """

    path: str
    """From the root on, links resolved: undo looks where apply was, whatever has become of a link."""
    base: str | None
    new: str | None
    token: str
    """32 hex digits, of this step alone. They name its temporary files."""
    mode: int | None = None
    """The permissions of a file that is made; None: as the umask says. A file that is there keeps its own."""
    parents: tuple[str, ...] = ()
    """Directories above it that were missing, outermost first: made by apply, taken away by undo when empty."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_EMPTY: Final = sha256(b"")


def plan(root: Root, path: str, *, base: str | None, new: str | None, mode: int | None = None) -> Step:
    """The step that changes what ``path`` leads to. Nothing is done.

    Raises:
        Denied, Malformed, NotFound: as ``Root.place``; directories may be missing, but not where a link leads to them.
    """
    real = _resolved(root, root.locate(path).split("/"))
    parents = tuple("/".join(real[:count]) for count in range(1, len(real)))
    return Step("/".join(real), base, new, secrets.token_hex(16), mode, parents)


def _resolved(root: Root, names: list[str]) -> list[str]:
    """The real path, from its first name on that is missing in pieces."""
    try:
        with root.place("/".join(names)) as place:
            return [place.path]
    except NotFound:
        if len(names) == 1:
            raise
    return [*_resolved(root, names[:-1]), names[-1]]


def apply(root: Root, step: Step, data: bytes | None) -> None:
    """Make the change on disk; what was there stays beside it until ``finish`` or ``undo``.

    Raises:
        Stale: the file is not what the step starts from.
        UnsupportedType: what is there is no regular file.
        Denied, NotFound, OutOfRoom, PlurnkError: the disk refuses it.
        After any of these the disk is as it was, unless it failed at that, too: ``undo`` may be called.
    """
    assert step.new == (None if data is None else sha256(data))
    try:
        with ours(step.path), root.place(step.path, make=step.base is None) as place:
            if place.path != step.path:
                raise Stale(CHANGED)  # a link has come in
            spot = Beside(place.dir_fd, place.name, step.token)
            try:
                _change(spot, step, data)
                spot.sync()
            except BaseException:
                with suppress(OSError):
                    _undo(spot, step)
                raise
    except NotFound:
        if step.base is None:
            raise
        raise Stale(CHANGED) from None


def undo(root: Root, step: Step) -> None:
    """Make the disk what it was before ``apply``, however far that came. May be called again, and for nothing.

    What others did to the file after ``apply`` stays.

    Raises:
        PlurnkError: the disk refuses it.
    """
    _beside(root, step, _undo)
    root.unmake(step.parents)


def finish(root: Root, step: Step) -> None:
    """Take away what ``apply`` left to be undone. May be called again.

    Raises:
        PlurnkError: the disk refuses it.
    """
    _beside(root, step, _clear)


def _beside(root: Root, step: Step, settle: Callable[[Beside, Step], None]) -> None:
    """Call ``settle`` where the temporary files of ``step`` are. If the directory is gone, so are they.

    A link in its place leads to files that were never changed here, perhaps to git's own.
    """
    with suppress(NotFound), ours(step.path), root.directory_of(step.path) as directory:
        settle(Beside(directory, step.path.rpartition("/")[2], step.token), step)


def _change(spot: Beside, step: Step, data: bytes | None) -> None:
    found = spot.look(spot.name)
    if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise UnsupportedType(f"{step.path} is not a regular file")
    if (found is None) != (step.base is None):
        raise Stale(CHANGED)
    if step.base is None:
        if data is not None:
            _create(spot, step, data)
        return
    old = spot.open(spot.name)
    try:
        _check_base(spot, spot.name, step)
        if data is None:
            _delete(spot, step)
        elif step.new != step.base:
            _replace(spot, step, data, old)
    finally:
        os.close(old)


def _create(spot: Beside, step: Step, data: bytes) -> None:
    written = spot.write(spot.part, data, mode=None if step.mode is None else step.mode & 0o777)
    # A mark, empty and of the same time: by that and its content undo knows the file for the one that was made here.
    spot.write(spot.swap, b"", mode=0o600, mtime_ns=written.st_mtime_ns)
    try:
        rename_to_free(spot.dir_fd, spot.part, spot.name)
    except FileExistsError:
        raise Stale(CHANGED) from None


def _delete(spot: Beside, step: Step) -> None:
    spot.rename(spot.name, spot.swap)
    _check_base(spot, spot.swap, step)  # somebody may have written at that moment, and undo gives it back


def _replace(spot: Beside, step: Step, data: bytes, old: int) -> None:
    if not os.access(spot.name, os.W_OK, dir_fd=spot.dir_fd):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # a rename would get round it
    spot.write(spot.part, data, like=old)
    spot.rename(spot.part, spot.swap)
    if not exchange(spot.dir_fd, spot.swap, spot.name):
        _replace_in_two(spot, step, old)
    _check_base(spot, spot.swap, step)  # as in _delete


def _replace_in_two(spot: Beside, step: Step, old: int) -> None:
    """Where names cannot be exchanged: keep the old file by a link, or a copy, and rename over it.

    A file that somebody else puts there between the last look and that rename is lost.
    """
    spot.rename(spot.swap, spot.part)
    try:
        os.link(spot.name, spot.swap, src_dir_fd=spot.dir_fd, dst_dir_fd=spot.dir_fd, follow_symlinks=False)
    except OSError:
        with open(old, "rb", closefd=False) as file:
            file.seek(0)
            spot.write(spot.copy, file.read(), like=old)
        spot.rename(spot.copy, spot.swap)
    _check_base(spot, spot.name, step)
    spot.rename(spot.part, spot.name)


def _check_base(spot: Beside, name: str, step: Step) -> None:
    """See that ``name`` holds what the step starts from, and that nobody is about to change that."""
    if spot.has_writer(name):  # first: what is written between the two is seen by the content
        raise Stale(WRITTEN)
    if spot.content(name) != step.base:
        raise Stale(CHANGED)


def _undo(spot: Beside, step: Step) -> None:
    if spot.look(spot.swap) is not None:
        if step.base is None:
            _take_away(spot, step)
        elif step.new is None:
            _put_back(spot)
        else:
            _exchange_back(spot, step)
    _clear(spot, step)


def _take_away(spot: Beside, step: Step) -> None:
    """Take away the file that was made, and give it back if it is not what was made any more."""
    made, mark = spot.look(spot.name), spot.look(spot.swap)
    if made and mark and made.st_mtime_ns == mark.st_mtime_ns:
        spot.rename(spot.name, spot.swap)
    if not spot.is_settled(spot.swap, step.new, _EMPTY):
        _put_back(spot)


def _put_back(spot: Beside) -> None:
    with suppress(FileExistsError):  # somebody made a new one, and that stays
        rename_to_free(spot.dir_fd, spot.swap, spot.name)


def _exchange_back(spot: Beside, step: Step) -> None:
    """Put the old file back, if nobody has changed the new one."""
    if spot.content(spot.swap) == step.new or spot.content(spot.name) != step.new:
        return
    if not exchange(spot.dir_fd, spot.swap, spot.name):
        spot.rename(spot.swap, spot.name)
    elif not spot.is_settled(spot.swap, step.new):  # as in _delete, and that stays
        exchange(spot.dir_fd, spot.swap, spot.name)


def _clear(spot: Beside, step: Step) -> None:
    """Take the temporary files away; what may be somebody's, and nowhere else, comes in sight."""
    spot.remove(spot.part)
    spot.remove(spot.copy)
    left = spot.look(spot.swap)
    if left is not None:
        held_elsewhere = stat.S_ISREG(left.st_mode) and left.st_nlink > 1
        if held_elsewhere or spot.is_settled(spot.swap, step.base, step.new, _EMPTY):
            spot.remove(spot.swap)
        else:
            rename_to_free(spot.dir_fd, spot.swap, spot.kept)
            _log.warning("%s: somebody else wrote what was there; it is kept as %s", step.path, spot.kept)
    spot.sync()
