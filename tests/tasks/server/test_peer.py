"""One client over a memory stream, on the virtual clock: an hour passes in milliseconds."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import trio
import trio.testing
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from plurnk.server.outbox import MAX_BYTES, Waiting
from plurnk.server.peer import GOODBYE_S, KEEP_ALIVE_S, MAX_IN_FLIGHT, STALL_S, Peer
from plurnk.server.websocket import Closed, WebSocket
from plurnk.wire.jsonrpc import MAX_BATCH
from tests.support.desk import Desk, in_memory, until


@pytest.mark.spec("6.1-concurrent-requests")
async def test_answers_go_out_when_they_are_ready(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk()
    async with in_memory(desk) as (_, client):
        await client.request("hang", call_id="slow")
        await until(lambda: desk.hanging == 1)
        assert await client.ask("echo", {"text": "hi"}, "quick") == {
            "jsonrpc": "2.0",
            "id": "quick",
            "result": {"text": "hi"},
        }
        assert desk.hanging == 1


@pytest.mark.spec("6.1-params-empty-array", "6.1-string-ids", "6.1-result-never-null")
@pytest.mark.parametrize("params", [[], {}, None])
@pytest.mark.parametrize("call_id", ["a", "", "1", 0, -7, 2**70, None])
async def test_no_params_any_id_never_null(params: Any, call_id: Any, autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        assert await client.ask("nothing", params, call_id) == {"jsonrpc": "2.0", "id": call_id, "result": {}}


async def test_a_notification_is_not_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await client.send_json({"jsonrpc": "2.0", "method": "echo"}, {"jsonrpc": "2.0", "method": "none"})
        assert (await client.ask("echo", call_id=9))["id"] == 9


async def test_a_batch_is_answered_as_one(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        call = {"jsonrpc": "2.0", "method": "echo"}
        await client.send_json([{**call, "id": 1}, call, 5, {**call, "id": "b", "params": [1]}])
        answers = {answer["id"]: answer for answer in await client.receive_json()}
        assert answers[1]["result"] == {"text": ""}
        assert answers[None]["error"]["code"] == -32600
        assert answers["b"]["error"]["code"] == -32602
        await client.send_json([])
        assert (await client.receive_json())["error"]["code"] == -32600
        await client.send_json([5])
        assert [answer["error"]["code"] for answer in await client.receive_json()] == [-32600]
        await client.send_json([call, call])
        assert (await client.ask("echo", call_id="next"))["id"] == "next"


@pytest.mark.spec("6.1-bad-frame-survives")
@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 200_000, '{"jsonrpc":"2.0"} x', "[1,"])
async def test_a_frame_that_is_no_json(text: str, autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await client.send(TextMessage(text))
        answer = await client.receive_json()
        assert (answer["id"], answer["error"]["code"]) == (None, -32700)
        assert (await client.ask("echo"))["result"] == {"text": ""}


@pytest.mark.parametrize(
    ("method", "code", "type_"),
    [
        ("none", -32601, "method-not-found"),
        ("missing", -32001, "session-not-found"),
        ("stopping", -32008, "draining"),
        ("several", -32603, "internal"),
        ("bug", -32603, "internal"),
        ("linger", -32007, "timeout"),
    ],
)
async def test_failures_are_answers(
    method: str, code: int, type_: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    async with in_memory(desk) as (_, client):
        error = (await client.ask(method))["error"]
        assert (error["code"], error["data"]["type"]) == (code, type_)
        assert "connection" not in json.dumps(error)
        assert "secret" not in json.dumps(error)
        assert ("Traceback" in caplog.text) == (code == -32603)
        assert desk.hanging == 0
        assert (await client.ask("echo"))["result"] == {"text": ""}


@pytest.mark.spec("6.2-invalid-params-named")
async def test_wrong_params_are_named(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        error = (await client.ask("echo", {"times": "3"}))["error"]
        assert error == {
            "code": -32602,
            "message": "times: expected int, got str",
            "data": {"status": 400, "type": "invalid-params", "detail": "times: expected int, got str"},
        }


async def test_what_fails_after_its_answer_ends_the_client(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_memory(Desk()) as (_, client):
        assert (await client.ask("bad_follow"))["result"] == {}
        assert (await client.closed()).code == 1011
        assert "while replaying" in caplog.text


@pytest.mark.spec("6.6-limits")
async def test_no_more_than_64_requests_in_flight(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    async with in_memory(desk) as (_, client):
        for number in range(MAX_IN_FLIGHT):
            await client.request("hang", call_id=number)
        error = (await client.ask("echo", call_id="more"))["error"]
        assert (error["code"], error["data"]["status"]) == (-32008, 429)
        await client.send_json({"jsonrpc": "2.0", "method": "echo"})
        await client.send_json([{"jsonrpc": "2.0", "method": "echo", "id": "also"}])
        assert [answer["error"]["code"] for answer in await client.receive_json()] == [-32008]
        assert "echo dropped" in caplog.text
        assert desk.hanging == MAX_IN_FLIGHT


@pytest.mark.spec("6.6-limits")
async def test_a_batch_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await client.send_json([0] * (MAX_BATCH + 1))
        error = (await client.receive_json())["error"]
        assert (error["code"], error["message"]) == (-32600, "a batch holds at most 64 requests")


async def test_requests_wait_for_a_client_that_reads_no_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (peer, client):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for sent in range(10_000):
                await client.request("nothing", call_id=sent)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(flood)
            await trio.testing.wait_all_tasks_blocked()
            assert peer.outbox.is_full
            assert MAX_IN_FLIGHT <= sent <= 3 * MAX_IN_FLIGHT
            tasks.cancel_scope.cancel()


@pytest.mark.spec("6.1-no-pong-deadline")
async def test_a_client_that_never_pongs_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await trio.sleep(100 * KEEP_ALIVE_S)
        assert (await client.ask("echo"))["result"] == {"text": ""}


async def test_pings_go_both_ways(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await trio.sleep(KEEP_ALIVE_S + 1)
        assert bytes(await client.stream.receive_some()) == b"\x89\x00"
        await client.send(Ping(b"old"), Ping(b"new"))
        pong = await client.receive()
        while pong == Pong(b"old"):
            pong = await client.receive()
        assert pong == Pong(b"new")


@pytest.mark.spec("6.1-vanishing-peer")
async def test_requests_of_a_client_that_is_gone_are_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk()
    async with in_memory(desk) as (_, client):
        await client.request("hang")
        await until(lambda: desk.hanging == 1)
        await client.stream.aclose()
        await until(lambda: desk.cancelled == 1)


@pytest.mark.spec("6.1-vanishing-peer")
async def test_a_client_that_cannot_be_written_to_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk()
    async with in_memory(desk) as (_, client):
        await client.request("hang")
        await until(lambda: desk.hanging == 1)
        both = cast("trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]", client.stream)
        await both.receive_stream.aclose()
        await client.request("echo")
        await until(lambda: desk.cancelled == 1)


async def test_goodbye_to_nobody() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    socket = WebSocket(ours, max_message_bytes=1)
    await theirs.aclose()
    assert await socket.receive() == Closed(1006, "the stream ended")
    await socket.close(1000, "bye")


async def test_a_goodbye_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await client.request("hang")
        await client.send(CloseConnection(3000, "enough"))
        assert await client.closed() == CloseConnection(3000, "enough")


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x82\x80\0\0\0\0", 1003),  # binary
        (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
        (b"\x81\x01a", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
    ],
)
async def test_broken_rules_end_it(frames: bytes, code: int, autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await client.stream.send_all(frames)
        closed = await client.closed()
        assert closed.code == code
        assert closed.reason in {"broken frame", "text frames only"}


async def test_a_message_in_many_fragments(autojump_clock: trio.testing.MockClock) -> None:
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"text": "añ€😀"}}, ensure_ascii=False)
    async with in_memory(Desk()) as (_, client):
        for position, letter in enumerate(text):
            await client.send(TextMessage(letter, message_finished=position == len(text) - 1), Ping())
        while not isinstance(event := await client.receive(), TextMessage):
            assert isinstance(event, Pong)
        assert json.loads(event.data)["result"]["text"] == "añ€😀"


async def test_too_much_is_refused_before_it_is_all_read(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk(), max_message_bytes=100_000) as (_, client):
        header = b"\x81\xff" + (20 * 1024 * 1024).to_bytes(8, "big") + bytes(4)
        await client.stream.send_all(header + b" " * 100_000)
        await client.stream.send_all(b" ")
        closed = await client.closed()
        assert (closed.code, closed.reason) == (1009, "a message has at most 100000 bytes")


async def test_messages_up_to_the_limit_are_read(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk(), max_message_bytes=1000) as (_, client):
        empty = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {"text": ""}})
        for room, fits in ((1000 - len(empty), True), (1001 - len(empty), False)):
            await client.request("echo", {"text": "x" * room})
            event = await client.receive()
            assert isinstance(event, TextMessage) == fits


async def test_closing_lets_requests_end_and_answers_out(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk()
    async with in_memory(desk) as (peer, client):
        await client.request("hang")
        await until(lambda: desk.hanging == 1)
        peer.outbox.put_reply(b'"last words"')
        began = trio.current_time()
        peer.close(1001, "the daemon is stopping")
        assert await client.receive_json() == "last words"
        assert await client.closed() == CloseConnection(1001, "the daemon is stopping")
        assert trio.current_time() - began == GOODBYE_S


async def test_a_cancelled_daemon_says_goodbye(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as listening, in_memory(Desk()) as (_, client):
        await trio.testing.wait_all_tasks_blocked()

        async def listen() -> None:
            assert await client.closed() == CloseConnection(1001, "the daemon is stopping")
            await client.stream.aclose()

        listening.start_soon(listen)


@pytest.mark.spec("6.5-slow-client-isolated")
async def test_a_stalled_client_is_closed_after_a_minute_and_holds_up_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Desk()
    async with in_memory(desk) as (slow, stopped), in_memory(desk) as (_, quick):
        await _overflow(slow)
        began = trio.current_time()
        assert (await quick.ask("echo"))["result"] == {"text": ""}
        assert trio.current_time() == began
        await trio.sleep(STALL_S - 1)
        slow.outbox.put_reply(b"{}")
        assert (await quick.ask("echo"))["result"] == {"text": ""}
        await trio.sleep(1 + GOODBYE_S + 1)
        # A frame was half sent when the client stopped reading, so it cannot be told why.
        assert (await stopped.closed()).code == 1006


async def _overflow(peer: Peer[Desk]) -> None:
    """Fill the outbox of a client that reads nothing."""
    peer.outbox.put_reply(b"1")
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(6):
        peer.outbox.put(Waiting(b" " * (MAX_BYTES // 5)))
    assert peer.outbox.is_full


async def test_a_stalled_client_that_wakes_up_in_time_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (peer, client):
        await _overflow(peer)
        await trio.sleep(STALL_S - 1)
        assert await client.receive_json() == 1
        assert (await client.receive_json())["method"] == "session/lagged"
        assert not peer.outbox.is_full
        await trio.sleep(KEEP_ALIVE_S - 1)
        assert (await client.ask("echo"))["result"] == {"text": ""}


async def test_a_stalled_client_that_wakes_up_too_late_is_told_1013(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (peer, client):
        await _overflow(peer)
        await trio.sleep(STALL_S + GOODBYE_S / 2)
        assert await client.closed() == CloseConnection(1013, "too slow")


async def test_a_slow_client_is_not_stalled(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk(events=[_event(n, size=MAX_BYTES // 8) for n in range(1, 25)])
    async with in_memory(desk) as (peer, client):
        await client.request("follow", {"since": 0})
        assert (await client.receive_json())["result"] == {}
        for number in range(1, 7):
            await trio.sleep(STALL_S / 2)
            assert peer.outbox.is_full
            assert (await client.receive_json())["n"] == number


@pytest.mark.spec("6.5-lagged")
async def test_a_lagged_client_comes_back_without_a_gap_or_a_double(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk(events=[_event(n) for n in range(1, 11)])
    async with in_memory(desk) as (_, client):
        assert (await client.ask("follow", {"since": 7}))["result"] == {}
        assert [(await client.receive_json())["n"] for _ in range(3)] == [8, 9, 10]
        for number in range(11, 31):
            desk.publish(_event(number, size=MAX_BYTES // 8))
            await trio.testing.wait_all_tasks_blocked()
        assert (await client.receive_json())["n"] == 11  # was with the transport already
        lagged = await client.receive_json()
        assert lagged == {"jsonrpc": "2.0", "method": "session/lagged", "params": {"resumeFrom": 11}}
        desk.publish(_event(31))
        assert (await client.ask("follow", {"since": 11}))["result"] == {}
        assert [(await client.receive_json())["n"] for _ in range(20)] == list(range(12, 32))
        desk.publish(_event(32))
        assert (await client.receive_json())["n"] == 32


async def test_a_replay_longer_than_the_outbox_waits_for_its_reader(autojump_clock: trio.testing.MockClock) -> None:
    count = 40
    desk = Desk(events=[_event(n, size=MAX_BYTES // 8) for n in range(1, count + 1)])
    async with in_memory(desk) as (_, client):
        await client.request("follow", {"since": 0})
        assert (await client.receive_json())["result"] == {}
        for number in range(1, count + 1):
            if number == 20:
                desk.publish(_event(count + 1))
            assert (await client.receive_json())["n"] == number
        assert (await client.receive_json())["n"] == count + 1


def _event(number: int, size: int = 0) -> bytes:
    return json.dumps({"n": number, "pad": " " * size}).encode()


async def test_bytes_messages_are_no_messages(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(Desk()) as (_, client):
        await client.send(BytesMessage(b"{}"))
        assert await client.closed() == CloseConnection(1003, "text frames only")
