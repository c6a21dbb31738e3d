"""The end of a stream as it is written: channels, row, what follows from it, and what is announced (SPEC 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from plurnk.rules import conclusions
from plurnk.rules.conclusions import Ended
from plurnk.store import channels, entries, sessions, subscriptions
from plurnk.store.database import Tx
from plurnk.store.query import Snapshot
from plurnk.store.subscriptions import Subscription
from plurnk.store.wakes import WakeRules, see_to_limit, wake
from plurnk.wire.notifications import StreamConcluded, StreamEvent

AWAITING_INPUT = "awaitingInput"
"""The attribute of an entry whose stream waits for input."""

_OUTPUT = ("stdout", "stderr")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """As ``plugins.streaming.Conclusion`` has it."""

    status: int
    detail: str | None = None
    exit_code: int | None = None
    signal: str | None = None


def conclude(tx: Tx, subscription: Subscription, channel_names: Sequence[str], end: End, rules: WakeRules) -> bool:
    """Close a subscription and say so: a last ``stream/event`` for each of its channels, then ``stream/concluded``.

    The first to close it wins: False, and nothing is written or said, when it was closed before or is gone.
    """
    closed = subscriptions.close(
        tx,
        subscription,
        channel_names,
        status=end.status,
        detail=end.detail,
        exit_code=end.exit_code,
        signal=end.signal,
    )
    if closed is None:
        return False
    announce(tx, closed, channel_names, rules)
    return True


def announce(
    tx: Tx, closed: Subscription, channel_names: Sequence[str], rules: WakeRules, *, may_wake: bool = True
) -> None:
    """Decide what follows from the end of a stream that was just closed, and announce it.

    Not ``may_wake``: nothing follows, as if it had been cancelled.
    """
    entries.set_attribute(tx, closed.entry_id, AWAITING_INPUT, None)
    session_id = sessions.get_run(tx.db, closed.run_id).session_id
    target = entries.address(tx.db, closed.entry_id)
    found = {channel.name: channel for channel in channels.of_entry(tx.db, closed.entry_id)}
    for name in channel_names:
        if name in found:
            tx.tell(session_id, event(found[name], target))
    ended = ending(tx.db, closed)
    summary = conclusions.summary(ended)
    action, wake_loop_id = wake(
        tx,
        closed,
        status=ended.status if may_wake else subscriptions.CANCELLED,
        summary=summary,
        rules=rules,
    )
    tx.announce(
        session_id,
        StreamConcluded(
            session_id=session_id,
            run_id=closed.run_id,
            entry_id=closed.entry_id,
            target=target,
            subscription_id=closed.id,
            close_status=ended.status,
            scheme=closed.scheme,
            summary=summary,
            exit_code=msgspec.UNSET if closed.exit_code is None else closed.exit_code,
            signal=msgspec.UNSET if closed.signal is None else closed.signal,
            stdout_bytes=ended.bytes_by_channel.get("stdout", 0),
            stderr_bytes=ended.bytes_by_channel.get("stderr", 0),
            duration_ms=ended.duration_ms,
            wake_action=action,
            wake_loop_id=msgspec.UNSET if wake_loop_id is None else wake_loop_id,
        ),
    )
    if wake_loop_id is not None:
        see_to_limit(tx, wake_loop_id, rules)  # who hears its end has heard of it


def wake_untold(tx: Tx, run_id: int, rules: WakeRules) -> None:
    """When a loop of the run has just ended: open one for a stream that ended in its last turn.

    That end found the loop live, and the loop has no next turn to say so; nor may there be another loop to do it.
    """
    for closed in subscriptions.untold(tx.db, run_id):
        ended = ending(tx.db, closed)
        summary = conclusions.summary(ended)
        _action, loop_id = wake(tx, closed, status=ended.status, summary=summary, rules=rules)
        if loop_id is not None:
            see_to_limit(tx, loop_id, rules)
            return  # one is enough for all that are untold, and if it is one too many, so would the next be


def ending(db: Snapshot, closed: Subscription) -> Ended:
    """How a stream ended that is closed, in the words and numbers of its row and its channels as they are now."""
    assert closed.close_status is not None
    assert closed.closed_at is not None
    sizes = {channel.name: channel.length_bytes for channel in channels.of_entry(db, closed.entry_id)}
    return Ended(
        address=entries.address(db, closed.entry_id),
        status=closed.close_status,
        detail=closed.close_detail,
        exit_code=closed.exit_code,
        signal=closed.signal,
        duration_ms=_milliseconds(closed.opened_at, closed.closed_at),
        bytes_by_channel={name: sizes[name] for name in _OUTPUT if name in sizes},
    )


def event(
    channel: channels.Channel, target: str, *, awaiting_input: bool | msgspec.UnsetType = msgspec.UNSET
) -> StreamEvent:
    """What is told of a stream's channel as it is now."""
    assert channel.state != "static"
    return StreamEvent(
        entry_id=channel.entry_id,
        target=target,
        channel=channel.name,
        state=channel.state,
        content_length=channel.length_bytes,
        awaiting_input=awaiting_input,
    )


def _milliseconds(begun: str, ended: str) -> int:
    """Between two moments of the clock on the wall, which may have been set back."""
    passed = datetime.fromisoformat(ended) - datetime.fromisoformat(begun)
    return max(0, passed // timedelta(milliseconds=1))
