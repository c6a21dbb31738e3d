"""What waits to be sent to one client, and what happens when the client is slow (SPEC 6.5).

Everything is put without waiting, so nobody is slowed by a client. The bounds hold like this:

- *Replies* are never dropped. They are bounded because their cause is: the reader of requests waits in
  ``reply_room`` while too many replies are unread, and at most 64 requests are in flight.
- *Notifications* have to fit into 4 MiB and 4,096 messages together with the replies. One that does not
  fit makes the outbox overflow: all waiting notifications are dropped, ``session/lagged {resumeFrom}`` is
  queued instead, and the feed ends. ``resumeFrom`` is the last durable event before the first dropped one,
  so ``session.attach {since: resumeFrom}`` leaves neither a gap nor sends anything twice.

A ``Feed`` is a client's place in the events of one session. Their ids have no holes (6.5), which makes
joining old and live events a matter of one comparison: **an event is sent if its id follows the last
one, and is otherwise let go** – it is either a double, or the replay under way will come to it. An event
is published after its commit; so one that was let go while a page was read is in the next page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, NamedTuple, TypeAlias

import trio

from plurnk.wire.events import encode_lagged

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_MESSAGES: Final = 4096
# As many as may be in flight: a client that reads none of its answers gets no further ones worked out.
MAX_UNREAD_REPLIES: Final = 64
# Pieces of one streamed text are joined when they are sent, or when there are this many: each costs more
# than its bytes.
MAX_PIECES: Final = 256

Join: TypeAlias = Callable[[Sequence[bytes]], bytes]
Page: TypeAlias = Callable[[int], Awaitable[Sequence[tuple[int, bytes]]]]
"""Given an event id, the next events after it: id and message, in order; none when it was the last."""


class Waiting:
    """A message in the queue: a reply, or a notification of ``feed``, or of none if it goes to everybody."""

    __slots__ = ("event_id", "feed", "join", "key", "pieces", "reply", "size")

    def __init__(
        self,
        text: bytes,
        *,
        reply: bool = False,
        feed: Feed | None = None,
        event_id: int | None = None,
        key: Hashable = None,
        join: Join | None = None,
    ) -> None:
        self.pieces = [text]
        self.size = len(text)
        self.reply = reply
        self.feed = feed
        self.event_id = event_id
        self.key = key
        self.join = join

    def text(self) -> bytes:
        if len(self.pieces) > 1 and self.join is not None:
            self.pieces = [self.join(self.pieces)]
        return self.pieces[0]

    def coalesce(self, text: bytes) -> None:
        """Take ``text`` in: joined to what is here if there is a way to, else instead of it."""
        if self.join is None:
            self.pieces = [text]
        else:
            self.pieces.append(text)
            if len(self.pieces) >= MAX_PIECES:
                self.text()
        self.size = sum(map(len, self.pieces))


class Batch(NamedTuple):
    """What to send next: control frames first, so that a pong does not queue behind megabytes."""

    control: Sequence[bytes]
    messages: Sequence[bytes]


class Outbox:
    """The queue of one client. Put from anywhere on the event loop; one task takes."""

    def __init__(self) -> None:
        self._queue: deque[Waiting] = deque()
        self._size = 0
        self._replies = 0
        self._by_key: dict[Hashable, Waiting] = {}
        self._control: dict[str, bytes] = {}
        self._feed: Feed | None = None
        self._marker: Waiting | None = None
        self._idle = False
        self._arrived = trio.Event()
        self._moved = trio.Event()
        self._full = trio.Event()
        self.full_since = 0.0

    # Putting: never waits.

    def put_reply(self, text: bytes) -> None:
        self._replies += 1
        self._append(Waiting(text, reply=True))

    def put_control(self, kind: str, frame: bytes) -> None:
        """Put a control frame; it replaces a waiting one of its kind, as RFC 6455 (5.5.3) allows for pongs."""
        self._control[kind] = frame
        self._arrived.set()

    def put(self, new: Waiting) -> None:
        """Put a notification."""
        old = self._by_key.get(new.key) if new.key is not None else None
        if old is not None and self._size + new.size <= MAX_BYTES:
            self._size -= old.size
            old.coalesce(new.pieces[0])
            self._size += old.size
        elif not self.fits(new.size):
            self.lag()
        else:
            if new.key is not None:
                self._by_key[new.key] = new
            self._append(new)

    def fits(self, size: int) -> bool:
        """Tell whether a notification of ``size`` bytes may be put; any may while nothing waits."""
        return not self._queue or (self._size + size <= MAX_BYTES and len(self._queue) < MAX_MESSAGES)

    def _append(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._size += waiting.size
        self._arrived.set()

    # Feeds

    def follow(self, session_id: int, *, since: int | None, last: int) -> Feed:
        """End the feed there is and return a new one, silent until its ``replay`` is run.

        With ``since`` the client says what it has seen: what still waits for it is dropped, as the replay
        brings it again. Without, the new feed goes on where the old one of the same session stood; else it
        begins after ``last``, the session's newest event.
        """
        old = self._feed
        if since is not None:
            start = min(since, last)
        elif old is not None and old.is_open and old.session_id == session_id:
            start = old.cursor
        else:
            start = last
        marker, self._marker = self._marker, None
        self.unfollow()
        self._drop(lambda waiting: waiting is marker or (since is not None and waiting.feed is not None))
        self._feed = Feed(self, session_id, start)
        return self._feed

    def unfollow(self) -> None:
        """End the feed, if there is one."""
        if self._feed is not None:
            self._feed.is_open = False
            self._move()  # its replay may be waiting for room

    def lag(self) -> None:
        """Drop the notifications that wait, queue ``session/lagged`` instead, and end the feed."""
        feed = self._feed
        if feed is not None and feed.is_open:
            lost = (waiting.event_id for waiting in self._queue if waiting.feed is feed)
            feed.cursor = min((event_id for event_id in lost if event_id is not None), default=feed.cursor + 1) - 1
        self.unfollow()
        self._drop(lambda waiting: not waiting.reply)
        self._marker = Waiting(encode_lagged(0 if feed is None else feed.cursor))
        self._append(self._marker)
        self._fill()

    def _drop(self, unwanted: Callable[[Waiting], bool]) -> None:
        self._queue = deque(waiting for waiting in self._queue if not unwanted(waiting))
        self._size = sum(waiting.size for waiting in self._queue)
        self._by_key.clear()  # what comes from now on is not mixed into what was there before

    # Taking, and waiting for it

    async def take(self, max_bytes: int) -> Batch:
        """Wait for something to send; return it, about ``max_bytes`` of it but at least one message.

        Cancelled: nothing was taken.
        """
        while not (self._queue or self._control):
            self._idle = True
            self._move()
            self._arrived = trio.Event()
            await self._arrived.wait()
        self._idle = False
        control = tuple(self._control.values())
        self._control.clear()
        messages: list[bytes] = []
        size = 0
        while self._queue and size < max_bytes:
            waiting = self._queue.popleft()
            self._forget(waiting)
            messages.append(waiting.text())
            size += waiting.size
        self._move()
        return Batch(control, messages)

    def _forget(self, waiting: Waiting) -> None:
        self._size -= waiting.size
        self._replies -= waiting.reply
        if waiting.key is not None and self._by_key.get(waiting.key) is waiting:
            del self._by_key[waiting.key]
        if waiting is self._marker:
            self._marker = None

    async def reply_room(self) -> None:
        """Wait until the client has been sent enough of its answers to be asked for more requests."""
        while self._replies >= MAX_UNREAD_REPLIES or self._size >= MAX_BYTES:
            await self.moved()

    async def emptied(self) -> None:
        """Wait until all is taken and the taker has come back for more."""
        while self._queue or self._control or not self._idle:
            await self._moved.wait()

    async def moved(self) -> None:
        """Wait, for want of room, until something is taken; until then the outbox counts as full."""
        self._fill()
        await self._moved.wait()

    @property
    def is_full(self) -> bool:
        """Something was dropped and that is not told yet, or somebody waits for room; since ``full_since``."""
        return self._full.is_set()

    async def filled(self) -> None:
        """Wait until ``is_full``."""
        await self._full.wait()

    def _fill(self) -> None:
        if not self._full.is_set():
            self.full_since = trio.current_time()
            self._full.set()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
        if self._full.is_set() and self._marker is None:
            self._full = trio.Event()


class Feed:
    """One client's place in the events of one session. Over once ``is_open`` is false; then nothing comes of it."""

    def __init__(self, outbox: Outbox, session_id: int, start: int) -> None:
        self._outbox = outbox
        self._started = False
        self.session_id = session_id
        self.cursor = start
        self.is_open = True

    def event(self, event_id: int, text: bytes) -> None:
        """Take a durable event, published after its commit."""
        if self._started and self.is_open and event_id == self.cursor + 1:
            self._outbox.put(Waiting(text, feed=self, event_id=event_id))
            if self.is_open:
                self.cursor = event_id

    def passing(self, text: bytes, *, key: Hashable = None, join: Join | None = None) -> None:
        """Take a notification without an id. One with the ``key`` of a waiting one replaces it, or is joined to it."""
        if self._started and self.is_open:
            self._outbox.put(Waiting(text, feed=self, key=key, join=join))

    async def replay(self, page: Page) -> None:
        """Send the events after the feed's beginning as fast as the client reads, then let live ones pass.

        Run it once the answer to the attachment is on its way: what the client receives after that answer
        is this feed's. It returns when the feed is live, or over.
        """
        self._started = True
        while self.is_open and (events := await page(self.cursor)):
            for event_id, text in events:
                while self.is_open and not self._outbox.fits(len(text)):
                    await self._outbox.moved()
                if self.is_open and event_id > self.cursor + 1:
                    self._outbox.lag()  # pruned while we were at it: the client asks again and is told to resync
                self.event(event_id, text)
