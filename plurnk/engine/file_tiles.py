"""What the index shows of files: looked up before a packet is built, which itself touches no disk (SPEC 5.1)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Final, TypeAlias

from plurnk.content import mimetypes
from plurnk.content.previews.plain import binary_preview, preview
from plurnk.engine.previews import ORDERS_MAX_BYTES, PREVIEW_MAX_BYTES, ContentId, Previews
from plurnk.errors import PlurnkError
from plurnk.files.beneath import Root
from plurnk.files.reading import FileId, FileSource, look
from plurnk.files.writing import sha256
from plurnk.schemes.files.project import Project, source_of, tokens_of

TILES_MAX: Final = 500
"""Files that one packet shows something of; the others it lists."""

WINDOW_FACTOR: Final = 8
"""A preview is made from at most this many times its budget in bytes."""

LINES_MAX_BYTES: Final = 100 * 1024 * 1024
"""Of a longer file the lines are not counted: it is shown by its type and size."""

LOOK_MAX_BYTES: Final = 256 * 1024 * 1024
"""What one packet may have read for its tiles; the next one finds those in memory and reads on."""

KEPT: Final = 2 * TILES_MAX

SETTLED_NS: Final = 2_000_000_000
"""A file that was changed less than this ago may change again and look the same: clocks of disks are coarse."""


@dataclass(frozen=True, slots=True)
class FileTile:
    """A file's part of the index. ``text``: all of it, where a preview by type has still to be made of it."""

    mimetype: str
    tokens: int
    preview: str
    content: ContentId | None = None
    text: str | None = None


Tiles: TypeAlias = Mapping[str, FileTile | None]
"""By path; None: the file is not there. Of a file that is no key nobody has looked."""

NO_TILES: Final[Tiles] = MappingProxyType({})


_Key: TypeAlias = tuple[str, str]
_Seen: TypeAlias = dict[_Key, tuple[FileId, FileTile]]


@dataclass(slots=True)
class _Look:
    """One look at all files: what it may still read and have ordered, and what is to be remembered of it."""

    read_bytes: int = LOOK_MAX_BYTES
    orders_bytes: int = ORDERS_MAX_BYTES
    seen: _Seen = field(default_factory=_Seen)


class FileTiles:
    """Looks at indexed files, and remembers what it saw of those that stay as they are."""

    def __init__(self, previews: Previews, budget_chars: int, hidden: tuple[str, ...]) -> None:
        self._previews = previews
        self._budget_chars = budget_chars
        self._hidden = hidden
        self._kept: _Seen = {}

    async def look_at(self, project_root: str | None, paths: Sequence[str]) -> Tiles:
        """The tiles of the first TILES_MAX of ``paths``.

        Cancelled: returns at once; what was seen is forgotten.
        """
        if not paths:
            return NO_TILES
        if project_root is None:
            return dict.fromkeys(paths)
        try:
            tiles, seen = await Project(project_root, self._hidden).on_thread(partial(self._all, paths[:TILES_MAX]))
        except PlurnkError:  # the project is gone
            return dict.fromkeys(paths)
        self._kept |= seen
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return tiles

    def _all(self, paths: Sequence[str], root: Root) -> tuple[Tiles, _Seen]:
        tiles: dict[str, FileTile | None] = {}
        now = _Look()
        for path in paths:
            try:
                tiles[path] = self._tile(root, path, now)
            except PlurnkError:  # it is gone, is no file any more, or a link has made it lead out
                tiles[path] = None
        return tiles, now.seen

    def _tile(self, root: Root, path: str, now: _Look) -> FileTile | None:
        seen = look(root, path)
        if seen.kind != "file":
            return None
        kept_id, kept = self._kept.get((root.path, path), (None, None))
        if kept is not None and kept_id == seen.id and not self._may_be_ordered(kept.content, now):
            return kept
        begun_ns = time.time_ns()
        with source_of(root, path) as source:
            size_bytes, mimetype = source.size_bytes, source.mimetype
            if size_bytes > min(LINES_MAX_BYTES, now.read_bytes):
                return FileTile(mimetype, tokens_of(size_bytes, None), binary_preview(mimetype, size_bytes))
            now.read_bytes -= size_bytes
            tile = self._made(source, now)
        if begun_ns - seen.id.ctime_ns > SETTLED_NS:
            now.seen[root.path, path] = seen.id, replace(tile, text=None)
        return tile

    def _made(self, source: FileSource, now: _Look) -> FileTile:
        window_bytes = self._budget_chars * WINDOW_FACTOR
        data = source.read() if source.size_bytes <= PREVIEW_MAX_BYTES else None
        window = source.read(window_bytes) if data is None else data[:window_bytes]
        tokens = tokens_of(source.size_bytes, data)
        if not mimetypes.is_text(source.mimetype, window, complete=source.size_bytes <= len(window)):
            return FileTile(source.mimetype, tokens, binary_preview(source.mimetype, source.size_bytes))
        head = window.decode("utf-8", "replace")
        shown = preview(head, source.mimetype, self._budget_chars, total_lines=source.lines)
        if data is None or len(head) <= self._budget_chars:
            return FileTile(source.mimetype, tokens, shown)
        content = ContentId(sha256(data), len(data), source.mimetype)
        text = None
        if self._may_be_ordered(content, now):
            now.orders_bytes -= len(data)
            text = data.decode("utf-8", "replace")
        return FileTile(source.mimetype, tokens, shown, content, text)

    def _may_be_ordered(self, content: ContentId | None, now: _Look) -> bool:
        return content is not None and self._previews.handler_for(content, now.orders_bytes) is not None
