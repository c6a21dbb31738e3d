"""Sessions and their runs (SPEC 2.1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import apsw

from plurnk.errors import Conflict, NotFound
from plurnk.store.database import Tx
from plurnk.store.query import integer, query
from plurnk.wire.notifications import SessionCreated


@dataclass(frozen=True, slots=True)
class Session:
    id: int
    name: str
    project_root: str | None
    persona: str | None
    created_at: str
    cost_pico: int
    archived: bool


@dataclass(frozen=True, slots=True)
class Run:
    id: int
    session_id: int
    name: str
    persona: str | None
    created_at: str
    parent_run_id: int | None
    cost_pico: int


_SESSION = "id, name, project_root, persona, created_at, cost_pico, archived"
_RUN = "id, session_id, name, persona, created_at, parent_run_id, cost_pico"
DEFAULT_RUN = "main"


def _session(row: tuple[Any, ...]) -> Session:
    values: dict[str, Any] = dict(zip(Session.__slots__, row, strict=True))
    values["archived"] = bool(values["archived"])
    return Session(**values)


def get(db: apsw.Connection, session_id: int) -> Session:
    """Return the session.

    Raises:
        NotFound: there is no such session.
    """
    rows = query(db, f"SELECT {_SESSION} FROM sessions WHERE id = ?", (session_id,))
    if not rows:
        raise NotFound(f"no session {session_id}")
    return _session(rows[0])


def existing(db: apsw.Connection, ids: Collection[int]) -> set[int]:
    """Those of ``ids`` that are a session's."""
    return {int(i) for i in ids if query(db, "SELECT 1 FROM sessions WHERE id = ?", (i,))}


def listing(db: apsw.Connection, *, limit: int, before: int | None) -> list[Session]:
    """Newest first."""
    rows = query(
        db,
        f"SELECT {_SESSION} FROM sessions WHERE ? IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?",
        (before, limit),
    )
    return [_session(row) for row in rows]


def create(
    tx: Tx, *, name: str | None, project_root: str | None, persona: str | None, prefix: str = "session"
) -> tuple[Session, Run]:
    """Make a session with its first run, and announce it.

    ``name`` None: ``<prefix>-<n>``, the first number that is free.

    Raises:
        Conflict: the name is taken.
    """
    if name is None:
        name = _free_name(tx.db, prefix)
    elif query(tx.db, "SELECT 1 FROM sessions WHERE name = ?", (name,)):
        raise Conflict(f"a session named {name!r} exists already")
    row = query(
        tx.db,
        f"INSERT INTO sessions (name, project_root, persona, created_at) VALUES (?, ?, ?, ?) RETURNING {_SESSION}",
        (name, project_root, persona, tx.now),
    )
    session = _session(row[0])
    run = create_run(tx, session.id, DEFAULT_RUN)
    tx.announce(session.id, SessionCreated(id=session.id, name=name, project_root=project_root, persona=persona))
    return session, run


def _free_name(db: apsw.Connection, prefix: str) -> str:
    number = integer(db, "SELECT count(*) FROM sessions WHERE name GLOB ? || '-*'", (prefix,)) + 1
    while query(db, "SELECT 1 FROM sessions WHERE name = ?", (f"{prefix}-{number}",)):
        number += 1
    return f"{prefix}-{number}"


def rename(tx: Tx, session_id: int, name: str) -> Session:
    """Give the session another name.

    Raises:
        NotFound, Conflict: no such session; the name is another's.
    """
    get(tx.db, session_id)
    if query(tx.db, "SELECT 1 FROM sessions WHERE name = ? AND id <> ?", (name, session_id)):
        raise Conflict(f"a session named {name!r} exists already")
    tx.db.execute("UPDATE sessions SET name = ? WHERE id = ?", (name, session_id))
    return get(tx.db, session_id)


def set_root(tx: Tx, session_id: int, project_root: str | None) -> None:
    """Set or take away the project root.

    Raises:
        NotFound: there is no such session.
    """
    get(tx.db, session_id)
    tx.db.execute("UPDATE sessions SET project_root = ? WHERE id = ?", (project_root, session_id))


def set_persona(tx: Tx, session_id: int, persona: str | None) -> None:
    """Set or take away the persona.

    Raises:
        NotFound: there is no such session.
    """
    get(tx.db, session_id)
    tx.db.execute("UPDATE sessions SET persona = ? WHERE id = ?", (persona, session_id))


def archive(tx: Tx, session_id: int) -> Session:
    tx.db.execute("UPDATE sessions SET archived = 1 WHERE id = ?", (session_id,))
    return get(tx.db, session_id)


def delete(tx: Tx, session_id: int) -> bool:
    """Remove the session and all that is its own. False: it was not, for a loop or a stream of it is live."""
    of_session = "run_id IN (SELECT id FROM runs WHERE session_id = ?)"
    for live in (
        f"SELECT 1 FROM loops WHERE {of_session} AND origin = 'model' AND status IN (100, 102) LIMIT 1",
        f"SELECT 1 FROM subscriptions WHERE {of_session} AND closed_at IS NULL LIMIT 1",
    ):
        if query(tx.db, live, (session_id,)):
            return False
    tx.db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    return True


def create_run(
    tx: Tx, session_id: int, name: str, *, persona: str | None = None, parent_run_id: int | None = None
) -> Run:
    row = query(
        tx.db,
        "INSERT INTO runs (session_id, name, persona, created_at, parent_run_id) VALUES (?, ?, ?, ?, ?)"
        f" RETURNING {_RUN}",
        (session_id, name, persona, tx.now, parent_run_id),
    )
    return Run(*row[0])


def runs(db: apsw.Connection, session_id: int) -> list[Run]:
    rows = query(db, f"SELECT {_RUN} FROM runs WHERE session_id = ? ORDER BY id", (session_id,))
    return [Run(*row) for row in rows]


def get_run(db: apsw.Connection, run_id: int) -> Run:
    """Return the run.

    Raises:
        NotFound: there is no such run.
    """
    rows = query(db, f"SELECT {_RUN} FROM runs WHERE id = ?", (run_id,))
    if not rows:
        raise NotFound(f"no run {run_id}")
    return Run(*rows[0])


def set_run_persona(tx: Tx, run_id: int, persona: str | None) -> None:
    tx.db.execute("UPDATE runs SET persona = ? WHERE id = ?", (persona, run_id))


def next_command(tx: Tx, session_id: int) -> int:
    """The number of the session's next command; none is given twice."""
    return integer(
        tx.db, "UPDATE sessions SET last_command = last_command + 1 WHERE id = ? RETURNING last_command", (session_id,)
    )


def count(db: apsw.Connection) -> int:
    return integer(db, "SELECT count(*) FROM sessions")


def loops_by_status(db: apsw.Connection) -> dict[str, int]:
    """How many loops there are of each status."""
    rows = query(db, "SELECT status, count(*) FROM loops GROUP BY status ORDER BY status")
    return {str(status): number for status, number in rows}
