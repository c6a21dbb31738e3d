"""A little daemon for tests of the transport: methods that echo, hang and fail, and a client that speaks raw frames."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import h11
import trio
import trio.testing
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, TextMessage

from plurnk.errors import Draining, NotFound
from plurnk.server.access import Gate, Rules
from plurnk.server.methods import Handler, Methods, Then
from plurnk.server.outbox import Feed, Outbox
from plurnk.server.peer import Peer
from plurnk.server.websocket import WebSocket
from plurnk.wire.answers import Empty, Result
from plurnk.wire.methods import Method
from plurnk.wire.params import NoParams, Params

Json: TypeAlias = dict[str, Any]

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
RPC_TIMEOUT_MS: Final = 30_000


class EchoParams(Params, frozen=True):
    text: str = ""
    times: int = 1


class EchoResult(Result, frozen=True):
    text: str


class FollowParams(Params, frozen=True):
    since: int | None = None


TABLE: Final = {
    method.name: method
    for method in (
        Method("echo", EchoParams, EchoResult, "Says it again"),
        Method("nothing", NoParams, Empty, "Returns None"),
        Method("follow", FollowParams, Empty, "Attaches to the desk's events"),
        Method("hang", NoParams, Empty, "Never answers", long_running=True),
        Method("linger", NoParams, Empty, "Never answers, but has a timeout"),
        Method("missing", NoParams, Empty, "Finds nothing"),
        Method("stopping", NoParams, Empty, "Is stopping"),
        Method("several", NoParams, Empty, "Fails twice at once"),
        Method("bug", NoParams, Empty, "Fails"),
        Method("bad_follow", NoParams, Empty, "Fails after its answer"),
    )
}


@dataclass
class Desk:
    """What the handlers saw and keep. ``events`` are durable: id n is at index n - 1."""

    hanging: int = 0
    cancelled: int = 0
    clients: int = 0
    feeds: list[Feed] = field(default_factory=list[Feed])
    events: list[bytes] = field(default_factory=list[bytes])

    def publish(self, text: bytes) -> None:
        self.events.append(text)
        for feed in self.feeds:
            feed.event(len(self.events), text)

    async def page(self, after: int) -> Sequence[tuple[int, bytes]]:
        found = list(enumerate(self.events[after : after + 100], after + 1))
        await trio.lowlevel.checkpoint()
        return found


Client: TypeAlias = Peer[Desk]


async def _echo(peer: Client, params: EchoParams) -> EchoResult:
    await trio.lowlevel.checkpoint()
    return EchoResult(text=params.text * params.times)


async def _nothing(peer: Client, params: NoParams) -> None:
    await trio.lowlevel.checkpoint()


async def _hang(peer: Client, params: NoParams) -> None:
    desk = peer.state
    desk.hanging += 1
    try:
        await trio.sleep_forever()
    finally:
        desk.hanging -= 1
        desk.cancelled += 1


async def _follow(peer: Client, params: FollowParams) -> Then:
    desk = peer.state
    feed = peer.outbox.follow(1, since=params.since, last=len(desk.events))
    desk.feeds.append(feed)
    await trio.lowlevel.checkpoint()
    return Then(None, lambda: feed.replay(desk.page))


async def _missing(peer: Client, params: NoParams) -> None:
    await trio.lowlevel.checkpoint()
    raise NotFound("no session 7: the connection is lost")


async def _stopping(peer: Client, params: NoParams) -> None:
    await trio.lowlevel.checkpoint()
    raise ExceptionGroup("", [ExceptionGroup("", [Draining("the daemon is stopping")])])


async def _several(peer: Client, params: NoParams) -> None:
    await trio.lowlevel.checkpoint()
    raise ExceptionGroup("", [Draining("one"), NotFound("two")])


async def _raise(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def _bug(peer: Client, params: NoParams) -> None:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("secret detail")


async def _bad_follow(peer: Client, params: NoParams) -> Then:
    await trio.lowlevel.checkpoint()
    return Then(None, lambda: _raise(ZeroDivisionError("while replaying")))


HANDLERS: Final[dict[str, Handler[Client]]] = {
    "echo": _echo,
    "nothing": _nothing,
    "follow": _follow,
    "hang": _hang,
    "linger": _hang,
    "missing": _missing,
    "stopping": _stopping,
    "several": _several,
    "bug": _bug,
    "bad_follow": _bad_follow,
}


def methods() -> Methods[Client]:
    return Methods(HANDLERS, rpc_timeout_ms=RPC_TIMEOUT_MS, table=TABLE)


def rules(**changes: Any) -> Rules:
    return Rules(uid=os.geteuid(), **changes)


async def serve_stream(stream: trio.abc.Stream, gate: Gate, desk: Desk) -> None:
    """What the daemon does with a stream, in small."""
    async with gate.admit(stream) as socket:
        if socket is None:
            return
        peer = Peer(socket, methods(), outbox=Outbox(), state=desk)
        desk.clients += 1
        try:
            await peer.run()
        finally:
            desk.clients -= 1


@asynccontextmanager
async def in_memory(
    desk: Desk, *, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> AsyncIterator[tuple[Peer[Desk], RawClient]]:
    """Give a running peer and its client, with nothing between them: a send ends when all of it was received.

    With fakes only, so the autojump clock may be used. No handshake takes place.
    """
    ours, theirs = trio.testing.lockstep_stream_pair()
    peer = Peer(WebSocket(ours, max_message_bytes=max_message_bytes), methods(), outbox=Outbox(), state=desk)

    async def run() -> None:
        async with ours:
            await peer.run()

    async with trio.open_nursery() as tasks:
        # The peer's pings would turn a test that hangs into one that runs for ever.
        tasks.cancel_scope.deadline = trio.current_time() + 24 * 3600
        tasks.start_soon(run)
        yield peer, RawClient(theirs)
        assert not tasks.cancel_scope.cancel_called, "the test hung for a day"
        tasks.cancel_scope.cancel(reason="the test is over")


class RawClient:
    """A client that sends exactly what it is told to, well-formed or not."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._frames = Connection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    async def shake_hands(self, *headers: tuple[str, str], path: str = "/", host: str | None = "localhost") -> Answer:
        """Ask to become a WebSocket, and return what is answered."""
        all_headers = [
            *([] if host is None else [("Host", host)]),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ("Sec-WebSocket-Version", "13"),
            *headers,
        ]
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers), "", ""]
        return await self.say("\r\n".join(lines).encode())

    async def say(self, request: bytes) -> Answer:
        """Send bytes instead of a handshake, and read an HTTP answer."""
        http = h11.Connection(h11.CLIENT)
        http.send(
            h11.Request(
                method="GET", target="/", headers=[("Host", "x"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
            )
        )
        http.send(h11.EndOfMessage())
        await self.stream.send_all(request)
        answer = Answer()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.InformationalResponse | h11.Response):
                answer.status = event.status_code
                answer.headers = {name.decode(): value.decode() for name, value in event.headers}
                if event.status_code == 101:
                    self._frames = Connection(ConnectionType.CLIENT, trailing_data=http.trailing_data[0])
                    return answer
            elif isinstance(event, h11.Data):
                answer.body += event.data.decode()
            else:
                return answer

    async def send(self, *events: Event) -> None:
        await self.stream.send_all(b"".join(self._frames.send(event) for event in events))

    async def send_json(self, *messages: Any) -> None:
        await self.send(*(TextMessage(json.dumps(message)) for message in messages))

    async def request(self, method: str, params: Any = None, call_id: Any = 1) -> None:
        more = {} if params is None else {"params": params}
        await self.send_json({"jsonrpc": "2.0", "id": call_id, "method": method, **more})

    async def receive(self) -> Event:
        """Return the next event, pings left out; at the end of the stream a ``CloseConnection`` 1006."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if not isinstance(event, Ping):
                    return event
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            self._frames.receive_data(bytes(data) or None)
            self._events += self._frames.events()

    async def receive_json(self) -> Any:
        """Return the next message."""
        text = ""
        while True:
            event = await self.receive()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                assert "\n" not in text
                return json.loads(text)

    async def ask(self, method: str, params: Any = None, call_id: Any = 1) -> Json:
        """Ask, and return the whole answer."""
        await self.request(method, params, call_id)
        answer: Json = await self.receive_json()
        return answer

    async def closed(self) -> CloseConnection:
        """Read to the close frame."""
        while not isinstance(event := await self.receive(), CloseConnection):
            pass
        return event


@dataclass
class Answer:
    """An HTTP answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: str = ""


LOOKS = 20
PAUSE_S = 0.001


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that another task, a thread or a process brings about."""
    looks = 0
    while not true():  # noqa: ASYNC110 – it may be a socket that brings it about
        looks += 1
        if looks < LOOKS or isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
            await trio.lowlevel.checkpoint()
        else:
            # Who looks all the time leaves the threads, which do what is waited for, 5 ms less of every 5 ms.
            await trio.sleep(PAUSE_S)
