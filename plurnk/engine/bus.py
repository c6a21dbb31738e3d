"""From a commit to everybody who listens (SPEC 6.4, 6.5).

The bus runs on the event loop, is fed in commit order, and never waits: a listener takes what it is
given at once and bounds what it keeps (``server.outbox``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

from plurnk.store.database import Announcement
from plurnk.wire.events import encode_notification
from plurnk.wire.notifications import Notification, SessionCreated


class Event:
    """One notification on its way, encoded at most once however many listeners there are."""

    def __init__(self, session_id: int, notification: Notification, seq: int | None) -> None:
        self.session_id = session_id
        self.notification = notification
        self.seq = seq
        """Durable events have one; it counts in their session."""

    @cached_property
    def frame(self) -> bytes:
        """The JSON-RPC message as it goes to the session's clients."""
        return encode_notification(self.notification, event_id=self.seq)

    @cached_property
    def foreign_frame(self) -> bytes:
        """The message as it goes to clients of other sessions, where the seq would mean another event."""
        return encode_notification(self.notification)


class Listener(Protocol):
    def hear(self, event: Event) -> None:
        """Take an event of the session that was joined, or one that is for everybody. Must not block or raise."""
        ...


class Bus:
    """Who listens to which session."""

    def __init__(self) -> None:
        self._everybody: set[Listener] = set()
        self._by_session: defaultdict[int, set[Listener]] = defaultdict(set)
        self._taps: list[Callable[[Notification], None]] = []

    def tap(self, hear: Callable[[Notification], None]) -> None:
        """Also tell ``hear`` every durable notification, before any client."""
        self._taps.append(hear)

    def publish(self, announced: Sequence[Announcement]) -> None:
        """Pass on what a commit announced: the store's ``announce``."""
        for announcement in announced:
            for hear in self._taps if announcement.seq is not None else ():
                hear(announcement.notification)
            self._send(Event(announcement.session_id, announcement.notification, announcement.seq))

    def tell(self, session_id: int, notification: Notification) -> None:
        """Pass on something that is not kept, such as a turn's delta."""
        self._send(Event(session_id, notification, None))

    def _send(self, event: Event) -> None:
        everybody = isinstance(event.notification, SessionCreated)
        for listener in self._everybody if everybody else self._by_session.get(event.session_id, ()):
            listener.hear(event)

    def connect(self, listener: Listener) -> None:
        """Hear what is for everybody."""
        self._everybody.add(listener)

    def join(self, listener: Listener, session_id: int) -> None:
        """Hear a session too."""
        self._by_session[session_id].add(listener)

    def leave(self, listener: Listener, session_id: int) -> None:
        self._by_session[session_id].discard(listener)
        if not self._by_session[session_id]:
            del self._by_session[session_id]

    def disconnect(self, listener: Listener) -> None:
        self._everybody.discard(listener)

    @property
    def listeners(self) -> int:
        return len(self._everybody)
