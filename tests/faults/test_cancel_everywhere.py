"""Cancelled at its Nth step, N = 1, 2, … to its end: what is promised holds every time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.language.ast import StatementItem
from plurnk.language.parser import parse
from plurnk.store import entries, log
from plurnk.store.database import StoreFailed
from plurnk.store.loops import Submission, Submitted
from plurnk.store.query import Snapshot, query
from plurnk.wire.notifications import LogEntryAdded, LoopStarted, LoopTerminated
from tests.support.engines import Bench, engine_with
from tests.support.faults import AtStep, FailingWrites, until_it_misses

TWO_TURNS = ("<<EDIT(known://a):x:EDIT <<READ(known://a)::READ", "<<SEND[200]:done:SEND")


async def check(bench: Bench) -> None:
    """What must be true of the database whatever was cut off in the middle."""

    def look(db: Snapshot) -> None:
        assert query(db, "SELECT id FROM turns WHERE ended_at IS NULL") == []
        assert query(db, "SELECT id FROM loops WHERE status IN (100, 102)") == []
        for _loop, count, last in query(db, "SELECT loop_id, count(*), max(seq) FROM turns GROUP BY loop_id"):
            assert count == last
        for _turn, count, last in query(
            db, "SELECT turn_id, count(*), max(sequence) FROM log_entries GROUP BY turn_id"
        ):
            assert count == last
        ((newest,),) = query(db, "SELECT last_event_seq FROM sessions")
        assert [seq for (seq,) in query(db, "SELECT seq FROM events ORDER BY seq")] == list(range(1, newest + 1))

    await bench.engine.store.read(look)
    assert bench.ear.seqs == list(range(2, len(bench.ear.seqs) + 2))
    started = [n.loop_id for n in bench.ear.heard if isinstance(n, LoopStarted)]
    ended = [n.loop_id for n in bench.ear.heard if isinstance(n, LoopTerminated)]
    assert sorted(started) == sorted(ended)
    # An effect and its row come together: the entry is there iff a row says so.
    rows = await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))
    said = any(row.op == "EDIT" and row.pathname == "a" and row.status_rx == 201 for row, _ in rows)
    entry = await bench.engine.store.read(lambda db: entries.find(db, bench.session.id, "known", "a"))
    assert (entry is not None) == said
    assert len(rows) == sum(isinstance(n, LogEntryAdded) for n in bench.ear.heard)


@pytest.mark.spec("3.1-terminal-always-written", "3.1-cancel-is-complete", "2.4-every-op-one-row")
async def test_a_loop_cancelled_at_any_step_of_its_driver_ends_once_and_whole(tmp_path: Path) -> None:
    async def attempt(number: int) -> bool:
        async with engine_with(tmp_path / f"{number}.db", TWO_TURNS) as bench:
            engine, run_id = bench.engine, bench.run.id
            fault = AtStep(
                number,
                lambda task: task.name.endswith("Engine._drive"),
                lambda: engine._drivers[run_id].cancel(1, "the test says so"),
            )
            trio.lowlevel.add_instrument(fault)
            with trio.fail_after(30):
                submitted = await engine.submit(run_id, Submission(prompt="go"))
                loop = await engine.loop_end(submitted.loop_id)
                again = await engine.submit(run_id, Submission(prompt="again", queue=True))
                await engine.loop_end(again.loop_id)
            trio.lowlevel.remove_instrument(fault)
            assert (loop.status, loop.reason) in {(200, None), (499, "cancelled")}
            await check(bench)
        return number <= 10 or loop.status != 200

    await until_it_misses(attempt, at_least=10)


@pytest.mark.spec("6.3-client-loop-lazy", "2.4-every-op-one-row")
async def test_an_operation_cancelled_at_any_step_leaves_no_turn_open(tmp_path: Path) -> None:
    statements = [i.statement for i in parse(TWO_TURNS[0]).items if isinstance(i, StatementItem)]
    me = trio.lowlevel.current_task()

    async def attempt(number: int) -> bool:
        async with engine_with(tmp_path / f"{number}.db", ()) as bench:
            client = ClientLoop(bench.engine, bench.run.id)
            scope = trio.CancelScope()
            fault = AtStep(number, lambda task: task is me, scope.cancel)
            with scope:
                trio.lowlevel.add_instrument(fault)
                await client.run(statements)
            trio.lowlevel.remove_instrument(fault)
            results, _turn = await client.run(statements)
            assert results[1].status == 200
            await client.close()
            await check(bench)
        return fault.happened

    await until_it_misses(attempt, at_least=3)


@pytest.mark.spec("3.1-inject-none-lost")
async def test_a_submission_cancelled_at_any_step_is_driven_if_it_was_taken(tmp_path: Path) -> None:
    me = trio.lowlevel.current_task()

    async def attempt(number: int) -> bool:
        async with engine_with(tmp_path / f"{number}.db", TWO_TURNS) as bench:
            scope = trio.CancelScope()
            fault = AtStep(number, lambda task: task is me, scope.cancel)
            with scope:
                trio.lowlevel.add_instrument(fault)
                await bench.engine.submit(bench.run.id, Submission(prompt="go"))
            trio.lowlevel.remove_instrument(fault)
            # One writer, in order: what was taken is in the database now.
            await bench.engine.store.write(lambda _tx: None)
            with trio.fail_after(30):
                for (loop_id,) in await bench.engine.store.read(lambda db: query(db, "SELECT id FROM loops")):
                    await bench.engine.loop_end(loop_id)
            await check(bench)
        return fault.happened

    await until_it_misses(attempt, at_least=1)


@pytest.mark.spec("3.1-terminal-always-written", "7.1-disk-full")
async def test_whichever_write_fails_the_loop_ends_once_and_the_next_one_works(tmp_path: Path) -> None:
    script = (*TWO_TURNS, "<<SEND[200]::SEND", "<<SEND[200]::SEND", "<<SEND[200]::SEND")

    async def attempt(number: int) -> bool:
        async with engine_with(tmp_path / f"{number}.db", script) as bench:
            fault = FailingWrites(bench.engine.store, number)
            submitted: list[Submitted] = []
            with trio.fail_after(30):
                for prompt in ("one", "two"):
                    with suppress(StoreFailed):
                        submitted.append(await bench.engine.submit(bench.run.id, Submission(prompt=prompt, queue=True)))
                for taken in submitted:
                    await bench.engine.loop_end(taken.loop_id)
            assert len(submitted) == 2 or fault.happened
            await check(bench)
        return fault.happened

    await until_it_misses(attempt, at_least=8)
