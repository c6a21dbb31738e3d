"""Subscriptions as cancel scopes: every live stream is one task with one scope, and one open row (SPEC 4.1).

Whatever ends a stream (its work is done or fails, somebody cancels it, a channel is full, the daemon
stops) only says so: the first to say wins, and the stream's own task writes the conclusion.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from plurnk.errors import Conflict, Draining, OutOfRoom, PlurnkError, TooLarge
from plurnk.plugins.api import Conclusion, Work
from plurnk.store import channels, subscriptions
from plurnk.store.database import Store, StoreFailed, Tx
from plurnk.store.log import TurnRef
from plurnk.store.subscriptions import CANCELLED, FAILED, Subscription

logger = logging.getLogger(__name__)

CONCLUSION_LIMIT_S: float = 5.0
RETRY_S: float = 0.5

SHUTDOWN = Conclusion(status=CANCELLED, detail="shutdown")
CUT_OFF = Conclusion(status=CANCELLED, detail="cancelled")
"""Of a stream that was cancelled from above, such as one whose opener was while it waited."""


@dataclass(slots=True, eq=False)
class _Live:
    """A stream from before its row is written until after it is closed. Its task owns it.

    ``row`` and ``is_over`` are set by the units that open and close it, so that a unit which runs later
    knows whether they did, though their caller was cancelled meanwhile.
    """

    run_id: int
    entry_id: int
    scheme: str
    handle: str
    channels: tuple[str, ...]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: Conclusion | None = None
    row: Subscription | None = None
    row_is_open: bool = True
    is_over: bool = False
    concluded: trio.Event = field(default_factory=trio.Event)

    def end_with(self, conclusion: Conclusion) -> None:
        """Have it end so; whoever says so first wins."""
        if self.end is None:
            self.end = conclusion
            self.scope.cancel(reason=conclusion.detail)

    def open_row(self, tx: Tx) -> int:
        self.row = subscriptions.begin(
            tx, self.run_id, self.entry_id, scheme=self.scheme, handle=self.handle, channel_names=self.channels
        )
        return self.row.id

    def append(self, name: str, data: bytes, tx: Tx) -> int:
        """Append what there is room for; returns how many bytes that were."""
        channel = channels.find(tx.db, self.entry_id, name)
        if self.is_over or channel is None or channel.state != "active":
            raise Conflict(f"channel {name} is not being written any more")
        before = channel.length_bytes
        piece = data[: channels.CHANNEL_CAP_BYTES - before]
        # Bytes / 4, rounded up over the whole of the channel: many small pieces must not count more than one large one.
        tokens = (before + len(piece) + 3) // 4 - (before + 3) // 4
        channels.append(tx.db, channel, piece, tokens=tokens)
        return len(piece)

    def close_row(self, tx: Tx) -> None:
        self.is_over = True
        if self.row is not None and self.end is not None:
            subscriptions.close(tx, self.row, self.channels, status=self.end.status, detail=self.end.detail)


class _Feed:
    def __init__(self, store: Store, live: _Live) -> None:
        self._store = store
        self._live = live

    async def append(self, channel: str, data: bytes) -> None:
        """As ``plugins.api.Feed`` says."""
        if channel not in self._live.channels:
            raise Conflict(f"the stream of {self._live.handle} has no channel {channel}")
        if await self._store.write(partial(self._live.append, channel, data)) < len(data):
            full = TooLarge(f"channel {channel} holds at most {channels.CHANNEL_CAP_BYTES} bytes")
            self._live.end_with(Conclusion(status=full.status, detail=full.detail))
            await trio.lowlevel.checkpoint()  # where work that is not shielded ends
            raise full


class Streams:
    """The live streams. Made by ``open_streams``, whose nursery owns their tasks (``plugins.api.Streams``)."""

    def __init__(self, store: Store, streams: trio.Nursery) -> None:
        self._store = store
        self._streams = streams
        self._live: set[_Live] = set()

    async def open(
        self, turn: TurnRef, entry_id: int, *, scheme: str, handle: str, channels: Sequence[str], work: Work
    ) -> int:
        """As ``plugins.api.Streams`` says."""
        if self._streams.cancel_scope.cancel_called:
            raise Draining("the daemon is stopping")
        live = _Live(turn.run_id, entry_id, scheme, handle, tuple(channels))
        self._live.add(live)  # already here: what is ended while its task is started ends
        try:
            subscription_id: int = await self._streams.start(self._run, live, work)
        except trio.Cancelled:
            live.end_with(CUT_OFF)  # it may have begun all the same
            raise
        return subscription_id

    async def cancel(self, entry_id: int, *, reason: str) -> bool:
        """As ``plugins.api.Streams`` says."""
        found = [live for live in self._live if live.entry_id == entry_id]
        for live in found:
            live.end_with(Conclusion(status=CANCELLED, detail=reason))
        await trio.lowlevel.checkpoint()
        for live in found:
            await live.concluded.wait()
        return bool(found)

    def shut_down(self) -> None:
        """Cancel all that is live and refuse what comes after. Ends the block of ``open_streams``, too."""
        for live in self._live:
            live.end_with(SHUTDOWN)
        self._streams.cancel_scope.cancel(reason=SHUTDOWN.detail)

    async def _run(self, live: _Live, work: Work, *, task_status: trio.TaskStatus[int]) -> None:
        """One stream from its opening to its conclusion; what its work raises ends here."""
        try:
            task_status.started(await self._open_row(live))
            try:
                with live.scope:
                    await trio.lowlevel.checkpoint()
                    live.end_with(await work(_Feed(self._store, live)))
            except* Exception as errors:
                logger.exception("the stream of %s failed", live.handle)
                live.end_with(_failed(errors))
        finally:
            live.end_with(CUT_OFF)
            # Shield: whatever ended a stream, its row and channels say so (SPEC 4.1); the write is one local commit.
            with trio.move_on_after(CONCLUSION_LIMIT_S, shield=True):
                await self._close_row(live)
            self._live.discard(live)
            live.concluded.set()
        # The disk is full for longer than that; until it has room or the daemon stops, there is time.
        await self._close_row(live)

    async def _open_row(self, live: _Live) -> int:
        try:
            return await self._store.write(live.open_row)
        except Exception:
            live.row_is_open = False
            raise

    async def _close_row(self, live: _Live) -> None:
        """See that the row is not open; while the disk is full or fails, try again."""
        while live.row_is_open:
            try:
                await self._store.write(live.close_row)
                live.row_is_open = False
            except (OutOfRoom, StoreFailed) as error:
                logger.error("the stream of %s is not concluded: %s; trying again", live.handle, error.detail)  # noqa: TRY400 – its message says all
                await trio.sleep(RETRY_S)


def _failed(error: Exception) -> Conclusion:
    """One error speaks for itself, and with its own status if it is ours; several are 500."""
    match error:
        case ExceptionGroup(exceptions=(Exception() as inner,)):
            return _failed(inner)
        case ExceptionGroup():
            return Conclusion(status=FAILED, detail=f"{len(error.exceptions)} failures at once; the log has them")
        case PlurnkError():
            return Conclusion(status=error.status, detail=error.detail)
        case _:
            return Conclusion(status=FAILED, detail=str(error) or type(error).__name__)


@asynccontextmanager
async def open_streams(store: Store) -> AsyncIterator[Streams]:
    """Streams over ``store`` for the length of the block. On the way out those that are live are
    cancelled (``shutdown``) and concluded before it ends.
    """
    async with trio.open_nursery() as nursery:
        streams = Streams(store, nursery)
        try:
            yield streams
        finally:
            streams.shut_down()
