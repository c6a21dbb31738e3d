"""A run that goes through a plan: an engine on a real database, with a model, streams and clients that do as planned.

The model waits at each call until the plan answers; a command runs until the plan concludes it. So nothing goes on but
what the plan has asked for, and all comes to rest after every step, which is seen and not guessed: no task but ours has
taken a step since all that was submitted to the writer has been delivered, and no thread is at work. A plan may also
go on before that, after so many steps of the engine's tasks.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
import trio.testing

from plurnk.engine.clients import ClientLoop
from plurnk.engine.limits import Limits
from plurnk.errors import Draining
from plurnk.language.ast import StatementItem
from plurnk.language.parser import parse
from plurnk.store import loops, subscriptions
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot, query
from plurnk.wire.params import LoopFlags
from tests.support.engines import Bench, engine_with
from tests.support.run_history import RUN, SESSION, History, Marks
from tests.support.run_plans import (
    Action,
    Answer,
    Cancel,
    ClientDoes,
    ClientLeaves,
    Conclude,
    Decision,
    Fail,
    Plan,
    Prompt,
    Resolve,
    Restart,
    Settings,
    Step,
    Word,
)
from tests.support.run_puppets import TEXTS, Flows, Meter, Puppet

LIMIT_S: Final = 30.0
STUCK_AFTER_S: Final = 2.0
"""At rest for so long with nothing left to wait for: whatever there is will not end by itself."""

_SETTINGS: Final[Mapping[Settings, dict[str, Any]]] = {
    "none": {},
    "yolo": {"flags": msgspec.json.encode(LoopFlags(yolo=True)).decode()},
    "persona": {"persona": "You are somebody else."},
    "two turns": {"max_turns": 2},
    "other model": {"alias": "other"},
}
PROVIDER_RETRIES, MAX_STRIKES = 1, 3


def _state(db: Snapshot) -> tuple[set[int], int, list[int], list[int]]:
    """Rows that are proposed, how many streams are open, and the run's loops at 102 and at 100."""
    proposed = query(db, "SELECT id FROM log_entries WHERE state = 'proposed'")
    ((streams,),) = query(db, "SELECT count(*) FROM subscriptions WHERE closed_at IS NULL")
    live = query(db, "SELECT id, status FROM loops WHERE origin = 'model' AND status IN (100, 102)")
    running, queued = ([row[0] for row in live if row[1] == status] for status in (loops.RUNNING, loops.QUEUED))
    return {row[0] for row in proposed}, streams, running, queued


def _given_up(db: Snapshot) -> set[int]:
    """What models have proposed that was answered because their loops were ended."""
    found = query(
        db,
        "SELECT e.id FROM log_entries e JOIN loops l ON l.id = e.loop_id"
        " WHERE l.origin = 'model' AND e.outcome = 'loop_cancelled'",
    )
    return {row_id for (row_id,) in found}


class Life:
    """One daemon of the run, and its clients."""

    def __init__(
        self, bench: Bench, path: Path, *, flows: Flows, history: History, meter: Meter, asking: trio.Nursery
    ) -> None:
        self.engine = bench.engine
        self.history = history
        self.flows = flows
        self.puppet = Puppet(bench.engine.store, history)
        self._path = path
        self._meter = meter
        self._asking = asking
        self._client: ClientLoop | None = None
        self._decided_last: int | None = None
        self._cancels = 0
        bench.model.generate = self.puppet.generate  # type: ignore[method-assign]
        bench.engine.bus.join(history, SESSION)

    # -- time

    async def rest(self) -> None:
        """Wait until nothing goes on any more."""
        store = self.engine.store
        threads = trio.to_thread.current_default_thread_limiter()
        while True:
            before = self._meter.count
            await store.write(lambda _tx: None)  # after this, all that was submitted before is committed and told
            await trio.testing.wait_all_tasks_blocked()
            if self._meter.count == before and not (store._reader_slots.borrowed_tokens or threads.borrowed_tokens):
                return

    async def pause(self, steps: int | None) -> None:
        """Wait until nothing goes on, or for so many steps of the engine's tasks if that is earlier."""
        if steps is None:
            await self.rest()
            await self._cancels_are_done()
            await self.check_at_rest()
            return
        with trio.CancelScope() as scope:
            self._meter.after(steps, partial(scope.cancel, reason="steps enough"))
            await self.rest()
        self._meter.never_mind()

    async def _cancels_are_done(self) -> None:
        """Nobody has to do anything for that; what is cancelled may need a moment."""
        with trio.fail_after(STUCK_AFTER_S):
            while self._cancels:  # noqa: ASYNC110 – of a clock, not of a task
                await trio.sleep(0.0005)
                await self.rest()

    async def check_at_rest(self) -> None:
        """What is live in the store is live here, and has somebody who sees to it."""
        while True:
            await self.rest()
            before = self._meter.count
            proposed, streams, running, queued = await self.engine.store.read(_state)
            if self._meter.count == before:  # else a clock has rung just then
                break
        waiting = self.engine.proposals._open
        assert proposed == set(waiting)
        assert streams == self.engine.streams.count
        if RUN not in self.engine._drivers:
            assert (running, queued) == ([], [])
        if self.puppet.calls:  # a model is asked when all that its loop had proposed is answered
            assert not {told.told.loop_id for told in waiting.values()} & set(running)

    # -- what a plan has happen

    def begin(self, action: Action) -> None:
        """Have it happen from now on."""
        self._count(type(action).__name__)
        match action:
            case Prompt():
                self._prompt(action)
            case Answer(words):
                self._say(self._text(words))
            case Fail():
                self._say(action)
            case Conclude(which, exit_code):
                if self.flows.live:
                    flow = self.flows.live[which % len(self.flows.live)]
                    flow.exit_code = exit_code
                    flow.over.set()
                    self._count(f"stream ends {exit_code}")
            case Cancel(queued_too, twice):
                for _ in range(2 if twice else 1):
                    self._cancels += 1
                    self._ask(partial(self._cancel, queued_too=queued_too))
            case Resolve(which, decisions):
                self._resolve(which, decisions)
            case ClientDoes(words):
                self._client = self._client or ClientLoop(self.engine, RUN)
                self._ask(partial(self._operate, self._client, self._text(words)))
            case ClientLeaves():
                if self._client is not None:
                    self._ask(self._client.close)
                    self._client = None
            case Restart():
                raise AssertionError("this is for who has started the daemon")

    def _count(self, what: str) -> None:
        self.history.reached[what] += 1

    def _ask(self, ask: Callable[[], Any]) -> None:
        self._asking.start_soon(ask)

    def _text(self, words: tuple[Word, ...]) -> str:
        number = self.history.reached.total()
        return "\n".join(TEXTS[word].format(n=f"{number}-{place}") for place, word in enumerate(words))

    def _say(self, said: str | Fail) -> None:
        waiting = [call for call in self.puppet.calls if not call.is_said.is_set()]
        if waiting:
            waiting[0].say(said)
            self._count("model " + (said.trouble if isinstance(said, Fail) else "answers"))

    def _prompt(self, action: Prompt) -> None:
        prompt = f"Prompt {len(self.history.prompts) + 1}."
        self.history.prompts.append(prompt)
        submission = Submission(prompt=prompt, queue=action.queue, **_SETTINGS[action.settings])
        self._ask(partial(self._submit, submission))

    async def _submit(self, submission: Submission) -> None:
        try:
            submitted = await self.engine.submit(RUN, submission)
        except Draining:
            self.history.refused.append(submission.prompt)
            return
        self.history.taken.append((submission.prompt, submitted))
        self._count(submitted.action)
        if submitted.action == "enqueued_new_loop":
            self.history.ends.append(await self.engine.loop_end(submitted.loop_id))

    async def _cancel(self, *, queued_too: bool) -> None:
        await self.engine.cancel(RUN, "enough", queued_too=queued_too)
        self._cancels -= 1

    def _resolve(self, which: int, decisions: tuple[Decision, ...]) -> None:
        pending = self.engine.proposals.pending(SESSION)
        if pending:
            self._decided_last = pending[which % len(pending)].told.log_entry_id
        if self._decided_last is not None:
            for decision in decisions:
                self._ask(partial(self._decide, self._decided_last, decision))

    async def _decide(self, row_id: int, decision: Decision) -> None:
        resolution = await self.engine.proposals.resolve(SESSION, row_id, decision)
        self.history.decided.append((row_id, resolution))
        self._count(f"{decision} {resolution.status}")

    async def _operate(self, client: ClientLoop, text: str) -> None:
        try:
            self.engine.check_takes_work()
            await client.run([item.statement for item in parse(text).items if isinstance(item, StatementItem)])
        except Draining:
            self._count("client refused")

    # -- ends

    async def die(self, death: Restart, left: Path) -> Marks | None:
        """End, or nearly so; what was seen until a crash, which has put what it leaves at ``left``."""
        self._count(death.how)
        for what, count in (
            ("a model", len(self.puppet.calls)),
            ("a proposal", len(self.engine.proposals.pending(SESSION))),
            ("a stream", self.engine.streams.count),
        ):
            if count:
                self._count(f"{death.how} with {what}")
        if death.how == "crashes":
            return await self._crash(left)
        if death.how == "drains":
            await self._drain(death.answer)
        return None

    async def _drain(self, answer: tuple[Word, ...] | None) -> None:
        """End as a daemon does that is told to stop, and has given its loops as long as the answer takes."""
        pending = self.engine.proposals.pending(SESSION) if not self._cancels else ()
        waited = {each.told.log_entry_id for each in pending}
        self.engine.refuse_prompts()
        self._prompt(Prompt())
        async with trio.open_nursery() as draining:
            draining.start_soon(self.engine.drain)
            await self.rest()
            assert self.history.prompts[-1] in self.history.refused
            if answer is not None:
                self._say(self._text(answer))
                await self.rest()
            draining.cancel_scope.cancel(reason="time is up")
        await self.engine.stop()
        assert not waited & await self.engine.store.read(_given_up)  # for the next daemon to take up
        self._asking.cancel_scope.cancel(reason="the clients are sent away")
        if self._client is not None:
            await self._client.close()

    async def _crash(self, left: Path) -> Marks:

        def copy(_tx: Tx) -> Marks:
            # On the writer's thread: what the file and its log have now was committed, but for what will be undone.
            marks = self.history.marks()
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{self._path}{suffix}", f"{left}{suffix}")
            return marks

        return await self.engine.store.write(copy)

    async def finish(self) -> None:
        """Have all end as it should, and one more prompt be answered; then see that nothing is left."""
        await self.pause(None)
        self.puppet.otherwise = TEXTS["done"]
        self.flows.is_over = True
        await self._come_to_an_end()
        assert await self.engine.store.read(loops.runs_with_work) == []
        untold = await self.engine.store.read(lambda db: subscriptions.untold(db, RUN))
        self.history.untold = {stream.id for stream in untold}
        self._prompt(Prompt())
        await self._come_to_an_end()
        if self._client is not None:
            await self._client.close()
        await self.rest()
        engine = self.engine
        assert engine.proposals.pending(SESSION) == ()
        assert (engine.proposals._open, dict(engine._waiters), engine._drivers) == ({}, {}, {})
        assert engine.streams.count == 0

    async def _come_to_an_end(self) -> None:
        last_move = trio.current_time()
        while True:
            await self.rest()
            open_proposals = self.engine.proposals.pending(SESSION)
            for pending in open_proposals:
                self._ask(partial(self._decide, pending.told.log_entry_id, "cancel"))
            for flow in self.flows.live:
                flow.over.set()
            for call in self.puppet.calls:
                call.say(TEXTS["done"])
            if open_proposals or self.flows.live or self.puppet.calls:
                last_move = trio.current_time()
            elif not (self._asking.child_tasks or self.engine._drivers or self.engine.streams.count):
                return
            else:
                left = ([task.name for task in self._asking.child_tasks], self.engine._drivers)
                assert trio.current_time() < last_move + STUCK_AFTER_S, left
                await trio.sleep(0.001)


async def go_through(plan: Plan, folder: Path) -> tuple[Path, History]:
    """Go through the plan, and end all that it leaves; returns the last daemon's database and what was seen."""
    history, steps = History(), list(plan.steps)
    meter = Meter(trio.lowlevel.current_task())
    path, begun, pause = folder / "0.db", Restart("drains", resume=True), None
    trio.lowlevel.add_instrument(meter)
    try:
        with trio.fail_after(LIMIT_S):
            for number in itertools.count(1):
                async with _started(path, begun, plan, history, meter) as life:
                    await life.pause(pause)
                    death = await _live(life, steps)
                    if death is None:
                        await life.finish()
                        break
                    begun, pause = death
                    left = folder / f"{number}.db"
                    marks = await life.die(begun, left)
                if marks is not None:
                    path = left
                    history.forget_after(marks)
    finally:
        trio.lowlevel.remove_instrument(meter)
    return path, history


async def _live(life: Life, steps: list[Step]) -> tuple[Restart, int | None] | None:
    """Take steps until one says that the daemon ends, with its pause; None: all are taken."""
    while steps:
        step = steps.pop(0)
        if isinstance(step.action, Restart):
            return step.action, step.pause
        life.begin(step.action)
        await life.pause(step.pause)
    return None


@asynccontextmanager
async def _started(path: Path, begun: Restart, plan: Plan, history: History, meter: Meter) -> AsyncIterator[Life]:
    """A daemon that is just started on what ``begun`` has left; at the end its clients are sent away before it ends."""
    flows = Flows()
    limits = Limits(
        settle_s=3600 if plan.settles else 0,
        park_s=3600,
        proposal_timeout_s=3600,
        provider_retries=PROVIDER_RETRIES,
        max_strikes=MAX_STRIKES,
        max_wakes=plan.max_wakes,
    )
    async with engine_with(path, (), limits=limits, commands=flows) as bench, trio.open_nursery() as asking:
        life = Life(bench, path, flows=flows, history=history, meter=meter, asking=asking)
        await bench.engine.resume(resume=begun.resume)
        yield life
        asking.cancel_scope.cancel(reason="the clients are sent away")
