"""The database of a run that has come to rest, as rows, and what the run has come to by them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import apsw

from tests.support.run_history import SESSION


@dataclass(frozen=True, slots=True)
class Event:
    """One of the session; ``params`` are empty where it refers to a row."""

    seq: int
    method: str
    params: dict[str, Any]
    row_id: int | None


class Rows:
    """The rows of a database that nobody has open."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.events = [
            Event(seq, method, {} if params is None else json.loads(params), row_id)
            for seq, method, params, row_id in self(
                "SELECT seq, method, params, log_entry_id FROM events WHERE session_id = ? ORDER BY seq", SESSION
            )
        ]

    def __call__(self, sql: str, *values: Any) -> list[Any]:
        """A row of one column as its value."""
        return [row[0] if len(row) == 1 else row for row in self._db.execute(sql, values)]

    def told(self, method: str) -> list[dict[str, Any]]:
        return [event.params for event in self.events if event.method == method]


def what_was_reached(rows: Rows) -> Counter[str]:
    reached: Counter[str] = Counter()
    for origin, status, reason in rows("SELECT origin, status, reason FROM loops"):
        reached[f"{origin}'s loop {status} {reason}"] += 1
    for outcome in rows(
        "SELECT coalesce(e.outcome, e.state) FROM log_entries e JOIN proposals p ON p.log_entry_id = e.id"
    ):
        reached[f"proposal {outcome}"] += 1
    for told in rows.told("stream/concluded"):
        reached[f"stream {told['closeStatus']} {told['wakeAction']}"] += 1
    for status, reason in rows("SELECT status, reason FROM turns"):
        reached[f"turn {status} {reason}"] += 1
    for text in rows("SELECT telemetry FROM turns"):
        reached.update(f"told {event['kind']}" for event in json.loads(text))
    reached["injections shown"] += len(rows("SELECT id FROM injections"))
    return reached
