"""Who is at the other end of a stream: the kernel is asked, before a byte of the request is read (SPEC 6.6).

A Unix socket knows its peer (SO_PEERCRED). For TCP over loopback, the kernel's socket table has a row for
the peer's own socket, too, and that row names its owner. Commands run as the daemon's user, and those that share
the machine's network can reach its port: they are told by being descended from the daemon.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import trio

from plurnk.server.websocket import Vanished

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

_ESTABLISHED: Final = "01"

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
End: TypeAlias = tuple[Address, int]
"""One end of a TCP link: address and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """``uid`` owns the other end, None when that cannot be known; ``own`` is our address that was called, None
    on a Unix socket. ``is_command``: the daemon itself has started it, or that cannot be ruled out.
    """

    uid: int | None
    own: Address | None
    is_command: bool = False

    @property
    def is_local(self) -> bool:
        return self.own is None or self.own.is_loopback


async def identify(stream: trio.abc.Stream, *, may_be_command: bool = False) -> Caller:
    """Find out who is at the other end of ``stream``, which a listener of ours accepted.

    ``may_be_command``: a command that shares the machine's network is live, so a caller over TCP may be one.

    Raises:
        Vanished: nobody is there any more.
    """
    link = _socket_of(stream)
    try:
        if link.family == socket.AF_UNIX:
            credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid, uid, _gid = struct.unpack("3i", credentials)
            return Caller(uid=uid, own=None, is_command=_is_descendant(pid))
        own, peer = _end(link.getsockname()), _end(link.getpeername())
        is_loopback = own[0].is_loopback
        # Who comes from another machine is none of our commands, and has no row here.
        may_be_command = may_be_command and (is_loopback or await trio.to_thread.run_sync(_is_here, peer, own))
        owner = await trio.to_thread.run_sync(_owner, peer, own) if is_loopback or may_be_command else None
        is_command = may_be_command and not await trio.to_thread.run_sync(_is_held_elsewhere, owner)
        # Had the peer reset the link meanwhile, its port and the row could have become another's.
        link.getpeername()
    except OSError as error:
        raise Vanished from error
    return Caller(uid=owner.uid if owner and is_loopback else None, own=own[0], is_command=is_command)


def _socket_of(stream: trio.abc.Stream) -> trio.socket.SocketType:
    if isinstance(stream, trio.SSLStream):
        stream = cast("trio.SSLStream[trio.SocketStream]", stream).transport_stream
    assert isinstance(stream, trio.SocketStream)
    return stream.socket


def _end(name: tuple[Any, ...]) -> End:
    return read_address(name[0].partition("%")[0]), name[1]


def read_address(text: str) -> Address:
    """Read an IP address; an IPv4 one in IPv6 clothes is an IPv4 one.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a socket is, and which."""

    uid: int
    inode: int


def _owner(peer: End, own: End) -> Owner | None:
    """Look the other end up in the kernel's tables. Blocking: 1.4 ms with 600 sockets open."""
    # Twice: the kernel hands a table out in pieces, and a row may move from an unread piece to a read one.
    for table in _TABLES * 2:
        with suppress(FileNotFoundError):  # a machine without IPv6
            owner = owner_in(table.read_text("ascii"), peer, own)
            if owner is not None:
                return owner
    return None


def _is_here(peer: End, own: End) -> bool:
    """Tell whether the other end is a socket of this machine, in whatever state. Blocking, as ``_owner``."""
    for table in _TABLES * 2:
        with suppress(FileNotFoundError):
            text = table.read_text("ascii")
            if any(ends in text for ends in _ends(peer, own)):
                return True
    return False


def owner_in(table: str, peer: End, own: End) -> Owner | None:
    """Return what is said in the row of the socket at ``peer`` that is linked to ``own``.

    Only an established link with an inode counts. A socket that its process has closed is shown as root's,
    and who sends a request and closes at once would pass for root.
    """
    for ends in _ends(peer, own):
        _, found, rest = table.partition(f"{ends}{_ESTABLISHED} ")
        if found:
            _queues, _timer, _retransmits, uid, _timeout, inode = rest.split(maxsplit=6)[:6]
            return None if inode == "0" else Owner(int(uid), int(inode))
    return None


def _is_held_elsewhere(owner: Owner | None) -> bool:
    """Tell whether a process that the daemon has not started has the socket. Blocking: reads all of /proc.

    It must be found: a command might have it under way to itself, where nobody sees it.
    """
    if owner is None:
        return False
    wanted = f"socket:[{owner.inode}]"
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # gone, or another user's
                links = (os.readlink(fd) for fd in (process / "fd").iterdir())  # noqa: PTH115 – no path
                if wanted in links and not _is_descendant(int(process.name)):
                    return True
    return False


def _is_descendant(pid: int) -> bool:
    """Tell whether we have started the process, or one that has started it, and so on; or it is gone.

    No command can leave that line: orphans go to the first process of their PID namespace, or to a subreaper.
    """
    own = os.getpid()
    while pid > 1 and pid != own:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        except OSError:
            return True
        pid = int(stat.rpartition(")")[2].split()[1])
        if pid == own:
            return True
    return False


def _ends(peer: End, own: End) -> Iterator[str]:
    """Yield the ways in which the row may read from its local address to its state."""
    yield f" {_hex(peer)} {_hex(own)} "
    if peer[0].version == 4 and own[0].version == 4:
        yield f" {_hex(_in_ipv6(peer))} {_hex(_in_ipv6(own))} "


def _in_ipv6(end: End) -> End:
    return ipaddress.IPv6Address(f"::ffff:{end[0]}"), end[1]


def _hex(end: End) -> str:
    """Write an address as the kernel does: as 32-bit words in the byte order of the machine."""
    packed = end[0].packed
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{end[1]:04X}"
