"""The latest line of what commands write, for a terminal. What a pipe gets is the lifecycle alone."""

from __future__ import annotations

from typing import Final

import trio

from plurnk.cli.waterfall import Waterfall
from plurnk.client import Client, ClientError, RequestError
from plurnk.wire.answers import EntryReadResult
from plurnk.wire.notifications import StreamEvent
from plurnk.wire.params import EntryReadParams

# A person reads no more, and each costs a question to the daemon.
_PAUSE_S: Final = 0.2
_TAIL_BYTES: Final = 2048


class Tails:
    """Reads the end of what has grown, the newest news of each stream alone."""

    def __init__(self, client: Client, shown: Waterfall) -> None:
        self._client = client
        self._shown = shown
        self._grown: dict[str, StreamEvent] = {}
        self._over: set[str] = set()
        self._news = trio.Event()

    def hear(self, event: StreamEvent) -> None:
        if self._shown.live and event.channel != "stdin" and event.content_length and event.state == "active":
            self._over.discard(event.target)
            self._grown[event.target] = event
            self._news.set()

    def forget(self, target: str) -> None:
        """Show nothing more of a stream that is over."""
        self._over.add(target)
        self._grown.pop(target, None)
        self._shown.tail(target, None)

    async def keep_showing(self) -> None:
        """Show what is heard of until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._grown:
                target, event = self._grown.popitem()
                line = await self._last_line(event)
                if line is not None and target not in self._over:
                    self._shown.tail(target, line)
            await trio.sleep(_PAUSE_S)

    async def _last_line(self, event: StreamEvent) -> str | None:
        """Return the last line that is not blank; None: it cannot be had now."""
        asked = EntryReadParams(
            target=event.target, channel=event.channel, from_=max(0, event.content_length - _TAIL_BYTES)
        )
        try:
            answer: EntryReadResult = await self._client.call("entry.read", asked)
        except (ClientError, RequestError):
            return None  # no reason to stop watching; if the link is lost for good, the watch says so
        if answer.entry is None:
            return None
        # What went back to the line's beginning was overwritten.
        lines = answer.entry.channels[event.channel].content.replace("\r", "\n").splitlines()
        return next((line for line in reversed(lines) if line.strip()), None)
