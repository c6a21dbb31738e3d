"""A run's driver: takes the run's loops one after the other, and ends each with a terminal row (SPEC 3.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
import trio

from plurnk.engine.asked import Suspended
from plurnk.engine.dispatch import Asker
from plurnk.engine.models import Models
from plurnk.engine.packets import ContextExceeded
from plurnk.engine.turn import run_turn
from plurnk.engine.waiting import Bell, Wait, has_settled, is_over
from plurnk.engine.workshop import Job, Workshop
from plurnk.errors import Malformed, NotFound, OutOfRoom, TookTooLong, Unsupported, UpstreamFailed
from plurnk.rules import rails
from plurnk.rules.context import read_limit_chars
from plurnk.rules.rails import Rails
from plurnk.store import conclusions, log, loops, sessions, turns
from plurnk.store.database import StoreFailed, Tx
from plurnk.store.loops import Loop
from plurnk.store.query import Snapshot
from plurnk.wire.params import LoopFlags

T = TypeVar("T")

logger = logging.getLogger(__name__)

TERMINAL_ROW_LIMIT_S: float = 5.0
STREAMS_END_LIMIT_S: float = 5.0
"""How long the streams of a loop may take to be concluded, beyond the kill grace of their processes."""

RETRY_S: float = 0.5


@dataclass(frozen=True, slots=True)
class Ending:
    """How a loop ended (SPEC 3.1). ``reason`` None: as it should; ``error`` says what it does not tell."""

    status: int
    reason: str | None = None
    error: str | None = None


DONE = Ending(200)
CANCELLED = Ending(499, "cancelled")
TIMEOUT = Ending(504, "timeout")
STRUCK_OUT = Ending(499, "strike_threshold")
_BY_TURN_STATUS = {200: DONE, 499: Ending(499, "external")}


class Driver:
    """The one task that runs a run's loops. Its scope is the live loop's: ``cancel`` ends that loop only."""

    def __init__(self, shop: Workshop, models: Models, run_id: int, *, draining: Callable[[], bool]) -> None:
        self._shop = shop
        self._models = models
        self._run_id = run_id
        self._draining = draining
        self._work_came = False
        self._bell = Bell()
        self._concluded = False
        self._to_cancel: int | None = None
        self._live: tuple[int, trio.CancelScope] | None = None

    def poke(self) -> None:
        """Say that there is work. It is looked for after this, even if the driver was about to end or waits."""
        self._work_came = True
        self._bell.ring()

    def hear_conclusion(self) -> None:
        """Say that a stream of the run has concluded; a loop that waits for that goes on."""
        self._concluded = True
        self._bell.ring()

    def cancel(self, loop_id: int, reason: str) -> None:
        """End a loop that the driver has, or is just about to have."""
        self._to_cancel = loop_id
        if self._live is not None and self._live[0] == loop_id:
            self._live[1].cancel(reason=reason)

    def stop(self) -> None:
        """End whatever loop the driver has; for a daemon that stops, when ``draining`` says so too."""
        if self._live is not None:
            self._live[1].cancel(reason="the daemon stops")

    async def drive(self) -> None:
        """Run loops until none is queued. The caller forgets the driver with no checkpoint in between."""
        while not self._draining():
            self._work_came = False
            loop = await self._persist(lambda tx: loops.claim(tx, self._run_id))
            if loop is not None:
                await self._run(loop)
            elif not self._work_came:
                return

    async def _run(self, loop: Loop) -> None:
        """Run one loop. However this ends, the loop has its terminal row and the row is announced.

        Unless it ended as it should, its streams are ended before that. Only a loop that waits for a person when the
        daemon stops stays as it is, for the next start to resume.
        """
        ending: Ending | None = CANCELLED
        concluded = False
        with trio.CancelScope() as scope:
            self._live = (loop.id, scope)
            if loop.id == self._to_cancel:
                scope.cancel(reason="cancelled before it began")
            try:
                ending = await self._turns(loop)
            except Suspended:
                logger.info("loop %d waits for an answer, and goes on with the next start", loop.id)
                ending = None
            except ContextExceeded as error:
                logger.warning("loop %d: %s", loop.id, error.detail)
                ending = Ending(413, "context_exceeded", error.detail)
            except (UpstreamFailed, Malformed, Unsupported) as error:
                # The last two: an alias or provider that was there when the loop was queued is gone.
                logger.warning("loop %d: %s", loop.id, error.detail)
                ending = Ending(500, "provider_error", error.detail)
            except (OutOfRoom, StoreFailed, TookTooLong) as error:
                # Of the database; what an op of the turn met with is in its row.
                logger.error("loop %d: %s", loop.id, error.detail)  # noqa: TRY400 – its message says all
                ending = Ending(500, "internal_error", error.detail)
            except Exception:
                logger.exception("loop %d failed", loop.id)
                ending = Ending(500, "internal_error")
            finally:
                self._live = None
                if ending is not None:
                    # Shield: nothing that a loop started outlives its end by force (SPEC 3.2), whatever ended it.
                    with trio.move_on_after(self._shop.limits.kill_grace_s + STREAMS_END_LIMIT_S, shield=True):
                        await self._end_streams(loop.id, ending)
                    # Shield: a cancelled loop must still end with a row (SPEC 3.1); the write is one local commit.
                    with trio.move_on_after(TERMINAL_ROW_LIMIT_S, shield=True):
                        await self._persist(partial(self._end, loop.id, ending))
                        concluded = True
        if ending is not None and not concluded:
            # The disk is full for longer than that; nobody cancels us, so there is time.
            await self._persist(partial(self._end, loop.id, ending))
        self._shop.dispatcher.drop_proposals(loop.id)

    async def _end_streams(self, loop_id: int, ending: Ending) -> None:
        """End what the loop started, unless it ended as it should; when this returns, its processes are gone."""
        if ending != DONE:
            stops = ending == CANCELLED and self._draining()
            reason = "shutdown" if stops else f"its loop ended ({ending.reason})"
            await self._shop.streams.cancel_loop(loop_id, reason=reason)

    def _end(self, loop_id: int, ending: Ending, tx: Tx) -> None:
        turns.close_open(tx, loop_id, ending.status, ending.reason)
        log.abandon_of_loop(tx, loop_id)
        with suppress(NotFound):  # its session was deleted meanwhile
            ended = loops.end(tx, loop_id, ending.status, ending.reason, error=ending.error)
            if ended and ending == DONE:
                conclusions.wake_untold(tx, self._run_id, self._shop.streams.wake_rules)

    async def _persist(self, unit: Callable[[Tx], T]) -> T:
        """Write ``unit``; while the disk is full or fails, try again: a run must not stop for that."""
        while True:
            try:
                return await self._shop.store.write(unit)
            except (OutOfRoom, StoreFailed) as error:
                logger.error("run %d: %s; trying again", self._run_id, error.detail)  # noqa: TRY400 – its message says all
                await trio.sleep(RETRY_S)

    async def _turns(self, loop: Loop) -> Ending:
        deadline = own_deadline = trio.current_time() + self._shop.limits.loop_timeout_s
        provider = await self._models.provider(loop.alias)
        session = await self._shop.store.read(lambda db: sessions.get(db, loop.session_id))
        flags = msgspec.json.decode(loop.flags, type=LoopFlags)
        asker = Asker(
            origin="model",
            flags=flags,
            project_root=session.project_root,
            read_max_chars=read_limit_chars(provider.context_size, self._shop.limits.read_max_chars),
        )
        job = Job(loop, provider, asker)
        over = await self._shop.store.read(partial(_over, loop.id, self._shop.limits.rails))
        if over is not None:
            return over
        done = await self._shop.store.read(lambda db: loops.turns_of(db, loop.id))
        # What waited for an answer when the daemon was stopped is answered before the loop goes on.
        await self._shop.dispatcher.take_up(loop, asker)
        deadline = own_deadline + asker.patience.waited_s
        while not self._draining():
            if done >= loop.max_turns:
                return Ending(499, "max_turns")
            if trio.current_time() >= deadline:
                return TIMEOUT
            ended = await run_turn(self._shop, job)
            done += 1
            deadline = own_deadline + asker.patience.waited_s
            if ended.status in _BY_TURN_STATUS:
                return _BY_TURN_STATUS[ended.status]
            if ended.strikes_out:
                return STRUCK_OUT
            if done < loop.max_turns:
                with trio.move_on_at(deadline):
                    await self._wait(loop, ended.wait)
        return CANCELLED

    async def _wait(self, loop: Loop, wait: Wait) -> None:
        """Settle, then park, if the turn wants it; return when it is time for the next one, or the daemon stops."""
        if wait.settles:
            with trio.move_on_after(self._shop.limits.settle_s):
                await self._bell.look_until(lambda: self._look(lambda tx: has_settled(tx.db, wait.turn_id, loop.id)))
        if wait.parks:
            self._concluded = False  # what concluded before is told by the store
            with trio.move_on_after(self._shop.limits.park_s):
                await self._bell.look_until(
                    lambda: self._look(lambda tx: self._concluded or is_over(tx.db, loop.run_id, loop.id))
                )

    async def _look(self, goes_on: Callable[[Tx], bool]) -> bool:
        """Look in the store, unless the daemon stops.

        As a write, so after everything that was submitted before: a prompt whose sender was cut off, too.
        """
        return self._draining() or await self._persist(goes_on)


def _over(loop_id: int, limits: Rails, db: Snapshot) -> Ending | None:
    """How the loop's last turn has ended it, if it has: the daemon may have been killed before the loop's own end."""
    status, reason = turns.last_end(db, loop_id)
    if reason is not None:  # the turn was cut off
        return None
    struck_out = rails.judge(turns.marks(db, loop_id, last=limits.span_turns), limits).is_over
    return _BY_TURN_STATUS.get(status, STRUCK_OUT if struck_out else None)
