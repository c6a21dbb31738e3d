"""Standing approvals: what a session accepts by itself (SPEC 5.3)."""

from __future__ import annotations

from typing import Any

import apsw

from plurnk.errors import Conflict
from plurnk.language.targets import FILE
from plurnk.rules.approvals import Approval, approves
from plurnk.store.database import Tx
from plurnk.store.query import integer, query
from plurnk.wire.answers import ApprovalView
from plurnk.wire.notifications import LoopProposal

MAX_OF_SESSION: int = 1000
"""Every proposal is held against all of them, on the writer's thread: 1,000 take some 20 ms."""

_COLUMNS = "id, op, scheme, path_glob, command_prefix, sandbox_profile, created_at"


def _view(row: tuple[Any, ...]) -> ApprovalView:
    return ApprovalView(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def add(tx: Tx, session_id: int, approval: Approval) -> ApprovalView:
    """Add one.

    Raises:
        Conflict: the session has MAX_OF_SESSION of them.
    """
    if integer(tx.db, "SELECT count(*) FROM approvals WHERE session_id = ?", (session_id,)) >= MAX_OF_SESSION:
        raise Conflict(f"the session has {MAX_OF_SESSION} approvals, which is all it can have; remove one first")
    row = query(
        tx.db,
        "INSERT INTO approvals (session_id, op, scheme, path_glob, command_prefix, sandbox_profile, created_at)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (
            session_id,
            approval.op,
            approval.scheme,
            approval.path_glob,
            approval.command_prefix,
            approval.sandbox_profile,
            tx.now,
        ),
    )
    return _view(row[0])


def of_session(db: apsw.Connection, session_id: int) -> list[ApprovalView]:
    """Oldest first."""
    return [
        _view(row)
        for row in query(db, f"SELECT {_COLUMNS} FROM approvals WHERE session_id = ? ORDER BY id", (session_id,))
    ]


def matching(db: apsw.Connection, told: LoopProposal) -> int | None:
    """The id of the session's oldest one that accepts this."""
    scheme = "exec" if told.op == "EXEC" else told.target.scheme or FILE
    for one in of_session(db, told.session_id):
        approval = Approval(
            op=one.op,
            scheme=one.scheme,
            path_glob=one.path_glob,
            command_prefix=one.command_prefix,
            sandbox_profile=one.sandbox_profile,
        )
        if approves(approval, op=told.op, scheme=scheme, attrs=told.attrs):
            return one.id
    return None


def remove(tx: Tx, session_id: int, approval_id: int) -> bool:
    """Take one away; False: the session has none of that id."""
    tx.db.execute("DELETE FROM approvals WHERE session_id = ? AND id = ?", (session_id, approval_id))
    return bool(tx.db.changes())
