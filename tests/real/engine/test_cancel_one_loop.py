"""Cancelling the loop that is meant, and no other; why a loop failed, told to whoever asks (SPEC 3.1, 3.8)."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from plurnk.engine.engine import Cancelled
from plurnk.engine.limits import Limits
from plurnk.errors import UpstreamFailed
from plurnk.plugins.api import GenerateRequest
from plurnk.store import database, loops, sessions
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LoopTerminated
from tests.support.engines import Bench, engine_with

DONE = "<<SEND[200]::SEND"


async def queued(bench: Bench, prompt: str) -> int:
    return (await bench.engine.submit(bench.run.id, Submission(prompt=prompt, queue=True))).loop_id


async def status(bench: Bench, loop_id: int) -> tuple[int, str | None]:
    loop = await bench.engine.store.read(lambda db: loops.get(db, loop_id))
    return loop.status, loop.reason


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_a_loop_is_cancelled_by_its_id_and_the_others_go_on(tmp_path: Path) -> None:
    asked, release = trio.Event(), trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 1:
            asked.set()
            await release.wait()
        return DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        first, second, third = [await queued(bench, prompt) for prompt in ("one", "two", "three")]
        await asked.wait()
        other = await bench.engine.store.write(lambda tx: sessions.create_run(tx, bench.session.id, "other"))
        cancel = bench.engine.cancel
        assert await cancel(bench.run.id, "not this", loop_id=second) == Cancelled(None, (second,))
        assert await status(bench, second) == (499, "cancelled")
        assert await cancel(bench.run.id, "again", loop_id=second) == Cancelled(None, ())
        assert await cancel(other.id, "of another run", loop_id=third) == Cancelled(None, ())
        assert await cancel(bench.run.id, "unknown", loop_id=999) == Cancelled(None, ())
        assert await status(bench, first) == (102, None)
        assert await cancel(bench.run.id, "nor this", loop_id=first) == Cancelled(first, ())
        assert (await bench.engine.loop_end(third)).status == 200
        ended = [n.loop_id for n in bench.ear.heard if isinstance(n, LoopTerminated)]
        assert ended == [second, first, third]


@pytest.mark.spec("3.1-inject-none-lost")
async def test_prompts_that_wait_for_a_queued_loop_outlive_it(tmp_path: Path) -> None:
    asked, release = trio.Event(), trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 1:
            asked.set()
            await release.wait()
        return DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        await queued(bench, "one")
        await asked.wait()
        second = await queued(bench, "two")
        await bench.engine.store.write(lambda tx: loops.inject(tx, loops.get(tx.db, second), "and this"))
        await bench.engine.cancel(bench.run.id, "not this", loop_id=second)
        release.set()
        last = await bench.engine.store.read(lambda db: loops.live(db, bench.run.id))
        while last is not None:
            await bench.engine.loop_end(last.id)
            last = await bench.engine.store.read(lambda db: loops.live(db, bench.run.id))
        assert "and this" in bench.model.requests[-1].messages[1].content
        assert len(bench.model.requests) == 2


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_cancelling_all_leaves_nothing_to_do_for_what_came_meanwhile(tmp_path: Path) -> None:
    """Neither a loop that waits nor a prompt that the live loop had no turn for."""

    async def say(_number: int, _request: GenerateRequest) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with engine_with(tmp_path / "p.db", say) as bench:
        first = await queued(bench, "one")
        await bench.model.asked.wait()
        injected = await bench.engine.submit(bench.run.id, Submission(prompt="and this"))
        assert injected.action == "injected_next_turn"
        second = await queued(bench, "two")
        assert await bench.engine.cancel(bench.run.id, "enough", queued_too=True) == Cancelled(first, (second,))
        assert await bench.engine.store.read(lambda db: loops.live(db, bench.run.id)) is None
        ended = [n.loop_id for n in bench.ear.heard if isinstance(n, LoopTerminated)]
        assert sorted(ended) == [first, second]


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_who_waits_for_a_loop_goes_on_when_its_end_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may see the end in the store before that: here it is long between the two."""
    committed, announce = threading.Event(), threading.Event()
    commit = database._Writer._commit

    def slowly(writer: Any, group: Any) -> Any:
        announced = commit(writer, group)
        if any(isinstance(each.notification, LoopTerminated) for each in announced):
            committed.set()
            announce.wait(10)
        return announced

    async with engine_with(tmp_path / "p.db", (DONE,)) as bench:
        monkeypatch.setattr(database._Writer, "_commit", slowly)
        first = await queued(bench, "one")
        with trio.fail_after(10):
            await trio.to_thread.run_sync(committed.wait)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(bench.engine.loop_end, first)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert len(waiting.child_tasks) == 1
                announce.set()
        assert [n.loop_id for n in bench.ear.heard if isinstance(n, LoopTerminated)] == [first]


async def test_why_the_provider_failed_is_told_with_the_loop(tmp_path: Path) -> None:
    async def say(_number: int, _request: GenerateRequest) -> str:
        raise UpstreamFailed("the model has gone home")

    async with engine_with(tmp_path / "p.db", say, limits=Limits(provider_retries=0)) as bench:
        loop = await bench.engine.loop_end(await queued(bench, "one"))
        assert (loop.status, loop.reason) == (500, "provider_error")
        assert "the model has gone home" in (loop.error or "")
        (told,) = [n for n in bench.ear.heard if isinstance(n, LoopTerminated)]
        assert told.error == loop.error
