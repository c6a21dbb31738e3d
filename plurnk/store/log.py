"""The log: one row per operation, immutable but for its answer (SPEC 2.4, 6.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from plurnk.content.tokens import estimate_tokens
from plurnk.language.ast import LineMarker, LocalTarget, Statement, Target, UrlTarget, op_name
from plurnk.language.targets import FILE, canonical
from plurnk.rules.fitting import NOTHING_LEFT_OUT, LeftOut
from plurnk.rules.proposals import Event, move
from plurnk.store.database import Tx
from plurnk.store.query import integer, query
from plurnk.wire.notifications import LogEntry, LogEntryAdded, LogEntryUpdated, Origin
from plurnk.wire.results import OpResult

ABANDONED = "its loop was cancelled"
"""What is said of a proposal that was never decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRef:
    """Where a row belongs."""

    session_id: int
    run_id: int
    loop_id: int
    turn_id: int
    loop_seq: int
    turn_seq: int


_FIELDS = (
    "id, run_id, loop_id, turn_id, loop_seq, turn_seq, sequence, at, origin, op, suffix, signal, scheme, username,"
    " password, hostname, port, pathname, params, fragment, line_marker, tx, mimetype_tx, rx, mimetype_rx, status_rx,"
    " tokens, state, outcome"
)
_SELECT = f"SELECT {_FIELDS} FROM log_entries"


def _decoded(text: Any) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _row(row: tuple[Any, ...]) -> LogEntry:
    values = dict(zip(_FIELDS.replace(" ", "").split(","), row, strict=True))
    for name in ("signal", "params", "tx", "rx"):
        values[name] = _decoded(values[name])
    if values["line_marker"] is not None:
        values["line_marker"] = msgspec.json.decode(values["line_marker"], type=LineMarker)
    return LogEntry(**values)


def _target_columns(target: Target | None) -> dict[str, Any]:
    match target:
        case UrlTarget(scheme=scheme) if scheme == FILE:
            return dict.fromkeys(_TARGET_FIELDS) | {"pathname": canonical(target), "params": target.params or None}
        case UrlTarget():
            return {
                "scheme": target.scheme,
                "username": target.username,
                "password": target.password,
                "hostname": target.hostname,
                "port": target.port,
                "pathname": target.pathname,
                "params": target.params or None,
                "fragment": target.fragment,
            }
        case LocalTarget():
            return dict.fromkeys(_TARGET_FIELDS) | {"pathname": target.raw}
        case None:
            return dict.fromkeys(_TARGET_FIELDS)


_TARGET_FIELDS = ("scheme", "username", "password", "hostname", "port", "pathname", "params", "fragment")


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def add(tx: Tx, turn: TurnRef, statement: Statement, *, origin: Origin, result: OpResult) -> LogEntry:
    """Write the row of one operation, as the turn's next, and announce it in the same transaction."""
    body = msgspec.to_builtins(statement.body)
    values: dict[str, Any] = {
        "run_id": turn.run_id,
        "loop_id": turn.loop_id,
        "turn_id": turn.turn_id,
        "loop_seq": turn.loop_seq,
        "turn_seq": turn.turn_seq,
        "sequence": _next_sequence(tx.db, turn.turn_id),
        "at": tx.now,
        "origin": origin,
        "op": op_name(statement),
        "suffix": statement.suffix,
        "signal": list(statement.signal) if isinstance(statement.signal, tuple) else statement.signal,
        **_target_columns(statement.target),
        "line_marker": statement.line_marker,
        "tx": {"body": body},
        "mimetype_tx": "text/plain" if isinstance(body, str) else "application/json",
        "rx": msgspec.to_builtins(result),
        "mimetype_rx": "application/json",
        "status_rx": result.status,
        "tokens": estimate_tokens(result.content or result.diff or result.error or ""),
        "state": "proposed" if result.status == 202 else "resolved",
        "outcome": None,
    }
    columns = {name: _json(v) if name in _JSON_COLUMNS else v for name, v in values.items()}
    columns["signal"] = msgspec.json.encode(values["signal"]).decode()
    row_id = integer(
        tx.db,
        f"INSERT INTO log_entries ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) RETURNING id",
        tuple(columns.values()),
    )
    entry = LogEntry(id=row_id, **values)
    tx.announce(turn.session_id, LogEntryAdded(entry=entry))
    return entry


def answer(tx: Tx, row_id: int, result: OpResult, *, state: str, outcome: str | None) -> LogEntry | None:
    """Give a proposed row its answer and announce it. The first answer wins: None when it had one, or is gone."""
    tx.db.execute(
        "UPDATE log_entries SET rx = ?, status_rx = ?, tokens = ?, state = ?, outcome = ?"
        " WHERE id = ? AND state = 'proposed'",
        (
            msgspec.json.encode(result).decode(),
            result.status,
            estimate_tokens(result.content or result.diff or result.error or ""),
            state,
            outcome,
            row_id,
        ),
    )
    if not tx.db.changes():
        return None
    entry = get(tx.db, row_id)
    assert entry is not None
    session_id = integer(tx.db, "SELECT session_id FROM runs WHERE id = ?", (entry.run_id,))
    tx.announce(session_id, LogEntryUpdated(entry=entry))
    return entry


def abandon(tx: Tx, row_id: int) -> LogEntry | None:
    """Answer a proposed row for which nobody waits any more; None as ``answer``."""
    moved = move("proposed", Event.ABANDONED)
    result = OpResult(status=moved.status or 499, error=ABANDONED)
    return answer(tx, row_id, result, state=moved.state, outcome=moved.outcome)


def abandon_of_loop(tx: Tx, loop_id: int) -> None:
    """Answer what a loop that ends has left open: the disk may have been full when it was time for that."""
    rows = query(tx.db, "SELECT id FROM log_entries WHERE loop_id = ? AND state = 'proposed' ORDER BY id", (loop_id,))
    for (row_id,) in rows:
        abandon(tx, row_id)


def abandon_unresumed(tx: Tx, *, resume: bool) -> None:
    """At a start: answer what nobody will take up, which is all but what loops of a model have proposed that go on."""
    rows = query(
        tx.db,
        "SELECT e.id FROM log_entries e JOIN loops l ON l.id = e.loop_id"
        " WHERE e.state = 'proposed' AND NOT (? AND l.origin = 'model' AND l.status = 102"
        " AND EXISTS (SELECT 1 FROM proposals p WHERE p.log_entry_id = e.id)) ORDER BY e.id",
        (resume,),
    )
    for (row_id,) in rows:
        abandon(tx, row_id)


_JSON_COLUMNS = frozenset({"params", "line_marker", "tx", "rx"})


def _next_sequence(db: apsw.Connection, turn_id: int) -> int:
    return integer(db, "SELECT coalesce(max(sequence), 0) + 1 FROM log_entries WHERE turn_id = ?", (turn_id,))


def get(db: apsw.Connection, row_id: int) -> LogEntry | None:
    rows = query(db, f"{_SELECT} WHERE id = ?", (row_id,))
    return _row(rows[0]) if rows else None


def at(db: apsw.Connection, run_id: int, loop_seq: int, turn_seq: int, sequence: int) -> LogEntry | None:
    """The row with these coordinates."""
    rows = query(
        db,
        f"{_SELECT} WHERE run_id = ? AND loop_seq = ? AND turn_seq = ? AND sequence = ?",
        (run_id, loop_seq, turn_seq, sequence),
    )
    return _row(rows[0]) if rows else None


def of_run(db: apsw.Connection, run_id: int, *, after_id: int = 0, limit: int = -1) -> list[tuple[LogEntry, bool]]:
    """The rows of a run after that one, oldest first, each with whether it is hidden from the packet; -1: all.

    By age, not by coordinates: a row of a client's loop may come after rows of a later loop, and what
    a model has seen must stay where it was (SPEC 3.4).
    """
    rows = query(
        db,
        f"SELECT {_FIELDS}, hidden FROM log_entries WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
        (run_id, after_id, limit),
    )
    return [(_row(row[:-1]), bool(row[-1])) for row in rows]


def hidden(db: apsw.Connection, run_id: int, *, after_id: int, to_id: int) -> set[int]:
    """The ids of the run's rows that are hidden from the packet, of those after the one and up to the other."""
    rows = query(
        db,
        "SELECT id FROM log_entries WHERE run_id = ? AND id > ? AND id <= ? AND hidden = 1",
        (run_id, after_id, to_id),
    )
    return {int(row_id) for (row_id,) in rows}


def left_out(db: apsw.Connection, run_id: int, to_id: int) -> LeftOut:
    """The run's rows up to that one, without those that are hidden."""
    shown = "FROM log_entries WHERE run_id = ?1 AND id <= ?2 AND hidden = 0"
    count = integer(db, f"SELECT count(*) {shown}", (run_id, to_id))
    if count == 0:
        return NOTHING_LEFT_OUT
    path = "SELECT 'log://' || loop_seq || '/' || turn_seq || '/' || sequence || '/' || op"
    ((first,),) = query(db, f"{path} {shown} ORDER BY id LIMIT 1", (run_id, to_id))
    ((last,),) = query(db, f"{path} {shown} ORDER BY id DESC LIMIT 1", (run_id, to_id))
    return LeftOut(count, first, last)


def recent_from(db: apsw.Connection, turn: TurnRef) -> int:
    """The id of the first row of the run's last turn that a model has answered, or of what came after it; 0: none.

    What a client did between two loops belongs to it, and so does the end of the loop before: nobody has seen that.
    """
    return integer(
        db,
        # The + and the CROSS JOIN make SQLite look back from the newest turn, not through all turns and all rows.
        "SELECT coalesce(min(+id), 0) FROM log_entries WHERE +run_id = ?1 AND turn_id >= coalesce((SELECT t.id"
        " FROM loops l CROSS JOIN turns t ON t.loop_id = l.id WHERE l.run_id = ?1 AND t.id < ?2"
        " AND t.packet IS NOT NULL ORDER BY l.seq DESC, t.seq DESC LIMIT 1), 0)",
        (turn.run_id, turn.turn_id),
    )


def version(db: apsw.Connection, run_id: int) -> int:
    """Goes up whenever a row of the run that was there before looks different: hidden, shown, answered anew."""
    return integer(db, "SELECT log_version FROM runs WHERE id = ?", (run_id,))


def coordinates(db: apsw.Connection, run_id: int) -> list[tuple[int, str]]:
    """Every row of a run, oldest first: its id and its path ``L/T/S/OP``."""
    return [
        (row_id, path)
        for row_id, path in query(
            db,
            "SELECT id, loop_seq || '/' || turn_seq || '/' || sequence || '/' || op FROM log_entries"
            " WHERE run_id = ? ORDER BY id",
            (run_id,),
        )
    ]


def set_hidden(tx: Tx, row_ids: list[int], *, hidden: bool) -> int:
    """Hide or show rows; returns how many were not so before."""
    before = tx.db.total_changes()
    tx.db.executemany(
        "UPDATE log_entries SET hidden = ? WHERE id = ? AND hidden <> ?1", [(hidden, row_id) for row_id in row_ids]
    )
    return tx.db.total_changes() - before


def page(
    db: apsw.Connection,
    session_id: int,
    *,
    run_id: int | None = None,
    loop_id: int | None,
    turn_id: int | None,
    since_id: int | None,
    before_id: int | None,
    limit: int,
    descending: bool,
) -> list[LogEntry]:
    """Rows of a session by id, narrowed by what is given."""
    where = ["run_id IN (SELECT id FROM runs WHERE session_id = ?)"]
    values: list[int] = [session_id]
    for clause, value in (
        ("run_id = ?", run_id),
        ("loop_id = ?", loop_id),
        ("turn_id = ?", turn_id),
        ("id > ?", since_id),
        ("id < ?", before_id),
    ):
        if value is not None:
            where.append(clause)
            values.append(value)
    order = "DESC" if descending else "ASC"
    rows = query(db, f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT ?", (*values, limit))
    return [_row(row) for row in rows]
