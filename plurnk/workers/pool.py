"""The workers as the daemon sees them: ask, and wait for the answer or stop waiting."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import msgspec
import trio
from trio.lowlevel import FdStream

from plurnk.errors import Draining, PlurnkError, TookTooLong
from plurnk.workers.tasks import ERRORS, LENGTH_BYTES, OUT_OF_TIME, Done, Failed, Refused, Request, Task

logger = logging.getLogger(__name__)

T = TypeVar("T")

WORKERS: Final = 4
"""More than there often are cores: whoever waits behind patterns that burn loses of its own time."""

REAP_LIMIT_S: Final = 5.0
"""A killed process is gone at once, unless the kernel has to write out its memory or waits for a disk."""

MAX_ANSWER_BYTES: Final = 64 * 1024**2
"""Far above every answer: rows and previews are bounded by their tasks."""

PIECE_BYTES: Final = 64 * 1024
"""What is sent between two checkpoints: as much as a pipe holds."""


class WorkerFailed(PlurnkError):
    """A worker ended without an answer, or what it did raised something that is no ``PlurnkError``."""


@asynccontextmanager
async def open_workers(size: int = WORKERS) -> AsyncIterator[WorkerPool]:
    """Workers for the length of the block; each is started when it is first needed.

    On the way out every worker is killed; who still waits for an answer gets ``Draining``.
    """
    pool = WorkerPool(size)
    try:
        yield pool
    finally:
        # Shield: no process is left behind, whatever ended the block.
        with trio.move_on_after(REAP_LIMIT_S, shield=True) as reaping:
            await pool.close()
        if reaping.cancelled_caught:
            logger.error("workers that were killed are not gone after %g s", REAP_LIMIT_S)


class WorkerPool:
    """At most ``size`` processes, kept and used again. Made by ``open_workers``."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._places = trio.CapacityLimiter(size)
        self._idle: list[_Worker] = []
        self._working: set[_Worker] = set()
        self._closed = False

    async def ask(self, task: Task[T]) -> T:
        """Have ``task`` done by the next worker that is free; who came first is served first.

        Raises:
            PlurnkError: what the task raised, as the same class with the same detail.
            TookTooLong: it took longer than the task's limit.
            TooLarge: it needs too much memory.
            WorkerFailed: its process crashed, or it raised something else.
            Draining: the workers are being closed.

        Cancelled: the process that worked on it is killed and reaped.
        """
        async with self._places:
            self._check_open()
            worker = self._rested() or await _start()
            self._working.add(worker)
            kept = False
            try:
                self._check_open()  # it may have been closed while the worker was started
                answer = await worker.ask(task)
                kept = not answer.spent and not self._closed
            except WorkerFailed:
                self._check_open()
                raise
            finally:
                self._working.discard(worker)
                if kept:
                    self._idle.append(worker)
                else:
                    # Shield: when ask is over, so is what was done for it.
                    with trio.move_on_after(REAP_LIMIT_S, shield=True):
                        await worker.end()
        match answer:
            case Done(value=value):
                return msgspec.msgpack.decode(value, type=task.answer_type)  # type: ignore[no-any-return]
            case Refused(kind=kind, detail=detail):
                raise ERRORS[kind](detail)
            case Failed(detail=detail):
                raise WorkerFailed(detail)

    def _check_open(self) -> None:
        if self._closed:
            raise Draining("the daemon is stopping")

    def _rested(self) -> _Worker | None:
        """An idle worker that is alive, the one that worked last first; None: there is none."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive():
                return worker
            worker.close_pipes()
        return None

    async def close(self) -> None:
        """Kill every worker and wait until they are gone. Whoever asks is refused from here on."""
        self._closed = True
        for worker in (*self._working, *self._idle):
            worker.kill()
        for worker in self._idle:
            await worker.end()
        self._idle.clear()
        # A place is given back when its worker is reaped. Afterwards they are free for those who are to be refused.
        for place in range(self._size):
            await self._places.acquire_on_behalf_of(place)
        for place in range(self._size):
            self._places.release_on_behalf_of(place)


class _Worker:
    """One process and the pipes to it. Used by one task at a time."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        assert isinstance(process.stdin, FdStream)
        assert isinstance(process.stdout, FdStream)
        self._requests = process.stdin
        self._answers = process.stdout
        self._killed = False

    async def ask(self, task: Task[T]) -> Done | Refused | Failed:
        """Send the task, receive the answer.

        Raises:
            TookTooLong: the process ended itself.
            WorkerFailed: it ended otherwise.

        Cancelled: the process can only be killed.
        """
        try:
            await self._send(task)
            return await self._receive()
        except (trio.BrokenResourceError, EOFError):
            ended = await self.end()  # it has ended, or closed its pipes; how it ended is not changed by this
        if -ended in OUT_OF_TIME:
            raise TookTooLong("it took longer than a worker may work")
        how = signal.Signals(-ended).name if ended < 0 else f"exit code {ended}"
        raise WorkerFailed(f"the worker ended with {how}")

    async def _send(self, task: Task[T]) -> None:
        contents = task.contents
        request = msgspec.msgpack.encode(
            Request(task=task.with_contents([b""] * len(contents)), sizes=tuple(map(len, contents)))  # type: ignore[arg-type]  # every Task is one of those
        )
        await self._requests.send_all(len(request).to_bytes(LENGTH_BYTES, "big") + request)
        for piece in _pieces(contents):
            await self._requests.send_all(piece)

    async def _receive(self) -> Done | Refused | Failed:
        data = bytearray()
        length = LENGTH_BYTES
        while len(data) < length:
            piece = await self._answers.receive_some()
            if not piece:
                raise EOFError
            data += piece
            if length == LENGTH_BYTES and len(data) >= LENGTH_BYTES:
                length += int.from_bytes(data[:LENGTH_BYTES], "big")
                if length > MAX_ANSWER_BYTES:
                    raise WorkerFailed(f"the worker wants to answer with {length} bytes")
        return msgspec.msgpack.decode(memoryview(data)[LENGTH_BYTES:], type=Done | Refused | Failed)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process and all that it has started: it leads a group of its own."""
        if not self._killed:
            self._killed = True  # once, and before it is waited for: then its number may be another's
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close_pipes(self) -> None:
        self._requests.close()
        self._answers.close()

    async def end(self) -> int:
        """Kill the process, and wait until it is gone; how it ended.

        Cancelled: to be called again.
        """
        self.kill()
        self.close_pipes()
        return await self._process.wait()


def _pieces(contents: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """``contents`` one after the other: short ones together, as each piece that is sent costs time, long ones cut."""
    short: list[bytes] = []
    size_bytes = 0
    for content in contents:
        if size_bytes + len(content) > PIECE_BYTES:
            yield b"".join(short)
            short, size_bytes = [], 0
        if len(content) <= PIECE_BYTES:
            short.append(content)
            size_bytes += len(content)
        else:
            with memoryview(content) as view:
                for start in range(0, len(view), PIECE_BYTES):
                    yield view[start : start + PIECE_BYTES]
    yield b"".join(short)


async def _start() -> _Worker:
    """Start a worker: in a session of its own, which no Ctrl-C reaches, and with nothing of ours to see.

    Raises:
        WorkerFailed: the system does not let us.
    """
    # -P and the folder: what a project calls plurnk is not imported.
    command = [sys.executable, "-P", "-m", "plurnk.workers.process"]
    try:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(os.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerFailed(f"no worker can be started: {error}") from error
    return _Worker(process)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What Python needs to start and to find plurnk: no keys, no tokens."""
    env = {
        name: value
        for name, value in ours.items()
        if name in {"PATH", "LD_LIBRARY_PATH", "LANG", "VIRTUAL_ENV"} or name.startswith(("PYTHON", "LC_"))
    }
    if "PYTHONPATH" in env:
        # Its relative folders are meant from ours.
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
    return env
