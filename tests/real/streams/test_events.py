"""What clients hear of a stream: after the commit, in order, and to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from plurnk.errors import Conflict
from plurnk.plugins.streaming import Conclusion, Feed
from plurnk.store import subscriptions
from plurnk.store.database import Tx
from plurnk.store.query import Snapshot, query
from plurnk.store.subscriptions import Subscription
from plurnk.wire.notifications import Notification, StreamConcluded, StreamEvent
from tests.support.stores import begin_turn
from tests.support.streams import Tap, basin, until


@pytest.mark.spec("4.3-event-after-commit", "4.4-order")
async def test_what_is_told_is_committed_and_the_end_is_told_last(tmp_path: Path) -> None:
    """Another connection, as another program would have it, looks at the moment of each event."""
    path = tmp_path / "p.db"
    seen: list[tuple[str, str]] = []

    def look(heard: Notification) -> None:
        if isinstance(heard, StreamEvent):
            ((state, length),) = query(
                onlooker,
                "SELECT state, length_bytes FROM entry_channels WHERE entry_id = ? AND name = ?",
                (heard.entry_id, heard.channel),
            )
            assert length >= heard.content_length
            assert heard.state in {"active", state}
            seen.append((heard.channel, heard.state))
        if isinstance(heard, StreamConcluded):
            ((status,),) = query(
                onlooker, "SELECT close_status FROM subscriptions WHERE id = ?", (heard.subscription_id,)
            )
            assert status == heard.close_status
            seen.append(("", "concluded"))

    async with basin(path, hear=look) as at:
        onlooker = apsw.Connection(str(path))
        done, cut = await at.entry("done"), await at.entry("cut")
        await at.open(done, Tap(lines=300))
        await at.ended(done)
        assert seen[0] == ("out", "active")
        assert seen[-3:] == [("out", "closed"), ("err", "closed"), ("", "concluded")]
        assert at.events("out")[-1].content_length == len((await at.content(done))[1])
        seen.clear()
        tap = Tap()
        await at.open(cut, tap)
        await tap.running.wait()
        await at.streams.cancel(cut, reason="enough")
        assert seen[0] == ("out", "active")
        assert seen[-3:] == [("out", "errored"), ("err", "errored"), ("", "concluded")]
        assert at.events("out")[-1].content_length == len((await at.content(cut))[1])
        onlooker.close()


@pytest.mark.spec("4.3-first-bytes-live")
async def test_the_first_bytes_are_told_at_once(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id, told = await at.entry(), list[int]()

        async def say(feed: Feed) -> Conclusion:
            await feed.append("out", b"first")
            told.extend(event.content_length for event in at.events("out"))
            await feed.append("err", b"second")
            told.extend(event.content_length for event in at.events("err"))
            return Conclusion(status=200)

        await at.open(entry_id, say)
        await at.ended(entry_id)
        assert told == [5, 6]
        assert {(event.entry_id, event.target) for event in at.events()} == {(entry_id, "stream://a")}


@pytest.mark.spec("4.3-coalesced-last-kept")
async def test_a_flood_is_told_of_seldom_and_its_last_state_soon(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id, flooded, go = await at.entry(), trio.Event(), trio.Event()

        async def flood(feed: Feed) -> Conclusion:
            for _ in range(500):
                await feed.append("out", b"x")
            flooded.set()
            await go.wait()
            return Conclusion(status=200)

        begun = trio.current_time()
        await at.open(entry_id, flood)
        await flooded.wait()
        await until(lambda: at.events("out")[-1].content_length == 500)
        assert len(at.events("out")) <= 2 + 20 * (trio.current_time() - begun)
        go.set()
        await at.ended(entry_id)
        assert [(event.state, event.content_length) for event in at.events("out")[-1:]] == [("closed", 500)]


async def write_on(feed: Feed) -> None:
    """Write until it is refused."""
    with suppress(Conflict):
        while True:
            await feed.append("err", b"more")


async def test_nothing_is_told_of_a_stream_after_its_end(tmp_path: Path) -> None:
    """Somebody else writes into it while it ends, as who sends to a command does."""
    async with basin(tmp_path / "p.db") as at:
        for number in range(30):
            entry_id = await at.entry(f"{number}")
            async with trio.open_nursery() as writers:

                async def lend(feed: Feed, writers: trio.Nursery = writers) -> Conclusion:
                    writers.start_soon(write_on, feed)
                    await feed.append("out", b"begun")
                    return Conclusion(status=200)

                await at.open(entry_id, lend)
                await at.ended(entry_id)
            assert isinstance(at.heard[-1], StreamConcluded)
            assert at.events("err")[-1].content_length == len((await at.content(entry_id, "err"))[1])


async def test_what_is_written_with_the_opening_is_there_with_it_or_not_at_all(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        opened: list[tuple[int, int]] = []

        def make(tx: Tx) -> int:
            return at.make_entry("made", ("out", "err"), tx)

        def note(tx: Tx, entry_id: int, subscription_id: int) -> None:
            ((state,),) = query(
                tx.db, "SELECT state FROM entry_channels WHERE entry_id = ? AND name = 'out'", (entry_id,)
            )
            assert state == "active"
            opened.append((entry_id, subscription_id))

        def refuse(_tx: Tx, _entry_id: int, _subscription_id: int) -> None:
            raise Conflict("somebody was first")

        async def count() -> tuple[int, int]:
            return await at.store.read(
                lambda db: (len(query(db, "SELECT 1 FROM entries")), len(query(db, "SELECT 1 FROM subscriptions")))
            )

        with pytest.raises(Conflict, match="somebody was first"):
            await at.streams.open(
                at.turn, make, scheme="stream", handle="x", channels=["out"], work=Tap(), opened=refuse
            )
        assert await count() == (0, 0)
        tap = Tap()
        subscription_id = await at.streams.open(
            at.turn, make, scheme="stream", handle="x", channels=["out"], work=tap, opened=note
        )
        assert await count() == (1, 1)
        ((entry_id, noted),) = opened
        assert noted == subscription_id
        row = await at.store.read(lambda db: subscriptions.get(db, subscription_id))
        assert row is not None
        assert (row.entry_id, row.loop_id, row.turn_id) == (entry_id, at.turn.loop_id, at.turn.turn_id)
        assert await at.streams.cancel_subscription(subscription_id, reason="enough")
        assert not await at.streams.cancel_subscription(subscription_id, reason="again")
        assert await at.closes(entry_id) == [(499, "enough")]


async def test_open_streams_are_found_by_where_they_were_opened(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        first, second = await at.entry("first"), await at.entry("second")
        await at.open(first, Tap())
        later = await at.store.write(lambda tx: begin_turn(tx, at.main))
        await at.open(second, Tap(), turn=later)

        async def entries_of(unit: Callable[[Snapshot, int], list[Subscription]], number: int) -> list[int]:
            rows = await at.store.read(lambda db: unit(db, number))
            return [row.entry_id for row in rows]

        assert later.loop_id == at.turn.loop_id
        assert await entries_of(subscriptions.open_of_turn, at.turn.turn_id) == [first]
        assert await entries_of(subscriptions.open_of_turn, later.turn_id) == [second]
        assert await entries_of(subscriptions.open_of_run, later.run_id) == [first, second]
        assert await entries_of(subscriptions.open_of_run, later.run_id + 1) == []
        await at.streams.cancel(first, reason="x")
        assert await entries_of(subscriptions.open_of_run, later.run_id) == [second]
        assert await at.store.read(lambda db: subscriptions.has_untold(db, later.run_id))
        told = await at.store.write(lambda tx: subscriptions.tell(tx, later.run_id))
        assert [(row.entry_id, row.close_status) for row in told] == [(first, 499)]
        assert await at.store.write(lambda tx: subscriptions.tell(tx, later.run_id)) == []
        assert not await at.store.read(lambda db: subscriptions.has_untold(db, later.run_id))
        listed = partial(subscriptions.of_session, session_id=later.session_id, include_closed=True)
        every = await at.store.read(partial(listed, limit=9))
        assert [(row.entry_id, row.told) for row in every] == [(first, True), (second, False)]
        assert await at.store.read(partial(listed, limit=1)) == every[1:]
