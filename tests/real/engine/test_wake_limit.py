"""Streams that open a loop, which starts a stream, which opens a loop: that ends (SPEC 3.6)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot, query
from plurnk.wire.notifications import LoopTerminated, StreamConcluded
from tests.support.brooks import Brook, brooks, heard, start, told, waits
from tests.support.engines import Bench, do

DONE = "<<SEND[200]::SEND"
TWO = Limits(settle_s=0, max_wakes=2)


async def say(number: int, _request: GenerateRequest) -> str:
    """Each loop starts a stream and leaves it."""
    return f"{start(str(number))} {DONE}"


async def prompted(bench: Bench, prompt: str = "go") -> int:
    return (await bench.engine.submit(bench.run.id, Submission(prompt=prompt))).loop_id


async def ended(bench: Bench, loop_id: int) -> tuple[int, str | None]:
    with trio.fail_after(30):
        loop = await bench.engine.loop_end(loop_id)
    return loop.status, loop.reason


async def woken(bench: Bench, brook: Brook, name: str) -> int:
    """End that stream; returns the loop that this opens."""
    brook.end(name)
    await heard(bench, *["stream/concluded"] * int(name))
    concluded = [n for n in bench.ear.heard if isinstance(n, StreamConcluded)][-1]
    assert concluded.wake_action == "opened-loop"
    assert isinstance(concluded.wake_loop_id, int)
    return concluded.wake_loop_id


async def model_loops(bench: Bench) -> list[tuple[int, str | None, int]]:
    """Status, reason and wakes of the loops of the model's, oldest first."""

    def unit(db: Snapshot) -> list[tuple[int, str | None, int]]:
        rows = query(db, "SELECT status, reason, wakes FROM loops WHERE origin = 'model' ORDER BY seq")
        return [(status, reason, wakes) for status, reason, wakes in rows]

    return await bench.engine.store.read(unit)


@pytest.mark.spec("3.6-wake-limit")
async def test_a_chain_of_wakes_ends(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", say, limits=TWO) as (bench, brook):
        assert await ended(bench, await prompted(bench)) == (200, None)
        for number in (1, 2):
            assert await ended(bench, await woken(bench, brook, str(number))) == (200, None)
        brook.end("3")
        await heard(bench, *["stream/concluded"] * 3, *["loop/terminated"] * 4)
        *_before, concluded, over = [n for n in bench.ear.heard if isinstance(n, StreamConcluded | LoopTerminated)]
        assert isinstance(concluded, StreamConcluded), "who hears of the end of a loop has heard of it"
        assert isinstance(over, LoopTerminated)
        assert (concluded.wake_action, concluded.wake_loop_id) == ("opened-loop", over.loop_id)
        assert (over.final_status, over.reason) == (499, "wake_limit")
        assert await ended(bench, over.loop_id) == (499, "wake_limit")
        assert await waits(bench)
        assert len(bench.model.requests) == 3
        assert await model_loops(bench) == [(200, None, 0), (200, None, 1), (200, None, 2), (499, "wake_limit", 3)]


@pytest.mark.spec("3.6-wake-limit")
async def test_what_nobody_was_woken_for_is_told_with_the_next_prompt_and_the_count_begins_anew(
    tmp_path: Path,
) -> None:
    limits = Limits(settle_s=0, max_wakes=0)
    async with brooks(tmp_path / "p.db", say, limits=limits) as (bench, brook):
        await ended(bench, await prompted(bench))
        assert await ended(bench, await woken(bench, brook, "1")) == (499, "wake_limit")
        assert told(bench) == []
        assert await ended(bench, await prompted(bench, "well?")) == (200, None)
        assert told(bench) == [("3/1/2", "1", 200, None)]
        assert await model_loops(bench) == [(200, None, 0), (499, "wake_limit", 1), (200, None, 0)]


@pytest.mark.spec("3.6-wake-limit")
async def test_a_prompt_for_a_woken_loop_begins_the_count_anew(tmp_path: Path) -> None:
    asked, go_on = trio.Event(), trio.Event()

    async def says(number: int, request: GenerateRequest) -> str:
        if number != 3:
            return await say(number, request)
        asked.set()
        await go_on.wait()
        return start("3")

    async with brooks(tmp_path / "p.db", says, limits=TWO) as (bench, brook):
        await ended(bench, await prompted(bench))
        await ended(bench, await woken(bench, brook, "1"))
        loop_id = await woken(bench, brook, "2")
        with trio.fail_after(30):
            await asked.wait()
        assert await prompted(bench, "and then?") == loop_id
        go_on.set()
        assert await ended(bench, loop_id) == (200, None)
        assert [wakes for _status, _reason, wakes in await model_loops(bench)] == [0, 1, 0]
        endings = [await ended(bench, await woken(bench, brook, name)) for name in "345"]
        assert endings == [(200, None), (200, None), (499, "wake_limit")]


@pytest.mark.spec("3.6-wake-limit", "4.4-wake-four-ways")
async def test_a_loop_that_leaves_ends_of_streams_untold_opens_one_that_is_too_many_and_no_more(
    tmp_path: Path,
) -> None:
    limits = Limits(settle_s=0, max_wakes=0)
    async with brooks(tmp_path / "p.db", (), limits=limits) as (bench, brook):

        async def says(number: int, _request: GenerateRequest) -> str:
            if number == 1:
                return start("a", "b")
            for name in "ab" if number == 2 else ():
                brook.end(name)
            await heard(bench, "stream/concluded", "stream/concluded")
            return DONE

        bench.model._say = says
        assert await ended(bench, await prompted(bench)) == (200, None)
        await heard(bench, "loop/terminated", "loop/terminated")
        assert await waits(bench)
        assert await model_loops(bench) == [(200, None, 0), (499, "wake_limit", 1)]
        assert told(bench) == []
        assert await ended(bench, await prompted(bench, "well?")) == (200, None)
        assert [name for _path, name, _status, _error in told(bench)] == ["a", "b"]


@pytest.mark.spec("3.6-wake-limit")
async def test_the_count_is_kept_when_the_stream_that_opened_a_loop_is_deleted(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", say, limits=TWO) as (bench, brook):
        await ended(bench, await prompted(bench))
        for number in (1, 2):
            await ended(bench, await woken(bench, brook, str(number)))
            await do(bench, f"<<SEND[410](brook://{number})::SEND")
        assert await bench.engine.store.read(
            lambda db: query(db, "SELECT count(woken_by) FROM loops") + query(db, "SELECT count(*) FROM subscriptions")
        ) == [(0,), (1,)]
        assert await ended(bench, await woken(bench, brook, "3")) == (499, "wake_limit")
