"""Forks: a new run of the session, with another run's log up to a turn and what that sees (SPEC 6.3)."""

from __future__ import annotations

from typing import Any, Final

import apsw

from plurnk.errors import Conflict, NotFound, TooLarge
from plurnk.store import sessions
from plurnk.store.database import Tx
from plurnk.store.query import integer, query
from plurnk.store.sessions import Run

FORKED: Final = "forked"
"""The reason of a loop in a copy that went on in the original, or would have."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of a log that is copied. Nobody else can write meanwhile: 3.5 s for as much, 0.8 s for 100,000 short rows."""
ROW_BYTES: Final = 512
"""What a row counts for, however short it is."""

LOOP_COLUMNS: Final = (
    *("seq", "origin", "prompt", "flags", "alias", "persona", "max_turns", "created_at", "started_at"),
    *("woken_by", "wakes"),
)
TURN_COLUMNS: Final = (
    *("seq", "status", "reason", "started_at", "ended_at", "telemetry", "model", "finish_reason", "prompt_tokens"),
    *("completion_tokens", "cached_tokens", "reasoning_tokens", "fingerprint", "fault", "asked_tokens"),
)
"""Not the packet, which the original has, nor what the turn cost, which was paid once."""
ROW_COLUMNS: Final = (
    *("loop_seq", "turn_seq", "sequence", "at", "origin", "op", "suffix", "signal", "scheme", "username", "password"),
    *("hostname", "port", "pathname", "params", "fragment", "line_marker", "tx", "mimetype_tx", "rx", "mimetype_rx"),
    *("status_rx", "tokens", "state", "outcome", "hidden"),
)

_FOR_EVER: Final = 2**63 - 1

# What of the original is copied. A client's turn may have been begun before the last one that counts and have rows
# after it, or the other way round; the rows decide, as their order is what a model sees.
_TURNS: Final = """
  SELECT t.id FROM turns t JOIN loops l ON l.id = t.loop_id
   WHERE l.run_id = :run AND t.ended_at IS NOT NULL
     AND (t.id <= :turn OR EXISTS (SELECT 1 FROM log_entries e WHERE e.turn_id = t.id AND e.id <= :row))"""

# A copy has the numbers of its original, in another run.
_IS_COPY_OF_ROW: Final = (
    "copy.run_id = :copy AND copy.loop_seq = e.loop_seq AND copy.turn_seq = e.turn_seq AND copy.sequence = e.sequence"
)


def fork(tx: Tx, run_id: int, *, name: str | None, at_turn: int | None) -> Run:
    """Make a run that shows what this one does, its log up to and with the turn ``at_turn``, or all that has ended.

    Coordinates stay as they are, and so does what is hidden, folded and indexed now, but for prompts that are not in
    the copied log. Left with the original: turns that have not ended, what is still proposed, prompts that wait,
    streams, packets and costs. No loop of the copy is live; one that is not whole there has ended 499 ``forked``.
    ``name`` None: ``fork-<n>``, the first number that is free.

    Raises:
        NotFound: there is no such run, or ``at_turn`` is none of it.
        Conflict: the name is taken, or the turn has not ended.
        TooLarge: the log is longer than can be copied in one go.
    """
    original = sessions.get_run(tx.db, run_id)
    last = {"run": run_id, "turn": _FOR_EVER, "row": _FOR_EVER}
    if at_turn is not None:
        last |= {"turn": at_turn, "row": _last_row(tx.db, original, at_turn)}
    _see_that_it_fits(tx.db, last)
    name = _name(tx.db, original.session_id, name)
    copy = sessions.create_run(tx, original.session_id, name, persona=original.persona, parent_run_id=run_id)
    both = {**last, "copy": copy.id, "now": tx.now, "session": original.session_id}
    _copy_loops_and_turns(tx.db, both)
    _copy_rows(tx.db, both)
    _copy_visibility(tx.db, both)
    return copy


def _last_row(db: apsw.Connection, run: Run, turn_id: int) -> int:
    """The turn's last row; or one after it, of a turn begun before, if nothing of a later turn stands between."""
    found = query(
        db,
        "SELECT t.ended_at FROM turns t JOIN loops l ON l.id = t.loop_id WHERE t.id = ? AND l.run_id = ?",
        (turn_id, run.id),
    )
    if not found:
        raise NotFound(f"no turn {turn_id} in the run {run.name}")
    if found[0][0] is None:
        raise Conflict(f"turn {turn_id} has not ended; a fork has whole turns")
    return integer(
        db,
        "SELECT max((SELECT coalesce(max(id), 0) FROM log_entries WHERE turn_id = ?1),"
        " (SELECT coalesce(min(e.id) - 1, ?2) FROM turns t JOIN loops l ON l.id = t.loop_id"
        " JOIN log_entries e ON e.turn_id = t.id WHERE l.run_id = ?3 AND t.id > ?1))",
        (turn_id, _FOR_EVER, run.id),
    )


def _see_that_it_fits(db: apsw.Connection, last: dict[str, Any]) -> None:
    size_bytes = integer(
        db,
        "SELECT coalesce(sum(octet_length(tx) + octet_length(rx) + ?), 0) FROM log_entries"
        " WHERE run_id = ? AND id <= ?",
        (ROW_BYTES, last["run"], last["row"]),
    )
    if size_bytes > MAX_BYTES:
        raise TooLarge(f"the log has {size_bytes:,} bytes, a fork at most {MAX_BYTES:,}; an earlier turn may do")


def _name(db: apsw.Connection, session_id: int, name: str | None) -> str:
    taken = {run.name for run in sessions.runs(db, session_id)}
    if name is None:
        return next(free for number in range(1, len(taken) + 2) if (free := f"fork-{number}") not in taken)
    if name in taken:
        raise Conflict(f"a run named {name!r} exists already in this session")
    return name


def _copy_loops_and_turns(db: apsw.Connection, both: dict[str, Any]) -> None:
    columns = ", ".join(LOOP_COLUMNS)
    db.execute(
        f"INSERT INTO loops (run_id, status, reason, ended_at, {columns})"
        f" SELECT :copy, 499, '{FORKED}', :now, {columns} FROM loops"
        f" WHERE id IN (SELECT loop_id FROM turns WHERE id IN ({_TURNS})) ORDER BY seq",
        both,
    )
    db.execute(
        f"INSERT INTO turns (loop_id, {', '.join(TURN_COLUMNS)})"
        f" SELECT copy.id, {', '.join(f't.{column}' for column in TURN_COLUMNS)}"
        " FROM turns t JOIN loops l ON l.id = t.loop_id JOIN loops copy ON copy.run_id = :copy AND copy.seq = l.seq"
        f" WHERE t.id IN ({_TURNS}) ORDER BY t.id",
        both,
    )
    # One that had ended, and that has all of its turns, ended as it did.
    db.execute(
        "UPDATE loops AS copy"
        " SET status = l.status, reason = l.reason, error = l.error, ended_at = l.ended_at FROM loops l"
        " WHERE copy.run_id = :copy AND l.run_id = :run AND l.seq = copy.seq AND l.status NOT IN (100, 102)"
        " AND (SELECT count(*) FROM turns WHERE loop_id = copy.id) = (SELECT count(*) FROM turns WHERE loop_id = l.id)",
        both,
    )


def _copy_rows(db: apsw.Connection, both: dict[str, Any]) -> None:
    """In their order, as what a model has seen must stay where it was (SPEC 3.4)."""
    db.execute(
        f"INSERT INTO log_entries (run_id, loop_id, turn_id, {', '.join(ROW_COLUMNS)})"
        f" SELECT :copy, l.id, t.id, {', '.join(f'e.{column}' for column in ROW_COLUMNS)}"
        " FROM log_entries e JOIN loops l ON l.run_id = :copy AND l.seq = e.loop_seq"
        " JOIN turns t ON t.loop_id = l.id AND t.seq = e.turn_seq"
        " WHERE e.run_id = :run AND e.id <= :row AND e.state <> 'proposed' ORDER BY e.id",
        both,
    )
    for column in ("bodies_folded_to", "rows_folded_to"):
        db.execute(
            f"UPDATE runs SET {column} = coalesce((SELECT copy.id FROM runs r"
            f" JOIN log_entries e ON e.run_id = r.id AND e.id <= r.{column} JOIN log_entries copy ON {_IS_COPY_OF_ROW}"
            " WHERE r.id = :run ORDER BY e.id DESC LIMIT 1), 0) WHERE id = :copy",
            both,
        )


def _copy_visibility(db: apsw.Connection, both: dict[str, Any]) -> None:
    """What the original shows, without the prompts of turns that the copy does not have."""
    db.execute(
        "INSERT INTO visibility (run_id, channel_id) SELECT :copy, channel_id FROM visibility WHERE run_id = :run"
        " AND channel_id NOT IN (SELECT c.id FROM log_entries e"
        " JOIN entries n ON coalesce(n.session_id, 0) = :session AND coalesce(n.scheme, '') = 'plurnk'"
        " AND n.pathname = e.pathname"
        " JOIN entry_channels c ON c.entry_id = n.id"
        " WHERE e.run_id = :run AND e.origin = 'system' AND e.op = 'EDIT' AND e.scheme = 'plurnk'"
        f" AND NOT EXISTS (SELECT 1 FROM log_entries copy WHERE {_IS_COPY_OF_ROW}))",
        both,
    )
