"""SIGKILL to the daemon while commands write: no process is left, and what was announced is there (SPEC 4.5, 7.2)."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from tests.support.commander import Commander, commander
from tests.support.daemons import GONE, DaemonProcess, environment
from tests.support.desk import until
from tests.support.forked import Forks
from tests.support.processes import with_marker

ROUNDS = 8
GONE_WITHIN_S = 2.0

HOSTILE = """\
trap '' TERM
setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done; : {marker}' &
nohup sh -c 'while :; do sleep 1; done; : {marker}' >/dev/null 2>&1 &
(setsid sh -c 'while :; do sleep 1; done; : {marker}' &) &
n=0
while :; do n=$((n+1)); echo "line $n"; [ $((n % 50)) = 0 ] && sleep 0.002; done
: {marker}
"""


def nobody_has(marker: str) -> bool:
    return not with_marker(marker)


async def announced(client: Commander, target: str, at_least: int) -> int:
    """Hear events of the stream's stdout until they speak of so many bytes; how many they did."""
    while True:
        params = await client.asker.hear_until("stream/event")
        length = int(params["contentLength"])
        if params["target"] == target and params["channel"] == "stdout" and length >= at_least:
            return length


@pytest.mark.spec("4.5-die-with-daemon", "7.2-no-orphans", "4.4-partial-output-kept", "4.1-one-scope-per-subscription")
async def test_no_child_outlives_the_daemon_and_no_announced_byte_is_lost(tmp_path: Path) -> None:
    rng = random.Random(4)
    environ = environment(tmp_path, PLURNK_RESUME="0")
    session_id: int | None = None
    (tmp_path / "project").mkdir()
    with Forks() as forks:
        for _ in range(ROUNDS):
            marker = f"marker-{uuid4().hex}"
            with DaemonProcess(environ, forks=forks) as daemon:
                target, promised = "", 0
                try:
                    async with commander(daemon.url, tmp_path / "project", session_id=session_id) as client:
                        session_id = client.session_id
                        with trio.fail_after(30):
                            target = (await client.exec(HOSTILE.format(marker=marker)))["entry"]
                            promised = await announced(client, target, 1 + rng.randrange(200_000))
                        assert len(with_marker(marker)) >= 4
                        daemon.kill()
                except* GONE:
                    pass  # the daemon went away under its clients, as it should
            with trio.fail_after(GONE_WITHIN_S):
                await until(partial(nobody_has, marker))
            with DaemonProcess(environ, forks=forks) as daemon:
                async with commander(daemon.url, None, session_id=session_id) as client:
                    with trio.fail_after(30):
                        concluded = await client.concluded(target)
                        await check(client, target, promised, concluded)


async def check(client: Commander, target: str, promised: int, concluded: dict[str, Any]) -> None:
    """The stream's subscription, channel and bytes, after the restart."""
    assert (concluded["closeStatus"], concluded["wakeAction"]) == (500, "skipped-aborted")
    listed = await client.asker.call("subscription.list", all=True)
    row = next(s for s in listed["subscriptions"] if s["target"] == target)
    assert (row["closeStatus"], row["closeDetail"]) == (500, "daemon_restart")
    assert row["closedAt"] is not None
    stdout = (await client.channels(target, channel="stdout"))["stdout"]
    assert stdout["state"] == "errored"
    assert stdout["length"] >= promised
    whole = stdout["content"].splitlines()[: stdout["content"].count("\n")]
    assert whole == [f"line {number}" for number in range(1, len(whole) + 1)]
