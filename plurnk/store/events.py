"""Reading back the transactional outbox (SPEC 6.5). It is written by ``Tx.announce``."""

from __future__ import annotations

from dataclasses import dataclass

import apsw
import msgspec

from plurnk.store import log
from plurnk.store.query import integer, query

REPLAY_PAGE: int = 256


@dataclass(frozen=True, slots=True)
class Recorded:
    """A durable event as replayed: its params as JSON, without the eventId."""

    seq: int
    method: str
    params_json: bytes


def last_seq(db: apsw.Connection, session_id: int) -> int:
    """The seq of the session's newest event; 0 when it has none."""
    return integer(db, "SELECT last_event_seq FROM sessions WHERE id = ?", (session_id,))


def oldest_seq(db: apsw.Connection, session_id: int) -> int:
    """The seq of the oldest event kept; the next one's when none is."""
    rows = query(db, "SELECT min(seq) FROM events WHERE session_id = ?", (session_id,))
    oldest: int | None = rows[0][0]
    return oldest if oldest is not None else last_seq(db, session_id) + 1


def after(db: apsw.Connection, session_id: int, seq: int, limit: int = REPLAY_PAGE) -> list[Recorded]:
    """The next events after ``seq``, in order. A log row is told as it is now."""
    found = query(
        db,
        "SELECT seq, method, params, log_entry_id FROM events WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (session_id, seq, limit),
    )
    recorded: list[Recorded] = []
    for event_seq, method, params, log_entry_id in found:
        if params is None:
            entry = log.get(db, log_entry_id)
            body = msgspec.json.encode({"entry": entry})
        else:
            body = str(params).encode()
        recorded.append(Recorded(event_seq, str(method), body))
    return recorded
