"""How often is told of a channel."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from plurnk.streams.events import EVENT_EVERY_S, Teller
from plurnk.wire.notifications import StreamEvent


def event(length: int, channel: str = "stdout", **more: bool) -> StreamEvent:
    return StreamEvent(entry_id=1, target="exec://sh-1", channel=channel, state="active", content_length=length, **more)


class Told:
    """What was told, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, int]] = []
        self.teller = Teller(self._hear)

    def _hear(self, event: StreamEvent) -> None:
        self.events.append((round(trio.current_time(), 6), event.channel, event.content_length))


@pytest.mark.spec("4.3-coalesced-last-kept")
async def test_the_first_is_told_at_once_and_of_the_others_the_newest_in_time(autojump_clock: MockClock) -> None:
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.teller.run)
        begun = trio.current_time()
        for length in range(1, 1001):
            told.teller.note(event(length))
            await trio.sleep(0.001)
        await trio.sleep(1)
        at = [(round(moment - begun, 6), length) for moment, _channel, length in told.events]
        assert at[0] == (0, 1)
        assert at[-1][1] == 1000
        assert at[-1][0] <= 1 + EVENT_EVERY_S
        assert all(later[0] - sooner[0] >= EVENT_EVERY_S - 1e-6 for sooner, later in pairwise(at))
        # As many as there may be: 20 in that second, and the first.
        assert 18 <= len(at) <= 21
        # After a pause the next is told at once, too.
        told.teller.note(event(1001))
        assert told.events[-1][2] == 1001
        nursery.cancel_scope.cancel()


async def test_channels_do_not_wait_for_each_other(autojump_clock: MockClock) -> None:
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.teller.run)
        begun = trio.current_time()
        told.teller.note(event(1))
        told.teller.note(event(2))
        await trio.sleep(0.02)
        told.teller.note(event(1, "stderr"))
        told.teller.note(event(2, "stderr"))
        await trio.sleep(1)
        assert [(round(moment - begun, 6), channel, length) for moment, channel, length in told.events] == [
            (0, "stdout", 1),
            (0.02, "stderr", 1),
            (0.05, "stdout", 2),
            (0.07, "stderr", 2),
        ]
        nursery.cancel_scope.cancel()


async def test_what_is_said_is_not_held_back_and_nothing_is_told_after_the_end(autojump_clock: MockClock) -> None:
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.teller.run)
        told.teller.note(event(1))
        told.teller.say(event(1, awaiting_input=True))
        told.teller.note(event(2))
        told.teller.end()
        told.teller.note(event(3, "stderr"))
        told.teller.say(event(3))
        await trio.sleep(1)
        assert [(channel, length) for _moment, channel, length in told.events] == [("stdout", 1)] * 2
        nursery.cancel_scope.cancel()
