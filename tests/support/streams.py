"""Live streams on a real store, and work that does as the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from plurnk.plugins.api import Conclusion, Feed, Work
from plurnk.store import channels, entries, subscriptions
from plurnk.store.database import Announcement, Store, Tx
from plurnk.store.log import TurnRef
from plurnk.store.query import Snapshot
from plurnk.store.sessions import Run
from plurnk.store.subscriptions import Subscription
from plurnk.store.wakes import WakeRules
from plurnk.streams.live import Streams, open_streams
from plurnk.wire.notifications import Notification, StreamConcluded, StreamEvent
from tests.support.stores import begin_turn, new_session, opened

CHANNELS = ("out", "err")
OF_COMMANDS = ("stdout", "stderr", "stdin")
LIMIT_S = 30.0


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not holds():  # noqa: ASYNC110 – a process brings it about
            await trio.sleep(0.005)


@dataclass(frozen=True)
class Basin:
    """A store with streams over it, and a turn to open them in."""

    store: Store
    streams: Streams
    main: Run
    turn: TurnRef
    heard: list[Notification] = field(default_factory=list[Notification])
    """All that clients of the session would have heard, in order."""

    async def entry(self, path: str = "a", names: Sequence[str] = CHANNELS) -> int:
        """A new entry with these channels."""
        return await self.store.write(partial(self.make_entry, path, names))

    def make_entry(self, path: str, names: Sequence[str], tx: Tx) -> int:
        entry = entries.create(tx, self.turn.session_id, "stream", path)
        for name in names:
            channels.create(tx.db, entry.id, name, "text/plain")
        return entry.id

    async def command(self, work: Work, path: str = "sh-1") -> int:
        """The entry of a command that is being run."""
        entry_id = await self.entry(path, OF_COMMANDS)
        await self.open(entry_id, work, names=OF_COMMANDS)
        return entry_id

    async def run(self, work: Work, path: str = "sh-1") -> Subscription:
        """Run a command to its end; returns how that was."""
        entry_id = await self.command(work, path)
        await self.ended(entry_id)
        return (await self.rows(entry_id))[-1]

    async def ended(self, entry_id: int) -> None:
        """Wait until nothing of the entry is live, without ending it."""
        with trio.fail_after(LIMIT_S):
            for live in [live for live in self.streams._live if live.entry_id == entry_id]:
                await live.concluded.wait()

    async def holds(self, entry_id: int, text: bytes, name: str = "stdout") -> None:
        """Wait until the channel holds ``text`` somewhere."""
        with trio.fail_after(LIMIT_S):
            while text not in (await self.content(entry_id, name))[1]:  # noqa: ASYNC110 – a process brings it about
                await trio.sleep(0.005)

    async def attributes(self, entry_id: int) -> dict[str, Any]:
        return (await self.store.read(lambda db: entries.get(db, entry_id))).attributes

    def events(self, channel: str | None = None) -> list[StreamEvent]:
        """What was told of a channel, or of all."""
        told = [each for each in self.heard if isinstance(each, StreamEvent)]
        return [each for each in told if channel in {None, each.channel}]

    def concluded(self) -> list[StreamConcluded]:
        return [each for each in self.heard if isinstance(each, StreamConcluded)]

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
async def basin(
    path: Path,
    *,
    has_provider: bool = True,
    max_wakes: int = 16,
    hear: Callable[[Notification], object] = lambda _heard: None,
) -> AsyncIterator[Basin]:
    """``hear`` is called with what clients would hear, when they would."""
    heard: list[Notification] = []

    def announce(announced: Sequence[Announcement]) -> None:
        for each in announced:
            tell(each.session_id, each.notification)

    def tell(_session_id: int, notification: Notification) -> None:
        heard.append(notification)
        hear(notification)

    async with opened(path, announce) as store:
        _session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        rules = WakeRules(lambda _alias: has_provider, max_wakes)
        async with open_streams(store, tell=tell, wake_rules=rules) as streams:
            yield Basin(store, streams, run, turn, heard)


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
