"""A scheme whose entries well up: SEND[200] opens a stream that writes what the test says, until it is cancelled."""

from __future__ import annotations

import trio

from plurnk.language.ast import Send
from plurnk.language.targets import canonical, entry_pathname
from plurnk.plugins.api import Call, ChannelSpec, Conclusion, Feed, Manifest, Unit
from plurnk.schemes.entries import EntryScheme
from plurnk.store import entries
from plurnk.wire.results import OpResult


class Spring(EntryScheme):
    """``spring://``; made new for each test. ``ended`` counts the streams that have let go."""

    def __init__(self) -> None:
        super().__init__(
            Manifest(
                name="spring",
                channels={
                    "out": ChannelSpec(mimetype="text/plain", orientation="tail"),
                    "side": ChannelSpec(mimetype="text/plain"),
                },
                default_channel="out",
                writable_by=frozenset({"model", "client"}),
            )
        )
        self.ended = 0
        self._lines, self._spout = trio.open_memory_channel[tuple[bytes, trio.Event]](0)

    async def send(self, call: Call) -> OpResult | Unit:
        statement = call.statement
        assert isinstance(statement, Send)
        if statement.signal != 200:
            return await super().send(call)
        target = statement.target
        assert target is not None
        pathname = entry_pathname(target)
        entry = await call.store.read(lambda db: entries.find(db, call.turn.session_id, "spring", pathname))
        assert entry is not None
        await call.streams.open(
            call.turn, entry.id, scheme="spring", handle=canonical(target), channels=["out"], work=self._flow
        )
        return OpResult(status=200, entry_id=entry.id)

    async def _flow(self, feed: Feed) -> Conclusion:
        try:
            while True:
                data, written = await self._spout.receive()
                await feed.append("out", data)
                written.set()
        finally:
            self.ended += 1

    async def say(self, text: str) -> None:
        """Have the one live stream append ``text``; it is committed when this returns."""
        written = trio.Event()
        with trio.fail_after(30):
            await self._lines.send((text.encode(), written))
            await written.wait()
