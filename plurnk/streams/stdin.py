"""A command's stdin: what is sent to it, and whether it waits for that (SPEC 4.3)."""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path
from typing import Final

import trio
from trio.lowlevel import FdStream

from plurnk.errors import Conflict
from plurnk.plugins.streaming import Feed
from sandbox.process import Process

CHANNEL: Final = "stdin"
SEND_LIMIT_S: float = 5.0
"""How long a write waits for a process that does not read."""

PIECE_BYTES: Final = 64 * 1024
"""Written at once, and then in the channel: what a pipe usually holds."""

LOOK_EVERY_S: float = 0.5
LOOK_SELDOM_S: float = 4.0
"""Between two looks at a command of which nothing is heard: hundreds of such may live, for days."""
AWAITS_AFTER_S: float = 2.0
"""A process that has been blocked reading for so long waits for input."""

_READ: Final = {"x86_64": 0, "aarch64": 63}.get(platform.machine())
"""The number of read(2); None: not known here, so nothing is ever said to wait."""


class Stdin:
    """The inlet of a command's stream (``plugins.streaming.Inlet``)."""

    def __init__(self, pipe: FdStream, feed: Feed) -> None:
        self._pipe = pipe
        self._feed = feed
        self._order = trio.Lock()
        self.stirred = trio.Event()
        """Something was sent, or heard: the command may soon wait for input, or not any more."""
        self.is_closed = False
        self.sent = 0
        """How many bytes the pipe has taken in all."""

    async def send(self, data: bytes) -> int:
        """As ``Inlet`` says. What is taken is in the channel ``stdin``; less than all is taken after SEND_LIMIT_S."""
        taken = 0
        with trio.move_on_after(SEND_LIMIT_S):
            async with self._order:
                self._check_open()
                while taken < len(data):
                    piece = data[taken : taken + PIECE_BYTES]
                    # Counted before it is in the channel: it is taken, though the time may be up meanwhile.
                    wrote = self._write(piece)
                    taken += wrote
                    if wrote:
                        await self._feed.append(CHANNEL, piece[:wrote])
                    else:
                        await self._writable()
        return taken

    def _check_open(self) -> None:
        if self.is_closed:
            raise Conflict("its stdin is closed")

    def _write(self, piece: bytes) -> int:
        """Write what the pipe has room for; returns how much that was.

        Raises:
            Conflict: nobody will read it.
        """
        self._check_open()
        try:
            wrote = os.write(self._pipe.fileno(), piece)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise Conflict("it reads its stdin no more") from None
        self.sent += wrote
        self.stir()
        return wrote

    def stir(self) -> None:
        self.stirred.set()

    async def _writable(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._pipe.fileno())
        except trio.ClosedResourceError:
            raise Conflict("its stdin was closed") from None

    async def close(self) -> None:
        """As ``Inlet`` says. Waits for what is being sent, but not for long."""
        with trio.move_on_after(SEND_LIMIT_S):
            async with self._order:
                pass
        self.end()

    def end(self) -> None:
        """Close it at once; what is being sent is not sent."""
        self.is_closed = True
        self._pipe.close()


async def watch(stdin: Stdin, process: Process, feed: Feed) -> None:
    """Have ``feed`` say when a process of the tree waits for input, and when none does any more. Ends with the input.

    Only what blocks in read(2) on the pipe is seen. A program that waits in poll(2) may wait for something else.
    Who asks says so first, as a rule; a command that goes on saying nothing is looked at less and less often.
    """
    pipe = os.fstat(process.stdin.fileno())
    since: dict[tuple[int, str], float] = {}
    sent = stdin.sent
    pause_s = LOOK_EVERY_S
    while _READ is not None:
        await trio.sleep(LOOK_EVERY_S)
        with trio.move_on_after(pause_s - LOOK_EVERY_S):
            await stdin.stirred.wait()
        is_silent, stdin.stirred = not stdin.stirred.is_set(), trio.Event()
        if stdin.is_closed:
            break
        # On a thread: there may be hundreds of processes, and two files of each to be looked at.
        reading = await trio.to_thread.run_sync(_blocked_readers, process, pipe, abandon_on_cancel=True)
        now = trio.current_time()
        if stdin.sent != sent:
            since, sent = {}, stdin.sent
        since = {reader: since.get(reader, now) for reader in reading}
        waits = [now - began >= AWAITS_AFTER_S for began in since.values()]
        pause_s = min(2 * pause_s, LOOK_SELDOM_S) if is_silent and all(waits) else LOOK_EVERY_S
        try:
            await feed.awaits_input(any(waits))
        except Conflict:
            break


def _blocked_readers(process: Process, pipe: os.stat_result) -> list[tuple[int, str]]:
    """Its processes that are blocked in a read of their stdin, which is ``pipe``; each with its call."""
    return [(pid, call) for pid in process.pids() if (call := _blocked_read(Path(f"/proc/{pid}"), pipe)) is not None]


def _blocked_read(process: Path, pipe: os.stat_result) -> str | None:
    """The system call in which the process is blocked, with its arguments, if it reads ``pipe`` as its stdin."""
    try:
        call = (process / "syscall").read_text("ascii")
        if call.split()[:2] != [str(_READ), "0x0"]:
            return None
        stdin = (process / "fd" / "0").stat()
    except OSError:  # it has ended, or is not ours to look at
        return None
    return call if stat.S_ISFIFO(stdin.st_mode) and os.path.samestat(stdin, pipe) else None
