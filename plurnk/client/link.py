"""One WebSocket to the daemon, over TCP, TLS or a Unix socket."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from plurnk.client.errors import Refused, Unreachable

# The daemon does its part in a millisecond; a stranger on the port may never answer.
HANDSHAKE_S: Final = 5.0
# An entry's channel holds up to 100 MiB, and JSON may double it.
MAX_MESSAGE_BYTES: Final = 256 * 1024 * 1024
_BUFFER_BYTES: Final = 64 * 1024

Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]


class Address(NamedTuple):
    """How to get a stream to the daemon, what its ``Host`` header says, and what people call it."""

    dial: Dial
    host: str
    shown: str


def address_of(where: str | Path | Address) -> Address:
    """Read ``ws://host:port``, ``wss://host:port`` or the path of a Unix socket.

    Raises:
        Unreachable: neither of them.
    """
    if isinstance(where, Address):
        return where
    if isinstance(where, Path) or "://" not in where:

        async def dial_path() -> trio.abc.Stream:
            return await trio.open_unix_socket(where)

        return Address(dial_path, "localhost", str(where))
    url = urlsplit(where)
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if url.scheme not in {"ws", "wss"} or not host:
        raise Unreachable(f"{where} is no ws:// or wss:// address")
    secure = url.scheme == "wss"
    number = port or (443 if secure else 80)

    async def dial() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, number)
        if not secure:
            return stream
        context = ssl.create_default_context()
        return trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)

    return Address(dial, url.netloc.rpartition("@")[2], where)


async def open_stream(address: Address) -> trio.abc.Stream:
    """Connect.

    Raises:
        Unreachable: nobody answers there.
    """
    with trio.move_on_after(HANDSHAKE_S):
        try:
            return await address.dial()
        except OSError as error:
            raise Unreachable(f"nobody answers at {address.shown}: {error}") from error
    raise _silent(address)


async def shake_hands(
    tasks: trio.Nursery, stream: trio.abc.Stream, address: Address, token: str | None
) -> WebSocketConnection:
    """Become a WebSocket; the library's reader becomes a task of ``tasks``.

    Raises:
        Unreachable: what is there speaks no WebSocket.
        ConnectionRejected: from ``tasks``, which it ends; see ``refusal``.
    """
    headers = [] if token is None else [(b"Authorization", b"Bearer " + token.encode())]
    # The library waits for ever when the other side just hangs up.
    with trio.move_on_after(HANDSHAKE_S):
        return await wrap_client_stream(
            tasks,
            cast("trio.SocketStream", stream),  # it uses nothing that other streams lack
            address.host,
            "/",
            extra_headers=headers,
            max_message_size=MAX_MESSAGE_BYTES,
            receive_buffer_size=_BUFFER_BYTES,
        )
    raise _silent(address)


def _silent(address: Address) -> Unreachable:
    return Unreachable(f"what listens at {address.shown} did not answer within {HANDSHAKE_S:g} s")


def refusal(rejected: ConnectionRejected, address: Address) -> Refused:
    """Make one sentence of an HTTP answer, the daemon's reason included."""
    body = (rejected.body or b"").decode(errors="replace").strip()
    return Refused(f"{address.shown} refuses this client with HTTP {rejected.status_code}{body and ': ' + body}")
