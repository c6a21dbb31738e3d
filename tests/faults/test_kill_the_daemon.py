"""SIGKILL at random points: what was announced is there, and the daemon goes on from it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.daemons import GONE, DaemonProcess, PlainClient, environment, plain_client
from tests.support.forked import Forks

ROUNDS = 50


async def _all_rows(client: PlainClient) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    while True:
        page = await client.call("log.read", sinceId=max(rows, default=0), limit=1000)
        if not page["entries"]:
            return rows
        rows.update((entry["id"], entry) for entry in page["entries"])


async def _all_ended(client: PlainClient) -> None:
    """Wait until every loop is done: each was resumed by the next daemon, or by one after it."""
    while set((await client.call("daemon.status"))["counts"]["loops"]) != {"200"}:
        await client.hear_until("loop/terminated")


@pytest.mark.spec("7.2-announced-survives-kill", "6.5-replay-after-restart", "6.5-replay-no-gap", "7.2-resume")
async def test_killed_fifty_times_at_random_the_daemon_forgets_nothing_that_it_announced(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    chance = random.Random(20261121)
    announced_rows: dict[int, dict[str, Any]] = {}
    announced_events: dict[int, str] = {}
    session_id: int | None = None
    with Forks() as forks:
        for number in range(ROUNDS + 1):
            with DaemonProcess(environ, forks=forks) as daemon, trio.fail_after(30):
                async with plain_client(daemon.url) as client:
                    if session_id is None:
                        session_id = (await client.call("session.create", name="victim"))["id"]
                    else:
                        attached = await client.call("session.attach", id=session_id, since=0)
                        rows = await _all_rows(client)
                        assert announced_rows == {i: rows.get(i) for i in announced_rows}
                        assert attached["lastEventId"] >= max(announced_events)
                        while len(client.durable()) < max(announced_events):
                            await client.receive()
                        replayed = client.durable()
                        assert [seq for seq, _ in replayed] == list(range(1, len(replayed) + 1))
                        assert announced_events == {seq: kind for seq, kind in replayed if seq in announced_events}
                    if number == ROUNDS:
                        await _all_ended(client)
                        break
                    loop = await client.call(
                        "loop.run", prompt=f"round {number}", flags={"noProposals": True}, wait=False
                    )
                    patience = chance.randrange(1, 14)
                    for _ in range(patience):
                        heard = await client.receive()
                        if heard.get("method") == "loop/terminated" and heard["params"]["loopId"] == loop["loopId"]:
                            break
                    # Somewhere between two events, not always right after one.
                    await trio.sleep(chance.random() * 0.004)
                    daemon.kill()
                    with pytest.raises(GONE):
                        await client.hear_until("nothing of that name")
                    for message in client.heard:
                        if "eventId" in message["params"]:
                            announced_events[message["params"]["eventId"]] = message["method"]
                        if message["method"] == "log/entry":
                            announced_rows[message["params"]["entry"]["id"]] = message["params"]["entry"]
    assert len(announced_rows) > ROUNDS


async def test_loops_that_were_cut_off_end_after_the_restart_and_no_turn_looks_unfinished(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    with DaemonProcess(environ) as daemon, trio.fail_after(30):
        async with plain_client(daemon.url) as client:
            created = await client.call("session.create")
            for prompt in ("one", "two", "three"):
                await client.call("loop.run", prompt=prompt, flags={"noProposals": True}, wait=False, queue=True)
            await client.hear_until("log/entry")
            daemon.kill()
    with DaemonProcess(environ) as daemon, trio.fail_after(30):
        async with plain_client(daemon.url) as client:
            await client.call("session.attach", id=created["id"], since=0)
            ended: dict[int, int] = {}
            while len(ended) < 3:
                params = await client.hear_until("loop/terminated")
                ended[params["loopId"]] = params["finalStatus"]
            assert list(ended.values()) == [200, 200, 200]
            status = await client.call("daemon.status")
            assert status["counts"]["loops"] == {"200": 3}
        code, _said = daemon.stop()
        assert code == 0
