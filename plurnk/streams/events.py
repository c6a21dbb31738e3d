"""What is told of a live stream's channels, at most so often (SPEC 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from plurnk.wire.notifications import StreamEvent

EVENT_EVERY_S: float = 0.05
"""No channel is told of more often: 20 times in a second."""


@dataclass(slots=True)
class _Channel:
    """``free_at``: when it may be told of again. ``waiting``: the newest that was not told yet."""

    free_at: float = float("-inf")
    waiting: StreamEvent | None = None


class Teller:
    """Tells the first at once, and of those that follow too soon the newest, when it is time.

    What is told is committed. Its ``run`` is a task of the stream; what it has not told when the stream ends need
    not be told, for the conclusion has a last event for each channel.
    """

    def __init__(self, tell: Callable[[StreamEvent], None]) -> None:
        self._tell = tell
        self._channels: dict[str, _Channel] = {}
        self._waits = trio.Event()
        self._ended = False

    def note(self, event: StreamEvent) -> None:
        """Tell it, now or soon, unless a newer one of its channel comes before."""
        if self._ended:
            return
        channel = self._channels.setdefault(event.channel, _Channel())
        now = trio.current_time()
        # While one waits the newer one takes its place, though it might be time already: the task is just late.
        if channel.waiting is not None or now < channel.free_at:
            channel.waiting = event
            self._waits.set()
        else:
            self._now(channel, event, now)

    def say(self, event: StreamEvent) -> None:
        """Tell it whatever was told before: there are few of its kind."""
        if not self._ended:
            self._tell(event)

    def end(self) -> None:
        """Tell nothing any more, nor what waits."""
        self._ended = True
        self._channels.clear()

    def _now(self, channel: _Channel, event: StreamEvent, now: float) -> None:
        channel.waiting = None
        channel.free_at = now + EVENT_EVERY_S
        self._tell(event)

    async def run(self) -> None:
        """Tell what had to wait, for ever."""
        while True:
            await self._waits.wait()
            self._waits = trio.Event()
            while waiting := [channel for channel in self._channels.values() if channel.waiting is not None]:
                await trio.sleep_until(min(channel.free_at for channel in waiting))
                now = trio.current_time()
                for channel in self._channels.values():
                    if channel.waiting is not None and channel.free_at <= now:
                        self._now(channel, channel.waiting, now)
