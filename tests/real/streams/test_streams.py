"""Streams on a real store: each is one task, one scope and one open row, from its beginning to its one end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
import trio.testing

from plurnk.errors import Conflict, Draining, Malformed, NotFound, OutOfRoom, PlurnkError
from plurnk.plugins.api import Conclusion, Feed
from plurnk.store import channels, entries, sessions, subscriptions
from plurnk.store.database import StoreFailed, Tx
from plurnk.store.subscriptions import Subscription
from plurnk.streams import live
from tests.support.faults import AtStep, FailingWrites
from tests.support.stores import begin_turn
from tests.support.streams import Basin, Tap, basin

GRACE_S = 5.0

Step: TypeAlias = Callable[[], Awaitable[object]]


async def for_ever(_feed: Feed) -> Conclusion:
    await trio.sleep_forever()
    raise AssertionError


async def live_tasks_and_open_rows(at: Basin) -> tuple[int, int]:
    rows = await at.store.read(subscriptions.all_open)
    return len(at.streams._streams.child_tasks), len(rows)


@pytest.mark.spec("4.1-one-scope-per-subscription")
async def test_a_stream_is_one_task_and_one_open_row_however_it_ends(tmp_path: Path) -> None:
    async def fail(_feed: Feed) -> Conclusion:
        raise OSError("the pipe broke")

    async with basin(tmp_path / "p.db") as at:
        ids = [await at.entry(f"{number}") for number in range(4)]
        taps = [Tap(), Tap()]
        for entry_id, tap in zip(ids, taps, strict=False):
            await at.open(entry_id, tap)
        await at.open(ids[2], for_ever)
        assert await live_tasks_and_open_rows(at) == (3, 3)
        await taps[0].running.wait()
        assert await at.streams.cancel(ids[0], reason="enough")
        assert taps[0].let_go.is_set()
        assert await live_tasks_and_open_rows(at) == (2, 2)
        await at.open(ids[3], fail)
        await concluded(at, ids[3])
        assert await live_tasks_and_open_rows(at) == (2, 2)
        await at.open(ids[0], Tap(lines=2))
        await concluded(at, ids[0])
        assert await live_tasks_and_open_rows(at) == (2, 2)
        assert await at.closes(ids[0]) == [(499, "enough"), (200, None)]
    async with basin(tmp_path / "p.db") as later:
        assert await live_tasks_and_open_rows(later) == (0, 0)
        assert [await later.closes(entry_id) for entry_id in ids[1:3]] == [[(499, "shutdown")]] * 2


async def concluded(at: Basin, entry_id: int) -> None:
    """Wait until nothing of the entry is live, without ending it."""
    for stream in [stream for stream in at.streams._live if stream.entry_id == entry_id]:
        await stream.concluded.wait()


async def test_the_channels_of_a_stream_are_active_while_it_lives_and_say_how_it_ended(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        good, bad = await at.entry("good"), await at.entry("bad")
        go = trio.Event()

        async def talk(end: Conclusion, feed: Feed) -> Conclusion:
            await feed.append("out", b"caf\xc3")
            await feed.append("out", b"\xa9\n")
            await go.wait()
            return end

        await at.open(good, partial(talk, Conclusion(status=200)), names=["out"])
        await at.open(bad, partial(talk, Conclusion(status=500, detail="exit 3")))
        assert [(await at.content(good, name))[0] for name in ("out", "err")] == ["active", "static"]
        assert [(await at.content(bad, name))[0] for name in ("out", "err")] == ["active", "active"]
        go.set()
        await concluded(at, good)
        await concluded(at, bad)
        assert await at.content(good) == ("closed", "café\n".encode())
        assert await at.content(bad) == ("errored", "café\n".encode())
        assert await at.content(bad, "err") == ("errored", b"")
        assert (await at.closes(good), await at.closes(bad)) == ([(200, None)], [(500, "exit 3")])


@pytest.mark.spec("4.1-close-idempotent")
async def test_of_two_closes_the_first_wins_and_the_second_changes_nothing(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()

        def unit(tx: Tx) -> list[Subscription | None]:
            begun = subscriptions.begin(tx, at.turn, entry_id, scheme="stream", handle="x", channel_names=["out"])
            close = partial(subscriptions.close, tx, begun, ["out"])
            return [close(status=200, detail=None), close(status=499, detail="too late")]

        first, second = await at.store.write(unit)
        assert first is not None
        assert (first.close_status, second) == (200, None)
        assert await at.closes(entry_id) == [(200, None)]
        assert await at.content(entry_id) == ("closed", b"")


@pytest.mark.spec("4.1-close-idempotent")
async def test_every_cancel_is_answered_and_one_close_recorded(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        assert not await at.streams.cancel(entry_id, reason="nothing there")
        await at.open(entry_id, Tap())
        answers: list[bool] = []

        async def cancel(reason: str) -> None:
            answers.append(await at.streams.cancel(entry_id, reason=reason))

        async with trio.open_nursery() as callers:
            for number in range(5):
                callers.start_soon(cancel, f"caller {number}")
        assert answers == [True] * 5
        assert not await at.streams.cancel(entry_id, reason="again")
        ((status, reason),) = await at.closes(entry_id)
        assert status == 499
        assert reason in {f"caller {number}" for number in range(5)}


@pytest.mark.spec("4.1-close-idempotent", "4.1-one-scope-per-subscription")
async def test_a_cancel_at_any_moment_is_answered_and_nothing_appended_is_lost(tmp_path: Path) -> None:
    """Two callers, one after so many checkpoints, one after so many commits: while the stream opens, writes or ends."""
    async with basin(tmp_path / "p.db") as at:
        for number in range(200):
            entry_id = await at.entry(f"{number}")
            tap = Tap(lines=number % 4)
            answers: list[bool] = []

            async def cancel_after(
                steps: int, step: Step, entry_id: int = entry_id, answers: list[bool] = answers
            ) -> None:
                for _ in range(steps):
                    await step()
                answers.append(await at.streams.cancel(entry_id, reason="the race"))

            async with trio.open_nursery() as racers:
                racers.start_soon(at.open, entry_id, tap)
                racers.start_soon(cancel_after, (number % 11) ** 3, trio.lowlevel.checkpoint)
                racers.start_soon(cancel_after, 1 + number % 7, partial(at.store.write, lambda _tx: None))
            await concluded(at, entry_id)
            ((status, reason),) = await at.closes(entry_id)
            assert (status, reason) in {(200, None), (499, "the race")}
            assert status == 200 or True in answers
            assert len(answers) == 2
            state, data = await at.content(entry_id)
            assert state == ("closed" if status == 200 else "errored")
            # What append returned for is there; a line whose append was cancelled is there whole or not at all.
            assert data in {tap.text(), tap.text() + f"line {tap.written + 1}\n".encode()}
        assert await live_tasks_and_open_rows(at) == (0, 0)


async def test_what_was_appended_before_a_cancel_stays(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id, written = await at.entry(), trio.Event()

        async def write_and_wait(feed: Feed) -> Conclusion:
            await feed.append("out", b"before\n")
            await feed.append("err", b"oh\n")
            written.set()
            return await for_ever(feed)

        await at.open(entry_id, write_and_wait)
        await written.wait()
        assert await at.streams.cancel(entry_id, reason="SEND[499]")
        assert await at.content(entry_id) == ("errored", b"before\n")
        assert await at.content(entry_id, "err") == ("errored", b"oh\n")
        assert await at.closes(entry_id) == [(499, "SEND[499]")]


class Unexpected(Exception):
    pass


@pytest.mark.parametrize(
    ("errors", "close"),
    [
        ([Unexpected("the pipe broke")], (500, "the pipe broke")),
        ([Unexpected()], (500, "Unexpected")),
        ([OutOfRoom("the disk is full")], (507, "the disk is full")),
        ([ExceptionGroup("x", [ExceptionGroup("y", [Conflict("no")])])], (409, "no")),
        ([Unexpected("a"), Unexpected("b")], (500, "2 failures at once; the log has them")),
    ],
)
async def test_work_that_raises_is_concluded_and_nothing_escapes(
    tmp_path: Path,
    errors: list[Exception],
    close: tuple[int, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(feed: Feed) -> Conclusion:
        await feed.append("out", b"so far\n")
        raise errors[0] if len(errors) == 1 else ExceptionGroup("several", errors)

    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, fail)
        await concluded(at, entry_id)
        assert await at.closes(entry_id) == [close]
        assert await at.content(entry_id) == ("errored", b"so far\n")
        (record,) = [r for r in caplog.records if r.name == live.__name__]
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert not at.streams._streams.cancel_scope.cancel_called


async def fail_on_the_way_out(feed: Feed) -> Conclusion:
    async with trio.open_nursery() as pumps:
        pumps.start_soon(for_ever, feed)
        try:
            await trio.sleep_forever()
        finally:
            raise Unexpected("could not clean up")


async def test_work_that_fails_because_it_is_cancelled_was_cancelled(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, fail_on_the_way_out)
        assert await at.streams.cancel(entry_id, reason="enough")
        assert await at.closes(entry_id) == [(499, "enough")]


async def test_the_end_of_the_block_concludes_what_is_live(tmp_path: Path) -> None:
    path, ids, taps = tmp_path / "p.db", list[int](), [Tap(), Tap()]
    async with basin(path) as at:
        for tap in taps:
            ids.append(await at.entry(f"{len(ids)}"))
            await at.open(ids[-1], tap)
            await tap.running.wait()
    assert [tap.let_go.is_set() for tap in taps] == [True, True]
    async with basin(path) as later:
        for entry_id, tap in zip(ids, taps, strict=True):
            assert await later.closes(entry_id) == [(499, "shutdown")]
            state, data = await later.content(entry_id)
            assert (state, data.startswith(tap.text())) == ("errored", True)


async def test_a_stream_that_was_about_to_open_when_the_block_ended_is_concluded_so(tmp_path: Path) -> None:
    path, entry_id = tmp_path / "p.db", 0
    async with trio.open_nursery() as callers:
        async with basin(path) as at:
            entry_id = await at.entry()
            ending = AtStep(1, lambda task: task.name == "the opener", at.streams.shut_down)
            trio.lowlevel.add_instrument(ending)
            callers.start_soon(at.open, entry_id, for_ever, name="the opener")  # noqa: ASYNC111 – to outlive it is the test
            await trio.sleep_forever()
        trio.lowlevel.remove_instrument(ending)
    async with basin(path) as later:
        assert await later.closes(entry_id) == [(499, "shutdown")]


async def test_a_stream_that_would_be_opened_by_one_that_ends_is_refused(tmp_path: Path) -> None:
    path, ids = tmp_path / "p.db", list[int]()

    async def open_another(feed: Feed) -> Conclusion:
        try:
            return await for_ever(feed)
        finally:
            with trio.move_on_after(GRACE_S, shield=True), pytest.raises(Draining):
                await at.open(ids[1], for_ever)
            ids.append(0)

    async with basin(path) as at:
        ids += [await at.entry("one"), await at.entry("another")]
        await at.open(ids[0], open_another)
        await trio.testing.wait_all_tasks_blocked()
    assert ids[2:] == [0]
    async with basin(path) as later:
        assert [await later.closes(entry_id) for entry_id in ids[:2]] == [[(499, "shutdown")], []]


async def test_a_daemon_that_is_cancelled_from_above_concludes_its_streams_too(tmp_path: Path) -> None:
    path, entry_id = tmp_path / "p.db", 0
    with trio.CancelScope() as above:
        async with basin(path) as at:
            entry_id, failing = await at.entry("tap"), await at.entry("failing")
            await at.open(entry_id, Tap())
            await at.open(failing, fail_on_the_way_out)
            above.cancel(reason="the daemon failed")
            await trio.lowlevel.checkpoint()
    assert above.cancelled_caught
    async with basin(path) as at:
        ((status, _reason),) = await at.closes(entry_id)
        assert status == 499
        assert (await at.content(entry_id))[0] == "errored"
        assert await at.store.read(subscriptions.all_open) == []


@pytest.mark.spec("2.2-cap-413")
async def test_a_stream_that_fills_its_channel_is_concluded_413_with_all_up_to_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "CHANNEL_CAP_BYTES", 10)
    after: list[str] = []

    async def flood(*, exactly: bool, feed: Feed) -> Conclusion:
        await feed.append("out", b"1234567")
        await feed.append("out", b"890" if exactly else b"89012")
        after.append("still running")
        return Conclusion(status=200)

    async with basin(tmp_path / "p.db") as at:
        over, full = await at.entry("over"), await at.entry("full")
        await at.open(over, lambda feed: flood(exactly=False, feed=feed))
        await concluded(at, over)
        assert after == []
        assert await at.closes(over) == [(413, "channel out holds at most 10 bytes")]
        assert await at.content(over) == ("errored", b"1234567890")
        assert await at.content(over, "err") == ("errored", b"")
        await at.open(full, lambda feed: flood(exactly=True, feed=feed))
        await concluded(at, full)
        assert await at.content(full) == ("closed", b"1234567890")


async def test_a_full_channel_cannot_be_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CHANNEL_CAP_BYTES", 10)
    refusals: list[PlurnkError] = []

    async def overlook(feed: Feed) -> Conclusion:
        with trio.move_on_after(GRACE_S, shield=True):
            try:
                await feed.append("out", b"far too much")
            except PlurnkError as error:
                refusals.append(error)
        return Conclusion(status=200)

    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, overlook)
        await concluded(at, entry_id)
        assert [error.status for error in refusals] == [413]
        assert await at.closes(entry_id) == [(413, "channel out holds at most 10 bytes")]


async def test_small_pieces_count_as_many_tokens_as_one_large_one(tmp_path: Path) -> None:
    async def drip(feed: Feed) -> Conclusion:
        for _ in range(9):
            await feed.append("out", b"x")
        return Conclusion(status=200)

    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, drip)
        await concluded(at, entry_id)
        channel = await at.store.read(lambda db: channels.find(db, entry_id, "out"))
        assert channel is not None
        assert (channel.length_bytes, channel.tokens) == (9, 3)


async def test_cancelling_a_cancel_leaves_the_end_going_on(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, Tap())
        with trio.CancelScope() as impatient:
            impatient.cancel()
            await at.streams.cancel(entry_id, reason="first")
        assert impatient.cancelled_caught
        await concluded(at, entry_id)
        assert await at.closes(entry_id) == [(499, "first")]


async def test_an_opening_that_is_cancelled_leaves_nothing_live(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        for steps in range(20):
            entry_id = await at.entry(f"{steps}")

            async def open_it(scope: trio.CancelScope, entry_id: int = entry_id) -> None:
                with scope:
                    await at.open(entry_id, for_ever)

            scope = trio.CancelScope()
            async with trio.open_nursery() as opener:
                opener.start_soon(open_it, scope)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
            if scope.cancelled_caught:
                await concluded(at, entry_id)
                assert await live_tasks_and_open_rows(at) == (0, 0)
                assert await at.closes(entry_id) in ([], [(499, "cancelled")])
            else:
                assert await at.streams.cancel(entry_id, reason="x")


async def test_what_cannot_be_opened_leaves_no_trace(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id, bare = await at.entry(), await at.entry("bare")
        other_run = await at.store.write(lambda tx: sessions.create_run(tx, at.turn.session_id, "other"))
        other = await at.store.write(lambda tx: begin_turn(tx, other_run))
        await at.open(entry_id, Tap(), names=["out"])
        for refused, error in (
            (at.open(entry_id, for_ever, names=["err"]), Conflict),  # one a run
            (at.open(entry_id, for_ever, turn=other), Conflict),  # one a channel
            (at.open(entry_id + 1000, for_ever), NotFound),
            (at.open(bare, for_ever, names=["out", "nope"]), NotFound),
            (at.open(bare, for_ever, names=[]), Malformed),
        ):
            with pytest.raises(error):
                await refused
        assert await live_tasks_and_open_rows(at) == (1, 1)
        assert await at.content(bare) == ("static", b"")
        await at.open(entry_id, for_ever, turn=other, names=["err"])
        assert await at.streams.cancel(entry_id, reason="both")
        assert await at.closes(entry_id) == [(499, "both"), (499, "both")]


async def test_a_feed_writes_its_own_channels_and_only_while_its_stream_lives(tmp_path: Path) -> None:
    feeds: list[Feed] = []

    async def keep(feed: Feed) -> Conclusion:
        feeds.append(feed)
        with pytest.raises(Conflict, match="no channel err"):
            await feed.append("err", b"x")
        return Conclusion(status=200)

    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, keep, names=["out"])
        await concluded(at, entry_id)
        with pytest.raises(Conflict, match="not being written"):
            await feeds[0].append("out", b"late")
        assert await at.content(entry_id) == ("closed", b"")


async def test_a_feed_of_a_stream_that_is_over_does_not_write_into_the_next_one_s(tmp_path: Path) -> None:
    give, feeds = trio.open_memory_channel[Feed](1)

    async def give_away(feed: Feed) -> Conclusion:
        await give.send(feed)
        return await for_ever(feed)

    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, give_away)
        first = await feeds.receive()
        assert await at.streams.cancel(entry_id, reason="the first is over")
        await at.open(entry_id, give_away)
        second = await feeds.receive()
        with pytest.raises(Conflict, match="not being written"):
            await first.append("out", b"late")
        await second.append("out", b"in time")
        assert await at.content(entry_id) == ("active", b"in time")


async def test_an_entry_or_channel_that_is_being_written_is_not_deleted(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, for_ever, names=["out"])
        found = await at.store.read(lambda db: channels.of_entry(db, entry_id))
        ids = {channel.name: channel.id for channel in found}
        with pytest.raises(channels.BeingWritten):
            await at.store.write(lambda tx: entries.delete(tx, entry_id))
        with pytest.raises(channels.BeingWritten):
            await at.store.write(lambda tx: channels.delete(tx.db, ids["out"]))
        await at.store.write(lambda tx: channels.delete(tx.db, ids["err"]))
        assert await at.streams.cancel(entry_id, reason="make way")
        await at.store.write(lambda tx: entries.delete(tx, entry_id))
        assert await at.rows(entry_id) == []


@pytest.mark.spec("7.1-disk-full")
async def test_a_conclusion_waits_for_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first write after the cancel fails; the task tries again, and its callers wait."""
    monkeypatch.setattr(live, "RETRY_S", 0)
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        await at.open(entry_id, for_ever)
        fault = FailingWrites(at.store, 1)
        assert await at.streams.cancel(entry_id, reason="enough")
        assert fault.happened
        assert await at.closes(entry_id) == [(499, "enough")]


@pytest.mark.spec("7.1-disk-full")
async def test_a_disk_that_stays_full_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RETRY_S", 0)
    monkeypatch.setattr(live, "CONCLUSION_LIMIT_S", 0.05)

    def full(_self: object, _rules: object, _tx: Tx) -> None:
        raise OutOfRoom("the disk is full")

    path = tmp_path / "p.db"
    async with basin(path) as at:
        first, second = await at.entry("first"), await at.entry("second")
        await at.open(first, for_ever)
        await at.open(second, for_ever)
        with monkeypatch.context() as broken:
            broken.setattr(live._Live, "close_row", full)
            assert await at.streams.cancel(first, reason="enough")
            assert await at.closes(first) == [(None, None)]
        for _ in range(1000):  # there is room again
            if await at.closes(first) == [(499, "enough")]:
                break
        else:
            pytest.fail("the row was never closed")
        monkeypatch.setattr(live._Live, "close_row", full)
    async with basin(path) as at:
        assert await at.closes(second) == [(None, None)]


async def test_an_opening_that_the_disk_refuses_is_an_error_at_once(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry()
        FailingWrites(at.store, 1)
        with pytest.raises(StoreFailed):
            await at.open(entry_id, for_ever)
        assert await live_tasks_and_open_rows(at) == (0, 0)
        await at.open(entry_id, Tap(lines=1))
