"""What the machine of one run has found (tests/faults/test_run_machine.py), each by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from plurnk.engine.driver import Driver, Ending
from plurnk.plugins.api import GenerateRequest
from plurnk.store import loops
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LoopTerminated
from tests.support.engines import engine_with


@pytest.mark.spec("7.2-resume")
@pytest.mark.parametrize(
    ("says", "turns", "ending"),
    [
        ("<<SEND[200]::SEND", 1, (200, None)),
        ("<<SEND[499]::SEND", 1, (499, "external")),
        ("I wonder.", 3, (499, "strike_threshold")),
    ],
)
async def test_a_loop_whose_last_turn_has_ended_it_is_asked_nothing_more_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, turns: int, ending: tuple[int, str | None]
) -> None:
    """Between its last turn's end and its own a loop may have streams to end, which takes as long as they need."""
    here, left = tmp_path / "p.db", tmp_path / "left.db"
    end_streams = Driver._end_streams

    def copy(_tx: Tx) -> None:
        # On the writer's thread: as a kill at this moment would leave it.
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{here}{suffix}", f"{left}{suffix}")

    async def crash(driver: Driver, loop_id: int, how: Ending) -> None:
        await driver._shop.store.write(copy)
        await end_streams(driver, loop_id, how)

    with monkeypatch.context() as patch, trio.fail_after(30):
        patch.setattr(Driver, "_end_streams", crash)
        async with engine_with(here, [says] * turns) as bench:
            submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
            await bench.engine.loop_end(submitted.loop_id)
    with trio.fail_after(30):
        async with engine_with(left, ["<<SEND[102]::SEND", "<<SEND[200]::SEND"]) as bench:
            assert (await bench.engine.store.read(lambda db: loops.get(db, submitted.loop_id))).status == 102
            await bench.engine.resume(resume=True)
            loop = await bench.engine.loop_end(submitted.loop_id)
            assert (loop.status, loop.reason) == ending
            assert bench.model.requests == []


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_a_loop_that_is_dropped_from_the_queue_was_cancelled_whatever_words_came_with_that(
    tmp_path: Path,
) -> None:
    async def say(_number: int, _request: GenerateRequest) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with engine_with(tmp_path / "p.db", say) as bench:
        with trio.fail_after(30):
            for number in range(3):
                await bench.engine.submit(bench.run.id, Submission(prompt="go", queue=number > 0))
            await bench.model.asked.wait()
            cancelled = await bench.engine.cancel(bench.run.id, "enough", queued_too=True)
        assert len(cancelled.dropped) == 2
        ends = [(n.final_status, n.reason) for n in bench.ear.heard if isinstance(n, LoopTerminated)]
        assert ends == [(499, "cancelled")] * 3
