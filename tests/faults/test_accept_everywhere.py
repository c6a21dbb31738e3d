"""An accepted change of files at each step of which a write fails, or somebody is cut off (SPEC 5.2, 5.3)."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest
import trio

from plurnk.engine import driver, proposals
from plurnk.engine.clients import ClientLoop
from plurnk.engine.proposals import Pending
from plurnk.errors import OutOfRoom
from plurnk.files import writing
from plurnk.files.beneath import Root
from plurnk.files.writing import Step
from plurnk.language.ast import Edit, LocalTarget, StatementItem
from plurnk.language.parser import parse
from plurnk.schemes import disk
from plurnk.store.database import Store, Tx
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot, query
from tests.support.accepts import OPERATIONS, Found, Operation, everything, found
from tests.support.desk import until
from tests.support.engines import Bench, do, engine_with
from tests.support.faults import AtStep, until_it_misses

T = TypeVar("T")

DONE = "<<SEND[200]:done:SEND"
EACH = pytest.mark.parametrize("name", ["edit", "file to file", "note to file"])


@dataclass
class Desk:
    """An operation that a client or a model's loop has proposed, and that nobody has answered yet."""

    bench: Bench
    root: Path
    operation: Operation
    pending: Pending

    async def accept(self) -> int:
        answer = await self.bench.engine.proposals.resolve(
            self.bench.session.id, self.pending.told.log_entry_id, "accept"
        )
        return answer.status

    async def found(self) -> Found:
        # As a write, so after everything that was submitted before.
        row_id = self.pending.told.log_entry_id
        return await self.bench.engine.store.write(lambda tx: found(tx.db, row_id, self.root))

    async def check(self) -> bool:
        """See that it has happened or not, whole; whether it has. And the engine goes on."""
        happened = (await self.found()).check(self.operation)
        submitted = await self.bench.engine.submit(self.bench.run.id, Submission(prompt="again", queue=True))
        assert (await self.bench.engine.loop_end(submitted.loop_id)).status == 200
        await self.bench.engine.store.read(nothing_is_open)
        return happened


def nothing_is_open(db: Snapshot) -> None:
    assert query(db, "SELECT id FROM loops WHERE status IN (100, 102) AND origin = 'model'") == []
    assert query(db, "SELECT id FROM turns WHERE ended_at IS NULL") == []
    assert query(db, "SELECT id FROM log_entries WHERE state = 'proposed'") == []


@asynccontextmanager
async def world(folder: Path, operation: Operation, *script: str) -> AsyncIterator[tuple[Bench, Path]]:
    root = folder / "project"
    root.mkdir(parents=True)
    operation.before.make(root)
    with trio.fail_after(30):
        async with engine_with(folder / "p.db", [*script, DONE, DONE], project_root=root) as bench:
            if operation.before.note is not None:
                await do(bench, f"<<EDIT(known://n):{operation.before.note}:EDIT")
            yield bench, root


async def shown(bench: Bench, root: Path, operation: Operation) -> Desk:
    await until(lambda: bool(bench.engine.proposals.pending(bench.session.id)))
    (pending,) = bench.engine.proposals.pending(bench.session.id)
    return Desk(bench, root, operation, pending)


@asynccontextmanager
async def proposed_by_a_loop(folder: Path, operation: Operation) -> AsyncIterator[Desk]:
    async with world(folder, operation, operation.statement) as (bench, root):
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        yield await shown(bench, root, operation)
        await bench.engine.loop_end(submitted.loop_id)


# -- writes that fail


class Full:
    """Has a store out of room from its ``number``th write (from 1) on, for so many writes."""

    def __init__(self, store: Store, number: int, lasts: int) -> None:
        self.happened = False
        self._passed = 0
        self._write = store.write
        self._full = range(number, number + lasts)
        store.write = self.write  # type: ignore[method-assign]

    def mend(self) -> None:
        self._full = range(0)

    async def write(self, unit: Callable[[Tx], T], *, weight_bytes: int = 0) -> T:
        self._passed += 1
        if self._passed in self._full:
            self.happened = True
            await trio.lowlevel.checkpoint()
            raise OutOfRoom("the disk is full")
        return await self._write(unit, weight_bytes=weight_bytes)


@pytest.mark.spec("5.2-atomic-write", "2.4-move-atomic", "7.1-disk-full")
@pytest.mark.parametrize(("name", "lasts"), [("edit", 1), ("edit", 3), ("file to file", 1), ("note to file", 1)])
async def test_whichever_write_of_an_accept_fails_it_has_happened_or_not(
    tmp_path: Path, name: str, lasts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules: tuple[ModuleType, ...] = (disk, proposals, driver)
    for module in modules:
        monkeypatch.setattr(module, "RETRY_S", 0, raising=False)
    statuses: list[int] = []

    async def attempt(number: int) -> bool:
        async with proposed_by_a_loop(tmp_path / str(number), OPERATIONS[name]) as desk:
            fault = Full(desk.bench.engine.store, number, lasts)
            statuses.append(await desk.accept())
            await desk.bench.engine.loop_end(desk.pending.told.loop_id)
            fault.mend()
            happened = await desk.check()
            assert happened == (statuses[-1] in (200, 201)), statuses
        return fault.happened

    await until_it_misses(attempt, at_least=5)


@pytest.mark.spec("5.2-atomic-write", "5.2-cas-409")
async def test_of_two_that_change_a_file_at_once_one_is_undone_before_the_other_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second would find the first one's content, and give it back after it was undone."""
    calls: list[str] = []

    def watched(name: str) -> Callable[..., None]:
        call: Callable[..., None] = getattr(writing, name)

        def watch(root: Root, step: Step, *data: bytes | None) -> None:
            calls.append(step.token)
            call(root, step, *data)
            if name == "apply":
                other_may_come.wait(0.2)  # it does not, so this is how long the test takes

        return watch

    other_may_come = threading.Event()
    for name in ("apply", "undo", "finish"):
        monkeypatch.setattr(writing, name, watched(name))
    operation = OPERATIONS["edit"]
    async with world(tmp_path, operation) as (bench, root), trio.open_nursery() as asking:
        clients = [ClientLoop(bench.engine, bench.run.id) for _ in range(3)]
        for number, client in enumerate(clients):
            asking.start_soon(client.run, [Edit(target=LocalTarget(raw="a.txt"), body=f"{number}\n" * 10)])
        await until(lambda: len(bench.engine.proposals.pending(bench.session.id)) == 3)
        resolve, answers = bench.engine.proposals.resolve, Counter[int]()

        async def accept(row_id: int) -> None:
            answers[(await resolve(bench.session.id, row_id, "accept")).status] += 1

        async with trio.open_nursery() as accepting:
            for pending in bench.engine.proposals.pending(bench.session.id):
                accepting.start_soon(accept, pending.told.log_entry_id)
        assert answers == {200: 1, 409: 2}
        assert len([token for token, _same in itertools.groupby(calls)]) == len(set(calls))
        assert list(everything(root)) == ["a.txt"]


# -- somebody who is cut off


@pytest.mark.spec("5.2-atomic-write", "2.4-move-atomic", "3.1-cancel-is-complete")
@EACH
async def test_a_loop_cancelled_at_any_step_of_an_accept_has_done_it_or_not(tmp_path: Path, name: str) -> None:
    outcomes: set[bool] = set()

    async def attempt(number: int) -> bool:
        async with proposed_by_a_loop(tmp_path / str(number), OPERATIONS[name]) as desk:
            engine, run_id, loop_id = desk.bench.engine, desk.bench.run.id, desk.pending.told.loop_id
            fault = AtStep(
                number,
                lambda task: task.name.endswith("Engine._drive"),
                lambda: engine._drivers[run_id].cancel(loop_id, "the test says so"),
            )
            trio.lowlevel.add_instrument(fault)
            status = await desk.accept()
            loop = await engine.loop_end(loop_id)
            trio.lowlevel.remove_instrument(fault)
            happened = await desk.check()
            assert happened or status not in (200, 201)
            outcomes.add(happened)
        return number <= 5 or loop.status != 200

    await until_it_misses(attempt, at_least=8)
    assert outcomes == {True, False}


@pytest.mark.spec("5.2-atomic-write", "2.4-move-atomic")
@EACH
async def test_a_client_that_vanishes_at_any_step_of_what_it_proposed_has_done_it_or_not(
    tmp_path: Path, name: str
) -> None:
    outcomes: set[bool] = set()
    operation = OPERATIONS[name]
    statements = [item.statement for item in parse(operation.statement).items if isinstance(item, StatementItem)]

    async def attempt(number: int) -> bool:
        async with world(tmp_path / str(number), operation) as (bench, root):
            client = ClientLoop(bench.engine, bench.run.id)
            async with trio.open_nursery() as there, trio.open_nursery() as asking:
                asking.start_soon(client.run, statements, name="who asks")
                desk = await shown(bench, root, operation)
                fault = AtStep(number, lambda task: task.name == "who asks", asking.cancel_scope.cancel)
                trio.lowlevel.add_instrument(fault)
                there.start_soon(desk.accept)
            trio.lowlevel.remove_instrument(fault)
            await client.close()
            outcomes.add(await desk.check())
        return fault.happened

    await until_it_misses(attempt, at_least=5)
    assert outcomes == {True, False}


@pytest.mark.spec("5.2-atomic-write")
async def test_who_accepts_and_vanishes_at_any_step_has_accepted(tmp_path: Path) -> None:
    async def attempt(number: int) -> bool:
        async with proposed_by_a_loop(tmp_path / str(number), OPERATIONS["edit"]) as desk:
            me, scope = trio.lowlevel.current_task(), trio.CancelScope()
            fault = AtStep(number, lambda task: task is me, scope.cancel)
            trio.lowlevel.add_instrument(fault)
            with scope:
                await desk.accept()
            trio.lowlevel.remove_instrument(fault)
            await desk.bench.engine.loop_end(desk.pending.told.loop_id)
            assert await desk.check()
        return fault.happened

    await until_it_misses(attempt, at_least=1)
