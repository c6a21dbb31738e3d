"""What one client is attached to: a session, a run of it, the session's events, a loop for its own operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import trio

from plurnk.engine.bus import Event
from plurnk.engine.clients import ClientLoop
from plurnk.engine.engine import Engine
from plurnk.server.outbox import Feed, Outbox, Waiting
from plurnk.server.peer import Peer
from plurnk.store import events, sessions
from plurnk.store.query import Snapshot
from plurnk.store.sessions import Run, Session
from plurnk.streams.commands import Commands
from plurnk.wire.events import delta_key, encode_event, encode_notification, join_deltas, join_stream_events, stream_key
from plurnk.wire.notifications import StreamEvent, TurnDelta


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is. The ids never change; what else there is to know of them is in the store."""

    session_id: int
    run_id: int


class Attachment:
    """One client's state, and its ear at the bus. Closed by whoever runs the peer."""

    def __init__(self, engine: Engine, commands: Commands, outbox: Outbox) -> None:
        self.engine = engine
        self.commands = commands
        self._outbox = outbox
        self._place: Place | None = None
        self._feed: Feed | None = None
        self._deltas = False
        self._open_before: set[int] = set()
        self._operations: ClientLoop | None = None
        self._placing = trio.Lock()
        engine.bus.connect(self)

    def hear(self, event: Event) -> None:
        """Take what the bus passes on (``engine.bus.Listener``)."""
        feed = self._feed
        if feed is None or feed.session_id != event.session_id:
            self._outbox.put(Waiting(event.foreign_frame))
        elif event.seq is not None:
            feed.event(event.seq, event.frame)
        else:
            self._pass(feed, event)

    def _pass(self, feed: Feed, event: Event) -> None:
        """Hand on what is not kept. For a client that is slower than it comes, it is put together while it waits."""
        match event.notification:
            case TurnDelta() as delta:
                if self._deltas:
                    feed.passing(event.frame, key=delta_key(delta), join=join_deltas)
            case StreamEvent() as news:
                feed.passing(event.frame, key=stream_key(news), join=join_stream_events)
            case _:
                feed.passing(event.frame)

    async def place(self) -> Place:
        """Where the client is; one that has not said gets a session of its own, named ``auto-<n>``."""
        # One at a time, so that two first requests do not make two sessions.
        async with self._placing:
            if self._place is None:
                session, run = await self.engine.store.write(
                    lambda tx: sessions.create(tx, name=None, project_root=None, persona=None, prefix="auto")
                )
                place, feed = await self.attach(session, run, since=None, deltas=False)
                await self.replay(feed)
                return place
            return self._place

    async def operations(self) -> ClientLoop:
        """The loop of the client's own operations in its run."""
        place = await self.place()
        if self._operations is None:
            self._operations = ClientLoop(self.engine, place.run_id)
        return self._operations

    async def attach(self, session: Session, run: Run, *, since: int | None, deltas: bool) -> tuple[Place, Feed]:
        """Move the client to this session and run; its events, after ``since`` or from now on, come with ``replay``."""
        last = await self.engine.store.read(lambda db: events.last_seq(db, session.id))
        await self._leave()
        feed = self._outbox.follow(session.id, since=since, last=last)
        place = Place(session.id, run.id)
        self._place, self._feed, self._deltas = place, feed, deltas
        self.engine.bus.join(self, session.id)
        self._open_before = {pending.told.log_entry_id for pending in self.engine.proposals.pending(session.id)}
        return place, feed

    async def replay(self, feed: Feed) -> None:
        """Send what ``feed`` has missed, then let live events pass."""

        def read(after: int, db: Snapshot) -> Sequence[events.Recorded]:
            return events.after(db, feed.session_id, after)

        async def page(after: int) -> Sequence[tuple[int, bytes]]:
            found = await self.engine.store.read(lambda db: read(after, db))
            return [(e.seq, encode_event(e.method, e.params_json, e.seq)) for e in found]

        await feed.replay(page)

    def tell_open(self, feed: Feed) -> None:
        """Say what waits to be accepted in the feed's session since before the client came to it.

        Whoever followed it all along has heard that before. What was proposed later comes, or came, as an event.
        """
        for pending in self.engine.proposals.pending(feed.session_id):
            if pending.told.log_entry_id in self._open_before:
                feed.passing(encode_notification(pending.told))

    async def _leave(self) -> None:
        if self._place is not None:
            self.engine.bus.leave(self, self._place.session_id)
        if self._operations is not None:
            operations, self._operations = self._operations, None
            await operations.close()

    async def close(self) -> None:
        """Stop listening and end the client's loop. Bounded, and done even when cancelled."""
        self.engine.bus.disconnect(self)
        await self._leave()


Client: TypeAlias = Peer[Attachment]
"""What handlers are given."""
