"""Rows of the log for tests that read them."""

from __future__ import annotations

from typing import Any

from plurnk.language.ast import OpName
from plurnk.wire.notifications import LogEntry


def log_entry(*, op: OpName, loop_id: int = 1, status_rx: int = 200, **fields: Any) -> LogEntry:
    """Make a row ``1/2/3``; only what matters to the test need be given."""
    default: dict[str, Any] = {
        "id": 7,
        "run_id": 1,
        "turn_id": 2,
        "loop_seq": 1,
        "turn_seq": 2,
        "sequence": 3,
        "at": "2026-01-01T00:00:00.000Z",
        "origin": "model",
        "suffix": "",
        "signal": None,
        "scheme": None,
        "username": None,
        "password": None,
        "hostname": None,
        "port": None,
        "pathname": None,
        "params": None,
        "fragment": None,
        "line_marker": None,
        "tx": {},
        "mimetype_tx": "text/plain",
        "rx": {},
        "mimetype_rx": "application/json",
        "tokens": 0,
        "state": "resolved",
        "outcome": None,
    }
    return LogEntry(op=op, loop_id=loop_id, status_rx=status_rx, **(default | fields))
