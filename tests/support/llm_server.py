"""A small server that speaks a vendor's wire, for tests and benches: real sockets, real HTTP, scripted answers.

In a test::

    async with open_llm_server(OpenAIWire(), ["first answer", Answer("second", failure="reset")]) as server:
        ... server.base_url ... server.requests[0].body ...

What is a vendor's own, the ``Wire``, is in ``tests/support/wires``.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final, Literal, Protocol

import h11
import trio

from plurnk.plugins.api import Usage

Failure = Literal["reset", "stall", "eof"]

USAGE: Final = Usage(prompt=100, completion=20, cached=60, reasoning=5)


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    The text is streamed in deltas of ``chunk_chars`` characters, the bytes of the stream in writes of
    ``write_bytes`` (0: one write an event). ``usage`` is told in the wire's own shape, None: not at all. ``error``
    is sent after the text, in the wire's own shape; ``done`` False leaves out the wire's mark of the end.
    ``failure`` strikes after ``fail_after`` events: the connection is reset, nothing more comes, or the response ends
    too early. A ``status`` other than 200, or a ``body``, is sent as it is, with ``headers``.
    """

    content: str = ""
    reasoning: str = ""
    chunk_chars: int = 8
    write_bytes: int = 0
    finish_reason: str | None = "stop"
    usage: Usage | None = USAGE
    done: bool = True
    error: Any = None
    failure: Failure | None = None
    fail_after: int = 1
    status: int = 200
    body: str | None = None
    raw_events: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    when: str | None = None


@dataclass
class Request:
    """A request as it came; ``gone`` is set when its client's socket is closed."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    connection: int = 0
    gone: trio.Event = field(default_factory=trio.Event)


class Wire(Protocol):
    """What one vendor's wire says, and how."""

    @property
    def base_path(self) -> str:
        """What a base URL has after its host: "/v1"."""
        ...

    @property
    def content_type(self) -> str:
        """Of a stream."""
        ...

    def events(self, answer: Answer, request: Request) -> Iterator[bytes]:
        """The events of the stream that is ``answer``, each whole as it stands in the body; not its failure."""
        ...

    def text_of(self, body: Any) -> str:
        """The last message of a request, for ``Answer.when``."""
        ...

    def models(self) -> Any:
        """What a GET is answered: a list of one model, "scripted"."""
        ...

    def error(self, status: int, message: str) -> Any:
        """The body, as JSON, of a refusal."""
        ...


class LLMServer:
    """The script, and what was asked.

    Each answer is given once, unless ``repeat``; a request gets the first one left whose ``when`` occurs
    in its last message, or that has none.
    """

    def __init__(self, wire: Wire, script: Sequence[str | Answer], *, repeat: bool = False) -> None:
        self.requests: list[Request] = []
        self.base_url = ""
        self._wire = wire
        self._left = [Answer(item) if isinstance(item, str) else item for item in script]
        self._repeat = repeat
        self._connections = count()
        self._arrivals = trio.lowlevel.ParkingLot()

    async def request(self, number: int) -> Request:
        """Request ``number``, from 0, as soon as it has come."""
        while len(self.requests) <= number:
            await self._arrivals.park()
        return self.requests[number]

    async def serve_connection(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one client until either side closes."""
        number = next(self._connections)
        http = h11.Connection(h11.SERVER)
        async with stream:
            while (request := await _read_request(stream, http, number)) is not None:
                self.requests.append(request)
                self._arrivals.unpark_all()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_watch, stream, http, request, nursery.cancel_scope)
                    await self._send(stream, http, self._pick(request), request)
                    nursery.cancel_scope.cancel()
                if request.gone.is_set() or http.our_state is not h11.DONE:
                    return
                http.start_next_cycle()
            for request in self.requests:
                if request.connection == number:
                    request.gone.set()

    def _pick(self, request: Request) -> Answer:
        if request.method == "GET":
            return Answer(body=json.dumps(self._wire.models()))
        asked = self._wire.text_of(request.body)
        for at, answer in enumerate(self._left):
            if answer.when is None or answer.when in asked:
                if self._repeat:
                    self._left.append(answer)
                return self._left.pop(at)
        return Answer(status=500, body=json.dumps(self._wire.error(500, "the script is used up")))

    async def _send(self, stream: trio.SocketStream, http: h11.Connection, answer: Answer, request: Request) -> None:
        """Send ``answer``, or as much of it as it should get."""
        plain = answer.status != 200 or answer.body is not None
        kind = "application/json" if plain else self._wire.content_type
        headers = {"content-type": kind, "transfer-encoding": "chunked"} | answer.headers
        head = h11.Response(status_code=answer.status, headers=list(headers.items()))
        pieces = [(answer.body or "").encode()] if plain else self._stream(answer, request)
        sent = pieces if answer.failure is None else pieces[: answer.fail_after]
        try:
            if sent:
                await stream.send_all(http.send(head) or b"")
            for piece in sent:
                size = answer.write_bytes or max(len(piece), 1)
                for at in range(0, len(piece), size):
                    await stream.send_all(http.send(h11.Data(data=piece[at : at + size])) or b"")
            if answer.failure == "stall":
                await trio.sleep_forever()
            elif answer.failure == "reset":
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.socket.close()
            else:
                await stream.send_all(http.send(h11.EndOfMessage()) or b"")
        except trio.BrokenResourceError:
            request.gone.set()

    def _stream(self, answer: Answer, request: Request) -> list[bytes]:
        return [answer.raw_events] if answer.raw_events is not None else list(self._wire.events(answer, request))


@asynccontextmanager
async def open_llm_server(
    wire: Wire, script: Sequence[str | Answer], *, port: int = 0, repeat: bool = False
) -> AsyncIterator[LLMServer]:
    """Serve ``script`` on the loopback interface until the block is left."""
    server = LLMServer(wire, script, repeat=repeat)
    async with trio.open_nursery() as connections:
        serve: Callable[..., Any] = partial(trio.serve_tcp, server.serve_connection, port, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await connections.start(serve)
        server.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}{wire.base_path}"
        yield server
        connections.cancel_scope.cancel()


def pieces(text: str, size: int) -> Iterator[str]:
    """``text`` in deltas of ``size`` characters."""
    for at in range(0, len(text), size):
        yield text[at : at + size]


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event with ``data`` as JSON."""
    name = b"" if event is None else f"event: {event}\n".encode()
    return name + b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


async def _read_request(stream: trio.SocketStream, http: h11.Connection, number: int) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                http.receive_data(await stream.receive_some())
            except trio.BrokenResourceError:
                return None  # Reset is a way of closing.
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Request(
                method=head.method.decode(),
                path=head.target.decode(),
                headers={name.decode(): value.decode() for name, value in head.headers},
                body=json.loads(bytes(body)) if body else None,
                connection=number,
            )
        else:
            return None


async def _watch(stream: trio.SocketStream, http: h11.Connection, request: Request, scope: trio.CancelScope) -> None:
    """Notice that the client closes while its answer is being sent."""
    try:
        while data := await stream.receive_some():
            http.receive_data(data)
    except trio.BrokenResourceError:
        pass  # Reset is a way of closing.
    except trio.ClosedResourceError:
        return  # We have.
    request.gone.set()
    scope.cancel()
