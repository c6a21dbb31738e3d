"""Entries: identity, tags, attributes, and which channels a run has in its index (SPEC 2.2, 2.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

import apsw
import msgspec

from plurnk.errors import NotFound
from plurnk.language.targets import entry_address
from plurnk.store import channels
from plurnk.store.channels import BeingWritten, Channel
from plurnk.store.database import Tx
from plurnk.store.query import query


@dataclass(frozen=True, slots=True)
class Entry:
    """``session_id`` None: the agent's; ``scheme`` None: a project file."""

    id: int
    session_id: int | None
    scheme: str | None
    pathname: str
    attributes: dict[str, Any]


_COLUMNS = "id, session_id, scheme, pathname, attributes"
_SELECT = f"SELECT {_COLUMNS} FROM entries"
_INDEXED = "SELECT c.entry_id FROM visibility v JOIN entry_channels c ON c.id = v.channel_id WHERE v.run_id = ?"
_IDENTITY = "coalesce(session_id, 0) = ? AND coalesce(scheme, '') = ?"


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(row[0], row[1], row[2], row[3], msgspec.json.decode(row[4]))


def find(db: apsw.Connection, session_id: int | None, scheme: str | None, pathname: str) -> Entry | None:
    rows = query(db, f"{_SELECT} WHERE {_IDENTITY} AND pathname = ?", (session_id or 0, scheme or "", pathname))
    return _entry(rows[0]) if rows else None


def get(db: apsw.Connection, entry_id: int) -> Entry:
    """Return the entry.

    Raises:
        NotFound: there is no such entry.
    """
    rows = query(db, f"{_SELECT} WHERE id = ?", (entry_id,))
    if not rows:
        raise NotFound(f"no entry {entry_id}")
    return _entry(rows[0])


def address(db: apsw.Connection, entry_id: int) -> str:
    """How the entry is written: a file is its path.

    Raises:
        NotFound: there is no such entry.
    """
    rows = query(db, "SELECT scheme, pathname FROM entries WHERE id = ?", (entry_id,))
    if not rows:
        raise NotFound(f"no entry {entry_id}")
    scheme, pathname = rows[0]
    return str(pathname) if scheme is None else entry_address(scheme, pathname)


def listing(db: apsw.Connection, session_id: int | None, scheme: str | None, prefix: str) -> list[Entry]:
    """The entries of a scheme whose pathname begins with ``prefix``, byte-wise ascending."""
    rows = query(
        db,
        f"{_SELECT} WHERE {_IDENTITY} AND pathname >= ? AND substr(pathname, 1, ?) = ? ORDER BY pathname",
        (session_id or 0, scheme or "", prefix, len(prefix), prefix),
    )
    return [_entry(row) for row in rows]


def create(tx: Tx, session_id: int | None, scheme: str | None, pathname: str) -> Entry:
    rows = query(
        tx.db,
        "INSERT INTO entries (session_id, scheme, pathname, created_at, updated_at) VALUES (?, ?, ?, ?, ?)"
        f" RETURNING {_COLUMNS}",
        (session_id, scheme, pathname, tx.now, tx.now),
    )
    return _entry(rows[0])


def set_attribute(tx: Tx, entry_id: int, name: str, value: Any) -> None:
    """Set one of the entry's attributes; None takes it away. An entry that is gone has none."""
    rows = query(tx.db, "SELECT attributes FROM entries WHERE id = ?", (entry_id,))
    for (text,) in rows:
        attributes: dict[str, Any] = msgspec.json.decode(text)
        if attributes.get(name) == value:
            continue
        attributes.pop(name, None)
        if value is not None:
            attributes[name] = value
        tx.db.execute(
            "UPDATE entries SET attributes = ? WHERE id = ?", (msgspec.json.encode(attributes).decode(), entry_id)
        )


def touch(tx: Tx, entry_id: int) -> None:
    tx.db.execute("UPDATE entries SET updated_at = ? WHERE id = ?", (tx.now, entry_id))


def delete(tx: Tx, entry_id: int) -> None:
    """Remove the entry with its channels, tags and visibility.

    Raises:
        BeingWritten: a stream is live on one of its channels.
    """
    if query(tx.db, "SELECT 1 FROM entry_channels WHERE entry_id = ? AND state = 'active'", (entry_id,)):
        raise BeingWritten(entry_id)
    tx.db.execute("DELETE FROM entries WHERE id = ?", (entry_id,))


def tags(db: apsw.Connection, entry_id: int) -> tuple[str, ...]:
    return tuple(
        str(tag) for (tag,) in query(db, "SELECT tag FROM entry_tags WHERE entry_id = ? ORDER BY tag", (entry_id,))
    )


def add_tags(tx: Tx, entry_id: int, new: Iterable[str]) -> bool:
    """Add tags; True when at least one was not there."""
    before = tx.db.total_changes()
    tx.db.executemany("INSERT OR IGNORE INTO entry_tags (entry_id, tag) VALUES (?, ?)", [(entry_id, t) for t in new])
    return tx.db.total_changes() > before


def set_tags(tx: Tx, entry_id: int, exactly: Iterable[str]) -> None:
    tx.db.execute("DELETE FROM entry_tags WHERE entry_id = ?", (entry_id,))
    add_tags(tx, entry_id, exactly)


ChangeIndex: TypeAlias = Callable[[Tx, int, Sequence[int]], bool]


def index(tx: Tx, run_id: int, channel_ids: Sequence[int]) -> bool:
    """Put channels in the run's index; True when at least one was not there."""
    before = tx.db.total_changes()
    tx.db.executemany("INSERT OR IGNORE INTO visibility VALUES (?, ?)", [(run_id, c) for c in channel_ids])
    return tx.db.total_changes() > before


def archive(tx: Tx, run_id: int, channel_ids: Sequence[int]) -> bool:
    """Take channels out of the run's index; True when at least one was there."""
    before = tx.db.total_changes()
    tx.db.executemany("DELETE FROM visibility WHERE run_id = ? AND channel_id = ?", [(run_id, c) for c in channel_ids])
    return tx.db.total_changes() > before


def indexed_files(db: apsw.Connection, run_id: int) -> list[str]:
    """The paths of the files in the run's index, in its order."""
    rows = query(
        db,
        "SELECT DISTINCT e.pathname FROM visibility v JOIN entry_channels c ON c.id = v.channel_id"
        " JOIN entries e ON e.id = c.entry_id WHERE v.run_id = ? AND e.scheme IS NULL ORDER BY e.pathname",
        (run_id,),
    )
    return [pathname for (pathname,) in rows]


def indexed(db: apsw.Connection, run_id: int) -> list[tuple[Entry, list[Channel]]]:
    """What the run's index shows: entries by scheme (files first) and path, their indexed channels by age."""
    shown = channels.indexed(db, run_id)
    rows = query(db, f"{_SELECT} WHERE id IN ({_INDEXED}) ORDER BY coalesce(scheme, ''), pathname", (run_id,))
    return [(entry, shown[entry.id]) for entry in map(_entry, rows)]


def indexed_tags(db: apsw.Connection, run_id: int) -> dict[int, tuple[str, ...]]:
    """The tags of the entries that the run's index shows; those without any are left out."""
    rows = query(db, f"SELECT entry_id, tag FROM entry_tags WHERE entry_id IN ({_INDEXED}) ORDER BY 1, 2", (run_id,))
    return {entry_id: tuple(tag for _, tag in of_entry) for entry_id, of_entry in groupby(rows, itemgetter(0))}
