"""Following a channel while somebody writes it: what is there, then what comes, until it is closed (SPEC 4.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from plurnk.client.errors import ClientError, Disconnected
from plurnk.client.inbox import Heard
from plurnk.wire.answers import EntryReadResult, EntryView
from plurnk.wire.notifications import SessionLagged, StreamConcluded, StreamEvent
from plurnk.wire.params import EntryReadParams

if TYPE_CHECKING:
    from plurnk.client.client import Client

# A client that lags is told nothing of its session until it has caught up, which is its reader's business.
LOOK_AGAIN_S: Final = 0.5


class Ears:
    """Who waits for news of a stream. Plain state, no I/O."""

    def __init__(self) -> None:
        self._waiting: set[Ear] = set()

    @contextmanager
    def listening(self, channel: str) -> Iterator[Ear]:
        """An ear from here on; what is heard before one waits counts, too."""
        ear = Ear(channel)
        self._waiting.add(ear)
        try:
            yield ear
        finally:
            self._waiting.discard(ear)

    def hear(self, heard: Heard) -> None:
        for ear in self._waiting:
            if ear.is_meant(heard):
                ear.news.set()

    def wake_all(self) -> None:
        """Have everybody look again: what was told meanwhile has not been heard."""
        for ear in self._waiting:
            ear.news.set()


class Ear:
    """``entry_id`` None: it is not known yet which one is meant."""

    def __init__(self, channel: str) -> None:
        self.entry_id: int | None = None
        self.news = trio.Event()
        self._channel = channel

    def is_meant(self, heard: Heard) -> bool:
        match heard:
            case StreamEvent(entry_id=entry_id, channel=channel):
                return channel == self._channel and self.entry_id in {None, entry_id}
            case StreamConcluded(entry_id=entry_id):
                return self.entry_id in {None, entry_id}
            case SessionLagged():
                return True
            case _:
                return False


class Following:
    """An iterator over the text of a channel, from byte ``start`` on, in pieces as they come.

    It ends when the channel is closed and all was returned. Bytes that are no UTF-8 come as U+FFFD. Leaving it
    early costs nothing. ``next`` is the offset from which another one would go on.
    """

    def __init__(self, client: Client, ears: Ears, target: str, channel: str, start: int) -> None:
        self._client = client
        self._ears = ears
        self._target = target
        self._channel = channel
        self.next = start

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> str:
        """Wait for the next piece.

        Raises:
            ClientError: there is no such entry or channel (any more).
            RequestError, Unreachable: as ``Client.call``.

        Cancelled: nothing is lost.
        """
        with self._ears.listening(self._channel) as ear:
            while True:
                ear.news = trio.Event()
                entry = await self._read()
                ear.entry_id = entry.id
                view = entry.channels[self._channel]
                if view.next > self.next:
                    self.next = view.next
                    return view.content
                if view.state != "active":
                    raise StopAsyncIteration
                # A reader that is behind may never be told.
                with trio.move_on_after(LOOK_AGAIN_S if self._client.is_behind else math.inf):
                    await ear.news.wait()

    async def _read(self) -> EntryView:
        asked = EntryReadParams(target=self._target, channel=self._channel, from_=self.next)
        while True:
            try:
                answer: EntryReadResult = await self._client.call("entry.read", asked)
            except Disconnected:
                continue  # asking again is harmless; ``call`` waits for the next link
            if answer.entry is None:
                raise ClientError(answer.error or f"{self._target} cannot be read")
            return answer.entry
