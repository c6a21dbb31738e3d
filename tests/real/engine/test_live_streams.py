"""Operations on entries that somebody is still writing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.store import channels, entries, subscriptions
from plurnk.store.database import Tx
from plurnk.store.subscriptions import Subscription
from tests.support.engines import SCHEMES, Bench, do, engine_with
from tests.support.spring import Spring

START = "<<EDIT(spring://a):first\n:EDIT <<EDIT(spring://a#side):aside:EDIT <<SEND[200](spring://a)::SEND"


@asynccontextmanager
async def springing(path: Path) -> AsyncIterator[tuple[Bench, Spring, int]]:
    """An engine with a live stream on ``spring://a``, whose entry's id is the third."""
    spring = Spring()
    async with engine_with(path, ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "spring": spring}
        results = await do(bench, START)
        assert [r.status for r in results] == [201, 200, 200]
        entry_id = results[0].entry_id
        assert entry_id is not None
        yield bench, spring, entry_id


async def statuses(bench: Bench, text: str) -> list[int]:
    return [result.status for result in await do(bench, text)]


async def closes(bench: Bench, entry_id: int) -> list[tuple[int | None, str | None]]:
    rows = await bench.engine.store.read(lambda db: subscriptions.of_entry(db, entry_id))
    return [(row.close_status, row.close_detail) for row in rows]


async def states(bench: Bench, entry_id: int) -> dict[str, str]:
    found = await bench.engine.store.read(lambda db: channels.of_entry(db, entry_id))
    return {channel.name: channel.state for channel in found}


LIVE = [(None, None)]


async def test_a_channel_is_read_while_it_grows(tmp_path: Path) -> None:
    async with springing(tmp_path / "p.db") as (bench, spring, entry_id):
        reads: list[str | None] = []
        for line in ("second\n", "thi", "rd\n"):
            (read,) = await do(bench, "<<READ(spring://a)::READ")
            reads.append(read.content)
            await spring.say(line)
        (last,) = await do(bench, "<<READ(spring://a)<2-3>::READ")
        assert reads == ["first\n", "first\nsecond\n", "first\nsecond\nthi"]
        assert (last.status, last.content) == (200, "second\nthird")
        assert await states(bench, entry_id) == {"out": "active", "side": "static"}


@pytest.mark.spec("2.4-hide-keeps-stream")
@pytest.mark.parametrize("target", ["spring://a", "spring://a#out", "spring://**"])
async def test_hide_takes_a_stream_out_of_the_index_and_lets_it_run(tmp_path: Path, target: str) -> None:
    async with springing(tmp_path / "p.db") as (bench, spring, entry_id):
        assert await statuses(bench, f"<<HIDE({target})::HIDE") == [200]
        await spring.say("still here\n")
        (read,) = await do(bench, "<<READ(spring://a)::READ")
        assert read.content == "first\nstill here\n"
        assert await closes(bench, entry_id) == LIVE
        indexed = await bench.engine.store.read(lambda db: entries.indexed(db, bench.run.id))
        assert "out" not in [channel.name for _entry, shown in indexed for channel in shown]


@pytest.mark.spec("2.4-hide-499-cancels")
@pytest.mark.parametrize("target", ["spring://a", "spring://a#out", "spring://**"])
async def test_hide_499_takes_it_out_of_the_index_and_cancels_it(tmp_path: Path, target: str) -> None:
    async with springing(tmp_path / "p.db") as (bench, spring, entry_id):
        await spring.say("last words\n")
        assert await statuses(bench, f"<<HIDE[499]({target})::HIDE") == [200]
        assert spring.ended == 1
        assert await closes(bench, entry_id) == [(499, "HIDE[499]")]
        assert await states(bench, entry_id) == {"out": "errored", "side": "static"}
        indexed = await bench.engine.store.read(lambda db: entries.indexed(db, bench.run.id))
        assert "out" not in [channel.name for _entry, shown in indexed for channel in shown]
        again, read = await do(bench, f"<<HIDE[499]({target})::HIDE <<READ(spring://a)::READ")
        assert (again.status, read.content) == (304, "first\nlast words\n")


@pytest.mark.spec("2.4-send-499")
async def test_send_499_cancels_what_is_live_and_is_409_when_nothing_is(tmp_path: Path) -> None:
    async with springing(tmp_path / "p.db") as (bench, spring, entry_id):
        await spring.say("last words\n")
        assert await statuses(bench, "<<SEND[499](spring://a)::SEND <<SEND[499](spring://a)::SEND") == [200, 409]
        assert spring.ended == 1
        assert await closes(bench, entry_id) == [(499, "SEND[499]")]
        assert await states(bench, entry_id) == {"out": "errored", "side": "static"}
        assert await statuses(bench, "<<SEND[499](spring://b)::SEND") == [404]
        (read,) = await do(bench, "<<READ(spring://a)::READ")
        assert read.content == "first\nlast words\n"
        # The entry can be streamed into anew.
        assert await statuses(bench, "<<SEND[200](spring://a)::SEND") == [200]
        await spring.say("more\n")
        assert await closes(bench, entry_id) == [(499, "SEND[499]"), *LIVE]
        assert await states(bench, entry_id) == {"out": "active", "side": "static"}


@pytest.mark.spec("2.4-send-499")
async def test_two_clients_that_cancel_at_once_are_both_answered(tmp_path: Path) -> None:
    async with springing(tmp_path / "p.db") as (bench, spring, entry_id):
        answers: list[int] = []

        async def cancel() -> None:
            answers.extend(await statuses(bench, "<<SEND[499](spring://a)::SEND"))

        async with trio.open_nursery() as clients:
            clients.start_soon(cancel)
            clients.start_soon(cancel)
        assert sorted(answers) in ([200, 200], [200, 409])
        assert spring.ended == 1
        assert await closes(bench, entry_id) == [(499, "SEND[499]")]


@pytest.mark.spec("2.4-delete-cancels-stream")
@pytest.mark.parametrize(
    ("statement", "status", "left"),
    [
        ("<<SEND[410](spring://a)::SEND", 200, {"spring://a": 404}),
        ("<<MOVE(spring://a)::MOVE", 200, {"spring://a": 404}),
        ("<<MOVE(spring://a):spring://b:MOVE", 201, {"spring://a": 404, "spring://b": 200}),
        ("<<SEND[410](spring://a#out)::SEND", 200, {"spring://a": 404, "spring://a#side": 200}),
        ("<<MOVE(spring://a#out)::MOVE", 200, {"spring://a": 404, "spring://a#side": 200}),
        ("<<MOVE(spring://a#out):known://b:MOVE", 201, {"spring://a": 404, "known://b": 200}),
    ],
)
async def test_what_deletes_a_live_entry_or_channel_cancels_the_stream_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, status: int, left: dict[str, int]
) -> None:
    concluded: list[tuple[bool, int, int]] = []
    close = subscriptions.close

    def watch(
        tx: Tx, subscription: Subscription, channel_names: Sequence[str], *, status: int, **more: Any
    ) -> Subscription | None:
        there = channels.find(tx.db, subscription.entry_id, "out") is not None
        first = close(tx, subscription, channel_names, status=status, **more)
        concluded.append((there and first is not None, status, spring.ended))
        return first

    async with springing(tmp_path / "p.db") as (bench, spring, _entry_id):
        await spring.say("last words\n")
        monkeypatch.setattr(subscriptions, "close", watch)
        assert await statuses(bench, statement) == [status]
        # When the stream was concluded, its work had let go, and what it wrote was still there.
        assert concluded == [(True, 499, 1)]
        for target, outcome in left.items():
            (read,) = await do(bench, f"<<READ({target})::READ")
            assert read.status == outcome, target
            if outcome == 200 and "#" not in target:
                assert read.content == "first\nlast words\n"
        assert await bench.engine.store.read(subscriptions.all_open) == []


@pytest.mark.spec("2.4-delete-cancels-stream")
async def test_what_deletes_nothing_cancels_nothing(tmp_path: Path) -> None:
    async with springing(tmp_path / "p.db") as (bench, spring, entry_id):
        await do(bench, "<<EDIT(spring://taken):x:EDIT")
        refused_or_kept = (
            "<<MOVE(spring://a):spring://taken:MOVE <<MOVE(spring://a):known://b:MOVE <<MOVE(spring://a)<9>::MOVE"
            " <<MOVE(spring://a#nope)::MOVE <<MOVE(spring://a#side)::MOVE <<COPY(spring://a):spring://b:COPY"
            " <<MOVE(spring://a)<1>:known://line:MOVE"
        )
        assert await statuses(bench, refused_or_kept) == [409, 415, 416, 400, 200, 201, 201]
        await spring.say("still here\n")
        (read,) = await do(bench, "<<READ(spring://a)::READ")
        assert (read.content, spring.ended) == ("still here\n", 0)
        assert await closes(bench, entry_id) == LIVE


async def test_streams_end_with_the_daemon_after_its_loops_and_before_its_store(tmp_path: Path) -> None:
    async with springing(tmp_path / "p.db") as (_bench, spring, entry_id):
        await spring.say("last words\n")
    assert spring.ended == 1
    async with engine_with(tmp_path / "p.db", ()) as bench:
        assert await closes(bench, entry_id) == [(499, "shutdown")]
        assert await states(bench, entry_id) == {"out": "errored", "side": "static"}
