"""What the plan of a run plays with: a model, commands, and a meter of what the engine does meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio
from trio.lowlevel import Task

from plurnk.errors import UpstreamFailed
from plurnk.plugins.api import (
    CommandGrant,
    CommandOrder,
    Completion,
    Conclusion,
    Delta,
    Feed,
    GenerateRequest,
    ReadyCommand,
    Usage,
    Work,
)
from plurnk.providers.errors import ProviderFailed
from plurnk.store import loops
from plurnk.store.database import Store
from plurnk.store.query import Snapshot
from tests.support.commands import FakeCommand, FakeCommands
from tests.support.run_history import RUN, Asked, History
from tests.support.run_plans import Fail, Word

LINGERS_S: Final = 0.002

TEXTS: Final[Mapping[Word, str]] = {
    "done": "<<SEND[200]:done:SEND",
    "on": "<<SEND[102]:going on:SEND",
    "park": "<<SEND[202]:waiting:SEND",
    "quit": "<<SEND[499]:I give up:SEND",
    "note": "<<EDIT(known://note-{n}):a note:EDIT",
    "hold": "<<EXEC:hold {n}:EXEC",
    "quick": "<<EXEC:quick {n}:EXEC",
    "linger": "<<EXEC:linger {n}:EXEC",
    "end 1": "<<SEND[499](exec://sh-1)::SEND",
    "end 2": "<<SEND[499](exec://sh-2)::SEND",
    "delete 1": "<<SEND[410](exec://sh-1)::SEND",
    "miss": "<<READ(known://nothing-{n})::READ",
    "prose": "I wonder about {n}.",
    "broken": "<<EDIT(known://broken-{n}):without an end",
}


class Meter(trio.abc.Instrument):
    """Counts the steps of all tasks but one, and but trio's own; may call something back at a number."""

    def __init__(self, mine: Task) -> None:
        self._mine = mine
        self.count = 0
        self._at: tuple[int, Callable[[], object]] | None = None

    def after_task_step(self, task: Task) -> None:
        if task is self._mine or task.name.startswith("<"):
            return
        self.count += 1
        if self._at is not None and self.count >= self._at[0]:
            _number, happen = self._at
            self._at = None
            happen()

    def after(self, steps: int, happen: Callable[[], object]) -> None:
        self._at = (self.count + steps, happen)

    def never_mind(self) -> None:
        self._at = None


@dataclass(eq=False)
class Call:
    """A model that waits to be told what to say."""

    said: str | Fail = ""
    is_said: trio.Event = field(default_factory=trio.Event)

    def say(self, said: str | Fail) -> None:
        self.said = said
        self.is_said.set()


class Puppet:
    """A provider that says what the plan has for it."""

    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history
        self.calls: list[Call] = []
        self.otherwise: str | None = None
        """What it says to all that comes from now on."""

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        loop_id, turn_seq = await self._store.read(_asking)
        self._history.asked.append(Asked(loop_id, turn_seq, tuple(message.content for message in request.messages)))
        call = Call()
        if self.otherwise is not None:
            call.say(self.otherwise)
        self.calls.append(call)
        try:
            await call.is_said.wait()
            if call.said == Fail("refused"):
                raise UpstreamFailed("the provider refuses")
            if call.said == Fail("busy"):
                raise ProviderFailed("the provider is busy", http_status=503, transient=True)
            yield _deltas(call.said)
        finally:
            self.calls.remove(call)


def _asking(db: Snapshot) -> tuple[int, int]:
    loop = loops.live(db, RUN)
    assert loop is not None
    return loop.id, loops.turns_of(db, loop.id)


async def _deltas(said: str | Fail) -> AsyncIterator[Delta | Completion]:
    text = "<<EDIT(known://cut):this comes to noth" if isinstance(said, Fail) else said
    for start in range(0, len(text), 16):
        yield Delta(kind="content", text=text[start : start + 16])
        await trio.lowlevel.checkpoint()
    if said == Fail("bug"):
        raise RuntimeError("a mistake of the provider's")
    if not isinstance(said, Fail):
        yield Completion(content=text, usage=Usage(prompt=100, completion=10), model="puppet")


@dataclass(eq=False)
class Flow:
    """A command that runs until the plan has it end."""

    exit_code: int | None = 0
    over: trio.Event = field(default_factory=trio.Event)


@dataclass(eq=False)
class Flows(FakeCommands):
    """``hold`` and ``linger`` run until they are told to end; ``linger`` needs a moment to end when it is cancelled."""

    live: list[Flow] = field(default_factory=list[Flow])
    is_over: bool = False
    """What is started from now on ends at once."""

    async def prepare(self, order: CommandOrder) -> ReadyCommand:
        await super().prepare(order)
        return PlannedCommand(self, order)

    async def run(self, command: str, feed: Feed) -> Conclusion:
        await feed.append("stdout", command.encode())
        if self.is_over or command.startswith("quick"):
            return Conclusion(status=200, exit_code=0)
        flow = Flow()
        self.live.append(flow)
        try:
            await flow.over.wait()
        finally:
            self.live.remove(flow)
            if command.startswith("linger"):
                with trio.move_on_after(LINGERS_S, shield=True):
                    await trio.sleep_forever()
        if flow.exit_code is None:
            raise RuntimeError("the work of a stream failed")
        return Conclusion(status=200 if flow.exit_code == 0 else 500, exit_code=flow.exit_code)


@dataclass(frozen=True)
class PlannedCommand(FakeCommand):
    commands: Flows

    def work(self, command: str, grant: CommandGrant) -> Work:
        self.commands.ran.append((command, grant))
        return partial(self.commands.run, command)
