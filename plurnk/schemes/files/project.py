"""The project of a session as its file operations see it, and work on its disk, which is done on threads (SPEC 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from plurnk.content import mimetypes
from plurnk.content.tokens import estimate_tokens
from plurnk.errors import Conflict, Malformed, NotFound
from plurnk.files.beneath import Root, open_root
from plurnk.files.reading import FileContent, FileSource, look, open_source, read_whole
from plurnk.language.ast import Target
from plurnk.language.targets import entry_pathname
from plurnk.plugins.api import Call
from plurnk.schemes.reading import SNIFF_BYTES
from plurnk.store.channels import CHANNEL_CAP_BYTES

T = TypeVar("T")

FILE_MAX_BYTES = CHANNEL_CAP_BYTES
"""A longer file can be read in parts; it is not matched, edited, copied or moved."""

EXACT_TOKENS_BYTES: int = 512 * 1024
"""Of a longer file the tokens are guessed from its size."""

BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Project:
    """Where its root is, and which absolute paths nobody is shown."""

    root: str
    hidden: tuple[str, ...]

    async def on_thread(self, work: Callable[[Root], T]) -> T:
        """Do ``work``, which only reads, with the root held open.

        Raises:
            NotFound: the root is not there any more.
            Whatever ``work`` raised.

        Cancelled: returns at once; the thread ends by itself, and nobody hears of what it found.
        """
        return await trio.to_thread.run_sync(partial(self.do, work), abandon_on_cancel=True)

    def do(self, work: Callable[[Root], T]) -> T:
        """The same, here and now."""
        with open_root(self.root, self.hidden) as root:
            return work(root)


def project_of(call: Call) -> Project:
    """The project that the operation is about.

    Raises:
        Malformed: its session has none.
    """
    return project_at(call.project_root, call.hidden)


def project_at(root: str | None, hidden: tuple[str, ...]) -> Project:
    if root is None:
        raise Malformed("session has no project_root; set one with session.set_root")
    return Project(root, hidden)


def path_of(target: Target | None) -> str:
    """The path as it was written.

    Raises:
        Malformed: there is none, or it cannot be one.
    """
    if target is None:
        raise Malformed("a path in the project is needed, such as src/main.py")
    return entry_pathname(target)


def real_path(root: Root, path: str) -> str:
    """Where a write to ``path`` would happen: links resolved, as far as there is something.

    Raises:
        Denied, Malformed: as ``Root.place``.
        Conflict: a file is in the place of a directory above it.
    """
    try:
        with root.place(path) as place:
            return place.path
    except NotFound:
        above, _, name = path.rpartition("/")
        if not above:
            raise
        if _is_file(root, above):
            raise Conflict(f"{above} is a file, so there is nothing in it") from None
        real = f"{real_path(root, above)}/{name}"
        root.check_missing(real)
        return real


def _is_file(root: Root, path: str) -> bool:
    try:
        return look(root, path).kind != "directory"
    except NotFound:
        return False


def content_of(root: Root, path: str) -> FileContent | None:
    """All of a file; None: there is none.

    Raises:
        Denied: it leads out of the project.
        UnsupportedType: it is no regular file.
        TooLarge: it is longer than FILE_MAX_BYTES.
    """
    try:
        return read_whole(root, path, FILE_MAX_BYTES)
    except NotFound:
        return None


def type_of(path: str, head: bytes) -> str:
    """The type by the extension; without one that is known it is text, unless there is a NUL at its beginning."""
    return mimetypes.mimetype_of(path, BINARY if b"\0" in head[:SNIFF_BYTES] else mimetypes.PLAIN)


@contextmanager
def source_of(root: Root, path: str) -> Iterator[FileSource]:
    """What is at ``path``, to be read in parts.

    Raises:
        NotFound, Denied, UnsupportedType: as ``open_source``.
    """
    with open_source(root, path, mimetypes.PLAIN) as source:
        source.mimetype = type_of(path, source.read(SNIFF_BYTES))
        yield source


def tokens_of(size_bytes: int, data: bytes | None) -> int:
    """About how many tokens a file is; ``data``: all of it, where it is at hand."""
    return (size_bytes + 3) // 4 if data is None else estimate_tokens(data.decode("utf-8", "replace"))
