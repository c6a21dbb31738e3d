"""The bell that a waiting loop hears."""

from __future__ import annotations

import trio
import trio.testing

from plurnk.engine.waiting import Bell


async def test_what_rings_while_it_looks_is_not_missed(autojump_clock: trio.testing.MockClock) -> None:
    bell, looks = Bell(), 0

    async def look() -> bool:
        nonlocal looks
        looks += 1
        if looks < 3:
            bell.ring()
        await trio.lowlevel.checkpoint()
        return looks == 3

    with trio.fail_after(1):
        await bell.look_until(look)
    assert looks == 3


async def test_it_looks_once_for_each_time_that_it_rings(autojump_clock: trio.testing.MockClock) -> None:
    bell, looks = Bell(), 0

    async def look() -> bool:
        nonlocal looks
        looks += 1
        await trio.lowlevel.checkpoint()
        return looks == 4

    async with trio.open_nursery() as tasks:
        tasks.cancel_scope.deadline = trio.current_time() + 60
        tasks.start_soon(bell.look_until, look)
        for number in range(1, 4):
            await trio.testing.wait_all_tasks_blocked()
            assert looks == number
            bell.ring()
    assert looks == 4
    assert not tasks.cancel_scope.cancelled_caught
