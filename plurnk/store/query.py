"""Rows as tuples: the one place where SQLite's dynamic types meet ours.

Tables are STRICT, so a column's type is what the schema says; apsw can only promise "some SQLite
value", and says so with a union that fits no column. Rows are therefore typed ``Any`` here, and
given their real types by the module that knows the table.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import apsw

Snapshot: TypeAlias = apsw.Connection
"""What a read unit is given. Outside this room it is only handed on to the functions of this room."""


def query(db: apsw.Connection, sql: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Run one statement to its end and return its rows."""
    return db.execute(sql, bindings).fetchall()


def integer(db: apsw.Connection, sql: str, bindings: tuple[Any, ...] = ()) -> int:
    """The one value of the one row that the statement always yields."""
    return int(query(db, sql, bindings)[0][0])


def size_bytes(db: Snapshot) -> int:
    """How large the database is."""
    return int(db.pragma("page_count")) * int(db.pragma("page_size"))
