"""Who gets in, over real sockets and with processes of other users."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from plurnk.server import callers
from plurnk.server.access import Gate
from plurnk.server.callers import identify
from plurnk.server.listener import Listener, open_tcp, open_unix, serve_listeners, url_of
from plurnk.server.websocket import Vanished
from tests.support.desk import MAX_MESSAGE_BYTES, Desk, RawClient, rules, serve_stream, until

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs: root, to become another user")

# Becomes another user, connects, asks for a WebSocket and sends a request along, and prints the first line it gets.
# An orphan is not the daemon's child any more.
CALLER = r"""
import os, socket, sys
family, address, uid, wait = sys.argv[1:]
if wait == "orphan":
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        pass
os.setuid(int(uid))
tcp = family == "tcp"
link = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
link.connect(("127.0.0.1", int(address)) if tcp else address)
message = b'{"jsonrpc":"2.0","id":1,"method":"hang"}'
link.sendall(
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    + bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message
)
if wait != "leave":
    print(link.makefile("rb").readline().decode().strip())
"""


async def call(family: str, address: str, uid: int, wait: str = "wait") -> str:
    done = await trio.run_process(
        [sys.executable, "-c", CALLER, family, address, str(uid), wait], capture_stdout=True, stderr=subprocess.STDOUT
    )
    return done.stdout.decode().strip()


@asynccontextmanager
async def serving(listener: Listener, gate: Gate, desk: Desk) -> AsyncIterator[None]:
    async with trio.open_nursery() as peers:
        # It listens already, so callers may come before the task has begun.
        peers.start_soon(serve_listeners, [listener], peers, partial(serve_stream, gate=gate, desk=desk))  # noqa: ASYNC113
        yield
        peers.cancel_scope.cancel(reason="the test is over")


def new_gate(**changes: object) -> Gate:
    return Gate(rules(**changes), max_message_bytes=MAX_MESSAGE_BYTES)


def port_of(listener: Listener) -> str:
    return url_of(listener).rpartition(":")[2]


@as_root
@pytest.mark.spec("6.6-other-users-refused")
async def test_another_user_over_tcp() -> None:
    desk = Desk()
    async with open_tcp("127.0.0.1", 0) as (listener,), serving(listener, new_gate(), desk):
        assert await call("tcp", port_of(listener), os.geteuid()) == "HTTP/1.1 101 Switching Protocols"
        await until(lambda: desk.cancelled == 1)
        assert await call("tcp", port_of(listener), NOBODY) == "HTTP/1.1 403 Forbidden"
        assert desk.cancelled == 1


@as_root
@pytest.mark.spec("6.6-other-users-refused")
async def test_another_user_that_has_hung_up_before_it_is_looked_at() -> None:
    """The kernel then shows the caller's socket as root's."""
    desk, gate = Desk(), new_gate()
    async with open_tcp("127.0.0.1", 0) as (listener,):
        await call("tcp", port_of(listener), NOBODY, "leave")
        async with serving(listener, gate, desk):
            assert (await call("tcp", port_of(listener), 0)).endswith("101 Switching Protocols")
            await until(lambda: gate.callers == 0)
            assert desk.cancelled == 1  # root's request, and not the other


@as_root
@pytest.mark.spec("6.6-other-users-refused")
async def test_another_user_over_a_unix_socket(reachable: Path) -> None:
    path = reachable / "private" / "plurnk.sock"
    desk = Desk()
    async with open_unix(path) as listener, serving(listener, new_gate(), desk):
        assert await call("unix", str(path), os.geteuid(), "orphan") == "HTTP/1.1 101 Switching Protocols"
        # What the daemon itself has started, as commands are, is not let in.
        assert await call("unix", str(path), os.geteuid()) == "HTTP/1.1 403 Forbidden"
        with pytest.raises(subprocess.CalledProcessError, match="exit status 1") as refused:
            await call("unix", str(path), NOBODY)
        assert b"PermissionError" in refused.value.stdout
        # Should the permissions ever fail, the kernel still knows who calls.
        path.parent.chmod(0o711)
        path.chmod(0o666)
        assert await call("unix", str(path), NOBODY) == "HTTP/1.1 403 Forbidden"
        assert desk.clients <= 1


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that other users can go through, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.spec("6.6-other-users-refused")
@pytest.mark.parametrize(
    ("family", "bound", "callers_family", "dialled"),
    [
        (V4, "127.0.0.1", V4, "127.0.0.1"),
        (V6, "::1", V6, "::1"),
        (V6, "::", V4, "127.0.0.1"),
        (V4, "127.0.0.1", V6, "::ffff:127.0.0.1"),
        (V6, "::", V6, "::ffff:127.0.0.1"),
    ],
)
async def test_the_kernel_knows_who_calls(family: int, bound: str, callers_family: int, dialled: str) -> None:
    with trio.socket.socket(family) as door, trio.socket.socket(callers_family) as caller:
        try:
            if family == V6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            await door.bind((bound, 0))
        except OSError:
            pytest.skip("needs: IPv6")
        door.listen()
        await caller.connect((dialled, door.getsockname()[1]))
        async with await trio.SocketListener(door).accept() as accepted:
            found = await identify(accepted)
            assert (found.uid, found.is_local) == (os.geteuid(), True)
            # Nobody is told of a caller that has hung up, least of all that it was root.
            caller.close()
            assert (await identify(accepted)).uid is None


def address_besides_the_loopbacks() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("198.51.100.1", 9))  # nothing is sent: the kernel says from where it would be
        except OSError:
            pytest.skip("needs: a network, if only to have an address in it")
        return str(asking.getsockname()[0])


@pytest.mark.spec("6.6-commands-refused")
async def test_while_commands_share_the_network_who_comes_from_another_machine_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = address_besides_the_loopbacks()
    async with open_tcp(host, 0) as (listener,), trio.open_nursery() as running:
        connect = f"import socket; socket.create_connection(({host!r}, {port_of(listener)})).recv(1)"
        running.start_soon(trio.run_process, [sys.executable, "-c", connect])  # as a command: we have started it
        async with await listener.accept() as accepted:
            assert (await identify(accepted, may_be_command=True)).is_command
            assert not (await identify(accepted)).is_command
            # From elsewhere there is no row of the other end.
            (tmp_path / "tcp").write_text("  sl  local_address rem_address   st\n")
            monkeypatch.setattr(callers, "_TABLES", (tmp_path / "tcp", tmp_path / "gone"))
            found = await identify(accepted, may_be_command=True)
            assert (found.uid, found.is_local, found.is_command) == (None, False, False)


async def test_a_caller_that_resets_is_gone() -> None:
    async with open_tcp("127.0.0.1", 0) as (listener,):
        caller = await trio.open_tcp_stream("127.0.0.1", int(port_of(listener)))
        async with await listener.accept() as accepted:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await caller.aclose()
            with pytest.raises(Vanished):
                await identify(accepted)


@pytest.mark.spec("6.6-origin", "6.6-host")
@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        ([], "localhost", 101),
        ([("Origin", "http://evil.example")], "localhost", 403),
        ([("Origin", "https://good.example")], "localhost", 101),
        ([], "evil.example", 403),
        ([], "evil.example:3044", 403),
        ([], "127.0.0.1:3044", 101),
        ([], None, 400),
    ],
)
async def test_pages_and_foreign_names_are_told_no(
    headers: list[tuple[str, str]], host: str | None, status: int
) -> None:
    desk, gate = Desk(), new_gate(origins=frozenset({"https://good.example"}))
    async with open_tcp("127.0.0.1", 0) as (listener,), serving(listener, gate, desk):
        async with await trio.open_tcp_stream("127.0.0.1", int(port_of(listener))) as stream:
            assert (await RawClient(stream).shake_hands(*headers, host=host)).status == status
        async with await trio.open_tcp_stream("127.0.0.1", int(port_of(listener))) as stream:
            client = RawClient(stream)
            assert (await client.shake_hands()).status == 101
            assert (await client.ask("echo"))["result"] == {"text": ""}


@pytest.mark.spec("6.6-token")
@pytest.mark.parametrize(
    ("headers", "status", "chosen"),
    [
        ([], 401, None),
        ([("Authorization", "Bearer secret")], 101, None),
        ([("Authorization", "Bearer wrong")], 401, None),
        ([("Sec-WebSocket-Protocol", "bearer.secret")], 101, "bearer.secret"),
        ([("Sec-WebSocket-Protocol", "plurnk, bearer.secret")], 101, "plurnk"),
        ([("Sec-WebSocket-Protocol", "bearer.wrong")], 401, None),
    ],
)
async def test_a_token_is_asked_for(headers: list[tuple[str, str]], status: int, chosen: str | None) -> None:
    desk, gate = Desk(), new_gate(token="secret")
    async with (
        open_tcp("127.0.0.1", 0) as (listener,),
        serving(listener, gate, desk),
        await trio.open_tcp_stream("127.0.0.1", int(port_of(listener))) as stream,
    ):
        answer = await RawClient(stream).shake_hands(*headers)
        assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (status, chosen)
