"""What files held before accepted writes, by content (SPEC 5.2)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import apsw

from plurnk.errors import NotFound
from plurnk.store.database import Tx
from plurnk.store.query import integer, query
from plurnk.wire.answers import FileVersion

KEPT_PER_FILE: int = 100
"""Versions of one file that are kept; a file that a model writes hundreds of times is not wanted as it was then."""

KEPT_BYTES: int = 256 * 1024 * 1024
"""What the versions of one session may hold, compressed. Beyond it the oldest go, but never the newest."""

_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A content as it is kept: compressed."""

    sha256: str
    length_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a file held before a write. ``content`` and ``mode`` None: it was not there."""

    pathname: str
    content: Content | None
    mode: int | None
    after_sha256: str | None


def compressed(sha256: str, data: bytes) -> Content:
    """``data`` as it is kept. Takes a second for 100 MiB, so not on the event loop, nor in a write."""
    return Content(sha256=sha256, length_bytes=len(data), data=zlib.compress(data, _LEVEL))


def keep(tx: Tx, *, session_id: int, log_entry_id: int, project_root: str, before: Before) -> None:
    """Keep what a file held before the write that the row is about."""
    content = before.content
    if content is not None:
        tx.db.execute(
            "INSERT OR IGNORE INTO file_contents (sha256, length_bytes, data) VALUES (?, ?, ?)",
            (content.sha256, content.length_bytes, content.data),
        )
    tx.db.execute(
        "INSERT INTO file_versions"
        " (session_id, log_entry_id, project_root, pathname, sha256, mode, after_sha256, kept_bytes, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session_id,
            log_entry_id,
            project_root,
            before.pathname,
            None if content is None else content.sha256,
            before.mode,
            before.after_sha256,
            0 if content is None else len(content.data),
            tx.now,
        ),
    )
    _forget_old(tx.db, session_id, project_root, before.pathname)


def _forget_old(db: apsw.Connection, session_id: int, project_root: str, pathname: str) -> None:
    db.execute(
        "DELETE FROM file_versions WHERE id IN (SELECT id FROM file_versions WHERE session_id = ? AND project_root = ?"
        " AND pathname = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (session_id, project_root, pathname, KEPT_PER_FILE),
    )
    while _held_bytes(db, session_id) > KEPT_BYTES:
        # One by one: each edit brings one, so there are seldom more to go.
        db.execute(
            "DELETE FROM file_versions WHERE session_id = ?1"
            " AND id = (SELECT min(id) FROM file_versions WHERE session_id = ?1)"
            " AND id < (SELECT max(id) FROM file_versions WHERE session_id = ?1)",
            (session_id,),
        )
        if not db.changes():  # the newest alone is too much, and stays
            return


def _held_bytes(db: apsw.Connection, session_id: int) -> int:
    return integer(db, "SELECT versions_bytes FROM sessions WHERE id = ?", (session_id,))


def forget(tx: Tx, log_entry_id: int) -> None:
    """Take back what was kept for a write that did not happen."""
    tx.db.execute("DELETE FROM file_versions WHERE log_entry_id = ?", (log_entry_id,))


def history(db: apsw.Connection, session_id: int, project_root: str, pathname: str) -> list[FileVersion]:
    """The versions of a file, newest first."""
    rows = query(
        db,
        "SELECT v.id, v.at, v.log_entry_id, v.sha256, c.length_bytes, v.after_sha256 FROM file_versions v"
        " LEFT JOIN file_contents c ON c.sha256 = v.sha256"
        " WHERE v.session_id = ? AND v.project_root = ? AND v.pathname = ? ORDER BY v.id DESC",
        (session_id, project_root, pathname),
    )
    return [_version(row) for row in rows]


def _version(row: tuple[Any, ...]) -> FileVersion:
    version, at, log_entry_id, sha256, length_bytes, after_sha256 = row
    return FileVersion(
        version=version,
        at=at,
        log_entry_id=log_entry_id,
        sha256=sha256,
        bytes=length_bytes,
        after_sha256=after_sha256,
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """A version's content and mode; both None: the file was not there."""

    data: bytes | None
    mode: int | None


def content(db: apsw.Connection, session_id: int, project_root: str, pathname: str, version: int) -> Kept:
    """What the file held then.

    Raises:
        NotFound: the file has no such version (any more).
    """
    rows = query(
        db,
        "SELECT c.data, v.mode FROM file_versions v LEFT JOIN file_contents c ON c.sha256 = v.sha256"
        " WHERE v.id = ? AND v.session_id = ? AND v.project_root = ? AND v.pathname = ?",
        (version, session_id, project_root, pathname),
    )
    if not rows:
        raise NotFound(f"{pathname} has no version {version}")
    data, mode = rows[0]
    return Kept(None if data is None else zlib.decompress(data), mode)
