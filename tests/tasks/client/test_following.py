"""Following a channel that grows, against a fake daemon over memory streams."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from plurnk.client import Client, ClientError, Unreachable, open_client
from plurnk.client import client as client_module
from plurnk.wire.answers import LoopResolveResult, SubscriptionCancelResult
from plurnk.wire.params import Grant
from tests.support.fake_daemon import FakeDaemon, Json, Peer
from tests.support.wire import Wire


class Stream:
    """``exec://sh-1`` of a fake daemon: stdout as a test makes it grow."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon
        self.data = b""
        self.state = "active"
        self.reads: list[int] = []
        daemon.handlers["entry.read"] = self._read

    def grow(self, data: bytes, *, told: bool = True) -> None:
        self.data += data
        if told:
            self.tell()

    def close(self) -> None:
        self.state = "closed"
        self.tell()

    def tell(self, **other: Any) -> None:
        params: Json = {"entryId": 9, "target": "exec://sh-1", "channel": "stdout", "state": self.state}
        self.daemon.tell({"method": "stream/event", "params": {**params, "contentLength": len(self.data), **other}})

    def _read(self, _peer: Peer, params: Json) -> Json:
        if params["target"] != "exec://sh-1":
            return {"status": 404, "error": f"{params['target']} is not there"}
        start = params["from"]
        self.reads.append(start)
        piece = self.data[start : start + 4]
        channel = {
            "content": piece.decode(),
            "mimetype": "text/plain",
            "tokens": 0,
            "state": self.state,
            "length": len(self.data),
            "next": start + len(piece),
        }
        entry: Json = {
            "id": 9,
            "scheme": "exec",
            "pathname": "sh-1",
            "target": "exec://sh-1",
            "tags": [],
            "attributes": {},
        }
        return {"status": 200, "entry": {**entry, "channels": {params["channel"]: channel}}}


@pytest.fixture
async def wire(nursery: trio.Nursery) -> Wire:
    return Wire(FakeDaemon(), nursery)


async def collect(client: Client, into: list[str], target: str = "exec://sh-1", start: int = 0) -> None:
    async for piece in client.follow(target, "stdout", start=start):
        into.append(piece)  # noqa: PERF401 – it is looked at while it grows


async def test_what_is_there_comes_first_then_what_is_written_until_it_is_closed(wire: Wire) -> None:
    stream, got = Stream(wire.daemon), list[str]()
    stream.grow(b"0123456789")
    with trio.fail_after(5):
        async with open_client(wire.address) as client:
            await client.call("session.attach", {"id": 1})
            async with trio.open_nursery() as tasks:
                tasks.start_soon(collect, client, got)
                await trio.testing.wait_all_tasks_blocked()
                assert got == ["0123", "4567", "89"]
                stream.grow(b"ab")
                await trio.testing.wait_all_tasks_blocked()
                assert got[3:] == ["ab"]
                asked = len(stream.reads)
                stream.tell(entryId=10)
                stream.tell(channel="stderr")
                await trio.testing.wait_all_tasks_blocked()
                assert len(stream.reads) == asked, "news of others is no reason to look"
                stream.grow(b"!", told=False)
                stream.close()
    assert "".join(got) == "0123456789ab!"


async def test_one_that_is_over_is_read_to_its_end_and_from_where_one_likes(wire: Wire) -> None:
    stream, got = Stream(wire.daemon), list[str]()
    stream.grow(b"0123456789")
    stream.state = "errored"
    with trio.fail_after(5):
        async with open_client(wire.address) as client:
            await collect(client, got, start=7)
    assert got == ["789"]


async def test_what_grew_while_the_link_was_broken_is_found(wire: Wire) -> None:
    stream, got = Stream(wire.daemon), list[str]()
    with trio.fail_after(5):
        async with open_client(wire.address) as client:
            await client.call("session.attach", {"id": 1})
            async with trio.open_nursery() as tasks:
                tasks.start_soon(collect, client, got)
                await trio.testing.wait_all_tasks_blocked()
                stream.grow(b"ab", told=False)
                stream.state = "closed"
                await wire.daemon.hang_up()
    assert got == ["ab"]


async def test_a_client_that_lags_and_reads_no_notifications_still_follows(wire: Wire) -> None:
    stream, got = Stream(wire.daemon), list[str]()
    with trio.fail_after(10):
        async with open_client(wire.address) as client:
            await client.call("session.attach", {"id": 1})
            async with trio.open_nursery() as tasks:
                tasks.start_soon(collect, client, got)
                await trio.testing.wait_all_tasks_blocked()
                wire.daemon.tell({"method": "session/lagged", "params": {"resumeFrom": 0}})
                await trio.testing.wait_all_tasks_blocked()
                stream.grow(b"ab", told=False)
                stream.state = "closed"
    assert got == ["ab"]


async def test_a_daemon_that_is_gone_ends_it(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RECONNECT_FOR_S", 0.0)
    Stream(wire.daemon)
    with trio.fail_after(5):
        async with open_client(wire.address) as client:
            await client.call("session.attach", {"id": 1})

            async def follow() -> None:
                with pytest.raises(Unreachable):
                    await collect(client, [])

            async with trio.open_nursery() as tasks:
                tasks.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked()
                wire.up = False
                await wire.daemon.hang_up()


async def test_what_is_not_there_is_said(wire: Wire) -> None:
    Stream(wire.daemon)
    async with open_client(wire.address) as client:
        with pytest.raises(ClientError, match="known://x is not there"):
            await collect(client, [], "known://x")


async def test_commands_and_proposals_are_asked_for_by_name(wire: Wire) -> None:
    daemon = wire.daemon
    daemon.handlers |= {
        "op.exec": lambda _peer, _params: {"status": 102, "entry": "exec://sh-1", "subscriptionId": 3},
        "proposal.list": lambda _peer, _params: {"proposals": []},
        "loop.resolve": lambda _peer, _params: {"status": 102, "logEntryId": 4},
        "subscription.list": lambda _peer, _params: {"subscriptions": []},
        "subscription.cancel": lambda _peer, _params: {"status": 200, "target": "exec://sh-1", "closeStatus": 499},
    }
    async with open_client(wire.address) as client:
        started = await client.exec("make", cwd="src", runtime="bash")
        assert (started.entry, started.subscription_id) == ("exec://sh-1", 3)
        assert await client.proposals() == ()
        resolved = await client.resolve(4, "accept", grant=Grant(network=True))
        assert resolved == LoopResolveResult(status=102, log_entry_id=4)
        assert await client.subscriptions(closed_too=True) == ()
        ended = SubscriptionCancelResult(status=200, target="exec://sh-1", close_status=499)
        assert [await client.cancel_subscription(which) for which in (3, "exec://sh-1")] == [ended, ended]
    assert [(method, {k: v for k, v in params.items() if v}) for method, params in daemon.requests] == [
        ("op.exec", {"command": "make", "cwd": "src", "runtime": "bash"}),
        ("proposal.list", {}),
        ("loop.resolve", {"logEntryId": 4, "decision": "accept", "grant": {"network": True, "writable": []}}),
        ("subscription.list", {"all": True, "limit": 1000}),
        ("subscription.cancel", {"id": 3}),
        ("subscription.cancel", {"target": "exec://sh-1"}),
    ]
