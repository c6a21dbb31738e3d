"""What was proposed, as it was asked and as it was told; its state is that of its log row (SPEC 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from plurnk.language.ast import Statement
from plurnk.store.database import Tx
from plurnk.store.query import query
from plurnk.wire.notifications import LoopProposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A proposal. ``outcome``: of one that is no longer ``proposed``."""

    told: LoopProposal
    statement: Statement
    project_root: str | None
    at: str
    state: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What an accepted operation may have left on disk. ``recorded``: it has happened."""

    log_entry_id: int
    project_root: str
    steps: bytes
    recorded: bool


_SELECT = (
    "SELECT p.told, p.statement, p.project_root, e.at, e.state, e.outcome"
    " FROM proposals p JOIN log_entries e ON e.id = p.log_entry_id"
)


def _proposed(row: tuple[Any, ...]) -> Proposed:
    told, statement, project_root, at, state, outcome = row
    return Proposed(
        told=msgspec.json.decode(told, type=LoopProposal),
        statement=msgspec.json.decode(statement, type=Statement),
        project_root=project_root,
        at=at,
        state=state,
        outcome=outcome,
    )


def add(tx: Tx, told: LoopProposal, statement: Statement, project_root: str | None) -> None:
    """Keep the proposal of a log row that was just written, and announce it."""
    tx.db.execute(
        "INSERT INTO proposals (log_entry_id, session_id, loop_id, statement, project_root, told)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            told.log_entry_id,
            told.session_id,
            told.loop_id,
            msgspec.json.encode(statement).decode(),
            project_root,
            msgspec.json.encode(told).decode(),
        ),
    )
    tx.announce(told.session_id, told)


def find(db: apsw.Connection, session_id: int, log_entry_id: int) -> Proposed | None:
    rows = query(db, f"{_SELECT} WHERE p.session_id = ? AND p.log_entry_id = ?", (session_id, log_entry_id))
    return _proposed(rows[0]) if rows else None


def all_open(db: apsw.Connection) -> list[Proposed]:
    """Those that wait for an answer, oldest first."""
    return [_proposed(row) for row in query(db, f"{_SELECT} WHERE e.state = 'proposed' ORDER BY e.id")]


def intend(tx: Tx, log_entry_id: int, steps: bytes) -> None:
    """Keep what an accepted operation is about to do on disk, so that the next start can undo or finish it."""
    tx.db.execute("UPDATE proposals SET steps = ? WHERE log_entry_id = ?", (steps.decode(), log_entry_id))


def has_happened(db: apsw.Connection, log_entry_id: int) -> bool:
    """Tell whether the operation was accepted, done and recorded."""
    return bool(query(db, "SELECT 1 FROM log_entries WHERE id = ? AND state = 'resolved'", (log_entry_id,)))


def forget_steps(tx: Tx, log_entry_id: int) -> None:
    """When nothing of them is left to undo or to finish."""
    tx.db.execute("UPDATE proposals SET steps = NULL WHERE log_entry_id = ?", (log_entry_id,))


def unfinished(db: apsw.Connection) -> list[Unfinished]:
    """What a daemon that was killed may have left on disk."""
    rows = query(
        db,
        "SELECT p.log_entry_id, p.project_root, p.steps, e.state = 'resolved'"
        " FROM proposals p JOIN log_entries e ON e.id = p.log_entry_id WHERE p.steps IS NOT NULL ORDER BY e.id",
    )
    return [Unfinished(row_id, root, str(steps).encode(), bool(recorded)) for row_id, root, steps, recorded in rows]
