"""The engine as the rest of the daemon sees it: prompts in, cancels in, loops run (SPEC 3.1)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import msgspec
import trio

from plurnk.engine.bus import Bus
from plurnk.engine.dispatch import Dispatcher
from plurnk.engine.driver import Driver
from plurnk.engine.file_tiles import FileTiles
from plurnk.engine.limits import Limits
from plurnk.engine.models import Models
from plurnk.engine.packets import PacketMaker, Papers
from plurnk.engine.previews import Previews
from plurnk.engine.proposals import Proposals
from plurnk.engine.workshop import Workshop
from plurnk.errors import Draining, OutOfRoom
from plurnk.plugins.api import Commands, EntryStorage, Scheme, Workers
from plurnk.schemes.disk import settle_all
from plurnk.store import loops, proposals, recovery, sessions
from plurnk.store.database import Store, StoreFailed, Tx
from plurnk.store.loops import Defaults, Loop, Submission, Submitted
from plurnk.streams.live import Streams
from plurnk.wire.notifications import LoopProposal, LoopTerminated, Notification, StreamConcluded
from plurnk.wire.params import LoopFlags

logger = logging.getLogger(__name__)

DEFAULT_FLAGS = msgspec.json.encode(LoopFlags()).decode()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel found: the live loop that was ended, if any, and queued ones that were dropped."""

    loop_id: int | None
    dropped: tuple[int, ...]


class _End:
    """The end of a loop, for one who waits for it: what was told of it, as the row may be gone by then."""

    def __init__(self) -> None:
        self._has_come = trio.Event()
        self._told: list[LoopTerminated] = []

    def come(self, told: LoopTerminated) -> None:
        self._told.append(told)
        self._has_come.set()

    async def wait(self) -> LoopTerminated:
        await self._has_come.wait()
        return self._told[0]


class Engine:
    """Runs and their drivers. Made by ``open_engine``, whose nursery owns the drivers."""

    def __init__(
        self,
        shop: Workshop,
        models: Models,
        schemes: Mapping[str, Scheme],
        *,
        streams: Streams,
        commands: Commands,
        proposals: Proposals,
        runs: trio.Nursery,
    ) -> None:
        self.store = shop.store
        self.streams = streams
        self.commands = commands
        self.proposals = proposals
        self.bus = shop.bus
        self.limits = shop.limits
        self.dispatcher = shop.dispatcher
        self.hidden = shop.dispatcher.hidden
        self.models = models
        self.schemes = schemes
        self._shop = shop
        self._runs = runs
        self._drivers: dict[int, Driver] = {}
        self._idle = trio.Event()
        self._draining = False
        self.started_at = trio.current_time()
        self._waiters: defaultdict[int, set[_End]] = defaultdict(set)
        self._defaults = Defaults(flags=DEFAULT_FLAGS, max_turns=shop.limits.max_turns, alias=models.active)
        shop.bus.tap(self._hear)

    # -- prompts

    async def submit(self, run_id: int, submission: Submission) -> Submitted:
        """Inject the prompt into the run's live loop, or queue a loop for it and see that it is driven.

        Raises:
            Draining: the daemon is stopping; nothing was taken.
            Malformed, Unsupported: no such model.
            NotFound: the run is there no more.

        Cancelled: the prompt may or may not have been taken; if it was, it is driven.
        """
        self.check_takes_work()
        await self.models.provider(submission.alias)
        try:
            return await self.store.write(lambda tx: _submit(tx, run_id, submission, self._defaults))
        finally:
            self.drive(run_id)

    def check_takes_work(self) -> None:
        """Raise Draining once the daemon is stopping: no prompt is taken then, and no command started."""
        if self._draining:
            raise Draining("the daemon is stopping")

    def drive(self, run_id: int) -> None:
        """See that the run has a driver that looks for work after this."""
        if self._draining:
            return
        driver = self._drivers.get(run_id)
        if driver is not None:
            driver.poke()
            return
        driver = self._drivers[run_id] = Driver(self._shop, self.models, run_id, draining=lambda: self._draining)
        self._runs.start_soon(self._drive, run_id, driver)

    async def _drive(self, run_id: int, driver: Driver) -> None:
        try:
            await driver.drive()
        finally:
            del self._drivers[run_id]
            if not self._drivers and self._draining:
                self._idle.set()

    async def loop_end(self, loop_id: int) -> Loop:
        """Wait until the loop's end is announced, and return it as it is then, even if its session is deleted at once.

        Raises:
            NotFound: there is no such loop.
        """
        # There before the look, so an end between the two is not missed.
        end = _End()
        self._waiters[loop_id].add(end)
        try:
            loop = await self.store.read(lambda db: loops.get(db, loop_id))
            if loop.status in (loops.QUEUED, loops.RUNNING):
                told = await end.wait()
                return replace(loop, status=told.final_status, reason=told.reason, error=told.error)
            # What is committed is seen before it is announced. This comes after that, even if it fails.
            with suppress(OutOfRoom, StoreFailed):
                await self.store.write(lambda _tx: None)
            return loop
        finally:
            self._waiters[loop_id].discard(end)
            if not self._waiters[loop_id]:
                del self._waiters[loop_id]

    def _hear(self, notification: Notification) -> None:
        if isinstance(notification, LoopProposal):
            self.proposals.tell(notification.log_entry_id)
        elif isinstance(notification, LoopTerminated):
            for end in self._waiters.get(notification.loop_id, ()):
                end.come(notification)
        elif isinstance(notification, StreamConcluded):
            driver = self._drivers.get(notification.run_id)
            if driver is not None:
                driver.hear_conclusion()
            if notification.wake_loop_id is not msgspec.UNSET:
                self.drive(notification.run_id)

    # -- cancelling

    async def cancel(
        self, run_id: int, reason: str, *, queued_too: bool = False, loop_id: int | None = None
    ) -> Cancelled:
        """End the run's live loop; with ``queued_too`` drop those that wait. Returns when it is announced.

        ``loop_id``: end that loop of the run, be it live or queued, and no other.
        Two cancels of the same loop, or one of a loop that just ended, are both answered.
        """
        dropped: list[int] = []
        if queued_too:
            dropped = await self.store.write(lambda tx: loops.drop_queued(tx, run_id, "cancelled"))
        loop = await self.store.read(lambda db: loops.live(db, run_id))
        if loop_id is not None and (loop is None or loop.id != loop_id or loop.status == loops.QUEUED):
            if await self.store.write(lambda tx: loops.drop(tx, run_id, loop_id, "cancelled")):
                return Cancelled(None, (loop_id,))
            # It may have come to be the live one between the two looks.
            loop = await self.store.read(lambda db: loops.live(db, run_id))
        if loop is None or loop_id not in (None, loop.id):
            return Cancelled(None, tuple(dropped))
        self.drive(run_id)  # whoever has queued it may not have come to that yet
        driver = self._drivers.get(run_id)
        if driver is None:  # the daemon stops, and the loop stays queued
            return Cancelled(None, tuple(dropped))
        driver.cancel(loop.id, reason)
        await self.loop_end(loop.id)
        return Cancelled(loop.id, tuple(dropped))

    async def cancel_runs(self, run_ids: list[int], reason: str) -> None:
        """End every loop of these runs, queued ones too, and every stream, before their session is deleted."""
        async with trio.open_nursery() as cancels:
            cancels.start_soon(self.proposals.abandon, run_ids)
            for run_id in run_ids:
                cancels.start_soon(self._cancel_run, run_id, reason)

    async def _cancel_run(self, run_id: int, reason: str) -> None:
        await self.cancel(run_id, reason, queued_too=True)
        while await self.streams.cancel_run(run_id, reason=reason):
            await self.cancel(run_id, reason, queued_too=True)
        # A stream that ended by itself just before may have opened a loop.
        await self.cancel(run_id, reason, queued_too=True)

    # -- start and stop

    async def resume(self, *, resume: bool) -> None:
        """Close what the last daemon left open and drive what it left to do (SPEC 7.2)."""
        for failure in await settle_all(self.store, self.hidden):
            logger.error("what an accepted change was cut off at could not be undone: %s", failure.detail)
        rules = self.streams.wake_rules
        recovered = await self.store.write(lambda tx: recovery.recover(tx, resume=resume, rules=rules))
        if recovered.turns or recovered.loops or recovered.streams:
            logger.warning(
                "the last daemon was cut off: %d turns and %d streams closed as interrupted, %d loops found running",
                recovered.turns,
                recovered.streams,
                recovered.loops,
            )
        self.proposals.reopen(await self.store.read(proposals.all_open))
        for run_id in recovered.runs:
            self.drive(run_id)

    def refuse_prompts(self) -> None:
        """Take no more prompts from here on; loops end after the turn they are in, or now if they wait (SPEC 7.2)."""
        self._draining = True
        self.proposals.suspend()
        for driver in self._drivers.values():
            driver.poke()

    async def drain(self) -> None:
        """After ``refuse_prompts``, wait until every live loop has ended.

        Cancelled: safe; ``stop`` does the rest.
        """
        if self._drivers:
            await self._idle.wait()

    async def stop(self) -> None:
        """End every loop that is still live and wait for the terminal rows. After ``drain``."""
        for driver in self._drivers.values():
            driver.stop()
        if self._drivers:
            await self._idle.wait()


def _submit(tx: Tx, run_id: int, submission: Submission, defaults: Defaults) -> Submitted:
    return loops.submit(tx, sessions.get_run(tx.db, run_id).id, submission, defaults)


@asynccontextmanager
async def open_engine(
    store: Store,
    bus: Bus,
    models: Models,
    schemes: Mapping[str, Scheme],
    papers: Papers,
    *,
    streams: Streams,
    commands: Commands,
    workers: Workers,
    preview_types: frozenset[str],
    limits: Limits,
    hidden: tuple[str, ...] = (),
) -> AsyncIterator[Engine]:
    """An engine for the length of the block. On the way out its loops are cancelled, each with its terminal row.

    ``preview_types``: the mimetypes for which a worker has a preview handler. ``hidden``: absolute paths of the
    daemon's own, which no file operation touches.
    """
    prompts = schemes["plurnk"]
    assert isinstance(prompts, EntryStorage)
    previews = Previews(workers, preview_types, limits.preview_chars)
    waiting = Proposals(store, limits.proposal_timeout_s)
    dispatcher = Dispatcher(
        store,
        schemes,
        streams=streams,
        commands=commands,
        workers=workers,
        proposals=waiting,
        limits=limits,
        hidden=hidden,
    )
    shop = Workshop(
        store=store,
        dispatcher=dispatcher,
        streams=streams,
        bus=bus,
        limits=limits,
        packets=PacketMaker(papers, limits, schemes, previews),
        previews=previews,
        tiles=FileTiles(previews, limits.preview_chars, hidden),
        prompts=prompts,
    )
    async with trio.open_nursery() as runs:
        engine = Engine(shop, models, schemes, streams=streams, commands=commands, proposals=waiting, runs=runs)
        try:
            yield engine
        finally:
            engine.refuse_prompts()  # nor does the end of a stream open a loop from here on
            runs.cancel_scope.cancel(reason="the engine closes")
