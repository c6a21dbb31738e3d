"""The transport on real sockets, asked by another implementation of WebSocket."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection, open_websocket_url, wrap_client_stream

from plurnk.server.access import MAX_CALLERS, MAX_CLIENTS, Gate
from plurnk.server.listener import Listener, open_tcp, open_unix, serve_listeners, url_of
from plurnk.server.outbox import MAX_BYTES
from tests.support.desk import MAX_MESSAGE_BYTES, Answer, Desk, RawClient, rules, serve_stream, until


class Served:
    """A desk with its door open."""

    def __init__(self, listener: Listener, gate: Gate, desk: Desk, visitors: AsyncExitStack) -> None:
        self.url = url_of(listener)
        self.port = int(self.url.rpartition(":")[2])
        self.gate = gate
        self.desk = desk
        self._visitors = visitors

    async def dial(self) -> RawClient:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        return RawClient(await self._visitors.enter_async_context(stream))

    async def join(self) -> RawClient:
        client = await self.dial()
        assert (await client.shake_hands()).status == 101
        return client


@asynccontextmanager
async def served(stop: trio.CancelScope | None = None, *, unix: Path | None = None) -> AsyncIterator[Served]:
    """Serve on TCP, and at ``unix``; cancelling ``stop`` is the daemon's end, and so is leaving the block."""
    desk = Desk()
    gate = Gate(rules(), max_message_bytes=MAX_MESSAGE_BYTES)
    async with trio.open_nursery() as tasks, open_tcp("127.0.0.1", 0) as listeners, AsyncExitStack() as stack:
        doors = [*listeners, *([] if unix is None else [await stack.enter_async_context(open_unix(unix))])]

        async def serve() -> None:
            with stop or trio.CancelScope():
                async with trio.open_nursery() as peers:
                    await serve_listeners(doors, peers, partial(serve_stream, gate=gate, desk=desk))

        tasks.start_soon(serve)
        async with AsyncExitStack() as visitors:
            yield Served(listeners[0], gate, desk, visitors)
        tasks.cancel_scope.cancel(reason="the test is over")


async def echo(client: WebSocketConnection, text: str) -> str:
    await client.send_message(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"text": text}}))
    answer: str = json.loads(await client.get_message())["result"]["text"]
    return answer


async def test_another_implementation_over_tcp() -> None:
    async with served() as door, open_websocket_url(door.url) as client:
        for text in ("", "añ€😀", "x" * 1_000_000):
            assert await echo(client, text) == text
        await client.ping(b"there?")
        await client.aclose(1000, "bye")
        assert client.closed is not None
        assert client.closed.code == 1000


async def test_another_implementation_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "private" / "plurnk.sock"
    async with served(unix=path), trio.open_nursery() as tasks:
        stream = await trio.open_unix_socket(path)
        client = await wrap_client_stream(tasks, stream, "localhost", "/")
        assert await echo(client, "hello") == "hello"
        await client.aclose()
    assert not path.exists()


async def test_the_end_of_the_daemon_is_told() -> None:
    stop = trio.CancelScope()
    async with served(stop) as door:
        client = await door.join()
        await client.ask("echo")
        stop.cancel()
        assert (await client.closed()).code == 1001


@pytest.mark.spec("6.1-vanishing-peer")
@pytest.mark.parametrize("reset", [True, False])
async def test_peers_vanish(reset: bool) -> None:
    async with served() as door:
        for _ in range(20):
            client = await door.join()
            await client.request("hang")
            await until(lambda: door.desk.hanging == 1)
            if reset:
                linger = struct.pack("ii", 1, 0)
                cast("trio.SocketStream", client.stream).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await client.stream.aclose()
            await until(lambda: door.desk.hanging == 0 and door.desk.clients == 0)
        assert (await (await door.join()).ask("echo"))["result"] == {"text": ""}


@pytest.mark.spec("6.1-vanishing-peer")
@pytest.mark.parametrize(
    "said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"\x16\x03\x01\x02\x00", b"\r\n\r\n\r\n"]
)
async def test_callers_vanish_before_they_are_clients(said: bytes) -> None:
    async with served() as door:
        client = await door.dial()
        await client.stream.send_all(said)
        await client.stream.aclose()
        assert (await (await door.join()).ask("echo"))["result"] == {"text": ""}
        await until(lambda: door.gate.clients == 1)


async def test_what_follows_the_handshake_at_once_is_not_lost() -> None:
    async with served() as door:
        client = await door.dial()
        request = (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        message = b'{"jsonrpc":"2.0","id":5,"method":"echo"}'
        frame = bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message
        assert (await client.say(request + frame)).status == 101
        assert (await client.receive_json())["id"] == 5


@pytest.mark.parametrize("first", [0x81, 0x01])
async def test_a_frame_of_20_mib_is_refused_while_it_comes(first: int) -> None:
    head = bytes((first, 0xFF)) + (20 << 20).to_bytes(8, "big")
    async with served() as door:
        client = await door.join()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_send_much, client.stream, head + bytes(4), 20 << 20)
            closed = await client.closed()
            assert (closed.code, closed.reason) == (1009, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        await client.stream.aclose()
        await until(lambda: door.gate.clients == 0)
        assert (await (await door.join()).ask("echo"))["result"] == {"text": ""}


async def _send_much(stream: trio.abc.Stream, head: bytes, size: int) -> None:
    """Send all of it, as a client does that does not look at what comes back."""
    await stream.send_all(head)
    chunk = b" " * (1 << 20)
    for _ in range(size // len(chunk)):
        await stream.send_all(chunk)


@pytest.mark.spec("6.5-slow-client-isolated")
async def test_a_client_that_does_not_read_is_nobodys_trouble_but_its_own() -> None:
    async with served() as door:
        stopped, quick = await door.join(), await door.join()
        for client in (stopped, quick):
            assert (await client.ask("follow", {"since": 0}))["result"] == {}
        size = 64 * 1024
        count = 3 * MAX_BYTES // size
        for number in range(1, count + 1):
            door.desk.publish(json.dumps({"n": number, "pad": " " * size}).encode())
            assert (await quick.receive_json())["n"] == number
        # Now it reads: what fitted, then that it lagged, and after it has come back the rest.
        seen = 0
        while "n" in (message := await stopped.receive_json()):
            assert message["n"] == seen + 1
            seen += 1
        assert message["method"] == "session/lagged"
        assert message["params"] == {"resumeFrom": seen}
        assert seen < count
        assert (await stopped.ask("follow", {"since": seen}))["result"] == {}
        for number in range(seen + 1, count + 1):
            assert (await stopped.receive_json())["n"] == number


@pytest.mark.spec("6.6-limits")
async def test_a_client_too_many_is_told_so_and_a_caller_too_many_is_not_heard() -> None:
    async with served() as door:
        places = {trio.testing.memory_stream_pair()[0] for _ in range(MAX_CLIENTS)}
        door.gate._inside |= places
        answer = await (await door.dial()).shake_hands()
        assert (answer.status, answer.body) == (429, "256 clients are here already\n")
        door.gate._inside -= places
        door.gate.callers += MAX_CALLERS
        caller = await door.dial()
        with suppress(trio.BrokenResourceError):
            assert await caller.stream.receive_some() == b""
        door.gate.callers -= MAX_CALLERS
        assert (await (await door.join()).ask("echo"))["result"] == {"text": ""}


async def ask_http(door: Served, request: bytes) -> Answer:
    return await (await door.dial()).say(request)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 426),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000, 431),
    ],
)
async def test_what_is_no_handshake_is_told_so(request_: bytes, status: int) -> None:
    async with served() as door:
        assert (await ask_http(door, request_)).status == status
        assert (await (await door.join()).ask("echo"))["result"] == {"text": ""}
