"""Where the daemon listens: TCP, with or without TLS, and a Unix socket (SPEC 6.1, 6.6)."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, cast

import trio

from plurnk.errors import Conflict, Denied, Malformed

_log: Final = logging.getLogger(__name__)

# sun_path has 108 bytes, the last of them NUL.
MAX_SOCKET_PATH_BYTES: Final = 107
_BACKLOG: Final = 128

Listener: TypeAlias = trio.abc.Listener[trio.abc.Stream]
ServeStream: TypeAlias = Callable[[trio.abc.Stream], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is a name or address of the loopback, and of nothing else."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, *, tls: bool, insecure: bool) -> None:
    """See that nothing is sent in the clear over a network.

    Raises:
        Denied: ``host`` is more than loopback, and there is neither TLS nor the operator's word.
    """
    if not (is_loopback(host) or tls or insecure):
        raise Denied(
            f"PLURNK_HOST={host} would send everything in the clear; give PLURNK_TLS_CERT and PLURNK_TLS_KEY, "
            "or PLURNK_INSECURE=1 if the network is trusted"
        )


@asynccontextmanager
async def open_tcp(host: str, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[list[Listener]]:
    """Listen on ``host``; port 0 takes any that is free.

    Raises:
        Conflict: the port is taken.
        Malformed: there is no such address here.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"{host}:{port} is taken, by another daemon perhaps") from error
        raise Malformed(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    async with AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        yield [listener if tls is None else _over_tls(listener, tls) for listener in listeners]


def _over_tls(listener: trio.SocketListener, tls: ssl.SSLContext) -> Listener:
    # As with https, a peer may hang up without TLS's own goodbye; WebSocket has one.
    return trio.SSLListener(listener, tls, https_compatible=True)


@asynccontextmanager
async def open_unix(path: Path) -> AsyncIterator[Listener]:
    """Listen at ``path``, which only our user may open, and remove it in the end. What a dead daemon left is replaced.

    Raises:
        Conflict: somebody answers there, or something else is there.
        Denied: the directory is not ours alone.
        Malformed: there can be no socket at this path.
    """
    try:
        inode, listener = _bind(path)
    except OSError as error:
        raise Malformed(f"cannot listen at {path}: {error.strerror}") from error
    async with listener:
        try:
            yield listener
        finally:
            _remove(path, inode)


def _bind(path: Path) -> tuple[int, trio.SocketListener]:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise Malformed(f"{path} is too long for a socket, which has {MAX_SOCKET_PATH_BYTES} bytes at most")
    _prepare_directory(path.parent)
    _remove_stale(path)
    with ExitStack() as on_failure:
        link = on_failure.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        # Before bind(), so that the file never has another mode.
        os.fchmod(link.fileno(), 0o600)
        link.bind(os.fsencode(path))
        link.listen(_BACKLOG)
        on_failure.pop_all()
        return path.stat().st_ino, trio.SocketListener(trio.socket.from_stdlib_socket(link))


def _remove(path: Path, inode: int) -> None:
    with suppress(FileNotFoundError):
        if path.stat().st_ino == inode:  # and not another daemon's
            path.unlink()


def _prepare_directory(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise Denied(f"{directory} has to belong to this user and be closed to all others (chmod 700)")


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Conflict(f"{path} is there already and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(os.fsencode(path)) != errno.ECONNREFUSED:
            raise Conflict(f"a daemon answers at {path}")
    path.unlink()


async def serve_listeners(listeners: Sequence[Listener], peers: trio.Nursery, serve_stream: ServeStream) -> None:
    """Accept for ever; each stream is served by a task in ``peers``, and closed when that ends.

    What goes wrong with one stream is logged and ends that stream only.
    """
    await trio.serve_listeners(partial(_serve, serve_stream), [*listeners], handler_nursery=peers)


async def _serve(serve_stream: ServeStream, stream: trio.abc.Stream) -> None:
    try:
        await serve_stream(stream)
    except Exception:  # noqa: BLE001 – one client's trouble must not end the others
        _log.exception("a client's task failed")
    finally:
        await trio.aclose_forcefully(stream)


def url_of(listener: Listener) -> str:
    """Return the address of a TCP listener as a client takes it, such as ``ws://127.0.0.1:3044``."""
    scheme = "ws"
    if isinstance(listener, trio.SSLListener):
        scheme, listener = "wss", cast("trio.SSLListener[trio.SocketStream]", listener).transport_listener
    assert isinstance(listener, trio.SocketListener)
    host, port = listener.socket.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
