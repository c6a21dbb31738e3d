"""The async client against a fake daemon over memory streams: calls, events, and links that break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from plurnk.client import Client, ClientError, Disconnected, RequestError, Unreachable, inbox, open_client
from plurnk.client import client as client_module
from plurnk.client.link import Address
from plurnk.wire.answers import Empty, SessionAttachResult, SessionCreateResult
from plurnk.wire.notifications import TelemetryEvent
from plurnk.wire.params import SessionAttachParams, SessionCreateParams
from tests.support.fake_daemon import FakeDaemon, Json, Peer, Refusal
from tests.support.wire import Wire


@pytest.fixture
async def wire(nursery: trio.Nursery) -> Wire:
    return Wire(FakeDaemon(), nursery)


@asynccontextmanager
async def attached(wire: Wire) -> AsyncIterator[Client]:
    async with open_client(wire.address) as client:
        await client.call("session.attach", SessionAttachParams(id=1))
        yield client


def tell(wire: Wire, *texts: str) -> None:
    for text in texts:
        wire.daemon.publish("telemetry/event", {"loopId": 1, "event": {"kind": "test", "message": text}})


async def hear(client: Client, count: int) -> list[str]:
    heard: list[str] = []
    async for notification in client.notifications():
        assert isinstance(notification, TelemetryEvent)
        heard.append(notification.event["message"])
        if len(heard) == count:
            break
    return heard


async def test_a_call_returns_the_methods_type(wire: Wire) -> None:
    async with open_client(wire.address) as client:
        assert await client.call("ping") == Empty()
        made = await client.call("session.create", SessionCreateParams(name="x"))
        assert isinstance(made, SessionCreateResult)
        assert made.name == "x"
        assert isinstance(await client.call("session.attach", {"id": 1, "since": 0}), SessionAttachResult)
    assert [method for method, _ in wire.daemon.requests] == ["ping", "session.create", "session.attach"]


async def test_a_refusal_is_raised_with_its_problem(wire: Wire) -> None:
    async with open_client(wire.address) as client:
        with pytest.raises(RequestError, match="no session 9") as caught:
            await client.call("session.attach", SessionAttachParams(id=9))
    assert caught.value.problem.code == -32001


async def test_answers_find_their_calls_in_any_order(wire: Wire, nursery: trio.Nursery) -> None:
    slow = trio.Event()

    async def wait(_peer: Peer, _params: Json) -> Json:
        await slow.wait()
        return {"id": 1, "name": "slow"}

    wire.daemon.handlers["session.rename"] = wait
    async with open_client(wire.address) as client:
        nursery.start_soon(client.call, "session.rename", {"id": 1, "name": "slow"})
        await trio.testing.wait_all_tasks_blocked()
        assert await client.call("ping") == Empty()
        slow.set()
        await trio.testing.wait_all_tasks_blocked()


async def test_an_answer_of_another_version_is_an_error_of_that_call_only(wire: Wire) -> None:
    wire.daemon.handlers["session.list"] = lambda _peer, _params: {"sessions": 7}
    async with open_client(wire.address) as client:
        with pytest.raises(ClientError, match=r"session\.list is of another version"):
            await client.call("session.list")
        assert await client.call("ping") == Empty()


async def test_a_cancelled_call_leaves_the_link_whole(wire: Wire, autojump_clock: trio.testing.MockClock) -> None:
    async def late(_peer: Peer, _params: Json) -> Json:
        await trio.sleep(2)
        return {}

    wire.daemon.handlers["ping"] = late
    async with open_client(wire.address) as client:
        with trio.move_on_after(1) as scope:
            await client.call("ping")
        assert scope.cancelled_caught
        assert await client.call("ping") == Empty()


async def test_events_come_in_order_after_a_broken_link(wire: Wire) -> None:
    async with attached(wire) as client:
        tell(wire, "a", "b")
        assert await hear(client, 2) == ["a", "b"]
        await wire.daemon.hang_up()
        tell(wire, "c", "d")
        assert await hear(client, 2) == ["c", "d"]
        tell(wire, "e")
        assert await hear(client, 1) == ["e"]
    attaches = [params["since"] for method, params in wire.daemon.requests if method == "session.attach"]
    assert attaches == [None, 2]


async def test_a_new_link_is_attached_before_anything_else_is_asked(wire: Wire) -> None:
    async with attached(wire) as client:
        await wire.daemon.hang_up()
        await trio.testing.wait_all_tasks_blocked()
        assert await client.call("ping") == Empty()
    assert [method for method, _ in wire.daemon.requests] == ["session.attach", "session.attach", "ping"]


async def test_a_request_under_way_when_the_link_breaks_fails_alone(wire: Wire) -> None:
    async def crash(_peer: Peer, _params: Json) -> Json:
        await wire.daemon.hang_up()
        return {}

    wire.daemon.handlers["session.runs"] = crash
    async with attached(wire) as client:
        with pytest.raises(Disconnected, match=r"before it answered session\.runs"):
            await client.call("session.runs")
        assert await client.call("ping") == Empty()


async def test_calls_wait_for_a_daemon_that_restarts(
    wire: Wire, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    async def restart() -> None:
        await trio.sleep(client_module.RECONNECT_FOR_S / 2)
        wire.up = True

    async with attached(wire) as client:
        wire.up = False
        await wire.daemon.hang_up()
        nursery.start_soon(restart)
        assert await client.call("ping") == Empty()


async def test_a_daemon_that_stays_away_ends_calls_and_notifications(
    wire: Wire, autojump_clock: trio.testing.MockClock
) -> None:
    async with attached(wire) as client:
        tell(wire, "last words")
        await trio.testing.wait_all_tasks_blocked()
        wire.up = False
        await wire.daemon.hang_up()
        start = trio.current_time()
        with pytest.raises(Unreachable, match="nobody answers at the daemon"):
            await client.call("ping")
        assert client_module.RECONNECT_FOR_S / 2 < trio.current_time() - start <= client_module.RECONNECT_FOR_S + 1
        assert await hear(client, 1) == ["last words"]
        with pytest.raises(Unreachable):
            await hear(client, 1)


async def test_a_session_that_is_gone_after_a_restart_is_said(
    wire: Wire, autojump_clock: trio.testing.MockClock
) -> None:
    def gone(_peer: Peer, _params: Json) -> Json:
        raise Refusal(-32001, "no session 1")

    async with attached(wire) as client:
        wire.daemon.handlers["session.attach"] = gone
        await wire.daemon.hang_up()
        with pytest.raises(Unreachable, match="cannot be taken up again: no session 1"):
            await client.call("ping")


async def test_a_slow_reader_misses_nothing(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "LIMIT", 3)
    async with attached(wire) as client:
        texts = [str(number) for number in range(10)]
        tell(wire, *texts)
        await trio.testing.wait_all_tasks_blocked()
        assert await hear(client, 10) == texts


async def test_a_daemon_that_drops_events_is_asked_for_them(wire: Wire) -> None:
    async with attached(wire) as client:
        tell(wire, "a")
        assert await hear(client, 1) == ["a"]
        for peer in wire.daemon.peers:
            peer.attached = None
        tell(wire, "b", "c")
        for peer in wire.daemon.peers:
            peer.send({"method": "session/lagged", "params": {"resumeFrom": 1}})
        assert await hear(client, 2) == ["b", "c"]


async def test_nobody_there_is_said_at_once(wire: Wire) -> None:
    wire.up = False
    with pytest.raises(Unreachable, match="nobody answers at the daemon"):
        async with open_client(wire.address):
            raise AssertionError("entered")
    assert wire.dialled == 1


async def test_a_daemon_that_lets_nobody_in_is_quoted(wire: Wire) -> None:
    wire.daemon.refuse_with = 403
    with pytest.raises(Unreachable, match="HTTP 403: not you"):
        async with open_client(wire.address):
            raise AssertionError("entered")


async def test_a_stranger_that_hangs_up_or_keeps_silent_is_no_daemon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ends: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        mine, theirs = trio.testing.memory_stream_pair()
        ends.append(theirs)
        if len(ends) == 1:
            await theirs.aclose()
        return mine

    for _ in range(2):
        with pytest.raises(Unreachable, match="did not answer within 5 s"):
            async with open_client(Address(dial, "localhost", "a stranger")):
                raise AssertionError("entered")


@pytest.mark.parametrize("where", ["http://localhost", "ws://", "ws://localhost:99999", "wss:///x"])
async def test_an_address_that_is_none(where: str) -> None:
    with pytest.raises(Unreachable, match="is no ws:// or wss:// address"):
        async with open_client(where):
            raise AssertionError("entered")


async def test_the_blocks_own_error_comes_out_as_it_is(wire: Wire) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_client(wire.address):
            raise ValueError("mine")


async def test_a_closed_client_says_so(wire: Wire) -> None:
    async with open_client(wire.address) as client:
        pass
    with pytest.raises(Unreachable, match="the client is closed"):
        await client.call("ping")
