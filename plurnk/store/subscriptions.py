"""Subscriptions: one row per stream, open while its channels are being written (SPEC 4.1).

A channel is ``active`` exactly while one open subscription writes it: both change in the same unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from plurnk.errors import Conflict, Malformed, NotFound
from plurnk.store import channels
from plurnk.store.database import Tx
from plurnk.store.query import query

DONE, CANCELLED, FAILED = 200, 499, 500


@dataclass(frozen=True, slots=True)
class Subscription:
    """``handle`` says to people what it is; ``closed_at`` None: it is open."""

    id: int
    run_id: int
    entry_id: int
    scheme: str
    handle: str
    opened_at: str
    closed_at: str | None
    close_status: int | None
    close_detail: str | None


_COLUMNS = "id, run_id, entry_id, scheme, handle, opened_at, closed_at, close_status, close_detail"
_SELECT = f"SELECT {_COLUMNS} FROM subscriptions"


def _subscriptions(db: apsw.Connection, rest: str, *values: Any) -> list[Subscription]:
    return [Subscription(*row) for row in query(db, f"{_SELECT} {rest} ORDER BY id", values)]


def all_open(db: apsw.Connection) -> list[Subscription]:
    """Those that are open, oldest first."""
    return _subscriptions(db, "WHERE closed_at IS NULL")


def open_of_entry(db: apsw.Connection, entry_id: int) -> list[Subscription]:
    """Those of the entry that are open: at most one a run."""
    return _subscriptions(db, "WHERE entry_id = ? AND closed_at IS NULL", entry_id)


def of_entry(db: apsw.Connection, entry_id: int) -> list[Subscription]:
    """All that the entry has had, oldest first."""
    return _subscriptions(db, "WHERE entry_id = ?", entry_id)


def begin(
    tx: Tx, run_id: int, entry_id: int, *, scheme: str, handle: str, channel_names: Sequence[str]
) -> Subscription:
    """Open a subscription that writes these channels of the entry; they are ``active`` from here on.

    Raises:
        Malformed: no channel is named.
        NotFound: the entry is not there, or has no such channel.
        Conflict: the run has a live stream on the entry, or another run's writes one of the channels.
    """
    if not channel_names:
        raise Malformed("a stream writes at least one channel")
    if any(live.run_id == run_id for live in open_of_entry(tx.db, entry_id)):
        raise Conflict(f"a stream of {handle} is live already")
    for name in channel_names:
        channel = channels.find(tx.db, entry_id, name)
        if channel is None:
            raise NotFound(f"there is no channel {name} to stream {handle} into")
        if channel.state == "active":
            raise Conflict(f"channel {name} is being written by another stream")
        channels.set_state(tx.db, channel.id, "active")
    row = query(
        tx.db,
        f"INSERT INTO subscriptions (run_id, entry_id, scheme, handle, opened_at) VALUES (?, ?, ?, ?, ?)"
        f" RETURNING {_COLUMNS}",
        (run_id, entry_id, scheme, handle, tx.now),
    )
    return Subscription(*row[0])


def close(tx: Tx, subscription: Subscription, channel_names: Sequence[str], *, status: int, detail: str | None) -> bool:
    """Close it and the channels that it wrote: ``closed`` for 200, else ``errored``.

    The first close wins: False, and nothing changed, when it was closed before or went with its entry.
    """
    # The entry too: of an opening that was undone with its commit, the id is given out again.
    tx.db.execute(
        "UPDATE subscriptions SET closed_at = ?, close_status = ?, close_detail = ?"
        " WHERE id = ? AND entry_id = ? AND closed_at IS NULL",
        (tx.now, status, detail, subscription.id, subscription.entry_id),
    )
    if not tx.db.changes():
        return False
    for name in channel_names:
        channel = channels.find(tx.db, subscription.entry_id, name)
        if channel is not None:
            channels.set_state(tx.db, channel.id, "closed" if status == DONE else "errored")
    return True


def close_all(tx: Tx, *, detail: str) -> int:
    """Close 500 whatever is open, and the channels with it: for a start, when none of it can be live. How many."""
    tx.db.execute("UPDATE entry_channels SET state = 'errored' WHERE state = 'active'")
    tx.db.execute(
        "UPDATE subscriptions SET closed_at = ?, close_status = ?, close_detail = ? WHERE closed_at IS NULL",
        (tx.now, FAILED, detail),
    )
    return tx.db.changes()
