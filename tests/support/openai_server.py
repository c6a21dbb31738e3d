"""A small OpenAI-compatible server for tests and benches: real sockets, real HTTP, scripted answers.

In a test::

    async with open_openai_server(["first answer", Answer("second", failure="reset")]) as server:
        ... server.base_url ... server.requests[0].body["messages"] ...

By itself: ``python -m tests.support.openai_server --port 0 --script FILE`` prints its URL and serves
until it is interrupted; the script is a JSON list of strings and of objects with ``Answer``'s fields.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import h11
import msgspec
import trio

Failure = Literal["reset", "stall", "eof"]


USAGE: Final[dict[str, Any]] = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    The text is streamed in deltas of ``chunk_chars`` characters, the bytes of the stream in writes of
    ``write_bytes`` (0: one write an event). ``failure`` strikes after ``fail_after`` events: the
    connection is reset, nothing more comes, or the response ends too early. A ``status`` other than
    200, or a ``body``, is sent as it is, with ``headers``.
    """

    content: str = ""
    reasoning: str = ""
    chunk_chars: int = 8
    write_bytes: int = 0
    finish_reason: str | None = "stop"
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
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
    connection: int
    gone: trio.Event = field(default_factory=trio.Event)


class OpenAIServer:
    """The script, and what was asked.

    Each answer is given once, unless ``repeat``; a request gets the first one left whose ``when`` occurs
    in its last message, or that has none.
    """

    def __init__(self, script: Sequence[str | Answer], *, repeat: bool = False) -> None:
        self.requests: list[Request] = []
        self.base_url = ""
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
                    await _send(stream, http, self._pick(request), request)
                    nursery.cancel_scope.cancel()
                if request.gone.is_set() or http.our_state is not h11.DONE:
                    return
                http.start_next_cycle()
            for request in self.requests:
                if request.connection == number:
                    request.gone.set()

    def _pick(self, request: Request) -> Answer:
        if request.method == "GET":
            return Answer(body='{"object":"list","data":[{"id":"scripted","object":"model"}]}')
        asked: str = request.body["messages"][-1]["content"]
        for at, answer in enumerate(self._left):
            if answer.when is None or answer.when in asked:
                if self._repeat:
                    self._left.append(answer)
                return self._left.pop(at)
        return Answer(status=500, body='{"error":{"message":"the script is used up"}}')


@asynccontextmanager
async def open_openai_server(
    script: Sequence[str | Answer], *, port: int = 0, repeat: bool = False
) -> AsyncIterator[OpenAIServer]:
    """Serve ``script`` on the loopback interface until the block is left."""
    server = OpenAIServer(script, repeat=repeat)
    async with trio.open_nursery() as connections:
        serve: Callable[..., Any] = partial(trio.serve_tcp, server.serve_connection, port, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await connections.start(serve)
        server.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        yield server
        connections.cancel_scope.cancel()


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


async def _send(stream: trio.SocketStream, http: h11.Connection, answer: Answer, request: Request) -> None:
    """Send ``answer``, or as much of it as it should get."""
    plain = answer.status != 200 or answer.body is not None
    kind = "application/json" if plain else "text/event-stream; charset=utf-8"
    headers = {"content-type": kind, "transfer-encoding": "chunked"} | answer.headers
    head = h11.Response(status_code=answer.status, headers=list(headers.items()))
    pieces = [(answer.body or "").encode()] if plain else list(_events(answer, request))
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


def _events(answer: Answer, request: Request) -> Iterator[bytes]:
    """The events of a stream, as bytes."""
    if answer.raw_events is not None:
        yield answer.raw_events
        return
    size = answer.chunk_chars
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": request.body["model"]}
    for name, text in (("reasoning_content", answer.reasoning), ("content", answer.content)):
        for at in range(0, len(text), size):
            delta = {name: text[at : at + size]}
            yield _event(base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    if answer.error is not None:
        yield _event({"error": answer.error})
    if answer.finish_reason is not None:
        yield _event(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
    if answer.usage is not None:
        yield _event(base | {"choices": [], "usage": answer.usage})
    if answer.done:
        yield b"data: [DONE]\n\n"


def _event(data: Any) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--repeat", action="store_true", help="begin the script again when it is used up")
    options = parser.parse_args()
    script = msgspec.json.decode(options.script.read_bytes(), type=list[str | Answer])
    async with open_openai_server(script, port=options.port, repeat=options.repeat) as server:
        print(server.base_url, flush=True)  # noqa: T201 – the one thing that it says
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main)
