"""Bring a database to this version, or refuse to touch it (SPEC 7.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import apsw

from plurnk.errors import Conflict
from plurnk.store.query import query

Migration = tuple[str, str]
"""(file name, SQL text)."""

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  name       TEXT PRIMARY KEY,
  sha256     TEXT NOT NULL,
  applied_at TEXT NOT NULL
) STRICT
"""


def migrate(db: apsw.Connection, migrations: Sequence[Migration], *, now: str) -> list[str]:
    """Apply what is missing, in name order, each in one transaction with its record.

    Returns:
        The names applied now.

    Raises:
        Conflict: an applied file was changed or is missing, or the database is from a newer version;
            nothing was written.
    """
    db.execute(_RECORD)
    known = {name: hashlib.sha256(sql.encode()).hexdigest() for name, sql in sorted(migrations)}
    applied = dict(query(db, "SELECT name, sha256 FROM schema_migrations ORDER BY name"))
    for name, digest in applied.items():
        if name not in known:
            raise Conflict(f"the database has migration {name}, which this version does not: it is from a newer plurnk")
        if known[name] != digest:
            raise Conflict(f"migration {name} differs from the one that was applied to this database")
    missing = [(name, sql) for name, sql in sorted(migrations) if name not in applied]
    if applied and missing and missing[0][0] < max(applied):
        raise Conflict(f"migration {missing[0][0]} was never applied, but a later one was")
    for name, sql in missing:
        _apply(db, name, sql, known[name], now)
    return [name for name, _sql in missing]


def _apply(db: apsw.Connection, name: str, sql: str, digest: str, now: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        # fetchall: execution stops at the first statement that yields a row until rows are read.
        db.execute(sql).fetchall()
        db.execute("INSERT INTO schema_migrations VALUES (?, ?, ?)", (name, digest, now))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
