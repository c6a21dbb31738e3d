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
from plurnk.store.log import TurnRef
from plurnk.store.query import query

DONE, CANCELLED, FAILED = 200, 499, 500


@dataclass(frozen=True, slots=True)
class Subscription:
    """``handle`` says to people what it is; ``closed_at`` None: it is open.

    ``loop_id`` and ``turn_id`` are those that opened it; None: it is older than these columns. ``exit_code`` and
    ``signal`` are a command's. ``told``: a turn of the run has said how it ended.
    """

    id: int
    run_id: int
    entry_id: int
    scheme: str
    handle: str
    opened_at: str
    closed_at: str | None
    close_status: int | None
    close_detail: str | None
    loop_id: int | None
    turn_id: int | None
    exit_code: int | None
    signal: str | None
    told: bool


_COLUMNS = ", ".join(Subscription.__slots__)
_SELECT = f"SELECT {_COLUMNS} FROM subscriptions"


def _subscription(row: tuple[Any, ...]) -> Subscription:
    values = dict(zip(Subscription.__slots__, row, strict=True))
    values["told"] = bool(values["told"])
    return Subscription(**values)


def _subscriptions(db: apsw.Connection, rest: str, *values: Any) -> list[Subscription]:
    return [_subscription(row) for row in query(db, f"{_SELECT} {rest} ORDER BY id", values)]


def get(db: apsw.Connection, subscription_id: int) -> Subscription | None:
    rows = _subscriptions(db, "WHERE id = ?", subscription_id)
    return rows[0] if rows else None


def all_open(db: apsw.Connection) -> list[Subscription]:
    """Those that are open, oldest first; so it is with all the lists here."""
    return _subscriptions(db, "WHERE closed_at IS NULL")


def open_of_entry(db: apsw.Connection, entry_id: int) -> list[Subscription]:
    """Those of the entry that are open: at most one a run."""
    return _subscriptions(db, "WHERE entry_id = ? AND closed_at IS NULL", entry_id)


def open_of_run(db: apsw.Connection, run_id: int) -> list[Subscription]:
    return _subscriptions(db, "WHERE run_id = ? AND closed_at IS NULL", run_id)


def open_of_turn(db: apsw.Connection, turn_id: int) -> list[Subscription]:
    """Those that the turn opened and that are open."""
    return _subscriptions(db, "WHERE turn_id = ? AND closed_at IS NULL", turn_id)


def of_entry(db: apsw.Connection, entry_id: int) -> list[Subscription]:
    """All that the entry has had."""
    return _subscriptions(db, "WHERE entry_id = ?", entry_id)


def of_session(db: apsw.Connection, session_id: int, *, include_closed: bool, limit: int) -> list[Subscription]:
    """Those of the session's runs; where there are more than ``limit``, those that live, then the newest."""
    only = "" if include_closed else " AND closed_at IS NULL"
    chosen = (
        f"SELECT id FROM subscriptions WHERE run_id IN (SELECT id FROM runs WHERE session_id = ?){only}"
        " ORDER BY closed_at IS NULL DESC, id DESC LIMIT ?"
    )
    return _subscriptions(db, f"WHERE id IN ({chosen})", session_id, limit)


def has_untold(db: apsw.Connection, run_id: int) -> bool:
    """Tell whether a stream of the run has ended without a turn having said so."""
    rows = query(
        db, "SELECT 1 FROM subscriptions WHERE run_id = ? AND told = 0 AND closed_at IS NOT NULL LIMIT 1", (run_id,)
    )
    return bool(rows)


def untold(db: apsw.Connection, run_id: int) -> list[Subscription]:
    """Those of the run that have ended without a turn having said so."""
    return _subscriptions(db, "WHERE run_id = ? AND told = 0 AND closed_at IS NOT NULL", run_id)


def tell(tx: Tx, run_id: int) -> list[Subscription]:
    """Those that are untold; from here on they are told."""
    ended = untold(tx.db, run_id)
    tx.db.executemany("UPDATE subscriptions SET told = 1 WHERE id = ?", [(row.id,) for row in ended])
    return ended


def begin(
    tx: Tx, turn: TurnRef, entry_id: int, *, scheme: str, handle: str, channel_names: Sequence[str]
) -> Subscription:
    """Open a subscription that writes these channels of the entry; they are ``active`` from here on.

    Raises:
        Malformed: no channel is named.
        NotFound: the entry is not there, or has no such channel.
        Conflict: the run has a live stream on the entry, or another run's writes one of the channels.
    """
    if not channel_names:
        raise Malformed("a stream writes at least one channel")
    if any(live.run_id == turn.run_id for live in open_of_entry(tx.db, entry_id)):
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
        "INSERT INTO subscriptions (run_id, entry_id, scheme, handle, opened_at, loop_id, turn_id)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (turn.run_id, entry_id, scheme, handle, tx.now, turn.loop_id, turn.turn_id),
    )
    return _subscription(row[0])


def close(
    tx: Tx,
    subscription: Subscription,
    channel_names: Sequence[str],
    *,
    status: int,
    detail: str | None,
    exit_code: int | None = None,
    signal: str | None = None,
) -> Subscription | None:
    """Close it and the channels that it wrote: ``closed`` for 200, else ``errored``. Returns it as it is then.

    The first close wins: None, and nothing changed, when it was closed before or went with its entry.
    """
    # More than the id: of an opening that was undone with its commit, it is given out again.
    rows = query(
        tx.db,
        "UPDATE subscriptions SET closed_at = ?, close_status = ?, close_detail = ?, exit_code = ?, signal = ?"
        f" WHERE id = ? AND entry_id = ? AND opened_at = ? AND closed_at IS NULL RETURNING {_COLUMNS}",
        (tx.now, status, detail, exit_code, signal, subscription.id, subscription.entry_id, subscription.opened_at),
    )
    if not rows:
        return None
    for name in channel_names:
        channel = channels.find(tx.db, subscription.entry_id, name)
        if channel is not None:
            channels.set_state(tx.db, channel.id, "closed" if status == DONE else "errored")
    return _subscription(rows[0])


def close_all(tx: Tx, *, detail: str) -> list[Subscription]:
    """Close 500 whatever is open, and the channels with it: for a start, when none of it can be live.

    Returns them as they are then.
    """
    tx.db.execute("UPDATE entry_channels SET state = 'errored' WHERE state = 'active'")
    left = all_open(tx.db)
    closed = [close(tx, row, (), status=FAILED, detail=detail) for row in left]
    return [row for row in closed if row is not None]
