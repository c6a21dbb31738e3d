"""A command as the work of a stream: its output goes into channels until nothing of its tree is left (SPEC 4.3)."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from trio.lowlevel import FdStream

from plurnk.errors import PlurnkError
from plurnk.plugins.streaming import Conclusion, Feed
from plurnk.store.subscriptions import DONE, FAILED
from plurnk.streams.stdin import Stdin, watch
from sandbox.process import KILL_LIMIT_S, Exit, Process

logger = logging.getLogger(__name__)

READ_BYTES: Final = 256 * 1024
"""Read at once, of each pipe, and not more before it is committed; so the pipe pushes back on who writes faster."""

TAIL_BYTES: Final = 4096
"""Of stderr, to see why a command failed."""

DRAIN_S: float = 0.5
"""How long a pipe may be silent after the tree has ended before it is given up."""
DRAIN_LIMIT_S: float = 5.0
"""How long pipes may go on talking after that: somebody who was handed one still writes."""
END_SLACK_S: float = KILL_LIMIT_S + DRAIN_LIMIT_S

TIMED_OUT, NO_MEMORY = 504, 507

Explain = Callable[[bytes], str | None]
"""Given the end of stderr of a command that failed: what there is to say about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a command may take (None: as long as it likes), and how long it has to end when told to."""

    timeout_s: float | None
    kill_grace_s: float
    explain: Explain | None = None


class _Pump:
    """Moves one pipe into one channel. Its ``run`` may be cancelled and run again: nothing is lost in between."""

    def __init__(self, pipe: FdStream, feed: Feed, channel: str, heard: Callable[[], None]) -> None:
        self._pipe = pipe
        self._feed = feed
        self._channel = channel
        self._heard = heard
        self._is_full = False
        self._ends: deque[bytes] = deque()
        self.ended = trio.Event()
        self.moved_at = trio.current_time()

    async def run(self) -> None:
        """Pump until the pipe ends.

        Raises:
            PlurnkError: what came cannot be written. Run again, it is read all the same, so that who writes can end.
        """
        while not self.ended.is_set():
            try:
                data = await self._pipe.receive_some(READ_BYTES)
            except trio.BrokenResourceError:
                data = b""
            self.moved_at = trio.current_time()
            if not data:
                self.ended.set()
            elif not self._is_full:
                self._heard()
                self._remember(data)
                try:
                    await self._feed.append(self._channel, data)
                except PlurnkError:
                    self._is_full = True
                    raise
                self.moved_at = trio.current_time()

    def _remember(self, data: bytes) -> None:
        self._ends.append(data[-TAIL_BYTES:])
        while sum(map(len, self._ends)) - len(self._ends[0]) >= TAIL_BYTES:
            self._ends.popleft()

    def tail(self) -> bytes:
        return b"".join(self._ends)[-TAIL_BYTES:]


async def run_process(process: Process, feed: Feed, terms: Terms) -> Conclusion:
    """Pump until the command's own process has ended, and nothing of its tree is left.

    Raises:
        PlurnkError: its output cannot be written; the tree has been ended.

    Cancelled: the tree has been ended, and what it wrote meanwhile is in the channels.
    """
    stdin = Stdin(process.stdin, feed)
    stdout, stderr = (
        _Pump(process.stdout, feed, "stdout", stdin.stir),
        _Pump(process.stderr, feed, "stderr", stdin.stir),
    )
    feed.take_from(stdin)
    try:
        async with trio.open_nursery() as around:
            around.start_soon(watch, stdin, process, feed)
            end = await _pump_to_the_end(process, (stdout, stderr), terms)
            around.cancel_scope.cancel(reason="the command has ended")
    except BaseException:
        # Shield: whatever ends the stream, nothing of the tree outlives it, and what it still says is kept (SPEC 4.4).
        with trio.move_on_after(terms.kill_grace_s + END_SLACK_S, shield=True):
            await _end(process, (stdout, stderr), terms.kill_grace_s)
        raise
    finally:
        stdin.end()
    return conclusion(end, terms, stderr=stderr.tail())


async def _pump_to_the_end(process: Process, pumps: Sequence[_Pump], terms: Terms) -> Exit | None:
    """Pump until the command has ended, or has been ended as its time was up: None."""
    end: Exit | None = None
    async with trio.open_nursery() as pumping:
        for pump in pumps:
            pumping.start_soon(pump.run)
        with trio.move_on_after(math.inf if terms.timeout_s is None else terms.timeout_s):
            end = await process.wait()
        if end is None:
            await process.end(terms.kill_grace_s)
        await _drain(pumps)
        pumping.cancel_scope.cancel(reason="the command has ended")
    return end


async def _end(process: Process, pumps: Sequence[_Pump], grace_s: float) -> None:
    """End the tree, and pump on meanwhile: what does not get rid of its output does not end."""
    async with trio.open_nursery() as pumping:
        for pump in pumps:
            pumping.start_soon(_pump_on, pump)
        await process.end(grace_s)
        await _drain(pumps)
        pumping.cancel_scope.cancel(reason="the command has ended")


async def _pump_on(pump: _Pump) -> None:
    while not pump.ended.is_set():
        try:
            await pump.run()
        except PlurnkError as error:
            logger.warning("the rest of what a command wrote is lost: %s", error.detail)


async def _drain(pumps: Sequence[_Pump]) -> None:
    """Wait for the ends of the pipes, or until they are silent: somebody outside of the tree may hold one."""
    begun = trio.current_time()
    for pump in pumps:
        while not pump.ended.is_set():
            moved_at = max(begun, *(other.moved_at for other in pumps))
            deadline = min(begun + DRAIN_LIMIT_S, moved_at + DRAIN_S)
            if trio.current_time() >= deadline:
                return
            with trio.move_on_at(deadline):
                await pump.ended.wait()


def conclusion(end: Exit | None, terms: Terms, *, stderr: bytes) -> Conclusion:
    """How a command's stream ends that was not cancelled (SPEC 4.4); ``end`` None: its time was up."""
    if end is None:
        return Conclusion(status=TIMED_OUT, detail=f"it had {terms.timeout_s:g} s")
    if end.out_of_memory:
        return Conclusion(status=NO_MEMORY, detail="it reached its memory limit", exit_code=end.code, signal=end.signal)
    if end.code == 0:
        return Conclusion(status=DONE, exit_code=0)
    detail = None if terms.explain is None else terms.explain(stderr)
    return Conclusion(status=FAILED, detail=detail, exit_code=end.code, signal=end.signal)
