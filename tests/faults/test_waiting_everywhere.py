"""A loop that waits for its streams: cancelled, written to, and woken at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.store import log
from plurnk.store.loops import Submission
from plurnk.store.query import query
from plurnk.wire.notifications import LogEntry, LogEntryAdded, LoopStarted, LoopTerminated, StreamConcluded
from tests.support.brooks import brooks, ends, live, start, told, turns_ended
from tests.support.engines import Bench
from tests.support.faults import AtStep, until_it_misses

DONE = "<<SEND[200]::SEND"
PARK = "<<SEND[202]::SEND"
PARKS = Limits(settle_s=0, park_s=3600)
SETTLES = Limits(settle_s=3600, park_s=3600)


async def quiet(bench: Bench) -> None:
    """Give what was submitted to the store, and what follows from it, the time to be done."""
    for _ in range(4):
        await bench.engine.store.write(lambda _tx: None)


def is_driver(task: trio.lowlevel.Task) -> bool:
    return task.name.endswith("Engine._drive")


async def check(bench: Bench, loop_id: int) -> None:
    """What must be true however the loop ended."""
    store = bench.engine.store
    assert await store.read(lambda db: query(db, "SELECT id FROM turns WHERE ended_at IS NULL")) == []
    (terminated,) = [n for n in bench.ear.heard if isinstance(n, LoopTerminated) and n.loop_id == loop_id]
    if terminated.final_status != 200:
        # All that it started had ended before.
        before = bench.ear.heard[: bench.ear.heard.index(terminated)]
        started = {row.pathname for row in _rows(bench) if row.op == "SEND" and row.scheme == "brook"}
        assert {f"brook://{name}" for name in started} <= {n.target for n in before if isinstance(n, StreamConcluded)}
        assert await live(bench) == []
    # Each end is told once at most.
    names = [name for _, name, _, _ in told(bench)]
    assert len(names) == len(set(names))
    assert bench.ear.seqs == list(range(2, len(bench.ear.seqs) + 2))
    # A loop that an end has woken may be at work meanwhile: so what was heard first, and then what there is.
    heard = {row.id for row in _rows(bench)}
    assert heard <= {row.id for row, _hidden in await store.read(lambda db: log.of_run(db, bench.run.id))}


def _rows(bench: Bench) -> list[LogEntry]:
    return [n.entry for n in bench.ear.heard if isinstance(n, LogEntryAdded)]


@pytest.mark.spec("3.1-terminal-always-written", "3.1-cancel-is-complete", "3.2-forced-end-kills-streams")
@pytest.mark.parametrize("limits", [PARKS, SETTLES], ids=["parks", "settles"])
async def test_a_loop_that_waits_is_cancelled_at_any_step_of_its_driver(tmp_path: Path, limits: Limits) -> None:
    async def attempt(number: int) -> bool:
        script = (start("a", "b"), PARK, DONE)
        async with brooks(tmp_path / f"{number}.db", script, limits=limits) as (bench, brook):
            engine, run_id = bench.engine, bench.run.id
            fault = AtStep(number, is_driver, lambda: engine._drivers[run_id].cancel(1, "the test says so"))
            trio.lowlevel.add_instrument(fault)
            with trio.fail_after(30):
                loop_id = (await engine.submit(run_id, Submission(prompt="go"))).loop_id
                async with trio.open_nursery() as other:
                    other.start_soon(_end_what_it_waits_for, bench, brook.end)
                    loop = await engine.loop_end(loop_id)
                    other.cancel_scope.cancel()
            trio.lowlevel.remove_instrument(fault)
            assert (loop.status, loop.reason) in {(200, None), (499, "cancelled")}
            await check(bench, loop_id)
        assert sorted(ends(bench)) == sorted(set(ends(bench)))
        return number <= 10 or loop.status != 200

    await until_it_misses(attempt, at_least=15)


async def _end_what_it_waits_for(bench: Bench, end: Callable[[str], None]) -> None:
    await turns_ended(bench, 1)
    await quiet(bench)
    for name in ("a", "b"):
        end(name)
        await quiet(bench)


@pytest.mark.spec("3.2-park", "3.2-settle")
@pytest.mark.parametrize("limits", [PARKS, SETTLES], ids=["parks", "settles"])
async def test_the_end_of_a_stream_at_any_step_of_the_driver_is_not_missed(tmp_path: Path, limits: Limits) -> None:
    async def say(number: int, request: GenerateRequest) -> str:
        if number == 1:
            return start("a")
        return DONE if '"op":"EXEC","origin":"system"' in request.messages[0].content else PARK

    async def attempt(number: int) -> bool:
        async with brooks(tmp_path / f"{number}.db", say, limits=limits) as (bench, brook):

            def end() -> None:
                if "a" in brook.flows:
                    brook.end("a")

            fault = AtStep(number, is_driver, end)
            trio.lowlevel.add_instrument(fault)
            with trio.fail_after(30):
                loop_id = (await bench.engine.submit(bench.run.id, Submission(prompt="go"))).loop_id
                await turns_ended(bench, 1 if limits is SETTLES else 2)
                await quiet(bench)
                trio.lowlevel.remove_instrument(fault)
                if not brook.flows["a"].over.is_set():  # too early or too late
                    brook.end("a")
                loop = await bench.engine.loop_end(loop_id)
            assert (loop.status, loop.reason) == (200, None)
            assert [row[1:3] for row in told(bench)] == [("a", 200)]
            assert [n.loop_id for n in bench.ear.heard if isinstance(n, LoopStarted)] == [loop_id]
            await check(bench, loop_id)
        return fault.happened

    await until_it_misses(attempt, at_least=8)


@pytest.mark.spec("3.1-inject-none-lost")
async def test_a_prompt_whose_sender_is_cut_off_at_any_step_is_not_missed_by_a_parked_loop(tmp_path: Path) -> None:
    me = trio.lowlevel.current_task()

    async def attempt(number: int) -> bool:
        script = (f"{start('a')} {PARK}", DONE)
        async with brooks(tmp_path / f"{number}.db", script, limits=PARKS) as (bench, brook):
            loop_id = (await bench.engine.submit(bench.run.id, Submission(prompt="go"))).loop_id
            await turns_ended(bench, 1)
            await quiet(bench)
            scope = trio.CancelScope()
            fault = AtStep(number, lambda task: task is me, scope.cancel)
            with scope:
                trio.lowlevel.add_instrument(fault)
                await bench.engine.submit(bench.run.id, Submission(prompt="more"))
            trio.lowlevel.remove_instrument(fault)
            taken = await bench.engine.store.write(lambda tx: query(tx.db, "SELECT id FROM injections"))
            if not taken:
                brook.end("a")
            with trio.fail_after(30):
                loop = await bench.engine.loop_end(loop_id)
            assert loop.status == 200
            assert ("go\n\nmore" in bench.model.requests[1].messages[1].content) == bool(taken)
        return fault.happened

    await until_it_misses(attempt, at_least=1)
