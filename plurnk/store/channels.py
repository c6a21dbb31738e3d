"""Channels: named append-only byte sequences in chunk rows (SPEC 2.2).

Appending costs the chunk. A byte or line position is found by one index seek, because every chunk
knows how many bytes and newlines lie before it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import apsw

from plurnk.content.lines import whole_lines
from plurnk.errors import Conflict, TooLarge
from plurnk.store.query import query

ChannelState = Literal["static", "active", "closed", "errored"]

CHANNEL_CAP_BYTES: int = 100 * 1024 * 1024
CHUNK_BYTES: int = 64 * 1024
"""Largest chunk row: 64 KiB rows append fastest (273 MB/s measured) and bound what a line read loads."""


class BeingWritten(Conflict):
    """A live stream writes what is to be deleted; it has to be cancelled first (SPEC 2.4)."""

    def __init__(self, entry_id: int) -> None:
        super().__init__("a live stream writes it")
        self.entry_id = entry_id


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's metadata; the bytes stay in the database."""

    id: int
    entry_id: int
    name: str
    mimetype: str
    state: ChannelState
    generation: int
    length_bytes: int
    newlines: int
    ends_newline: bool
    tokens: int

    @property
    def lines(self) -> int:
        """Lines of the text: a final newline ends the last line, it does not begin another."""
        return self.newlines + (1 if self.length_bytes and not self.ends_newline else 0)


_COLUMNS = "id, entry_id, name, mimetype, state, generation, length_bytes, newlines, ends_newline, tokens"
_SELECT = f"SELECT {_COLUMNS} FROM entry_channels"


def _channel(row: tuple[Any, ...]) -> Channel:
    values: dict[str, Any] = dict(zip(Channel.__slots__, row, strict=True))
    values["ends_newline"] = bool(values["ends_newline"])
    return Channel(**values)


def of_entry(db: apsw.Connection, entry_id: int) -> list[Channel]:
    """The entry's channels, in the order they were made."""
    return [_channel(row) for row in query(db, f"{_SELECT} WHERE entry_id = ? ORDER BY id", (entry_id,))]


def indexed(db: apsw.Connection, run_id: int) -> dict[int, list[Channel]]:
    """The channels in the run's index by their entries, in the order they were made."""
    rows = query(
        db,
        f"{_SELECT} WHERE id IN (SELECT channel_id FROM visibility WHERE run_id = ?) ORDER BY id",
        (run_id,),
    )
    found: defaultdict[int, list[Channel]] = defaultdict(list)
    for channel in map(_channel, rows):
        found[channel.entry_id].append(channel)
    return found


def find(db: apsw.Connection, entry_id: int, name: str) -> Channel | None:
    row = query(db, f"{_SELECT} WHERE entry_id = ? AND name = ?", (entry_id, name))
    return _channel(row[0]) if row else None


def create(db: apsw.Connection, entry_id: int, name: str, mimetype: str, state: ChannelState = "static") -> Channel:
    """Make an empty channel."""
    # SQLite gives the id of a deleted channel again; with generations that begin anywhere, the two name some
    # content for ever.
    row = query(
        db,
        "INSERT INTO entry_channels (entry_id, name, mimetype, state, generation)"
        f" VALUES (?, ?, ?, ?, random() & 0xffffffffff) RETURNING {_COLUMNS}",
        (entry_id, name, mimetype, state),
    )
    return _channel(row[0])


def delete(db: apsw.Connection, channel_id: int) -> None:
    """Remove the channel with its content.

    Raises:
        BeingWritten: a stream is live on it.
    """
    live = query(db, "SELECT entry_id FROM entry_channels WHERE id = ? AND state = 'active'", (channel_id,))
    if live:
        raise BeingWritten(live[0][0])
    db.execute("DELETE FROM entry_channels WHERE id = ?", (channel_id,))


def append(db: apsw.Connection, channel: Channel, data: bytes, *, tokens: int) -> Channel:
    """Add ``data`` at the end; returns the channel as it is then.

    Raises:
        TooLarge: it would pass CHANNEL_CAP_BYTES; nothing was written.
    """
    if channel.length_bytes + len(data) > CHANNEL_CAP_BYTES:
        raise TooLarge(f"a channel holds at most {CHANNEL_CAP_BYTES} bytes")
    start, newlines = channel.length_bytes, channel.newlines
    for offset in range(0, len(data), CHUNK_BYTES):
        piece = data[offset : offset + CHUNK_BYTES]
        db.execute(
            "INSERT INTO channel_chunks (channel_id, generation, start_byte, start_newlines, data)"
            " VALUES (?, ?, ?, ?, ?)",
            (channel.id, channel.generation, start, newlines, piece),
        )
        start += len(piece)
        newlines += piece.count(b"\n")
    row = query(
        db,
        "UPDATE entry_channels SET length_bytes = ?, newlines = ?, ends_newline = ?, tokens = tokens + ?"
        f" WHERE id = ? RETURNING {_COLUMNS}",
        (start, newlines, data.endswith(b"\n") if data else channel.ends_newline, tokens, channel.id),
    )
    return _channel(row[0])


def replace(db: apsw.Connection, channel: Channel, data: bytes, *, mimetype: str, tokens: int) -> Channel:
    """Give the channel a new generation of content. Readers of an older snapshot keep the old one.

    Raises:
        TooLarge: ``data`` passes CHANNEL_CAP_BYTES; nothing was written.
    """
    if len(data) > CHANNEL_CAP_BYTES:
        raise TooLarge(f"a channel holds at most {CHANNEL_CAP_BYTES} bytes")
    db.execute("DELETE FROM channel_chunks WHERE channel_id = ? AND generation = ?", (channel.id, channel.generation))
    row = query(
        db,
        "UPDATE entry_channels SET generation = generation + 1, length_bytes = 0, newlines = 0, ends_newline = 0,"
        f" tokens = 0, mimetype = ? WHERE id = ? RETURNING {_COLUMNS}",
        (mimetype, channel.id),
    )
    return append(db, _channel(row[0]), data, tokens=tokens)


def read_bytes(db: apsw.Connection, channel: Channel, start: int = 0, max_bytes: int | None = None) -> bytes:
    """The bytes from offset ``start`` on, at most ``max_bytes`` of them."""
    end = channel.length_bytes if max_bytes is None else min(channel.length_bytes, start + max_bytes)
    if start >= end:
        return b""
    parts: list[bytes] = []
    for at, data in query(
        db,
        "SELECT start_byte, data FROM channel_chunks WHERE channel_id = ? AND generation = ? AND start_byte >= ("
        "  SELECT max(start_byte) FROM channel_chunks WHERE channel_id = ?1 AND generation = ?2 AND start_byte <= ?3)"
        " AND start_byte < ?4 ORDER BY start_byte",
        (channel.id, channel.generation, start, end),
    ):
        parts.append(data[max(0, start - at) : end - at])
    return b"".join(parts)


def read_lines(db: apsw.Connection, channel: Channel, first: int, last: int, max_bytes: int) -> tuple[bytes, int, bool]:
    """Lines ``first`` to ``last`` (1-based, inclusive, within the channel), whole lines up to ``max_bytes``.

    Returns:
        Their bytes, newlines included; the number of the last line in them; whether that is all that
        was asked for. Only a first line that passes ``max_bytes`` alone is cut inside.
    """
    start = line_start(db, channel, first)
    end = channel.length_bytes if last >= channel.lines else line_start(db, channel, last + 1)
    if end - start <= max_bytes:
        return read_bytes(db, channel, start, end - start), last, True
    data = read_bytes(db, channel, start, max_bytes)
    return *whole_lines(data, first), False


def line_start(db: apsw.Connection, channel: Channel, line: int) -> int:
    """The byte offset at which ``line`` (1 … lines + 1) begins."""
    if line <= 1:
        return 0
    # Line N begins after newline N-1, which lies in the last chunk with fewer than N-1 newlines before it.
    rows = query(
        db,
        "SELECT start_byte, start_newlines, data FROM channel_chunks WHERE channel_id = ? AND generation = ?"
        " AND start_newlines < ? ORDER BY start_newlines DESC, start_byte DESC LIMIT 1",
        (channel.id, channel.generation, line - 1),
    )
    start_byte, start_newlines, data = rows[0]
    position = -1
    for _ in range(line - 1 - start_newlines):
        position = data.index(b"\n", position + 1)
    return int(start_byte + position + 1)


def set_state(db: apsw.Connection, channel_id: int, state: ChannelState) -> None:
    db.execute("UPDATE entry_channels SET state = ? WHERE id = ?", (state, channel_id))
