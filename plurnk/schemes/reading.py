"""READ of one content, that of a channel or of a log row: slice by line or item, then the matcher (SPEC 2.4, 2.5)."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Protocol

from plurnk.content import json_items, lines, mimetypes
from plurnk.content.matching.subject import Rows, Subject, applies, needs_whole
from plurnk.content.previews.plain import binary_preview
from plurnk.errors import Malformed, UnsupportedType
from plurnk.language.ast import LineMarker, Matcher
from plurnk.store import channels
from plurnk.store.channels import Channel
from plurnk.store.query import Snapshot
from plurnk.wire.results import OpResult

SNIFF_BYTES: int = 4096
"""How much of a content of unknown type is looked at to tell text from binary."""

EVERYTHING = LineMarker(first=1, last=-1)


class Source(Protocol):
    """Content that can be read in parts. ``channel`` is None where there are no channels."""

    @property
    def channel(self) -> str | None: ...

    @property
    def mimetype(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def lines(self) -> int: ...

    def read(self, max_bytes: int | None = None) -> bytes:
        """All of it, or its first ``max_bytes``."""
        ...

    def read_lines(self, first: int, last: int, max_bytes: int) -> tuple[bytes, int, bool]:
        """Lines ``first`` to ``last``, as ``store.channels.read_lines`` gives them."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelSource:
    """A channel in one snapshot; its lines are found by a seek."""

    db: Snapshot
    row: Channel

    @property
    def channel(self) -> str:
        return self.row.name

    @property
    def mimetype(self) -> str:
        return self.row.mimetype

    @property
    def size_bytes(self) -> int:
        return self.row.length_bytes

    @property
    def lines(self) -> int:
        return self.row.lines

    def read(self, max_bytes: int | None = None) -> bytes:
        return channels.read_bytes(self.db, self.row, 0, max_bytes)

    def read_lines(self, first: int, last: int, max_bytes: int) -> tuple[bytes, int, bool]:
        return channels.read_lines(self.db, self.row, first, last, max_bytes)


@dataclass(frozen=True, slots=True)
class MemorySource:
    """A text at hand, such as what a log row's READ gave."""

    data: bytes
    mimetype: str
    channel: str | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    @property
    def lines(self) -> int:
        return self.data.count(b"\n") + (1 if self.data and not self.data.endswith(b"\n") else 0)

    def read(self, max_bytes: int | None = None) -> bytes:
        return self.data[:max_bytes]

    def read_lines(self, first: int, last: int, max_bytes: int) -> tuple[bytes, int, bool]:
        split = self.data.split(b"\n")
        wanted = b"\n".join(split[first - 1 : last]) + (b"\n" if last < len(split) else b"")
        if len(wanted) <= max_bytes:
            return wanted, last, True
        return *lines.whole_lines(wanted[:max_bytes], first), False


def read(source: Source, marker: LineMarker | None, *, max_chars: int) -> OpResult:
    """What ``marker`` names, or everything: 200, 206 (more than ``max_chars``: go on at ``nextLine``) or 204.

    Binary content as a whole is one line that tells its type and size.

    Raises:
        NoSuchRange: the marker names lines or items that are not there.
        UnsupportedType: a marker on binary content.
    """
    if not is_text(source):
        if marker is not None:
            raise UnsupportedType(f"{_name(source)} is {source.mimetype}, which has no lines")
        told = binary_preview(source.mimetype, source.size_bytes)
        return OpResult(status=200, content=told, mimetype=mimetypes.PLAIN, channel=source.channel)
    # Of long JSON, where to go on can only be said in items.
    if mimetypes.is_json(source.mimetype) and (marker is not None or source.size_bytes > max_chars):
        try:
            return _read_items(source, EVERYTHING if marker is None else marker, max_chars)
        except Malformed:
            pass  # Broken JSON is the text it is, and has lines.
    return _read_lines(source, marker, max_chars)


def subject(source: Source, marker: LineMarker | None, matcher: Matcher) -> Subject | None:
    """What ``matcher`` is to be run on; None when the marker names no lines at all.

    Raises:
        NoSuchRange: the marker names lines that are not there.
        UnsupportedType: binary content.
    """
    if not is_text(source):
        raise UnsupportedType(f"{_name(source)} is {source.mimetype}, which cannot be matched")
    if marker is None:
        return Subject(data=source.read(), mimetype=source.mimetype)
    if needs_whole(matcher, source.mimetype):
        return Subject(data=source.read(), mimetype=source.mimetype, marker=marker)
    span = lines.resolve(marker, source.lines)
    if isinstance(span, lines.Insertion) or span.last < span.first:
        return None
    data, _read_to, _complete = source.read_lines(span.first, span.last, source.size_bytes)
    return Subject(data=data, mimetype=source.mimetype, first_line=span.first)


def whole_subject(source: Source, matcher: Matcher) -> Subject | None:
    """All of it, for ``matcher`` to look for a match in; None when it is nothing that this could be run on."""
    if not applies(matcher, source.mimetype) or not is_text(source):
        return None
    return Subject(data=source.read(), mimetype=source.mimetype)


def rows_result(found: Rows | None, channel: str | None) -> OpResult:
    """The answer of a READ with a matcher."""
    if found is None or not found.count:
        return OpResult(status=204, content="", mimetype=mimetypes.JSON, channel=channel, matches=0)
    return OpResult(
        status=200 if found.complete else 206,
        content=found.text,
        mimetype=mimetypes.JSON,
        channel=channel,
        next_line=found.next_line,
        matches=found.count,
    )


def is_text(source: Source) -> bool:
    head = source.read(SNIFF_BYTES)
    return mimetypes.is_text(source.mimetype, head, complete=source.size_bytes <= SNIFF_BYTES)


def _name(source: Source) -> str:
    return "it" if source.channel is None else f"channel {source.channel}"


def _read_items(source: Source, marker: LineMarker, max_chars: int) -> OpResult:
    content = source.read().decode("utf-8", "replace")
    items = json_items.slice_items(content, marker, max_chars=max_chars)
    if not items.count:
        return _nothing(source)
    return OpResult(
        status=200 if items.next is None else 206,
        content=items.text,
        mimetype=source.mimetype,
        channel=source.channel,
        start_line=items.start_line,
        next_line=items.next,
    )


def _read_lines(source: Source, marker: LineMarker | None, max_chars: int) -> OpResult:
    if marker is None:
        first, last = 1, source.lines
    else:
        span = lines.resolve(marker, source.lines)
        if isinstance(span, lines.Insertion):
            return _nothing(source)
        first, last = span.first, span.last
    if last < first:
        return _nothing(source)
    # A character is at least a byte, so this many bytes are never more characters than allowed.
    data, read_to, complete = source.read_lines(first, last, max_chars)
    # Of a character in which a too long line was cut there is nothing to show.
    content = codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=complete)
    return OpResult(
        status=200 if complete else 206,
        content=content if marker is None else lines.without_final_newline(content),
        mimetype=source.mimetype,
        channel=source.channel,
        start_line=first,
        next_line=read_to + 1 if read_to < last else None,
    )


def _nothing(source: Source) -> OpResult:
    return OpResult(status=204, content="", mimetype=source.mimetype, channel=source.channel)
