"""Live streams on a real store, and work that does as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from plurnk.plugins.api import Conclusion, Feed, Work
from plurnk.store import channels, entries, subscriptions
from plurnk.store.database import Store, Tx
from plurnk.store.log import TurnRef
from plurnk.store.query import Snapshot
from plurnk.store.subscriptions import Subscription
from plurnk.streams.live import Streams, open_streams
from tests.support.stores import begin_turn, new_session, opened

CHANNELS = ("out", "err")


@dataclass(frozen=True)
class Basin:
    """A store with streams over it, and a turn to open them in."""

    store: Store
    streams: Streams
    turn: TurnRef

    async def entry(self, path: str = "a") -> int:
        """A new entry with the channels CHANNELS."""

        def unit(tx: Tx) -> int:
            entry = entries.create(tx, self.turn.session_id, "stream", path)
            for name in CHANNELS:
                channels.create(tx.db, entry.id, name, "text/plain")
            return entry.id

        return await self.store.write(unit)

    async def open(
        self, entry_id: int, work: Work, *, turn: TurnRef | None = None, names: Sequence[str] = CHANNELS
    ) -> int:
        return await self.streams.open(
            turn or self.turn, entry_id, scheme="stream", handle=f"entry {entry_id}", channels=names, work=work
        )

    async def rows(self, entry_id: int) -> list[Subscription]:
        return await self.store.read(lambda db: subscriptions.of_entry(db, entry_id))

    async def closes(self, entry_id: int) -> list[tuple[int | None, str | None]]:
        """How the entry's streams were closed, in the order in which they were opened."""
        return [(row.close_status, row.close_detail) for row in await self.rows(entry_id)]

    async def content(self, entry_id: int, name: str = "out") -> tuple[str, bytes]:
        """State and bytes of a channel."""

        def unit(db: Snapshot) -> tuple[str, bytes]:
            channel = channels.find(db, entry_id, name)
            assert channel is not None
            return channel.state, channels.read_bytes(db, channel)

        return await self.store.read(unit)


@asynccontextmanager
async def basin(path: Path) -> AsyncIterator[Basin]:
    async with opened(path) as store:
        _session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        async with open_streams(store) as streams:
            yield Basin(store, streams, turn)


@dataclass
class Tap:
    """Work that appends a line at a time, for ever or ``lines`` of them, and knows what became of it."""

    lines: int | None = None
    end: Conclusion = field(default_factory=lambda: Conclusion(status=200))
    running: trio.Event = field(default_factory=trio.Event)
    let_go: trio.Event = field(default_factory=trio.Event)
    written: int = 0

    async def __call__(self, feed: Feed) -> Conclusion:
        try:
            while self.lines is None or self.written < self.lines:
                await feed.append("out", f"line {self.written + 1}\n".encode())
                self.written += 1
                self.running.set()
        finally:
            self.let_go.set()
        return self.end

    def text(self) -> bytes:
        """What it has written for certain."""
        return b"".join(f"line {number}\n".encode() for number in range(1, self.written + 1))
