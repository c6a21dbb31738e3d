"""The bounds of one client's outbox, and what becomes of what does not fit."""

from __future__ import annotations

import json

import msgspec
import pytest
import trio
import trio.testing

from plurnk.server.outbox import MAX_BYTES, MAX_MESSAGES, MAX_PIECES, MAX_UNREAD_REPLIES, Outbox, Waiting
from plurnk.wire.events import delta_key, encode_notification, join_deltas, join_stream_events, stream_key
from plurnk.wire.notifications import StreamEvent, TurnDelta

ALL = 2 * MAX_BYTES


async def nothing_more(after: int) -> list[tuple[int, bytes]]:
    await trio.lowlevel.checkpoint()
    return []


async def taken(outbox: Outbox) -> list[bytes]:
    outbox.put_reply(b"end")
    return [text for text in (await outbox.take(ALL)).messages if text != b"end"]


def lagged(resume_from: int) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": "session/lagged", "params": {"resumeFrom": resume_from}}


async def test_what_is_put_is_taken_in_order_and_in_batches() -> None:
    outbox = Outbox()
    for number in range(10):
        outbox.put(Waiting(b"%d" % number * 100))
    assert [text[:1] for text in (await outbox.take(250)).messages] == [b"0", b"1", b"2"]
    assert [text[:1] for text in (await outbox.take(1)).messages] == [b"3"]
    assert len(await taken(outbox)) == 6


async def test_taking_waits_for_something() -> None:
    outbox = Outbox()
    async with trio.open_nursery() as tasks:
        tasks.start_soon(outbox.take, ALL)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put_reply(b"1")
    assert await taken(outbox) == []


async def test_control_frames_go_first_and_the_newest_of_a_kind_alone() -> None:
    outbox = Outbox()
    outbox.put_reply(b"1")
    for frame in (b"old pong", b"pong"):
        outbox.put_control("pong", frame)
    outbox.put_control("ping", b"ping")
    assert await outbox.take(1) == ((b"pong", b"ping"), [b"1"])


@pytest.mark.spec("6.5-lagged")
@pytest.mark.parametrize(("count", "size"), [(MAX_MESSAGES, 10), (4, MAX_BYTES // 4)])
async def test_too_much_is_dropped_and_told_once(count: int, size: int) -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=7, last=7)
    await feed.replay(nothing_more)
    for event_id in range(8, 8 + count):
        feed.event(event_id, b" " * size)
    outbox.put_reply(b"reply")
    for event_id in range(8 + count, 20 + count):
        feed.event(event_id, b" " * size)
        feed.passing(b"{}")
    reply, told = await taken(outbox)
    assert reply == b"reply"
    assert json.loads(told) == lagged(7)
    assert not feed.is_open


async def test_any_notification_fits_when_nothing_waits() -> None:
    outbox = Outbox()
    outbox.put(Waiting(b" " * (2 * MAX_BYTES)))
    assert [len(text) for text in await taken(outbox)] == [2 * MAX_BYTES]


async def test_replies_are_never_dropped() -> None:
    outbox = Outbox()
    for _ in range(3):
        outbox.put_reply(b" " * (MAX_BYTES // 2))
    outbox.put(Waiting(b"{}"))
    *replies, told = await taken(outbox)
    assert [len(text) for text in replies] == [MAX_BYTES // 2] * 3
    assert json.loads(told) == lagged(0)


async def test_unread_replies_stop_the_requests(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox()
    for _ in range(MAX_UNREAD_REPLIES):
        await outbox.reply_room()
        outbox.put_reply(b"{}")
    with trio.move_on_after(1) as waiting:
        await outbox.reply_room()
    assert waiting.cancelled_caught
    assert outbox.is_full
    await outbox.take(1)
    await outbox.reply_room()
    assert not outbox.is_full


async def test_a_waiting_notification_is_replaced_where_it_stands() -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=None, last=0)
    await feed.replay(nothing_more)
    for text, key in ((b"a1", "a"), (b"b1", "b"), (b"a2", "a"), (b"c", None), (b"d", None), (b"a3", "a")):
        feed.passing(text, key=key)
    assert await taken(outbox) == [b"a3", b"b1", b"c", b"d"]
    feed.passing(b"a4", key="a")
    assert await taken(outbox) == [b"a4"]


async def test_replacing_does_not_fill_the_outbox() -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=None, last=0)
    await feed.replay(nothing_more)
    for number in range(3 * MAX_MESSAGES):
        feed.passing(b" " * 2000, key=number % 3)
    assert feed.is_open
    assert len(await taken(outbox)) == 3


async def test_deltas_of_one_text_are_joined() -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=None, last=0)
    await feed.replay(nothing_more)
    count = 2 * MAX_PIECES + 5
    for number in range(count):
        for kind in ("content", "reasoning"):
            delta = TurnDelta(loop_id=1, turn_id=2, kind=kind, text=f"{number} ")
            feed.passing(encode_notification(delta), key=delta_key(delta), join=join_deltas)
    content, reasoning = (json.loads(text)["params"] for text in await taken(outbox))
    assert (content["kind"], reasoning["kind"]) == ("content", "reasoning")
    assert content["text"] == reasoning["text"] == "".join(f"{number} " for number in range(count))


async def test_deltas_of_an_answer_that_was_cut_off_are_not_joined_to_those_of_the_next() -> None:
    """However slow the client: what comes of a higher attempt comes after all that it voids."""
    outbox = Outbox()
    feed = outbox.follow(1, since=None, last=0)
    await feed.replay(nothing_more)
    for attempt, text in ((1, "al"), (1, "pha"), (2, ""), (2, "be"), (2, "ta")):
        delta = TurnDelta(loop_id=1, turn_id=2, kind="content", text=text, attempt=attempt)
        feed.passing(encode_notification(delta), key=delta_key(delta), join=join_deltas)
    came = [json.loads(text)["params"] for text in await taken(outbox)]
    assert [(delta["attempt"], delta["text"]) for delta in came] == [(1, "alpha"), (2, "beta")]


async def test_after_lagging_nothing_of_the_session_comes_until_it_is_followed_again() -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=0, last=0)
    await feed.replay(nothing_more)
    feed.event(1, b"{}")
    outbox.lag()
    feed.event(2, b"{}")
    feed.passing(b"{}")
    outbox.put(Waiting(b'"to everybody"'))
    told, broadcast = await taken(outbox)
    assert (json.loads(told), broadcast) == (lagged(0), b'"to everybody"')
    again = outbox.follow(1, since=0, last=2)
    await again.replay(nothing_more)
    again.event(1, b"1")
    assert await taken(outbox) == [b"1"]


async def test_following_again_takes_back_what_was_told() -> None:
    outbox = Outbox()
    outbox.follow(1, since=0, last=0)
    outbox.lag()
    assert outbox.is_full
    outbox.follow(1, since=0, last=0)
    assert not outbox.is_full
    assert await taken(outbox) == []


async def test_a_new_feed_is_silent_until_its_replay() -> None:
    outbox = Outbox()
    old = outbox.follow(1, since=0, last=0)
    await old.replay(nothing_more)
    new = outbox.follow(2, since=5, last=9)
    for feed in (old, new):
        feed.event(1, b"{}")
        feed.event(6, b"{}")
        feed.passing(b"{}")
    assert await taken(outbox) == []
    assert new.cursor == 5


async def test_following_without_since_goes_on_where_the_session_was_left() -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=3, last=9)
    assert outbox.follow(1, since=None, last=9).cursor == feed.cursor == 3
    assert outbox.follow(2, since=None, last=5).cursor == 5
    outbox.lag()
    assert outbox.follow(2, since=None, last=6).cursor == 6


async def test_a_client_from_the_future_is_taken_back() -> None:
    """Its eventIds are those of a database that has been restored since."""
    assert Outbox().follow(1, since=1000, last=9).cursor == 9


async def test_a_hole_in_a_replay_is_told() -> None:
    async def pruned(after: int) -> list[tuple[int, bytes]]:
        await trio.lowlevel.checkpoint()
        return [(after + 1, b"{}"), (after + 5, b"{}")]

    outbox = Outbox()
    feed = outbox.follow(1, since=3, last=9)
    await feed.replay(pruned)
    assert [json.loads(text) for text in await taken(outbox)] == [lagged(3)]


async def test_of_a_stream_a_slow_client_gets_the_newest_of_each_channel_and_every_wait_for_input() -> None:
    outbox = Outbox()
    feed = outbox.follow(1, since=None, last=0)
    await feed.replay(nothing_more)
    for length in range(10_000):
        for channel in ("stdout", "stderr"):
            event = StreamEvent(
                entry_id=9, target="exec://sh-1", channel=channel, state="active", content_length=length
            )
            if (channel, length) == ("stdout", 17):
                event = msgspec.structs.replace(event, awaiting_input=True)
            feed.passing(encode_notification(event), key=stream_key(event), join=join_stream_events)
    told = [json.loads(text)["params"] for text in await taken(outbox)]
    assert [(event["channel"], event["contentLength"], event.get("awaitingInput")) for event in told] == [
        ("stdout", 9_999, True),
        ("stderr", 9_999, None),
    ]
