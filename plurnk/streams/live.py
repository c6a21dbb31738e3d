"""Subscriptions as cancel scopes: every live stream is one task with one scope, and one open row (SPEC 4.1).

Whatever ends a stream (its work is done or fails, somebody cancels it, a channel is full, the daemon
stops) only says so: the first to say wins, and the stream's own task writes the conclusion.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, cast

import trio

from plurnk.errors import Conflict, Draining, OutOfRoom, PlurnkError, TooLarge
from plurnk.plugins.streaming import Conclusion, Inlet, Opened, Work
from plurnk.store import channels, conclusions, entries, subscriptions
from plurnk.store.channels import Channel
from plurnk.store.conclusions import AWAITING_INPUT, End
from plurnk.store.database import Store, StoreFailed, Tx
from plurnk.store.log import TurnRef
from plurnk.store.subscriptions import CANCELLED, FAILED, Subscription
from plurnk.store.wakes import WakeRules
from plurnk.streams.events import Teller
from plurnk.wire.notifications import Notification, StreamEvent

logger = logging.getLogger(__name__)

CONCLUSION_LIMIT_S: float = 5.0
RETRY_S: float = 0.5
INLET_LIMIT_S: float = 5.0
"""How long what is sent waits for a stream that was just opened to take anything: as long as for a reader."""

INPUT = "stdin"
"""A stream with a channel of that name takes what is sent to it, once it has begun."""

SHUTDOWN = Conclusion(status=CANCELLED, detail="shutdown")
CUT_OFF = Conclusion(status=CANCELLED, detail="cancelled")
"""Of a stream that was cancelled from above, such as one whose opener was while it waited."""

Tell: TypeAlias = Callable[[int, Notification], None]
"""Tells the clients of a session something that is not kept."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Live:
    """A stream from before its row is written until after it is closed. Its task owns it.

    ``entry_id``, ``target``, ``row`` and ``is_over`` are set by the units that open and close it, so that a unit
    which runs later knows whether they did, though their caller was cancelled meanwhile.
    """

    turn: TurnRef
    entry: int | Callable[[Tx], int]
    scheme: str
    handle: str
    channels: tuple[str, ...]
    opened: Opened | None
    teller: Teller
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: Conclusion | None = None
    entry_id: int | None = None
    target: str = ""
    row: Subscription | None = None
    row_is_open: bool = True
    is_over: bool = False
    inlet: Inlet | None = None
    begun: trio.Event = field(default_factory=trio.Event)
    concluded: trio.Event = field(default_factory=trio.Event)

    def end_with(self, conclusion: Conclusion) -> None:
        """Have it end so; whoever says so first wins."""
        if self.end is None:
            self.end = conclusion
            self.scope.cancel(reason=conclusion.detail)

    def open_row(self, tx: Tx) -> int:
        entry_id = self.entry if isinstance(self.entry, int) else self.entry(tx)
        row = subscriptions.begin(
            tx, self.turn, entry_id, scheme=self.scheme, handle=self.handle, channel_names=self.channels
        )
        target = entries.address(tx.db, entry_id)
        if self.opened is not None:
            self.opened(tx, entry_id, row.id)
        # Last: of what is undone nothing is known, for its ids are given out again.
        self.row, self.entry_id, self.target = row, entry_id, target
        return row.id

    def append(self, name: str, data: bytes, tx: Tx) -> tuple[int, StreamEvent]:
        """Append what there is room for; returns how many bytes that were, and what to tell of it."""
        channel = self._written(name, tx)
        before = channel.length_bytes
        piece = data[: channels.CHANNEL_CAP_BYTES - before]
        # Bytes / 4, rounded up over the whole of the channel: many small pieces must not count more than one large one.
        tokens = (before + len(piece) + 3) // 4 - (before + 3) // 4
        longer = channels.append(tx.db, channel, piece, tokens=tokens)
        return len(piece), conclusions.event(longer, self.target)

    def await_input(self, waiting: bool, tx: Tx) -> StreamEvent:  # noqa: FBT001 – a state, not an option
        channel = self._written(INPUT if INPUT in self.channels else self.channels[0], tx)
        entries.set_attribute(tx, channel.entry_id, AWAITING_INPUT, True if waiting else None)
        return conclusions.event(channel, self.target, awaiting_input=waiting)

    def _written(self, name: str, tx: Tx) -> Channel:
        channel = None if self.entry_id is None else channels.find(tx.db, self.entry_id, name)
        if self.is_over or channel is None or channel.state != "active":
            raise Conflict(f"channel {name} is not being written any more")
        return channel

    def close_row(self, rules: WakeRules, tx: Tx) -> None:
        self.is_over = True
        if self.row is not None and self.end is not None:
            end = End(
                status=self.end.status,
                detail=self.end.detail,
                exit_code=self.end.exit_code,
                signal=self.end.signal,
            )
            conclusions.conclude(tx, self.row, self.channels, end, rules)


class _Feed:
    """As ``plugins.streaming.Feed`` says."""

    def __init__(self, store: Store, live: _Live) -> None:
        self._store = store
        self._live = live
        self._waits = False

    async def append(self, channel: str, data: bytes) -> None:
        """Nothing that is handed over is lost: it goes to the writer with no checkpoint before."""
        if channel not in self._live.channels:
            raise Conflict(f"the stream of {self._live.handle} has no channel {channel}")
        taken, event = await self._store.write(partial(self._live.append, channel, data), weight_bytes=len(data))
        self._live.teller.note(event)
        if taken < len(data):
            full = TooLarge(f"channel {channel} holds at most {channels.CHANNEL_CAP_BYTES} bytes")
            self._live.end_with(Conclusion(status=full.status, detail=full.detail))
            await trio.lowlevel.checkpoint()  # where work that is not shielded ends
            raise full

    def take_from(self, inlet: Inlet) -> None:
        self._live.inlet = inlet
        self._live.begun.set()

    async def awaits_input(self, waiting: bool) -> None:  # noqa: FBT001 – a state, not an option
        if waiting == self._waits:
            return
        self._waits = waiting
        self._live.teller.say(await self._store.write(partial(self._live.await_input, waiting)))


class Streams:
    """The live streams. Made by ``open_streams``, whose nursery owns their tasks (``plugins.api.Streams``)."""

    def __init__(self, store: Store, tell: Tell, wake_rules: WakeRules, streams: trio.Nursery) -> None:
        self._store = store
        self._tell = tell
        self.wake_rules = wake_rules
        self._streams = streams
        self._live: set[_Live] = set()

    @property
    def count(self) -> int:
        """How many are live."""
        return len(self._live)

    async def open(
        self,
        turn: TurnRef,
        entry: int | Callable[[Tx], int],
        *,
        scheme: str,
        handle: str,
        channels: Sequence[str],
        work: Work,
        opened: Opened | None = None,
    ) -> int:
        """As ``plugins.api.Streams`` says."""
        if self._streams.cancel_scope.cancel_called:
            raise Draining("the daemon is stopping")
        live = _Live(
            turn=turn,
            entry=entry,
            scheme=scheme,
            handle=handle,
            channels=tuple(channels),
            opened=opened,
            teller=Teller(partial(self._tell, turn.session_id)),
        )
        self._live.add(live)  # already here: what is ended while its task is started ends
        try:
            subscription_id: int = await self._streams.start(self._run, live, work)
        except trio.Cancelled:
            live.end_with(CUT_OFF)  # it may have begun all the same
            raise
        return subscription_id

    # -- what is sent to them

    async def send(self, entry_id: int, data: bytes) -> int:
        """As ``plugins.api.Streams`` says."""
        inlet = await self._inlet(entry_id)
        return 0 if inlet is None else await inlet.send(data)

    async def close_input(self, entry_id: int) -> None:
        """As ``plugins.api.Streams`` says."""
        inlet = await self._inlet(entry_id)
        if inlet is None:
            raise Conflict("the stream takes nothing yet")
        await inlet.close()

    async def _inlet(self, entry_id: int) -> Inlet | None:
        """Where the live stream of the entry takes what is sent; None: it has not begun to.

        Raises:
            Conflict: no stream is live there, or it takes nothing.
        """
        await trio.lowlevel.checkpoint()
        found = [live for live in self._of_entry(entry_id) if live.inlet is not None or INPUT in live.channels]
        if not found:
            raise Conflict("no live stream there takes what is sent")
        (live,) = found[:1]
        with trio.move_on_after(INLET_LIMIT_S):
            await live.begun.wait()
        if live.inlet is None and live.begun.is_set():
            raise Conflict("the stream has ended")
        return live.inlet

    # -- ending them

    async def cancel(self, entry_id: int, *, reason: str) -> bool:
        """As ``plugins.api.Streams`` says."""
        return await self._cancel(self._of_entry(entry_id), reason)

    async def cancel_subscription(self, subscription_id: int, *, reason: str) -> bool:
        """As ``cancel``, of the stream with this subscription."""
        found = [live for live in self._live if live.row is not None and live.row.id == subscription_id]
        return await self._cancel(found, reason)

    async def cancel_loop(self, loop_id: int, *, reason: str) -> bool:
        """As ``cancel``, of all that turns of the loop have opened."""
        return await self._cancel([live for live in self._live if live.turn.loop_id == loop_id], reason)

    async def cancel_run(self, run_id: int, *, reason: str) -> bool:
        """As ``cancel``, of all that are the run's."""
        return await self._cancel([live for live in self._live if live.turn.run_id == run_id], reason)

    def _of_entry(self, entry_id: int) -> list[_Live]:
        return [live for live in self._live if live.entry_id == entry_id]

    async def _cancel(self, found: Sequence[_Live], reason: str) -> bool:
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

    # -- the task of each

    async def _run(self, live: _Live, work: Work, *, task_status: trio.TaskStatus[int]) -> None:
        """One stream from its opening to its conclusion; what its work raises ends here."""
        try:
            task_status.started(await self._open_row(live))
            try:
                async with trio.open_nursery() as around:
                    around.start_soon(live.teller.run)
                    with live.scope:
                        await trio.lowlevel.checkpoint()
                        live.end_with(await work(_Feed(self._store, live)))
                    around.cancel_scope.cancel(reason="the stream has ended")
            except* Exception as errors:
                logger.exception("the stream of %s failed", live.handle)
                live.end_with(_failed(errors))
        finally:
            live.end_with(CUT_OFF)
            live.teller.end()
            # Shield: whatever ended a stream, its row and channels say so (SPEC 4.1); the write is one local commit.
            with trio.move_on_after(CONCLUSION_LIMIT_S, shield=True):
                await self._close_row(live)
            self._live.discard(live)
            live.inlet = None
            live.begun.set()
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
                await self._store.write(partial(live.close_row, self.wake_rules))
                live.row_is_open = False
            except (OutOfRoom, StoreFailed) as error:
                logger.error("the stream of %s is not concluded: %s; trying again", live.handle, error.detail)  # noqa: TRY400 – its message says all
                await trio.sleep(RETRY_S)


def _failed(error: Exception) -> Conclusion:
    """One error speaks for itself, and with its own status if it is ours; several different ones are 500."""
    leaves = _leaves(error)
    (first, *others) = leaves
    if any((type(other), str(other)) != (type(first), str(first)) for other in others):
        return Conclusion(status=FAILED, detail=f"{len(leaves)} failures at once; the log has them")
    if isinstance(first, PlurnkError):
        return Conclusion(status=first.status, detail=first.detail)
    return Conclusion(status=FAILED, detail=str(first) or type(first).__name__)


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    group = cast("ExceptionGroup[Exception]", error)
    return [leaf for inner in group.exceptions for leaf in _leaves(inner)]


@asynccontextmanager
async def open_streams(store: Store, *, tell: Tell, wake_rules: WakeRules) -> AsyncIterator[Streams]:
    """Streams over ``store`` for the length of the block. On the way out those that are live are
    cancelled (``shutdown``) and concluded before it ends.

    ``tell`` is called on the event loop with what is not kept; ``wake_rules`` say whom their ends may wake.
    """
    async with trio.open_nursery() as nursery:
        streams = Streams(store, tell, wake_rules, nursery)
        try:
            yield streams
        finally:
            streams.shut_down()
