"""Commands as real processes with no sandbox: a ``sandbox.process.Process`` whose tree is a process group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
from trio.lowlevel import FdStream

from plurnk.plugins.streaming import Conclusion, Feed, Work
from plurnk.streams.process import Terms, run_process
from sandbox.process import Exit
from tests.support import processes

GRACE_S = 0.3


class Bare:
    """A process and whoever stays in its group; who leaves it is out of reach."""

    def __init__(self, *argv: str) -> None:
        child_in, stdin = os.pipe()
        stdout, child_out = os.pipe()
        stderr, child_err = os.pipe()
        self._popen = subprocess.Popen(argv, stdin=child_in, stdout=child_out, stderr=child_err, start_new_session=True)
        for fd in (child_in, child_out, child_err):
            os.close(fd)
        self._pidfd = os.pidfd_open(self._popen.pid)
        self.stdin, self.stdout, self.stderr = FdStream(stdin), FdStream(stdout), FdStream(stderr)
        self.ends = 0

    @property
    def pid(self) -> int:
        return self._popen.pid

    def pids(self) -> tuple[int, ...]:
        return tuple(pid for pid in (self.pid, *processes.children(self.pid)) if not processes.is_ended(pid))

    async def wait(self) -> Exit:
        await trio.lowlevel.wait_readable(self._pidfd)
        return self._exit()

    async def end(self, grace_s: float) -> Exit:
        self.ends += 1
        self._signal(signal.SIGTERM)
        with trio.move_on_after(grace_s):
            return await self.wait()
        self._signal(signal.SIGKILL)
        return await self.wait()

    def _exit(self) -> Exit:
        code = self._popen.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return Exit(code=code) if code >= 0 else Exit(code=128 - code, signal=signal.Signals(-code).name)

    def _signal(self, number: int) -> None:
        if self._popen.poll() is None:
            os.killpg(self.pid, number)

    def close(self) -> None:
        if self._popen.poll() is None:
            self._signal(signal.SIGKILL)
            self._popen.wait()
        os.close(self._pidfd)
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()


@asynccontextmanager
async def open_bare(*argv: str) -> AsyncIterator[Bare]:
    await trio.lowlevel.checkpoint()
    process = Bare(*argv)
    try:
        yield process
    finally:
        process.close()


def work(
    *argv: str,
    timeout_s: float | None = None,
    grace_s: float = GRACE_S,
    begun: Callable[[Bare], object] = lambda _process: None,
) -> Work:
    """What the stream of a command does."""
    return partial(_work, argv, Terms(timeout_s=timeout_s, kill_grace_s=grace_s), begun)


async def _work(argv: tuple[str, ...], terms: Terms, begun: Callable[[Bare], object], feed: Feed) -> Conclusion:
    async with open_bare(*argv) as process:
        begun(process)
        return await run_process(process, feed, terms)
