"""One client: its reader, its writer, and a task for each of its requests (SPEC 6.1, 6.5).

How the parts of the server meet::

    async with trio.open_nursery() as peers, open_tcp(…) as over_tcp, open_unix(…) as over_unix:
        await serve_listeners([*over_tcp, over_unix], peers, serve_stream)

    async def serve_stream(stream):
        async with gate.admit(stream) as socket:        # access rules, handshake, place among the clients
            if socket is None:
                return                                  # refused and told so
            peer = Peer(socket, methods, outbox=Outbox(), state=…)  # methods: Methods(handlers, …)
            try:
                await peer.run()                        # returns when the client has left, whatever the way
            finally:
                …                                       # take peer.outbox's feed off the bus, end the client's loop

A handler is ``async def (peer, params) -> Struct | dict | None``; ``peer.state`` is its own. What the bus
delivers is encoded once for all clients (``wire.events``) and handed to each:

- ``feed.event(event_id, text)``: a durable event, after its commit and in order;
- ``feed.passing(text, key=…, join=…)``: ``stream/event``, ``turn/delta``;
- ``peer.outbox.put(Waiting(text))``: to everybody, attached or not.

``session.attach`` makes the feed, and replays once its answer is queued::

    feed = peer.outbox.follow(session_id, since=params.since, last=last_event_id)
    …                                                   # the bus hands the session's events to it from now on
    return Then(result, lambda: feed.replay(page))      # page(after) → [(event_id, text), …] from the store
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import trio

from plurnk.server.methods import Methods, Reply
from plurnk.server.outbox import Outbox
from plurnk.server.websocket import (
    CloseCode,
    Closed,
    Message,
    Ping,
    Vanished,
    WebSocket,
    ping_frame,
    pong_frame,
    text_frame,
)
from plurnk.wire import jsonrpc, problems
from plurnk.wire.jsonrpc import Call, Fault, Incoming, Item

_log: Final = logging.getLogger(__name__)

S = TypeVar("S")

MAX_IN_FLIGHT: Final = 64
KEEP_ALIVE_S: Final = 30.0
STALL_S: Final = 60.0
GOODBYE_S: Final = 2.0
# One write: large enough that syscalls do not count (they did with a frame each), small enough that a
# write that ends is news of progress for the stall rule.
WRITE_BYTES: Final = 64 * 1024


class Peer(Generic[S]):
    """A client that was let in. ``state`` belongs to the handlers, and may put into ``outbox``, too."""

    def __init__(self, socket: WebSocket, methods: Methods[Peer[S]], *, outbox: Outbox, state: S) -> None:
        self.state = state
        self.outbox = outbox
        self._socket = socket
        self._methods = methods
        self._in_flight = 0
        self._sent_at = trio.current_time()
        self._reading = trio.CancelScope()
        # How it ends, unless something else ends it first: the daemon stops.
        self._ending = Closed(CloseCode.GOING_AWAY, "the daemon is stopping")
        self._grace_s = 0.0

    async def run(self) -> None:
        """Serve the client until it leaves, vanishes, or is told to ``close``; then its requests are cancelled.

        Cancelled: the client is told goodbye if its last frame went out whole, for at most ``GOODBYE_S``.
        """
        try:
            async with trio.open_nursery() as pumps:
                pumps.start_soon(self._write)
                pumps.start_soon(self._keep_alive)
                pumps.start_soon(self._watch_for_stall)
                await self._serve_requests()
                if self._ending.code != CloseCode.ABNORMAL:
                    with trio.move_on_after(GOODBYE_S):
                        await self.outbox.emptied()
                pumps.cancel_scope.cancel(reason="the client has left")
        finally:
            self.outbox.unfollow()
            # Shield: a client that is told why it is left alone does not take it for a crash.
            with trio.move_on_after(GOODBYE_S, shield=True):
                await self._socket.close(self._ending.code, self._ending.reason)

    def close(self, code: int, reason: str) -> None:
        """Read no more; let requests in flight end, but not for longer than ``GOODBYE_S``; then say goodbye."""
        self._grace_s = GOODBYE_S
        self._end(Closed(code, reason))

    def _end(self, ending: Closed) -> None:
        self._ending = ending
        self._reading.cancel(reason=ending.reason)

    async def _serve_requests(self) -> None:
        async with trio.open_nursery() as requests:
            with self._reading:
                self._ending = await self._read(requests)
            requests.cancel_scope.deadline = trio.current_time() + self._grace_s

    async def _read(self, requests: trio.Nursery) -> Closed:
        while True:
            await self.outbox.reply_room()
            match await self._socket.receive():
                case Message(text):
                    self._begin(jsonrpc.decode(text), requests)
                case Ping(payload):
                    self.outbox.put_control("pong", pong_frame(payload))
                case Closed() as closed:
                    return closed

    def _begin(self, incoming: Incoming, requests: trio.Nursery) -> None:
        """Start a task for what has to be worked on; what has not is answered here, without one."""
        items = tuple(item for item in map(self._admit, incoming.items) if item is not None)
        if any(isinstance(item, Call) for item in items):
            requests.start_soon(self._respond, Incoming(items, incoming.batch))
        else:
            self._put_replies([_refusal(item) for item in items if isinstance(item, Fault)], batch=incoming.batch)

    def _admit(self, item: Item) -> Item | None:
        if isinstance(item, Fault):
            return item
        if self._in_flight < MAX_IN_FLIGHT:
            self._in_flight += 1
            return item
        if item.id is None:
            _log.warning("%s dropped: too many requests, and a notification cannot be told", item.method)
            return None
        return Fault(problems.too_many_requests(MAX_IN_FLIGHT), item.id)

    async def _respond(self, admitted: Incoming) -> None:
        replies: list[Reply] = []
        try:
            async with trio.open_nursery() as calls:
                for item in admitted.items:
                    calls.start_soon(self._reply_to, item, replies)
            self._put_replies(replies, batch=admitted.batch)
            for reply in replies:
                if reply.afterwards is not None:
                    await reply.afterwards()
        except Exception:  # noqa: BLE001 – one client's trouble must not end the others
            _log.exception("a client is left alone after an error of ours")
            self._end(Closed(CloseCode.INTERNAL_ERROR, "internal error"))
        finally:
            self._in_flight -= sum(isinstance(item, Call) for item in admitted.items)

    async def _reply_to(self, item: Item, replies: list[Reply]) -> None:
        replies.append(_refusal(item) if isinstance(item, Fault) else await self._methods.answer(self, item))

    def _put_replies(self, replies: Sequence[Reply], *, batch: bool) -> None:
        texts = [reply.text for reply in replies if reply.text is not None]
        if texts:
            self.outbox.put_reply(jsonrpc.encode_batch(texts) if batch else texts[0])

    async def _write(self) -> None:
        try:
            while True:
                control, messages = await self.outbox.take(WRITE_BYTES)
                frames = memoryview(b"".join([*control, *map(text_frame, messages)]))
                for start in range(0, len(frames), WRITE_BYTES):
                    await self._socket.send(frames[start : start + WRITE_BYTES])
                    self._sent_at = trio.current_time()
        except Vanished:
            self._end(Closed(CloseCode.ABNORMAL))

    async def _keep_alive(self) -> None:
        """Make TCP notice a dead peer. A missing pong means nothing: some clients do not answer."""
        while True:
            await trio.sleep(KEEP_ALIVE_S)
            self.outbox.put_control("ping", ping_frame())

    async def _watch_for_stall(self) -> None:
        while True:
            await self.outbox.filled()
            while self.outbox.is_full:
                deadline = max(self.outbox.full_since, self._sent_at) + STALL_S
                if trio.current_time() >= deadline:
                    self._end(Closed(CloseCode.TRY_AGAIN_LATER, "too slow"))
                    return
                await trio.sleep_until(deadline)


def _refusal(fault: Fault) -> Reply:
    return Reply(jsonrpc.encode_error(fault.id, fault.problem))
