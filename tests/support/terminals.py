"""A command at a terminal of its own: what it shows can be waited for, and answered."""

from __future__ import annotations

import codecs
import os
import pty
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from tests.support.home import END_S, Home

_ORDERS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Standard input and standard error are the terminal; standard output is read apart, as a pipe's."""

    def __init__(self, process: trio.Process, end: trio.lowlevel.FdStream) -> None:
        self.process = process
        self._end = end
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._seen = ""

    @property
    def raw(self) -> str:
        """What was shown so far, as it came."""
        return self._seen

    @property
    def text(self) -> str:
        """What was shown so far, without colours and the like."""
        return _ORDERS.sub("", self._seen).replace("\r\n", "\n")

    async def see(self, wanted: str, times: int = 1) -> None:
        """Wait until it has been shown so often."""
        with trio.move_on_after(END_S):
            while self.text.count(wanted) < times:
                self._seen += self._decoder.decode(await self._end.receive_some())
            return
        raise AssertionError(f"{wanted!r} was not shown in {self.text!r}")

    async def type(self, line: str) -> None:
        await self.press(f"{line}\n")

    async def press(self, keys: str) -> None:
        await self._end.send_all(keys.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def end(self) -> tuple[int, str]:
        """Wait for its exit code, and return that with what it wrote to standard output."""
        assert self.process.stdout is not None
        written = b""
        with trio.fail_after(END_S):
            async for piece in self.process.stdout:
                written += piece
            code = await self.process.wait()
            with suppress(OSError, trio.BrokenResourceError):  # EIO: the other end is closed
                while piece := await self._end.receive_some():
                    self._seen += self._decoder.decode(piece)
        return code, written.decode()


@asynccontextmanager
async def at_a_terminal(home: Home, *arguments: str, **variables: str) -> AsyncIterator[Terminal]:
    """``plurnk`` with these arguments at a terminal; killed, if need be, when the block is left."""
    ours, theirs = pty.openpty()
    try:
        process = await trio.lowlevel.open_process(
            home.command(*arguments),
            env={**home.env, "TERM": "xterm-256color", **variables},
            cwd=home.work,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    async with trio.lowlevel.FdStream(ours) as end:
        try:
            yield Terminal(process, end)
        finally:
            if process.poll() is None:
                process.kill()
            assert process.stdout is not None
            # Shield: whatever ended the test, no child is left behind.
            with trio.move_on_after(END_S, shield=True):
                await process.stdout.aclose()
                await process.wait()
