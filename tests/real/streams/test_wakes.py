"""What follows from the end of a stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from plurnk.plugins.streaming import Conclusion
from plurnk.store import loops, turns
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop, Submission
from plurnk.store.query import query
from plurnk.wire.notifications import StreamConcluded
from tests.support.stores import DEFAULTS
from tests.support.streams import Basin, Tap, basin

FLAGS = '{"yolo":true}'


async def turn_of(at: Basin, *, end: bool = True) -> TurnRef:
    """A turn of a loop with settings of its own, which has ended unless it is to go on."""

    def unit(tx: Tx) -> TurnRef:
        asked = Submission(prompt="build", flags=FLAGS, alias="other", persona="be brief", max_turns=7, queue=True)
        loops.end(tx, at.turn.loop_id, loops.DONE, None)
        loops.submit(tx, at.main.id, asked, DEFAULTS)
        loop = loops.claim(tx, at.main.id)
        assert loop is not None
        turn = turns.begin(tx, loop)
        if end:
            loops.end(tx, loop.id, loops.DONE, None)
        return turn

    return await at.store.write(unit)


async def client_turn(at: Basin) -> TurnRef:
    def unit(tx: Tx) -> TurnRef:
        loops.end(tx, at.turn.loop_id, loops.DONE, None)
        return turns.begin(tx, loops.open_client_loop(tx, at.main.id, flags="{}", max_turns=9))

    return await at.store.write(unit)


async def stream(at: Basin, turn: TurnRef, path: str, end: Conclusion) -> StreamConcluded:
    entry_id = await at.entry(path)
    await at.open(entry_id, Tap(lines=1, end=end), turn=turn)
    await at.ended(entry_id)
    return at.concluded()[-1]


async def queued(at: Basin) -> list[tuple[Loop, int]]:
    rows = await at.store.read(lambda db: query(db, "SELECT id, woken_by FROM loops WHERE status = 100 ORDER BY id"))
    return [(await at.store.read(lambda db, loop_id=loop_id: loops.get(db, loop_id)), by) for loop_id, by in rows]  # type: ignore[misc]


@pytest.mark.spec("4.4-wake-four-ways", "3.7-wake-inherits")
async def test_a_run_with_nothing_to_do_gets_a_loop_with_the_settings_of_the_one_that_started_the_stream(
    tmp_path: Path,
) -> None:
    async with basin(tmp_path / "p.db") as at:
        turn = await turn_of(at)
        concluded = await stream(at, turn, "a", Conclusion(status=500, exit_code=2))
        ((loop, woken_by),) = await queued(at)
        assert (concluded.wake_action, concluded.wake_loop_id) == ("opened-loop", loop.id)
        assert (loop.prompt, woken_by) == (concluded.summary, concluded.subscription_id)
        assert concluded.summary.startswith("stream://a ended with exit code 2 after ")
        assert (loop.origin, loop.flags, loop.alias, loop.persona, loop.max_turns) == (
            "model",
            FLAGS,
            "other",
            "be brief",
            7,
        )
        assert loop.run_id == turn.run_id
        # The loop that waits is a live one: it tells of this, too.
        assert (await stream(at, turn, "b", Conclusion(status=200))).wake_action == "no-op-active-loop"
        assert len(await queued(at)) == 1


@pytest.mark.spec("4.4-wake-four-ways")
async def test_a_live_loop_is_left_to_see_for_itself(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        concluded = await stream(at, await turn_of(at, end=False), "a", Conclusion(status=200))
        assert concluded.wake_action == "no-op-active-loop"
        assert await queued(at) == []


@pytest.mark.spec("4.4-wake-four-ways")
async def test_what_was_cancelled_wakes_nobody(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        turn = await turn_of(at)
        entry_id = await at.entry()
        await at.open(entry_id, Tap(), turn=turn)
        await at.streams.cancel(entry_id, reason="enough")
        (concluded,) = at.concluded()
        assert (concluded.close_status, concluded.wake_action) == (499, "skipped-aborted")
        assert await queued(at) == []


@pytest.mark.spec("4.4-wake-four-ways")
@pytest.mark.parametrize("has_provider", [True, False])
async def test_nobody_is_woken_whom_no_model_would_answer(tmp_path: Path, has_provider: bool) -> None:
    async with basin(tmp_path / "p.db", has_provider=has_provider) as at:
        turn = await client_turn(at) if has_provider else await turn_of(at)
        concluded = await stream(at, turn, "a", Conclusion(status=200))
        assert concluded.wake_action == "skipped-no-provider"
        assert await queued(at) == []
