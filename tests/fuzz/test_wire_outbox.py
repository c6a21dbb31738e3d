"""Whatever a client does and however slow it is, it sees each durable event exactly once and in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from plurnk.server.outbox import MAX_BYTES, Feed, Outbox

SMALL, HUGE = 10, MAX_BYTES // 3

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from([SMALL, HUGE])),
        st.tuples(st.just("passing"), st.sampled_from([SMALL, HUGE])),
        st.tuples(st.just("take"), st.sampled_from([1, 4 * MAX_BYTES])),
        st.tuples(st.sampled_from(["attach", "attach since", "other tasks", "all tasks"]), st.just(0)),
    ),
    max_size=60,
)


class Model:
    """A session's events, and one client of it."""

    def __init__(self, tasks: trio.Nursery) -> None:
        self.tasks = tasks
        self.outbox = Outbox()
        self.feed: Feed | None = None
        self.sizes: list[int] = []
        self.seen = 0
        self.attached = 0
        self.starts: list[int] = []
        self.asked_again = False

    async def page(self, after: int) -> Sequence[tuple[int, bytes]]:
        found = list(enumerate(self.sizes, 1))[after : after + 5]
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return [(number, event(number, size)) for number, size in found]

    def attach(self, since: int | None) -> None:
        old = self.feed
        went_on = since is None and old is not None and old.is_open
        self.feed = self.outbox.follow(1, since=since, last=len(self.sizes))
        if went_on:
            assert old is not None
            assert self.feed.cursor == old.cursor
        self.asked_again = since is not None
        self.attached += 1
        self.starts.append(self.feed.cursor)
        self.outbox.put_reply(b'["attached",%d]' % self.attached)
        self.tasks.start_soon(self.feed.replay, self.page)

    async def take(self, max_bytes: int) -> None:
        self.outbox.put_reply(b'["reply",0]')
        for text in (await self.outbox.take(max_bytes)).messages:
            self.read(msgspec.json.decode(text))

    def read(self, message: Any) -> None:
        match message:
            case {"method": "session/lagged", "params": {"resumeFrom": int(resume_from)}}:
                assert resume_from == self.seen
                self.attach(since=resume_from)
            case ["event", int(number), str()]:
                assert not self.asked_again, "it comes again after the answer"
                assert number == self.seen + 1
                self.seen += 1
            case ["attached", int(number)]:
                self.seen = self.starts[number - 1]
                self.asked_again = self.asked_again and number < self.attached
            case _:
                pass


def event(number: int, size: int) -> bytes:
    return msgspec.json.encode(["event", number, " " * size])


async def play(steps: Sequence[tuple[str, int]]) -> None:
    async with trio.open_nursery() as tasks:
        model = Model(tasks)
        model.attach(since=None)
        for step, size in steps:
            match step:
                case "publish":
                    model.sizes.append(size)
                    assert model.feed is not None
                    model.feed.event(len(model.sizes), event(len(model.sizes), size))
                case "passing":
                    assert model.feed is not None
                    model.feed.passing(msgspec.json.encode(["passing", " " * size]))
                case "take":
                    await model.take(size)
                case "attach":
                    model.attach(since=None)
                case "attach since":
                    model.attach(since=model.seen)
                case "other tasks":
                    await trio.lowlevel.checkpoint()
                case _:
                    await trio.testing.wait_all_tasks_blocked()
        for _ in range(10 + 2 * len(model.sizes)):
            await trio.testing.wait_all_tasks_blocked()
            await model.take(MAX_BYTES)
        assert model.seen == len(model.sizes)


@pytest.mark.spec("6.5-lagged")
@given(STEPS)
def test_each_event_once_and_in_order(steps: Sequence[tuple[str, int]]) -> None:
    trio.run(play, steps, clock=trio.testing.MockClock(autojump_threshold=0))
